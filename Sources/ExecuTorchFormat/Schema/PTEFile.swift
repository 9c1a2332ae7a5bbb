import TensorCore
import TorchFormats

/// The parts of a `.pte`: the program's FlatBuffer, and the segments that follow it. Everything stays mapped.
///
/// Layout (ExecuTorch's "PTE file format"): a FlatBuffer with identifier `ET12`; from byte 8, where its header leaves
/// room, `eh00`, the length of this header, the FlatBuffer's size, the start of the segments and their size.
struct PTEFile {
  let path: String
  let storage: Storage
  let program: FlatTable
  /// Byte ranges of the file.
  let segments: [Range<Int>]
  /// Blobs by key, as byte ranges of the file.
  let namedData: [String: Range<Int>]
  /// Where each constant starts and where the segment that holds it ends; the first entry is not used.
  private let constants: [(start: Int, limit: Int)]
  private let inlineDelegates: [Range<Int>]

  static let identifier = "ET12"
  static let headerMagic = "eh00"
  static let headerOffset = 8
  static let headerSize = 32

  init(path: String) throws(FormatError) {
    do { storage = try Storage(mapping: path) } catch { throw FormatError(error) }
    self.path = path
    let bytes = storage.bytes
    let whole = FlatBuffer(bytes, path: path, name: "program")
    _ = try whole.root(identifiers: [PTEFile.identifier])
    var (programSize, base) = (bytes.count, bytes.count)
    if bytes.count >= PTEFile.headerOffset + PTEFile.headerSize,
      String(decoding: bytes[8..<12], as: UTF8.self) == PTEFile.headerMagic
    {
      programSize = Int(clamping: try whole.load(UInt64.self, at: 16))
      base = Int(clamping: try whole.load(UInt64.self, at: 24))
      if base == 0 { base = bytes.count }
    }
    guard programSize <= bytes.count, base <= bytes.count else {
      throw FormatError(
        path: path, place: "header",
        reason:
          "says that the program takes \(programSize) bytes and segments start at \(base); the file has \(bytes.count)")
    }
    let buffer = FlatBuffer(
      UnsafeRawBufferPointer(rebasing: bytes[..<programSize]), path: path, name: "program")
    program = try buffer.root(identifiers: [PTEFile.identifier])
    let version = try program.uint(0)
    guard version == 0 else { throw buffer.error("has version \(version); version 0 can be read") }
    segments = try PTEFile.segments(program, base: base, limit: bytes.count)
    namedData = try PTEFile.namedData(program, segments)
    constants = try PTEFile.constants(program, segments)
    var inline: [Range<Int>] = []
    for entry in try program.tables(3) { inline.append(try entry.byteRange(0)) }
    inlineDelegates = inline
  }

  private static func segments(_ program: FlatTable, base: Int, limit: Int) throws(FormatError) -> [Range<Int>] {
    var result: [Range<Int>] = []
    for entry in try program.tables(4) {
      let (offset, size) = (try entry.length(0), try entry.length(1))
      guard offset <= limit - base, size <= limit - base - offset else {
        throw program.buffer.error("segment \(result.count) (\(size) bytes at \(offset)) reaches outside the file")
      }
      result.append(base + offset..<base + offset + size)
    }
    return result
  }

  private static func namedData(
    _ program: FlatTable, _ segments: [Range<Int>]
  ) throws(FormatError) -> [String: Range<Int>] {
    var result: [String: Range<Int>] = [:]
    for entry in try program.tables(7) {
      let (key, index) = (try entry.string(0), try entry.uint(1))
      guard segments.indices.contains(index) else {
        throw program.buffer.error("the data '\(key)' lie in segment \(index) of \(segments.count)")
      }
      result[key] = segments[index]
    }
    return result
  }

  private static func constants(
    _ program: FlatTable, _ segments: [Range<Int>]
  ) throws(FormatError) -> [(start: Int, limit: Int)] {
    var result: [(Int, Int)] = []
    for entry in try program.tables(2) {
      let range = try entry.byteRange(0)
      result.append((range.lowerBound, range.upperBound))
    }
    if let table = try program.table(5) {
      let (index, offsets) = (try table.uint(0), try table.integers(1, as: UInt64.self))
      for offset in offsets {
        guard segments.indices.contains(index), offset <= segments[index].count else {
          throw program.buffer.error("constant \(result.count) lies outside segment \(index)")
        }
        result.append((segments[index].lowerBound + Int(offset), segments[index].upperBound))
      }
    }
    return result
  }

  /// A constant as a window on the file. Throws when it does not fit.
  func constant(_ index: Int, _ spec: TensorSpec) throws(FormatError) -> Tensor {
    guard constants.indices.contains(index), spec.byteCount <= constants[index].limit - constants[index].start else {
      throw FormatError(path: path, place: "constant \(index)", reason: "\(spec) reaches outside its segment")
    }
    return Tensor(spec, storage: storage, byteOffset: constants[index].start)
  }

  /// The bytes that a backend made of its subgraph, as a range of the file.
  func processed(_ delegate: ExecutionPlan.Delegate) throws(FormatError) -> Range<Int> {
    let places = delegate.isInline ? inlineDelegates : segments
    guard places.indices.contains(delegate.index) else {
      throw FormatError(
        path: path, place: "delegate '\(delegate.id)'", reason: "has no data at \(delegate.index) of \(places.count)")
    }
    return places[delegate.index]
  }

  /// The method of that name. Throws a `FormatError` that lists those there are.
  func method(_ name: String?) throws(FormatError) -> ExecutionPlan {
    let plans = try program.tables(1)
    var names: [String] = []
    for plan in plans { names.append(try plan.string(0)) }
    let wanted = name ?? (names.contains("forward") ? "forward" : names.first ?? "forward")
    guard let index = names.firstIndex(of: wanted) else {
      throw FormatError(path: path, reason: "has no method '\(wanted)'; it has \(names)")
    }
    return try ExecutionPlan(plans[index])
  }
}
