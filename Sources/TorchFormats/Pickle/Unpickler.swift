/// Decodes pickles as far as `torch.save` uses them, protocols 0 to 5. It builds values and executes nothing: a name that
/// is not in `PickleGlobals` is refused, and those that are there have no effect but the value they describe.
///
/// Containers are kept in a flat list and refer to each other by index until the end, so that neither depth nor cycles in
/// a file drive recursion here. Stack, memo and containers together hold at most `valueLimit` values.
struct Unpickler {
  /// The most containers inside each other.
  static let depthLimit = 100

  enum Item {
    /// Anything but a container.
    case value(PickleValue)
    case container(Int)
  }

  struct Container {
    enum Kind { case list, tuple, set, dict }
    let kind: Kind
    /// A dict's keys and values alternate.
    var items: [Item]
    /// Set once the container is converted.
    var value: PickleValue?
    var isOpen = false
  }

  private var reader: PickleReader
  private var stack: [Item] = []
  private var marks: [Int] = []
  private var memo: [Int: Item] = [:]
  var containers: [Container] = []
  private var storages: [String: PickleStorage] = [:]
  private var valuesLeft: Int
  private let valueLimit: Int

  /// How many values a file may make, each of which may take 128 bytes: with the file itself, its size and 32 MiB.
  static func valueLimit(fileByteCount: Int) -> Int { ((32 << 20) + fileByteCount / 4) / 128 }

  struct Result {
    let value: PickleValue
    /// Where the pickle ends.
    let end: Int
    /// The storages it names, by key, also those that no value uses.
    let storages: [String: PickleStorage]
  }

  /// Decodes the pickle that begins at `offset` of a file, or of an `entry` of an archive.
  ///
  /// Throws for damage, names that are not allowed, and values without counterpart; names the offset.
  static func decode(
    _ bytes: UnsafeRawBufferPointer, at offset: Int = 0, valueLimit: Int, path: String, entry: String = ""
  ) throws(FormatError) -> Result {
    var unpickler = Unpickler(reader: PickleReader(bytes, at: offset), valuesLeft: valueLimit, valueLimit: valueLimit)
    do throws(PickleFailure) {
      let value = try unpickler.run()
      return Result(value: value, end: unpickler.reader.position, storages: unpickler.storages)
    } catch {
      let place = entry.isEmpty ? "" : "entry '\(entry)', "
      throw FormatError(path: path, place: "\(place)offset \(error.offset)", reason: error.reason)
    }
  }

  private init(reader: PickleReader, valuesLeft: Int, valueLimit: Int) {
    self.reader = reader
    self.valuesLeft = valuesLeft
    self.valueLimit = valueLimit
  }

  private mutating func run() throws(PickleFailure) -> PickleValue {
    while true {
      let start = reader.position
      let code = try reader.uint8()
      guard let opcode = PickleOpcode(rawValue: UInt8(truncatingIfNeeded: code)) else {
        throw PickleFailure(offset: start, reason: "0x\(String(code, radix: 16)) is not a pickle opcode")
      }
      if opcode == .stop { break }
      if let value = try leaf(opcode) { try push(.value(value)) } else { try step(opcode) }
    }
    let item = try pop()
    guard stack.isEmpty, marks.isEmpty else { throw failure("it ends with values left on the stack") }
    return try tree(item)
  }

  func failure(_ reason: String) -> PickleFailure { reader.failure(reason) }

  // MARK: The stack

  private mutating func push(_ item: Item) throws(PickleFailure) {
    guard stack.count < valueLimit else { throw tooMany }
    stack.append(item)
  }

  private mutating func pop() throws(PickleFailure) -> Item {
    guard stack.count > marks.last ?? 0, let item = stack.popLast() else {
      throw failure("takes a value from an empty stack")
    }
    return item
  }

  private func top() throws(PickleFailure) -> Item {
    guard stack.count > marks.last ?? 0, let item = stack.last else {
      throw failure("takes a value from an empty stack")
    }
    return item
  }

  /// What lies above the last mark, which goes with it.
  private mutating func popToMark() throws(PickleFailure) -> [Item] {
    guard let mark = marks.popLast() else { throw failure("closes a group that was not opened") }
    let items = [Item](stack[mark...])
    stack.removeSubrange(mark...)
    return items
  }

  /// Counts values that stay.
  mutating func spend(_ count: Int) throws(PickleFailure) {
    guard count <= valuesLeft else { throw tooMany }
    valuesLeft -= count
  }

  private var tooMany: PickleFailure { failure("makes more than \(valueLimit) values, out of proportion to the file") }

  mutating func makeContainer(_ kind: Container.Kind, _ items: [Item] = []) throws(PickleFailure) -> Item {
    guard kind != .dict || items.count.isMultiple(of: 2) else { throw failure("a key has no value") }
    try spend(items.count + 1)
    containers.append(Container(kind: kind, items: items))
    return .container(containers.count - 1)
  }

  private mutating func add(_ items: [Item], to kind: Container.Kind) throws(PickleFailure) {
    guard case .container(let index) = try top(), containers[index].kind == kind else {
      throw failure("adds to something that is not a \(kind)")
    }
    guard kind != .dict || items.count.isMultiple(of: 2) else { throw failure("a key has no value") }
    try spend(items.count)
    containers[index].items += items
  }

  // MARK: Opcodes

  /// The value that an opcode pushes; nil for those that do more.
  private mutating func leaf(_ opcode: PickleOpcode) throws(PickleFailure) -> PickleValue? {
    switch opcode {
    case .none: return PickleValue.none
    case .newtrue: return .bool(true)
    case .newfalse: return .bool(false)
    case .int, .long: return try reader.decimal()
    case .binint: return .int(try reader.int32())
    case .binint1: return .int(try reader.uint8())
    case .binint2: return .int(try reader.uint16())
    case .long1: return try reader.long(reader.uint8())
    case .long4: return try reader.long(reader.uint32())
    case .float:
      let text = try reader.line()
      guard let value = Double(text) else { throw failure("'\(text.prefix(40))' is not a number") }
      return .float(value)
    case .binfloat: return .float(try reader.double())
    case .unicode: return .string(try reader.rawUnicodeEscape())
    case .shortBinunicode: return .string(try reader.utf8(reader.uint8()))
    case .binunicode: return .string(try reader.utf8(reader.uint32()))
    case .binunicode8: return .string(try reader.utf8(reader.uint64()))
    case .shortBinstring: return try reader.byteString(reader.uint8())
    case .binstring: return try reader.byteString(reader.uint32())
    case .shortBinbytes: return .bytes([UInt8](try reader.slice(reader.uint8())))
    case .binbytes: return .bytes([UInt8](try reader.slice(reader.uint32())))
    case .binbytes8, .bytearray8: return .bytes([UInt8](try reader.slice(reader.uint64())))
    case .global: return try PickleGlobals.value(module: reader.line(), name: reader.line(), reader)
    default: return nil
    }
  }

  private mutating func step(_ opcode: PickleOpcode) throws(PickleFailure) {
    switch opcode {
    case .proto:
      let version = try reader.uint8()
      guard version <= 5 else { throw failure("has protocol \(version); 0 to 5 can be read") }
    case .frame: _ = try reader.uint64()
    case .mark:
      guard marks.count < valueLimit else { throw tooMany }
      marks.append(stack.count)
    case .pop: if stack.count == marks.last { marks.removeLast() } else { _ = try pop() }
    case .popMark: _ = try popToMark()
    case .dup: try push(top())
    case .emptyTuple: try push(makeContainer(.tuple))
    case .emptyList: try push(makeContainer(.list))
    case .emptyDict: try push(makeContainer(.dict))
    case .emptySet: try push(makeContainer(.set))
    case .tuple: try pushGroup(.tuple)
    case .list: try pushGroup(.list)
    case .dict: try pushGroup(.dict)
    case .frozenset: try pushGroup(.set)
    case .tuple1: try pushTuple(1)
    case .tuple2: try pushTuple(2)
    case .tuple3: try pushTuple(3)
    case .append: try add([pop()], to: .list)
    case .appends: try add(popToMark(), to: .list)
    case .additems: try add(popToMark(), to: .set)
    case .setitems: try add(popToMark(), to: .dict)
    case .setitem:
      let value = try pop()
      try add([pop(), value], to: .dict)
    case .binget, .longBinget, .get, .binput, .longBinput, .put, .memoize: try useMemo(opcode)
    case .stackGlobal, .reduce, .newobj, .build, .binpersid: try call(opcode)
    case .inst: _ = try PickleGlobals.value(module: reader.line(), name: reader.line(), reader)
    default: throw failure("opcode \(String(describing: opcode).uppercased()) is not allowed")
    }
    if opcode == .inst { throw failure("opcode INST is not allowed") }
  }

  private mutating func pushGroup(_ kind: Container.Kind) throws(PickleFailure) {
    let items = try popToMark()
    try push(makeContainer(kind, items))
  }

  private mutating func pushTuple(_ count: Int) throws(PickleFailure) {
    var items: [Item] = []
    for _ in 0..<count { items.append(try pop()) }
    try push(makeContainer(.tuple, items.reversed()))
  }

  private mutating func useMemo(_ opcode: PickleOpcode) throws(PickleFailure) {
    let index: Int
    switch opcode {
    case .binget, .binput: index = try reader.uint8()
    case .longBinget, .longBinput: index = try reader.uint32()
    case .memoize: index = memo.count
    default:
      guard case .int(let value) = try reader.decimal() else { throw failure("a memo index is not a number") }
      index = value
    }
    if opcode == .binget || opcode == .longBinget || opcode == .get {
      guard let item = memo[index] else { throw failure("memo entry \(index) does not exist") }
      try push(item)
    } else if try memo.updateValue(top(), forKey: index) == nil {
      try spend(1)
    }
  }

  /// The opcodes that Python would run code for.
  private mutating func call(_ opcode: PickleOpcode) throws(PickleFailure) {
    let argument = try pop()
    switch opcode {
    case .binpersid:
      let storage = try storage(argument)
      try spend(1)
      storages[storage.key] = storage
      try push(.value(.storage(storage)))
    case .build:
      // Attributes of an OrderedDict or a parameter: versions of modules, hooks. They are no part of the value.
      switch try top() {
      case .container(let index) where containers[index].kind == .dict: return
      case .value(.tensor): return
      default: throw failure("BUILD is allowed for dictionaries and tensors only")
      }
    case .stackGlobal:
      guard case .value(.string(let name)) = argument, case .value(.string(let module)) = try pop() else {
        throw failure("STACK_GLOBAL does not follow two names")
      }
      try push(.value(PickleGlobals.value(module: module, name: name, reader)))
    default:
      let function = try pop()
      guard case .container(let index) = argument, containers[index].kind == .tuple else {
        throw failure("a call without a tuple of arguments")
      }
      guard case .value(.global(let name)) = function else {
        throw failure("calls something that is not a function")
      }
      try push(result(of: name, containers[index].items))
    }
  }

  // MARK: The result

  /// The final value of an item. Each container is converted once, however often it is referred to.
  private mutating func tree(_ item: Item, depth: Int = 0) throws(PickleFailure) -> PickleValue {
    guard case .container(let index) = item else {
      guard case .value(let value) = item else { return .none }
      return value
    }
    if let value = containers[index].value { return value }
    guard !containers[index].isOpen else { throw failure("a container holds itself") }
    guard depth < Unpickler.depthLimit else {
      throw failure("has more than \(Unpickler.depthLimit) containers inside each other")
    }
    containers[index].isOpen = true
    var values: [PickleValue] = []
    values.reserveCapacity(containers[index].items.count)
    for child in containers[index].items { values.append(try tree(child, depth: depth + 1)) }
    containers[index].items = []
    let value: PickleValue
    switch containers[index].kind {
    case .list: value = .list(values)
    case .tuple: value = .tuple(values)
    case .set: value = .set(values)
    case .dict: value = .dict(Unpickler.entries(values))
    }
    containers[index].value = value
    return value
  }

  /// A key that is set again keeps its place and takes the new value. Only keys of one word are looked up: others
  /// (tuples) are compared by nobody here.
  private static func entries(_ values: [PickleValue]) -> [PickleEntry] {
    var entries: [PickleEntry] = []
    var known: [PickleValue: Int] = [:]
    for index in stride(from: 0, to: values.count - 1, by: 2) {
      let entry = PickleEntry(key: values[index], value: values[index + 1])
      switch entry.key {
      case .string, .int, .bool:
        if let place = known.updateValue(entries.count, forKey: entry.key) {
          known[entry.key] = place
          entries[place] = entry
          continue
        }
      default: break
      }
      entries.append(entry)
    }
    return entries
  }
}
