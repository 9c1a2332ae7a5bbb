import GraphIR
import Lowering
import Operators
import TensorCore
import TorchFormats

/// What became of a program that was written.
public struct PTEReport: Sendable {
  /// A kernel of ExecuTorch's portable library that the program calls, and why the delegate does not take its place.
  public struct Portable: Sendable {
    /// The node of the exported graph.
    public let node: String
    /// As ExecuTorch names it, `aten::native_layer_norm.out`.
    public let kernel: String
    /// Why the delegate does not run it.
    public let reason: String
  }

  /// Nodes in each delegate.
  public let delegates: [Int]
  /// The calls of portable kernels, in execution order.
  public let portable: [Portable]
  /// Bytes of the file.
  public let byteCount: Int
  /// Of those, bytes of constants.
  public let constantByteCount: Int
  /// Memory planned for the inputs and outputs of delegates and kernels, and the most of it alive at one time.
  public let arenaByteCount: Int
  /// The most bytes of them alive at one time: no arena is smaller.
  public let arenaLowerBound: Int
}

extension PTEArchive {
  /// Writes a float or Q/DQ graph as a program that ExecuTorch's runtime loads and runs: subgraphs for its XNNPACK
  /// backend, calls of its portable kernels for the rest. Files of the archive's `extra/` folder become named data.
  ///
  /// Sizes that vary are written as ExecuTorch's `DYNAMIC_BOUND`, with memory for the largest in range.
  ///
  /// The same program gives the same bytes. The target is replaced when the file is complete. Throws a `GraphError` for a
  /// graph that is not well formed, or that has a node which ExecuTorch has nothing for; a `FormatError` when the file
  /// cannot be written.
  @discardableResult
  public static func write(_ exported: ExportedProgram, to path: String) throws -> PTEReport {
    let (program, varying) = try EdgeRewriter.rewriteAll(fuse(exported), source: exported)
    var writer = PlanWriter(program, try Schedule(program, XNNSupport()), varying)
    try writer.run()
    return try writer.write(to: path)
  }
}

/// Where the bytes of a segment come from.
enum SegmentContent {
  case bytes([UInt8])
  case delegate(XNNGraphWriter.Blob)
  case tensor(Tensor)

  var byteCount: Int {
    switch self {
    case .bytes(let bytes): bytes.count
    case .delegate(let blob): blob.byteCount
    case .tensor(let tensor): tensor.spec.byteCount
    }
  }

  func write(to file: AtomicFile) throws(FormatError) {
    switch self {
    case .bytes(let bytes): try file.write(bytes)
    case .tensor(let tensor):
      try tensor.withUnsafeBytes { bytes throws(FormatError) in try file.write(bytes) }
    case .delegate(let blob):
      try file.write(blob.head)
      var position = 0
      for (tensor, offset) in blob.data {
        try file.write([UInt8](repeating: 0, count: offset - position))
        try tensor.withUnsafeBytes { bytes throws(FormatError) in try file.write(bytes) }
        position = offset + tensor.spec.byteCount
      }
      try file.write([UInt8](repeating: 0, count: blob.dataSize - position))
    }
  }
}

extension PlanWriter {
  /// Segments start at multiples of this, as the constants inside delegates do.
  private static let segmentAlignment = 16

  private static func aligned(_ offset: Int) -> Int {
    (offset + segmentAlignment - 1) / segmentAlignment * segmentAlignment
  }

  /// Lays out segment 0 (the portable kernels' constants), the delegates', and named data.
  func write(to path: String) throws -> PTEReport {
    var contents: [SegmentContent] = []
    var offsets = [0]
    var constantSize = 0
    for tensor in constants {
      offsets.append(constantSize)
      constantSize = PlanWriter.aligned(constantSize + tensor.spec.byteCount)
    }
    contents += blobs.map { .delegate($0) }
    let extra = program.extraFiles.sorted { $0.key < $1.key }
    contents += extra.map { .bytes($0.value) }

    var segments: [(offset: Int, size: Int)] = [(0, constantSize)]
    var end = constantSize
    for content in contents {
      let start = PlanWriter.aligned(end)
      segments.append((start, content.byteCount))
      end = start + content.byteCount
    }
    var flat = FlatBufferBuilder()
    let memory = planMemory()
    let plan = try self.plan(&flat, memory)
    let tables = segments.map { flat.table([.int(0, UInt64($0.offset)), .int(1, UInt64($0.size))]) }
    let named = extra.indices.map { index in
      let key = flat.string(extra[index].key)
      return flat.table([.reference(0, key), .int(1, UInt32(1 + blobs.count + index))])
    }
    let constantOffsets = flat.vector(offsets.map { UInt64($0) })
    let constantSegment = flat.table([.reference(1, constantOffsets)])
    let root = flat.table([
      .reference(1, flat.vector([plan])), .reference(4, flat.vector(tables)), .reference(5, constantSegment),
      .reference(7, named.isEmpty ? nil : flat.vector(named)),
    ])
    let buffer = flat.finish(root, identifier: PTEFile.identifier)
    let head = PTEFile.inserting(header: buffer, segmentSize: end, alignment: PlanWriter.segmentAlignment)

    let file = try AtomicFile(path)
    try file.write(head)
    let base = file.byteCount
    for (tensor, offset) in zip(constants, offsets.dropFirst()) {
      try file.write([UInt8](repeating: 0, count: base + offset - file.byteCount))
      try SegmentContent.tensor(tensor).write(to: file)
    }
    for (content, segment) in zip(contents, segments.dropFirst()) {
      try file.write([UInt8](repeating: 0, count: base + segment.offset - file.byteCount))
      try content.write(to: file)
    }
    // The last segment is as large as its table says, too.
    try file.write([UInt8](repeating: 0, count: base + end - file.byteCount))
    try file.commit()
    return PTEReport(
      delegates: delegates.map(\.count), portable: portable, byteCount: file.byteCount,
      constantByteCount: constants.reduce(0) { $0 + $1.spec.byteCount }
        + blobs.reduce(0) { $0 + $1.data.reduce(0) { $0 + $1.tensor.spec.byteCount } },
      arenaByteCount: memory.size, arenaLowerBound: memory.lowerBound)
  }
}

extension PTEFile {
  /// Puts the extended header behind the identifier of a finished FlatBuffer, and pads the whole.
  ///
  /// Nothing but the reference to the root table, at byte 0, crosses the place; it grows by the header's size, which is
  /// a multiple of every alignment.
  static func inserting(header buffer: [UInt8], segmentSize: Int, alignment: Int) -> [UInt8] {
    let size = buffer.count + headerSize
    let base = (size + alignment - 1) / alignment * alignment
    func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
      (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }
    let root = buffer[..<4].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) } + UInt64(headerSize)
    let header =
      [UInt8](headerMagic.utf8) + bytes(UInt64(headerSize), 4) + bytes(UInt64(size), 8)
      + bytes(segmentSize == 0 ? 0 : UInt64(base), 8) + bytes(UInt64(segmentSize), 8)
    let head = bytes(root, 4) + buffer[4..<8] + header + buffer[8...]
    return head + [UInt8](repeating: 0, count: base - size)
  }
}
