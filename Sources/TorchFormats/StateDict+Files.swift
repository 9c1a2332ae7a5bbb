import GraphIR
import TensorCore

extension StateDict {
  /// The kinds of files that hold tensors, which their first bytes tell apart.
  package enum FileFormat: String, Sendable, Codable {
    case torchSave = "torch.save"
    case exportedProgram = "torch.export"
    case safetensors, npz, npy
  }

  /// Reads the tensors of a `.pth`/`.pt`, `.safetensors`, `.npz`, `.npy` or `.pt2`, whatever it is called: windows on
  /// the mapped file wherever they are stored row-major and uncompressed.
  ///
  /// A checkpoint's state dict is found under `state_dict`, `model` and similar keys, or under `key`, keys of nested
  /// dictionaries joined by dots; the rest is listed in `others`. Tensors of nested containers are named `outer.inner`,
  /// of lists by position. Checksums of tensors are compared on request.
  ///
  /// Throws a `FormatError` for damage, other formats, and element types without counterpart.
  public static func read(
    _ path: String, key: String? = nil, verifyingChecksums: Bool = false
  ) throws(FormatError) -> StateDict {
    let window = try ZipArchive.Window(mapping: path)
    switch try format(of: window, path: path) {
    case .torchSave:
      return try StateDict(TorchFile(window, path: path, verify: verifyingChecksums), key: key)
    case .exportedProgram: return try StateDict(exportedProgram: path, verify: verifyingChecksums)
    case .safetensors: return try SafeTensorsFile.read(window, path: path)
    case .npz:
      let archive = try NumPyArchive(path: path)
      var result = StateDict()
      for name in archive.names { result[name] = try archive.tensor(name) }
      return result
    case .npy:
      var result = StateDict()
      // NumPy's own name for an array without one.
      result["arr_0"] = try NumPyArchive.readArray(path)
      return result
    }
  }

  /// What kind of file it is. Throws when it holds no tensors as far as its first bytes and its directory tell.
  package static func format(of path: String) throws(FormatError) -> FileFormat {
    try format(of: ZipArchive.Window(mapping: path), path: path)
  }

  private static func format(of window: ZipArchive.Window, path: String) throws(FormatError) -> FileFormat {
    let (kind, isNumPy, isSafeTensors) = try window.withBytes { bytes throws(FormatError) in
      (TorchFile.Kind(bytes), NumPyHeader.hasMagic(bytes), SafeTensorsFile.hasMagic(bytes))
    }
    if isNumPy { return .npy }
    switch kind {
    case .zip:
      let names = try ZipArchive(window, path: path).entries.map(\.name)
      if names.contains(where: { ZipArchive.isAtRoot($0, "data.pkl") }) { return .torchSave }
      let isExported = { ZipArchive.isAtRoot($0, "archive_format") || $0 == "serialized_exported_program.json" }
      if names.contains(where: isExported) { return .exportedProgram }
      if names.contains(where: { $0.hasSuffix(".npy") }) { return .npz }
      throw FormatError(path: path, reason: "is a zip archive, but not one of PyTorch's or NumPy's")
    case .legacy, .tar: return .torchSave
    case .foreign:
      if isSafeTensors { return .safetensors }
      throw FormatError(
        path: path, reason: "is not a file of tensors: its content is not that of torch.save, safetensors or NumPy")
    }
  }

  /// The parameters, buffers and constants of a program, in the order of its inputs.
  private init(exportedProgram path: String, verify: Bool) throws(FormatError) {
    self.init()
    let program = try PT2Archive.read(path, verifyingWeights: verify)
    for target in program.inputKinds.compactMap(\.target) + program.stateDict.keys.sorted() {
      self[target] = program.stateDict[target]
    }
  }

  /// Writes a `.safetensors` or `.npz`, by the path's extension; `others` are not written, `metadata` to safetensors
  /// only. The same tensors give the same bytes.
  ///
  /// Throws for another extension, for bfloat16 in an `.npz`, and when the file cannot be written.
  public func write(to path: String) throws(FormatError) {
    if path.hasSuffix(".safetensors") { return try SafeTensorsFile.write(self, to: path) }
    guard path.hasSuffix(".npz") else {
      throw FormatError(path: path, reason: "must end in .safetensors or .npz to be written")
    }
    for (name, tensor) in entries where tensor.dataType == .bfloat16 {
      throw FormatError(
        path: path, place: "tensor '\(name)'", reason: "NumPy has no bfloat16; write a .safetensors file")
    }
    try NumPyArchive.write(entries.map { ($0.name, $0.tensor) }, to: path)
  }

  /// Writes a `.safetensors` file whose data start at a multiple of `alignment` bytes, a power of two from 8 on; so does
  /// every tensor, if their sizes are multiples too. Throws when the file cannot be written.
  package func writeSafeTensors(to path: String, alignment: Int) throws(FormatError) {
    try SafeTensorsFile.write(self, to: path, alignment: alignment)
  }
}
