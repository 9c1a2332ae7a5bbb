import TensorCore
import TorchFormats

/// What a file of tensors or of a model is, told by its content and not by its name.
public enum FileFormat: String, Codable, Sendable {
  /// A `torch.export` archive (`.pt2`).
  case exportedProgram = "torch.export archive"
  /// An ExecuTorch program (`.pte`).
  case executorchProgram = "ExecuTorch program"
  /// What `torch.save` writes (`.pth`, `.pt`): a pickle, in a zip archive or, before PyTorch 1.6, alone.
  case stateDict = "PyTorch state dict"
  case safetensors
  /// One NumPy array (`.npy`).
  case numPyArray = "NumPy array"
  /// A zip archive of NumPy arrays (`.npz`).
  case numPyArchive = "NumPy archive"

  /// Looks at the file's first bytes and, in a zip archive, at the names of its entries. What is none of the formats
  /// counts as a `torch.export` archive, whose reader says what it misses.
  ///
  /// Throws when the file cannot be opened, or is a zip archive with a damaged directory.
  public init(of path: String) throws(FormatError) {
    let storage: Storage
    do { storage = try Storage(mapping: path) } catch { throw FormatError(path: error.path, reason: error.reason) }
    let head = [UInt8](storage.bytes.prefix(16))
    if head.starts(with: [0x93] + Array("NUMPY".utf8)) {
      self = .numPyArray
    } else if head.dropFirst(4).starts(with: "ET12".utf8) {
      self = .executorchProgram
    } else if head.starts(with: "PK".utf8) {
      self = FileFormat.ofArchive(try ZipArchive(path: path).entries.map(\.name))
    } else if head.count > 9, head[8] == UInt8(ascii: "{"), FileFormat.headerLength(head) < storage.byteCount {
      self = .safetensors
    } else if head.count > 1, head[0] == 0x80, (2...5).contains(head[1]) {
      self = .stateDict
    } else {
      self = .exportedProgram
    }
  }

  /// The length that a `.safetensors` file begins with: eight bytes, little-endian.
  private static func headerLength(_ head: [UInt8]) -> UInt64 {
    head.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  private static func ofArchive(_ names: [String]) -> FileFormat {
    func isAtRoot(_ name: String, _ file: String) -> Bool {
      name.split(separator: "/", omittingEmptySubsequences: false).count == 2 && name.hasSuffix("/" + file)
    }
    if names.contains(where: { isAtRoot($0, "archive_format") }) || names.contains("serialized_exported_program.json") {
      return .exportedProgram
    }
    if names.contains(where: { isAtRoot($0, "data.pkl") }) { return .stateDict }
    return !names.isEmpty && names.allSatisfy { $0.hasSuffix(".npy") } ? .numPyArchive : .exportedProgram
  }
}
