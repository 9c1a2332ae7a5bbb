import Swiftlet

/// Where a model's bytes are: by kind, adding up to the file, and by the layer that reads them.
struct FileSizes {
  private(set) var byKind: [ModelInspection.Size] = []
  /// Bytes of the tensors that each layer reads; a tensor that several read counts for the first.
  private(set) var byLayer: [String: Int] = [:]

  /// What a stored tensor is to the operators that read it.
  private enum Role {
    case weight, bias, scale, constant, unread
  }

  /// A tensor that the reader had to copy lies in the file with as many bytes.
  init(
    _ program: ExportedProgram, layers: LayerNames, path: String, fileBytes: Int, isArchive: Bool
  ) throws(FormatError) {
    let uses = TensorUses(program)
    var bytes: [String: Int] = [:]
    var seen: Set<Identity> = []
    // Tensors that are read before those that are not, so that shared bytes count for the readers.
    let order = program.inputKinds.compactMap(\.target) + program.stateDict.keys.sorted()
    var known: Set<String> = []
    for target in order {
      guard known.insert(target).inserted, let tensor = program.stateDict[target],
        seen.insert(Identity(tensor)).inserted
      else { continue }
      let use = uses.byTarget[target]
      bytes[FileSizes.kind(use.map { FileSizes.role($0, tensor) } ?? .unread, tensor), default: 0] +=
        tensor.spec.byteCount
      if let use { byLayer[layers.name(of: use.node), default: 0] += tensor.spec.byteCount }
    }
    let stored = bytes.values.reduce(0, +)
    byKind = bytes.map { .init(kind: $0.key, bytes: $0.value) }.sorted { ($1.bytes, $0.kind) < ($0.bytes, $1.kind) }
    let overhead =
      isArchive
      ? FileSizes.archiveOverhead(try ZipArchive(path: path), fileBytes: fileBytes, tensorBytes: stored)
      : [.init(kind: "program (FlatBuffers), alignment", bytes: fileBytes - stored)]
    byKind += overhead.filter { $0.bytes != 0 }
  }

  /// Bytes that several tensors may share.
  private struct Identity: Hashable {
    let storage: ObjectIdentifier
    let byteOffset: Int
    let byteCount: Int

    init(_ tensor: Tensor) {
      (storage, byteOffset) = (ObjectIdentifier(tensor.storage), tensor.byteOffset)
      byteCount = tensor.spec.byteCount
    }
  }

  private static func role(_ use: TensorUses.Use, _ tensor: Tensor) -> Role {
    if use.node.isQuantizeOrDequantize { return .scale }
    switch use.argument {
    case "weight": return .weight
    case "bias": return .bias
    default: return use.isParameter || tensor.dataType == .int8 ? .weight : .constant
    }
  }

  private static func kind(_ role: Role, _ tensor: Tensor) -> String {
    switch role {
    case .weight: "\(tensor.dataType.isFloatingPoint ? "float" : tensor.dataType.rawValue) weights"
    case .bias: "biases"
    case .scale: "scales and zero points"
    case .constant: "constants"
    case .unread: "tensors that no operator reads"
    }
  }

  /// What is not a tensor's bytes in an archive. A negative size says that tensors are stored once, or compressed.
  private static func archiveOverhead(
    _ archive: ZipArchive, fileBytes: Int, tensorBytes: Int
  ) -> [ModelInspection.Size] {
    var (payload, graph, other) = (0, 0, 0)
    for entry in archive.entries {
      let isTensorFolder = entry.name.contains("/data/weights/") || entry.name.contains("/data/constants/")
      if entry.name.hasSuffix(".json") && !entry.name.contains("/extra/") {
        graph += entry.compressedByteCount
      } else if isTensorFolder || entry.name.hasPrefix("serialized_") {
        payload += entry.compressedByteCount
      } else {
        other += entry.compressedByteCount
      }
    }
    return [
      .init(kind: "graph and tensor list (JSON)", bytes: graph),
      .init(kind: "other entries", bytes: other),
      .init(
        kind: payload < tensorBytes ? "tensors stored once, or compressed" : "tensors' own headers",
        bytes: payload - tensorBytes),
      .init(kind: "zip headers, alignment", bytes: fileBytes - payload - graph - other),
    ]
  }
}

/// Which operator reads each tensor of the state dict first, and as what; dequantize and
/// dequantize nodes and operators that only move elements are looked through.
struct TensorUses {
  struct Use {
    let node: Node
    /// The name of the argument.
    let argument: String
    let isParameter: Bool
  }

  private(set) var byTarget: [String: Use] = [:]

  init(_ program: ExportedProgram) {
    let (graph, users) = (program.graph, program.graph.users())
    func use(of id: ValueID, isParameter: Bool) -> Use? {
      var (id, found) = (id, Use?.none)
      while let index = users[id]?.first {
        let node = graph.nodes[index]
        guard let argument = node.arguments.first(where: { $0.operand.valueIDs.contains(id) })?.name else { break }
        found = Use(node: node, argument: argument, isParameter: isParameter)
        let isLookedThrough =
          (node.isQuantizeOrDequantize && argument == "input")
          || node.op.keepsQuanta
        guard isLookedThrough, let output = node.outputs.first else { break }
        id = output
      }
      return found
    }
    for (id, kind) in zip(graph.inputs, program.inputKinds) {
      guard let target = kind.target, byTarget[target] == nil else { continue }
      var isParameter = false
      if case .parameter = kind { isParameter = true }
      byTarget[target] = use(of: id, isParameter: isParameter)
    }
  }
}
