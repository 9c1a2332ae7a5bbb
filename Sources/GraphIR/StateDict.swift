import TensorCore

/// Tensors by name, in the order of their file: what PyTorch calls a state dict.
public struct StateDict: Sendable {
  /// A value that is no tensor of the state dict: its place in the file and its text, shortened.
  public struct OtherValue: Hashable, Sendable, Codable {
    public let name: String
    public let text: String

    public init(name: String, text: String) {
      self.name = name
      self.text = text
    }
  }

  public private(set) var names: [String] = []
  private var tensors: [String: Tensor] = [:]
  /// Where in a checkpoint the tensors lie (`state_dict`); nil when they are all there is at the file's top.
  public package(set) var container: String?
  /// What else the file holds: an epoch, an optimizer's state.
  public package(set) var others: [OtherValue] = []
  /// The `__metadata__` of a safetensors file.
  public var metadata: [String: String] = [:]

  public init() {}

  /// Setting a name that is there keeps its place; setting nil removes it, in time proportional to the number of names.
  public subscript(name: String) -> Tensor? {
    get { tensors[name] }
    set {
      if tensors.updateOrRemove(newValue, name) == nil, newValue != nil { names.append(name) }
      if newValue == nil { names.removeAll { $0 == name } }
    }
  }

  public var count: Int { names.count }

  /// Names and tensors in order.
  public var entries: [(name: String, tensor: Tensor)] {
    names.compactMap { name in tensors[name].map { (name, $0) } }
  }

  public var byteCount: Int { tensors.values.reduce(0) { $0 + $1.spec.byteCount } }
}

extension Dictionary {
  /// Sets or removes a value; returns the one before.
  fileprivate mutating func updateOrRemove(_ value: Value?, _ key: Key) -> Value? {
    guard let value else { return removeValue(forKey: key) }
    return updateValue(value, forKey: key)
  }
}
