import TensorCore

/// The names that a pickle may use, those of `torch.load(weights_only=True)` for which there is a counterpart here, and
/// what calling them gives.
enum PickleGlobals {
  private enum Function {
    case orderedDict, counter, set, bytes, encode, size, device, layout
    case rebuildTensor, rebuildTensorV2, rebuildTensorV3, rebuildParameter
    /// A class that is named but not called.
    case type
  }

  private static let functions: [String: Function] = [
    "collections.OrderedDict": .orderedDict, "collections.Counter": .counter, "builtins.set": .set,
    "builtins.bytearray": .bytes, "_codecs.encode": .encode, "torch.Size": .size, "torch.device": .device,
    "torch.serialization._get_layout": .layout, "torch._utils._rebuild_tensor": .rebuildTensor,
    "torch._utils._rebuild_tensor_v2": .rebuildTensorV2, "torch._utils._rebuild_tensor_v3": .rebuildTensorV3,
    "torch._utils._rebuild_parameter": .rebuildParameter,
    "torch._utils._rebuild_parameter_with_state": .rebuildParameter,
    "torch.storage.UntypedStorage": .type, "torch.storage.TypedStorage": .type,
  ]

  /// Names that PyTorch accepts and this reader does not, and why.
  private static let unsupported: [String: String] = [
    "torch._utils._rebuild_qtensor": "quantized tensors of eager mode cannot be read",
    "torch._utils._rebuild_sparse_tensor": "sparse tensors cannot be read",
    "torch._utils._rebuild_meta_tensor_no_storage": "a meta tensor has no data",
    "torch._utils._rebuild_wrapper_subclass": "tensor subclasses cannot be read",
    "torch._tensor._rebuild_from_type_v2": "tensor subclasses, and tensors with attributes, cannot be read",
  ]

  /// PyTorch's typed storages: the element type and its bytes.
  private static let storages: [String: (dataType: String, size: Int)] = [
    "FloatStorage": ("float32", 4), "DoubleStorage": ("float64", 8), "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2), "LongStorage": ("int64", 8), "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2), "CharStorage": ("int8", 1), "ByteStorage": ("uint8", 1), "BoolStorage": ("bool", 1),
    "ComplexFloatStorage": ("complex64", 8), "ComplexDoubleStorage": ("complex128", 16), "QInt8Storage": ("qint8", 1),
    "QUInt8Storage": ("quint8", 1), "QInt32Storage": ("qint32", 4), "QUInt4x2Storage": ("quint4x2", 1),
    "QUInt2x4Storage": ("quint2x4", 1),
  ]

  /// `torch.dtype` objects beyond those of `DataType`. A tensor of such a type is refused when it is read.
  private static let foreignDataTypes: Set<String> = [
    "uint16", "uint32", "uint64", "complex32", "complex64", "complex128", "float8_e4m3fn", "float8_e4m3fnuz",
    "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2", "quint8", "qint8", "qint32", "quint4x2",
    "quint2x4",
  ]

  /// Python 2's names of modules.
  private static let renamed = ["__builtin__": "builtins", "copy_reg": "copyreg"]

  /// The value that a name stands for. Throws for every name that is not in the tables.
  static func value(module: String, name: String, _ reader: PickleReader) throws(PickleFailure) -> PickleValue {
    let path = "\(renamed[module] ?? module).\(name)"
    if functions[path] != nil || storageType(path) != nil { return .global(path) }
    if module == "torch", DataType(rawValue: name) != nil || foreignDataTypes.contains(name) { return .dataType(name) }
    if let reason = unsupported[path] { throw reader.failure("GLOBAL '\(path)' is not supported: \(reason)") }
    throw reader.failure(
      "GLOBAL '\(path.prefix(200))' is not allowed: only tensors, containers and plain values are read, and nothing is executed"
    )
  }

  /// What `torch.FloatStorage` and its kin hold.
  static func storageType(_ path: String) -> (dataType: String, size: Int)? {
    let parts = path.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.first == "torch", parts.count == 2 || (parts.count == 3 && parts[1] == "cuda") else { return nil }
    return parts.last.flatMap { storages[String($0)] }
  }

  fileprivate static func call(
    _ path: String, _ arguments: [Unpickler.Item], _ unpickler: inout Unpickler
  ) throws(PickleFailure) -> Unpickler.Item {
    switch functions[path] {
    case .orderedDict, .counter: return try unpickler.dictionary(arguments.first)
    case .set: return try unpickler.makeContainer(.set, unpickler.elements(arguments.first) ?? [])
    case .bytes, .encode: return .value(.bytes(try unpickler.bytes(arguments)))
    case .size:
      guard let sizes = unpickler.ints(arguments.first) else { break }
      try unpickler.spend(sizes.count)
      return .value(.size(sizes))
    case .device:
      guard case .value(.string(let kind))? = arguments.first else { break }
      guard arguments.count > 1, case .value(.int(let index)) = arguments[1] else { return .value(.device(kind)) }
      return .value(.device("\(kind.prefix(40)):\(index)"))
    case .layout:
      guard case .value(.string(let name))? = arguments.first else { break }
      return .value(.string(name))
    case .rebuildTensor: return try unpickler.tensor(arguments, count: 4)
    case .rebuildTensorV2: return try unpickler.tensor(arguments, count: 6)
    case .rebuildTensorV3: return try unpickler.tensor(arguments, count: 7)
    case .rebuildParameter:
      guard let data = arguments.first, case .value(.tensor) = data else { break }
      return data
    case .type, nil: throw unpickler.failure("a call of '\(path.prefix(200))' is not allowed")
    }
    throw unpickler.failure("the arguments of '\(path)' are damaged")
  }
}

extension Unpickler {
  /// What a call of an allowed name gives. Throws for a name that is no function, and for wrong arguments.
  mutating func result(of path: String, _ arguments: [Item]) throws(PickleFailure) -> Item {
    try PickleGlobals.call(path, arguments, &self)
  }

  /// The storage of `("storage", class, key, location, elements[, view])`, the only persistent ids of `torch.save`.
  func storage(_ id: Item) throws(PickleFailure) -> PickleStorage {
    guard let items = elements(id), case .value(.string(let kind))? = items.first else {
      throw failure("a persistent id is damaged")
    }
    guard kind == "storage" else {
      throw failure("persistent id '\(kind.prefix(40))' is not allowed; only storages may have one")
    }
    guard items.count >= 5, case .value(.global(let type)) = items[1], case .value(.int(let count)) = items[4],
      count >= 0
    else { throw failure("the persistent id of a storage is damaged") }
    let known = PickleGlobals.storageType(type)
    guard known != nil || type == "torch.storage.UntypedStorage" else {
      throw failure("'\(type)' is not a type of storage")
    }
    let key: String
    switch items[2] {
    case .value(.string(let text)): key = text
    case .value(.int(let number)): key = String(number)
    default: throw failure("the key of a storage is damaged")
    }
    return PickleStorage(
      key: key, dataType: known?.dataType, elementSize: known?.size ?? 1, elementCount: count,
      view: try view(items.dropFirst(5).first, of: count))
  }

  /// The part of `(key, offset, size)`; nil for None.
  private func view(_ item: Item?, of count: Int) throws(PickleFailure) -> Range<Int>? {
    guard let item else { return nil }
    if case .value(.none) = item { return nil }
    guard let items = elements(item), items.count == 3, case .value(.int(let offset)) = items[1],
      case .value(.int(let size)) = items[2], offset >= 0, size >= 0, offset <= count, size <= count - offset
    else { throw failure("the view of a storage is damaged") }
    return offset..<offset + size
  }

  /// `(storage, offset, sizes, strides[, requires_grad, hooks[, dtype][, metadata]])`, the first `count` of them required.
  fileprivate mutating func tensor(_ arguments: [Item], count: Int) throws(PickleFailure) -> Item {
    guard arguments.count >= count, case .value(.storage(let storage)) = arguments[0],
      case .value(.int(let offset)) = arguments[1], let sizes = ints(arguments[2]), let strides = ints(arguments[3])
    else { throw failure("the arguments of a tensor are damaged") }
    var dataType = storage.dataType
    if count == 7, case .value(.dataType(let name)) = arguments[6] { dataType = name }
    guard let dataType else { throw failure("a tensor has no element type") }
    if arguments.count > count, let metadata = elements(arguments[count]), !metadata.isEmpty {
      throw failure("a tensor is a conjugate or negated view, which cannot be read")
    }
    try spend(4 + sizes.count + strides.count)
    return .value(
      .tensor(
        PickleTensor(storage: storage, dataType: dataType, offset: offset, sizes: sizes, strides: strides)))
  }

  /// An ordered dict of nothing, of another one, or of a list of pairs.
  fileprivate mutating func dictionary(_ argument: Item?) throws(PickleFailure) -> Item {
    guard let argument else { return try makeContainer(.dict) }
    guard case .container(let index) = argument else {
      throw failure("a dictionary is made of something that is not a container")
    }
    if containers[index].kind == .dict { return try makeContainer(.dict, containers[index].items) }
    var items: [Item] = []
    for pair in containers[index].items {
      guard let pair = elements(pair), pair.count == 2 else {
        throw failure("a dictionary is made of something that is not pairs")
      }
      items += pair
    }
    return try makeContainer(.dict, items)
  }

  /// `bytearray(bytes)`, `bytearray(text, "latin-1")` and `_codecs.encode(text, "latin1")`: the bytes that Python 2's
  /// protocol cannot hold otherwise.
  fileprivate mutating func bytes(_ arguments: [Item]) throws(PickleFailure) -> [UInt8] {
    switch arguments.first {
    case nil: return []
    case .value(.bytes(let bytes)): return bytes
    case .value(.string(let text)):
      try spend(text.utf8.count / 64 + 1)
      var bytes: [UInt8] = []
      for scalar in text.unicodeScalars {
        guard let byte = UInt8(exactly: scalar.value) else { throw failure("text is not Latin-1") }
        bytes.append(byte)
      }
      return bytes
    default: throw failure("bytes are made of neither bytes nor text")
    }
  }

  /// The items of a container.
  fileprivate func elements(_ item: Item?) -> [Item]? {
    guard case .container(let index)? = item else { return nil }
    return containers[index].items
  }

  /// The integers of a list, a tuple or a `torch.Size`, at most 64: sizes and strides.
  fileprivate func ints(_ item: Item?) -> [Int]? {
    if case .value(.size(let sizes))? = item { return sizes }
    guard let items = elements(item), items.count <= 64 else { return nil }
    let values = items.compactMap { if case .value(.int(let value)) = $0 { value } else { nil } }
    return values.count == items.count ? values : nil
  }
}
