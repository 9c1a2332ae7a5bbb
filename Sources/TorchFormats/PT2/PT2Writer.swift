import GraphIR
import TensorCore

extension PT2Archive {
  /// Writes a float or Q/DQ graph so that `torch.export.load` of PyTorch 2.8 and later reads it.
  ///
  /// The same program gives the same bytes, whatever the file is called. The target is replaced when the file is
  /// complete. Unused tensors of the state dict are kept. Throws for a graph with operators or values that only this
  /// program's later stages know, a tensor without data, and when the file cannot be written.
  public static func write(_ program: ExportedProgram, to path: String) throws(FormatError) {
    let graph = try PT2GraphText(path: path, program: program).json()
    var payloads = PT2PayloadWriter(path: path, writer: try ZipWriter(path: path))
    try payloads.add(program)
    var writer = payloads.writer
    try writer.addDeflated("\(root)models/model.json", graph.utf8)
    // Sample inputs are optional, but their entry is not.
    try writer.add("\(root)data/sample_inputs/model.pt", [])
    for (name, content) in program.extraFiles.sorted(by: { $0.key < $1.key }) {
      try writer.add("\(root)extra/\(name)", content)
    }
    let marks = [
      ("archive_format", "pt2"), ("archive_version", "0"), (".data/version", "6\n"), ("byteorder", "little"),
    ]
    for (name, text) in marks { try writer.add(root + name, [UInt8](text.utf8)) }
    try writer.finish()
  }

  /// The folder of written archives: a fixed name, so that files do not differ by what they are called.
  static let root = "archive/"
}

/// Writes the tensors, each storage once, and the two files that describe them.
private struct PT2PayloadWriter {
  let path: String
  var writer: ZipWriter

  /// What makes two tensors one payload.
  private struct Identity: Hashable {
    let storage: ObjectIdentifier
    let byteOffset: Int
    let spec: TensorSpec
  }

  /// Parameters and persistent buffers are weights, the rest constants, as PyTorch divides them.
  mutating func add(_ program: ExportedProgram) throws(FormatError) {
    var weights: [(name: String, isParameter: Bool)] = []
    var constants: [(name: String, isParameter: Bool)] = []
    var listed: Set<String> = []
    for kind in program.inputKinds {
      guard let target = kind.target, listed.insert(target).inserted else { continue }
      switch kind {
      case .parameter: weights.append((target, true))
      case .buffer(_, isPersistent: true): weights.append((target, false))
      case .buffer, .constantTensor, .userInput: constants.append((target, false))
      }
    }
    weights += program.stateDict.keys.filter { !listed.contains($0) }.sorted().map { ($0, false) }
    try add(weights, of: program, folder: "data/weights/", prefix: "weight_", config: "model_weights_config.json")
    try add(constants, of: program, folder: "data/constants/", prefix: "tensor_", config: "model_constants_config.json")
  }

  private mutating func add(
    _ tensors: [(name: String, isParameter: Bool)], of program: ExportedProgram, folder: String, prefix: String,
    config: String
  ) throws(FormatError) {
    let folder = PT2Archive.root + folder
    var known: [Identity: String] = [:]
    var entries: [String: JSONText] = [:]
    for (name, isParameter) in tensors {
      guard let stored = program.stateDict[name] else {
        throw FormatError(path: path, place: "tensor '\(name)'", reason: "has no data")
      }
      let identity = Identity(
        storage: ObjectIdentifier(stored.storage), byteOffset: stored.byteOffset, spec: stored.spec)
      let tensor = stored.rowMajor()
      let payload = known[identity] ?? "\(prefix)\(known.count)"
      if known.updateValue(payload, forKey: identity) == nil {
        try tensor.withUnsafeBytes { bytes throws(FormatError) in try writer.add(folder + payload, chunks: [bytes]) }
      }
      entries[name] = .object([
        "path_name": .string(payload), "is_param": .bool(isParameter), "use_pickle": .bool(false),
        "tensor_meta": PT2GraphText.meta(tensor.spec, requiresGrad: isParameter && tensor.dataType.isFloatingPoint),
      ])
    }
    try writer.addDeflated(folder + config, JSONText.object(["config": .object(entries)]).utf8)
  }
}
