/// What a pickle of `torch.save` holds: plain values, containers, and descriptions of tensors, whose data lie elsewhere.
///
/// At most `Unpickler.depthLimit` containers inside each other, so that it can be walked and released by recursion. The
/// same container may appear in many places, though: a walk over all of them has to bound its own steps.
enum PickleValue: Hashable, Sendable {
  case none
  case bool(Bool)
  case int(Int)
  /// An integer beyond 64 bits: two's complement, little-endian.
  case long([UInt8])
  case float(Double)
  case string(String)
  case bytes([UInt8])
  case list([PickleValue])
  case tuple([PickleValue])
  case set([PickleValue])
  /// Keys in the order of their insertion, each once. Attributes of an `OrderedDict` (`_metadata`) are dropped.
  case dict([PickleEntry])
  indirect case tensor(PickleTensor)
  indirect case storage(PickleStorage)
  /// A `torch.dtype` by its name, `float32`.
  case dataType(String)
  /// A `torch.Size`.
  case size([Int])
  /// A `torch.device`, `cuda:0`.
  case device(String)
  /// One of the names that the unpickler knows, not called.
  case global(String)
}

struct PickleEntry: Hashable, Sendable {
  let key: PickleValue
  let value: PickleValue
}

/// The storage that a persistent id names.
struct PickleStorage: Hashable, Sendable {
  /// Which of the file's storages.
  let key: String
  /// The element type by PyTorch's name; nil for an untyped storage, whose elements are bytes.
  let dataType: String?
  /// Bytes of an element.
  let elementSize: Int
  /// Elements of the storage.
  let elementCount: Int
  /// The part that is meant, in elements, where the id names a view of the storage (PyTorch before 0.4).
  let view: Range<Int>?
}

/// A tensor as a strided view of a storage, all in elements. Nothing is checked yet against the data.
struct PickleTensor: Hashable, Sendable {
  let storage: PickleStorage
  /// By PyTorch's name, `float32`.
  let dataType: String
  let offset: Int
  let sizes: [Int]
  let strides: [Int]
}

extension PickleValue {
  /// The value as Python would print it, cut off after about `limit` characters.
  func text(limit: Int) -> String {
    var text = ""
    append(to: &text, limit)
    return text
  }

  private func append(to text: inout String, _ limit: Int) {
    guard text.utf8.count < limit else { return }
    switch self {
    case .none: text += "None"
    case .bool(let value): text += value ? "True" : "False"
    case .int(let value): text += "\(value)"
    case .long(let bytes): text += "an integer of \(bytes.count) bytes"
    case .float(let value): text += "\(value)"
    case .string(let value): text += "'\(value.prefix(limit))'"
    case .bytes(let bytes): text += "\(bytes.count) bytes"
    case .list(let items): PickleValue.append(items, "[", "]", to: &text, limit)
    case .tuple(let items): PickleValue.append(items, "(", items.count == 1 ? ",)" : ")", to: &text, limit)
    case .set(let items): PickleValue.append(items, "{", "}", to: &text, limit)
    case .dict(let entries):
      text += "{"
      for (index, entry) in entries.enumerated() {
        guard text.utf8.count < limit else { break }
        if index > 0 { text += ", " }
        entry.key.append(to: &text, limit)
        text += ": "
        entry.value.append(to: &text, limit)
      }
      text += "}"
    case .tensor(let tensor): text += "\(tensor.dataType)\(tensor.sizes.prefix(64))"
    case .storage(let storage): text += "a storage of \(storage.elementCount) elements"
    case .dataType(let name), .device(let name), .global(let name): text += name.prefix(limit)
    case .size(let sizes): text += "torch.Size(\(sizes.prefix(64)))"
    }
  }

  private static func append(
    _ items: [PickleValue], _ open: String, _ close: String, to text: inout String, _ limit: Int
  ) {
    text += open
    for (index, item) in items.enumerated() {
      guard text.utf8.count < limit else {
        text += "…"
        break
      }
      if index > 0 { text += ", " }
      item.append(to: &text, limit)
    }
    text += close
  }
}
