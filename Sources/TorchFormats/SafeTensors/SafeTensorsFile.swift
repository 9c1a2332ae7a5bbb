import Foundation
import GraphIR
import TensorCore

/// The safetensors format: the header's length (8 bytes, little-endian), the header (JSON: per tensor its dtype, shape and
/// place, and `__metadata__`), and the tensors' bytes without gaps.
enum SafeTensorsFile {
  /// The format's limit on a header, bytes.
  private static let headerLimit = 100_000_000
  private static let metadataKey = "__metadata__"

  /// The format's names, in the order in which tensors are laid out: wide elements first, as the reference
  /// implementation does, so that each is aligned.
  private static let dataTypes: [(name: String, type: DataType)] = [
    ("I64", .int64), ("F64", .float64), ("F32", .float32), ("I32", .int32), ("BF16", .bfloat16), ("F16", .float16),
    ("I16", .int16), ("I8", .int8), ("U8", .uint8), ("BOOL", .bool),
  ]

  /// Whether it may be one: nothing but the header's opening brace marks them.
  static func hasMagic(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let length = ByteReader(bytes: bytes).uint64(at: 0) else { return false }
    return length >= 2 && length <= headerLimit && bytes.count > 8 && bytes[8] == UInt8(ascii: "{")
  }

  // MARK: Reading

  private struct Field: Decodable {
    let dtype: String
    let shape: [Int]
    /// Begin and end, in bytes from the header's end.
    let offsets: [Int]

    private enum CodingKeys: String, CodingKey {
      case dtype, shape
      case offsets = "data_offsets"
    }
  }

  private struct Header: Decodable {
    var fields: [String: Field] = [:]
    var metadata: [String: String] = [:]

    private struct Key: CodingKey {
      let stringValue: String
      var intValue: Int? { nil }
      init(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: Key.self)
      for key in container.allKeys {
        if key.stringValue == metadataKey {
          metadata = try container.decode([String: String].self, forKey: key)
        } else {
          fields[key.stringValue] = try container.decode(Field.self, forKey: key)
        }
      }
    }
  }

  /// Tensors in the order of their data, as windows on it.
  ///
  /// Throws for a damaged header, unknown element types, data outside of the file, and data that overlap or leave gaps,
  /// which the format forbids.
  static func read(_ window: ZipArchive.Window, path: String) throws(FormatError) -> StateDict {
    let (header, start) = try window.withBytes { bytes throws(FormatError) in
      try readHeader(bytes, path: path)
    }
    var result = StateDict()
    result.metadata = header.metadata
    let fields = header.fields.sorted {
      let (a, b) = ($0.value.offsets, $1.value.offsets)
      return a == b ? $0.key < $1.key : a.lexicographicallyPrecedes(b)
    }
    var end = 0
    for (name, field) in fields {
      func error(_ reason: String) -> FormatError {
        FormatError(path: path, place: "tensor '\(name)'", reason: reason)
      }
      guard let type = dataTypes.first(where: { $0.name == field.dtype })?.type else {
        throw error("has dtype '\(field.dtype)', which is not supported")
      }
      guard field.shape.count <= 64, let shape = Shape(validating: field.shape) else {
        throw error("has impossible sizes \(field.shape.prefix(8))")
      }
      let spec = TensorSpec(type, shape)
      guard field.offsets.count == 2, field.offsets[0] == end else {
        throw error("its data_offsets \(field.offsets.prefix(4)) overlap others' or leave a gap: \(end) is next")
      }
      guard field.offsets[1].subtractingReportingOverflow(end) == (spec.byteCount, false),
        let data = window.slice(at: start + end, count: spec.byteCount)
      else {
        throw error("\(spec) does not fit its data_offsets \(field.offsets), or the file")
      }
      result[name] = Tensor(spec, storage: data.storage, byteOffset: data.byteOffset)
      end += spec.byteCount
    }
    guard start + end == window.byteCount else {
      throw FormatError(path: path, reason: "has \(window.byteCount - start) bytes of data; its tensors take \(end)")
    }
    return result
  }

  private static func readHeader(
    _ bytes: UnsafeRawBufferPointer, path: String
  ) throws(FormatError) -> (Header, dataStart: Int) {
    // JSON takes up to 25 times its size in memory; real headers are a small part of their files.
    let limit = min(headerLimit, (2 << 20) + bytes.count / 32)
    guard let length = ByteReader(bytes: bytes).uint64(at: 0), length <= limit,
      let text = ByteReader(bytes: bytes).slice(at: 8, count: length)
    else { throw FormatError(path: path, place: "header", reason: "is longer than the file") }
    guard text.first == UInt8(ascii: "{") else {
      throw FormatError(path: path, place: "header", reason: "does not begin with a brace")
    }
    do { return (try JSONDecoder().decode(Header.self, from: Data(text)), 8 + length) } catch {
      throw FormatError(path: path, place: "header", reason: FormatError.reason(decoding: error))
    }
  }

  // MARK: Writing

  /// Writes tensors by element type, widest first, then by name: the bytes that the reference implementation writes for
  /// the same tensors, with the metadata's keys sorted. Data begin at a multiple of 8 bytes.
  ///
  /// Throws for a tensor named `__metadata__`, and when the file cannot be written.
  static func write(_ dict: StateDict, to path: String, alignment: Int = 8) throws(FormatError) {
    guard dict[metadataKey] == nil else {
      throw FormatError(
        path: path, place: "tensor '\(metadataKey)'", reason: "has a name that the format reserves for metadata")
    }
    let groups = Dictionary(grouping: dict.entries) { $0.tensor.dataType }
    let entries = dataTypes.flatMap { dataType in
      (groups[dataType.type] ?? []).sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }
    let file = try AtomicFile(path)
    let header = header(entries.map { ($0.name, $0.tensor.spec) }, metadata: dict.metadata, alignment)
    try file.write((0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) })
    try file.write(header)
    for entry in entries {
      try entry.tensor.rowMajor().withUnsafeBytes { bytes throws(FormatError) in try file.write(bytes) }
    }
    try file.commit()
  }

  /// Padded with blanks, so that the data behind it starts at a multiple of `alignment`.
  private static func header(
    _ entries: [(name: String, spec: TensorSpec)], metadata: [String: String], _ alignment: Int
  ) -> [UInt8] {
    var items: [[UInt8]] = []
    if !metadata.isEmpty {
      items.append(item(metadataKey, JSONText.object(metadata.mapValues { .string($0) })))
    }
    var offset = 0
    for (name, spec) in entries {
      let type = dataTypes.first { $0.type == spec.dataType }?.name ?? ""
      let shape = JSONText.array(spec.shape.dimensions.map { .int($0) }).utf8
      let offsets = JSONText.array([.int(offset), .int(offset + spec.byteCount)]).utf8
      // The reference implementation's order of fields, where JSONText would sort them.
      let fields = #"{"dtype":"\#(type)","shape":"#.utf8 + shape + #","data_offsets":"#.utf8 + offsets + "}".utf8
      items.append(JSONText.string(name).utf8 + ":".utf8 + fields)
      offset += spec.byteCount
    }
    var bytes = Array("{".utf8) + items.joined(separator: ",".utf8) + "}".utf8
    bytes += [UInt8](repeating: 0x20, count: (alignment - (8 + bytes.count) % alignment) % alignment)
    return bytes
  }

  private static func item(_ key: String, _ value: JSONText) -> [UInt8] {
    JSONText.string(key).utf8 + ":".utf8 + value.utf8
  }
}
