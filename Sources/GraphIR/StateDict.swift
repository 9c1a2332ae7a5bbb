import TensorCore

/// Tensors by name, in the order of their file: what PyTorch calls a state dict.
public struct StateDict: Sendable {
  /// A value that is no tensor of the state dict: its place in the file and its text, shortened.
  public struct OtherValue: Hashable, Sendable, Codable {
    /// Where it lies in the checkpoint.
    public let name: String
    /// The value in words.
    public let text: String

    package init(name: String, text: String) {
      self.name = name
      self.text = text
    }
  }

  /// The tensors' names, in the order of the file.
  public private(set) var names: [String] = []
  private var tensors: [String: Tensor] = [:]
  /// Where in a checkpoint the tensors lie (`state_dict`); nil when they are all there is at the file's top.
  package var container: String?
  /// What else the file holds: an epoch, an optimizer's state.
  package var others: [OtherValue] = []
  /// The `__metadata__` of a safetensors file.
  public var metadata: [String: String] = [:]

  /// A state dict without tensors.
  public init() {}

  /// Setting a name that is there keeps its place; setting nil removes it, in time proportional to the number of names.
  public subscript(name: String) -> Tensor? {
    get { tensors[name] }
    set {
      if tensors.updateOrRemove(newValue, name) == nil, newValue != nil { names.append(name) }
      if newValue == nil { names.removeAll { $0 == name } }
    }
  }

  /// How many tensors there are.
  public var count: Int { names.count }

  /// Names and tensors in order.
  public var entries: [(name: String, tensor: Tensor)] {
    names.compactMap { name in tensors[name].map { (name, $0) } }
  }

  /// Bytes of all elements.
  public var byteCount: Int { tensors.values.reduce(0) { $0 + $1.spec.byteCount } }
}

extension Dictionary {
  /// Sets or removes a value; returns the one before.
  fileprivate mutating func updateOrRemove(_ value: Value?, _ key: Key) -> Value? {
    guard let value else { return removeValue(forKey: key) }
    return updateValue(value, forKey: key)
  }
}
