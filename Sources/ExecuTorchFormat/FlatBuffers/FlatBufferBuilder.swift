/// Builds a FlatBuffer, children before parents.
///
/// A FlatBuffer is built from its end, so that every reference leads forwards. The bytes are kept in reverse, which makes
/// prepending an append; positions are distances from the buffer's end. The format:
/// https://flatbuffers.dev/internals
struct FlatBufferBuilder {
  /// An object that has been written, by its distance from the end.
  struct Reference { fileprivate let distance: Int }

  /// A field of a table. One that equals the schema's default is left out.
  struct Field {
    fileprivate enum Value {
      case scalar(bits: UInt64, size: Int)
      case reference(Reference)
    }
    fileprivate let number: Int
    fileprivate let value: Value?

    fileprivate var size: Int { if case .scalar(_, let size) = value { size } else { 4 } }
  }

  private var reversed: [UInt8] = []
  private var largestAlignment = 4
  /// Field lists already written: tables of one kind share theirs.
  private var vtables: [[UInt16]: Int] = [:]

  /// Appends zeros until `size` divides the position that is reached after `count` more bytes.
  private mutating func align(_ size: Int, before count: Int = 0) {
    largestAlignment = max(largestAlignment, size)
    while (reversed.count + count) % size != 0 { reversed.append(0) }
  }

  private mutating func push(_ bits: UInt64, size: Int) {
    for byte in (0..<size).reversed() { reversed.append(UInt8(truncatingIfNeeded: bits >> UInt64(8 * byte))) }
  }

  private mutating func push(_ reference: Reference) {
    push(UInt64(reversed.count + 4 - reference.distance), size: 4)
  }

  // MARK: Vectors

  mutating func string(_ text: String) -> Reference {
    let bytes = [UInt8](text.utf8)
    align(4, before: bytes.count + 1)
    reversed.append(0)
    reversed += bytes.reversed()
    push(UInt64(bytes.count), size: 4)
    return Reference(distance: reversed.count)
  }

  mutating func vector<T: FixedWidthInteger>(_ elements: [T]) -> Reference {
    let size = T.bitWidth / 8
    align(4, before: elements.count * size)
    align(size, before: elements.count * size)
    for element in elements.reversed() { push(UInt64(truncatingIfNeeded: element), size: size) }
    push(UInt64(elements.count), size: 4)
    return Reference(distance: reversed.count)
  }

  mutating func vector(_ elements: [Double]) -> Reference { vector(elements.map(\.bitPattern)) }

  mutating func vector(_ elements: [Reference]) -> Reference {
    align(4, before: elements.count * 4)
    for element in elements.reversed() { push(element) }
    push(UInt64(elements.count), size: 4)
    return Reference(distance: reversed.count)
  }

  // MARK: Tables

  mutating func table(_ fields: [Field]) -> Reference {
    let present = fields.filter { $0.value != nil }
    let start = reversed.count
    var places: [Int: Int] = [:]
    // Large ones first leaves the fewest gaps.
    for field in present.sorted(by: { ($0.size, $1.number) > ($1.size, $0.number) }) {
      align(field.size)
      switch field.value! {
      case .scalar(let bits, let size): push(bits, size: size)
      case .reference(let reference): push(reference)
      }
      places[field.number] = reversed.count
    }
    align(4)
    push(0, size: 4)
    let table = reversed.count
    let slots = (places.keys.max() ?? -1) + 1
    let vtable =
      [UInt16(4 + 2 * slots), UInt16(table - start)] + (0..<slots).map { UInt16(places[$0].map { table - $0 } ?? 0) }
    let distance: Int
    if let known = vtables[vtable] {
      distance = known
    } else {
      for entry in vtable.reversed() { push(UInt64(entry), size: 2) }
      distance = reversed.count
      vtables[vtable] = distance
    }
    let offset = UInt32(bitPattern: Int32(distance - table))
    for byte in 0..<4 { reversed[table - 1 - byte] = UInt8(truncatingIfNeeded: offset >> UInt32(8 * byte)) }
    return Reference(distance: table)
  }

  /// The whole buffer, with its identifier of four characters. Its length is a multiple of its largest alignment.
  mutating func finish(_ root: Reference, identifier: String) -> [UInt8] {
    align(largestAlignment, before: 8)
    reversed += identifier.utf8.reversed()
    push(root)
    return reversed.reversed()
  }
}

extension FlatBufferBuilder.Field {
  static func int<T: FixedWidthInteger>(_ number: Int, _ value: T, default other: T = 0) -> Self {
    Self(
      number: number,
      value: value == other ? nil : .scalar(bits: UInt64(truncatingIfNeeded: value), size: T.bitWidth / 8))
  }

  static func bool(_ number: Int, _ value: Bool) -> Self { .int(number, UInt8(value ? 1 : 0)) }

  static func float(_ number: Int, _ value: Float) -> Self { .int(number, value.bitPattern) }

  static func double(_ number: Int, _ value: Double) -> Self { .int(number, value.bitPattern) }

  static func reference(_ number: Int, _ value: FlatBufferBuilder.Reference?) -> Self {
    Self(number: number, value: value.map { .reference($0) })
  }
}
