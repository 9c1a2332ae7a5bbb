import GraphIR
import TensorCore

extension StateDict {
  /// Keys under which training scripts save a model's state dict beside other things, most specific first.
  private static let containers = ["state_dict", "model_state_dict", "model", "net", "network", "weights", "params"]

  /// The tensors of a checkpoint, and its other values. Throws as `TorchFile.tensor` does, and when `key` is not there.
  init(_ file: TorchFile, key: String?) throws(FormatError) {
    self.init()
    if let key {
      guard file.value.value(at: key) != nil else {
        throw FormatError(path: file.path, reason: "has no '\(key)': it holds \(file.value.text(limit: 200))")
      }
      container = key
    } else if !file.value.holdsTensors {
      container = StateDict.containers.first { file.value.value(at: $0)?.holdsTensors == true }
    }
    var walk = CheckpointWalk(file, container: container)
    if let container, let chosen = file.value.value(at: container) { try walk.visit(chosen, "", isState: true) }
    try walk.visit(file.value, "", isState: container == nil)
    self.others = walk.others
    for (name, tensor) in walk.tensors {
      guard self[name] == nil else {
        throw FormatError(path: file.path, place: "tensor '\(name)'", reason: "occurs twice")
      }
      self[name] = tensor
    }
  }
}

/// Flattens nested containers. A pickle can refer to one container from many places, so that a walk may be exponentially
/// longer than the file: steps and the bytes of names are bounded.
private struct CheckpointWalk {
  private(set) var tensors: [(String, Tensor)] = []
  private(set) var others: [StateDict.OtherValue] = []
  private var file: TorchFile
  private let container: String?
  private var steps = 0
  private var nameBytes = 0

  private static let stepLimit = 1 << 20
  private static let nameByteLimit = 16 << 20

  init(_ file: TorchFile, container: String?) {
    self.file = file
    self.container = container
  }

  /// Recursion is bounded by `Unpickler.depthLimit`. Outside of the state dict, tensors are only listed.
  mutating func visit(_ value: PickleValue, _ name: String, isState: Bool) throws(FormatError) {
    steps += 1
    nameBytes += name.utf8.count
    guard steps <= CheckpointWalk.stepLimit, nameBytes <= CheckpointWalk.nameByteLimit else {
      throw FormatError(path: file.path, reason: "its containers refer to each other too often")
    }
    if !isState, name == container, !name.isEmpty { return }
    switch value {
    case .tensor(let tensor) where isState:
      let name = name.isEmpty ? "tensor" : name
      tensors.append((name, try file.tensor(tensor, name: name)))
    case .dict(let entries) where !entries.isEmpty:
      for entry in entries { try visit(entry.value, join(name, entry.key.name), isState: isState) }
    case .list(let items), .tuple(let items):
      guard items.contains(where: \.isNested) else { fallthrough }
      for (index, item) in items.enumerated() { try visit(item, join(name, String(index)), isState: isState) }
    default: others.append(StateDict.OtherValue(name: name, text: value.text(limit: 160)))
    }
  }

  private func join(_ outer: String, _ inner: String) -> String { outer.isEmpty ? inner : "\(outer).\(inner)" }
}

extension PickleValue {
  /// Whether it is a dictionary that has a tensor as a direct value.
  fileprivate var holdsTensors: Bool {
    guard case .dict(let entries) = self else { return false }
    return entries.contains { if case .tensor = $0.value { true } else { false } }
  }

  /// Whether a list with such an item is worth a line for each item.
  fileprivate var isNested: Bool {
    switch self {
    case .tensor, .dict, .list, .tuple: true
    default: false
    }
  }

  /// As a part of a tensor's name.
  fileprivate var name: String { if case .string(let text) = self { text } else { text(limit: 64) } }

  /// The value under a key, or under keys joined by dots.
  fileprivate func value(at key: String) -> PickleValue? {
    var parts = key.split(separator: ".", omittingEmptySubsequences: false)[...]
    var value = self
    while !parts.isEmpty {
      guard case .dict(let entries) = value else { return nil }
      // A key may hold dots itself: the longest one counts.
      let length = (1...parts.count).last { count in
        let candidate = parts.prefix(count).joined(separator: ".")
        return entries.contains { $0.key.name == candidate }
      }
      guard let length else { return nil }
      let found = parts.prefix(length).joined(separator: ".")
      value = entries.first { $0.key.name == found }?.value ?? .none
      parts = parts.dropFirst(length)
    }
    return value
  }
}
