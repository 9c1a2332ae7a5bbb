import Swiftlet

/// What a file of tensors or of a model is, told by its content and not by its name.
public enum FileFormat: String, Codable, Sendable {
  /// A `torch.export` archive (`.pt2`).
  case exportedProgram = "torch.export archive"
  /// An ExecuTorch program (`.pte`).
  case executorchProgram = "ExecuTorch program"
  /// What `torch.save` writes (`.pth`, `.pt`).
  case stateDict = "torch.save file"
  /// Tensors behind a JSON header (`.safetensors`).
  case safetensors = "safetensors file"
  /// One NumPy array (`.npy`).
  case numPyArray = "NumPy array"
  /// A zip archive of NumPy arrays (`.npz`).
  case numPyArchive = "NumPy archive"

  /// What is none of the formats counts as a `torch.export` archive, whose reader says what it misses. Throws when the
  /// file cannot be opened.
  package init(of path: String) throws(FormatError) {
    if try PTEArchive.isPTE(path) {
      self = .executorchProgram
      return
    }
    switch try? StateDict.format(of: path) {
    case .torchSave: self = .stateDict
    case .safetensors: self = .safetensors
    case .npy: self = .numPyArray
    case .npz: self = .numPyArchive
    case .exportedProgram, nil: self = .exportedProgram
    }
  }
}
