import GraphIR
import TensorCore

/// A model, or a part of one, that `export` captures: what PyTorch calls `nn.Module`.
///
/// ```swift
/// final class Net: Module {
///   let conv = Conv2d(3, 16, kernelSize: 3, padding: 1)
///   let relu = ReLU()
///   let fc = Linear(16, 10)
///
///   override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
///     let x = try relu(conv(input))
///     return try fc(x.mean(dim: [2, 3]))
///   }
/// }
/// ```
///
/// Stored properties that are a `Module`, a `Parameter` or a `Buffer`, or optionals, arrays and dictionaries of them, belong to
/// the state dict under their names in snake case (`inProjWeight` is `in_proj_weight`, the modules of an array `blocks` are
/// `blocks.0`, …), in the order of their declaration; nil ones do not, and neither does a lazy property that was never read.
/// `forward` runs on symbolic tensors: it computes nothing, and says which operators are called.
open class Module {
  /// Whether the module behaves as in training. A new one does not, unlike PyTorch's: nothing is trained here.
  public private(set) final var isTraining = false

  /// A module in evaluation mode.
  public init() {}

  /// What the module is called in a graph's module stack, for `XNNPACKQuantizer.setModuleType`. Layers have PyTorch's name
  /// of their class (`torch.nn.modules.conv.Conv2d`), others the name of their Swift type.
  open class var typeName: String { torchName ?? String(reflecting: self) }

  /// The key of a stored property in the state dict.
  open class func key(forProperty name: String) -> String { name.snakeCased }

  /// The computation for one tensor. To override; the module itself is called as a function: `try block(x)`.
  open func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    throw input.tracer.error("\(type(of: self)) does not override forward(_:) for one tensor")
  }

  /// The computation for several tensors. To override where there is not one input and one output.
  open func forward(_ inputs: [SymbolicTensor]) throws(ExportError) -> [SymbolicTensor] {
    guard inputs.count == 1 else {
      throw inputs[0].tracer.error("\(type(of: self)) does not override forward(_:) for \(inputs.count) tensors")
    }
    return [try forward(inputs[0])]
  }

  /// Runs `forward` inside the module's place in the module stack.
  public final func callAsFunction(
    _ input: SymbolicTensor, fileID: StaticString = #fileID, line: UInt = #line
  ) throws(ExportError) -> SymbolicTensor {
    try input.tracer.within(self, at: "\(fileID):\(line)") { () throws(ExportError) in try self.forward(input) }
  }

  /// Runs `forward` inside the module's place in the module stack.
  public final func callAsFunction(
    _ inputs: [SymbolicTensor], fileID: StaticString = #fileID, line: UInt = #line
  ) throws(ExportError) -> [SymbolicTensor] {
    guard let tracer = inputs.first?.tracer else { return [] }
    return try tracer.within(self, at: "\(fileID):\(line)") { () throws(ExportError) in try self.forward(inputs) }
  }

  // MARK: What it is made of

  /// Parameters and buffers of the module itself, by key.
  open func ownTensors() -> [(key: String, tensor: ModuleTensor)] {
    properties().compactMap { key, value in
      if let parameter = value as? Parameter { return (key, .parameter(parameter)) }
      return (value as? Buffer).map { (key, .buffer($0)) }
    }
  }

  /// Modules inside this one, by key.
  open func children() -> [(key: String, module: Module)] {
    properties().compactMap { key, value in (value as? Module).map { (key, $0) } }
  }

  /// The modules, parameters and buffers that stored properties hold, those of superclasses first.
  private func properties() -> [(key: String, value: AnyObject)] {
    var mirrors: [Mirror] = []
    var mirror: Mirror? = Mirror(reflecting: self)
    while let current = mirror, current.subjectType != Module.self {
      mirrors.append(current)
      mirror = current.superclassMirror
    }
    return mirrors.reversed().flatMap(\.children).flatMap { child -> [(key: String, value: AnyObject)] in
      guard let label = child.label else { return [] }
      let lazyPrefix = "$__lazy_storage_$_"
      let name = label.hasPrefix(lazyPrefix) ? String(label.dropFirst(lazyPrefix.count)) : label
      return Module.parts(of: child.value, type(of: self).key(forProperty: name))
    }
  }

  /// What a property holds that belongs to the state dict: also in optionals, arrays and dictionaries of any depth.
  private static func parts(of value: Any, _ key: String) -> [(key: String, value: AnyObject)] {
    if let module = value as? Module { return [(key, module)] }
    if let parameter = value as? Parameter { return [(key, parameter)] }
    if let buffer = value as? Buffer { return [(key, buffer)] }
    let mirror = Mirror(reflecting: value)
    switch mirror.displayStyle {
    case .optional: return mirror.children.first.map { parts(of: $0.value, key) } ?? []
    case .collection:
      // An array of numbers has no parts, and may be long.
      guard mirror.children.first.map({ isContainer($0.value) }) == true else { return [] }
      return mirror.children.enumerated().flatMap { parts(of: $0.element.value, "\(key).\($0.offset)") }
    case .dictionary:
      let entries = mirror.children.compactMap { entry -> (name: String, value: Any)? in
        let pair = Mirror(reflecting: entry.value).children.map(\.value)
        return pair.count == 2 ? ("\(pair[0])", pair[1]) : nil
      }
      guard entries.first.map({ isContainer($0.value) }) == true else { return [] }
      return entries.sorted { $0.name < $1.name }.flatMap { parts(of: $0.value, "\(key).\($0.name)") }
    default: return []
    }
  }

  private static func isContainer(_ value: Any) -> Bool {
    if value is Module || value is Parameter || value is Buffer { return true }
    switch Mirror(reflecting: value).displayStyle {
    case .optional, .collection, .dictionary: return true
    default: return false
    }
  }

  /// This module and all inside it, outermost first, each once, with their paths (`layer1.0.conv1`; `""` is this one).
  public final func namedModules() -> [(path: String, module: Module)] {
    var seen: Set<ObjectIdentifier> = []
    return everyPath().filter { seen.insert(ObjectIdentifier($0.module)).inserted }
  }

  /// All parameters and buffers with their names in the state dict, each once.
  public final func namedTensors() -> [(name: String, tensor: ModuleTensor)] {
    var seen: Set<ObjectIdentifier> = []
    return everyName().filter { seen.insert($0.tensor.identity).inserted }
  }

  /// Like `namedModules`, with every path of a module that stands in several places.
  private func everyPath() -> [(path: String, module: Module)] {
    var result: [(path: String, module: Module)] = []
    var above: Set<ObjectIdentifier> = []
    func visit(_ module: Module, _ path: String) {
      // A module inside itself has no last path.
      guard above.insert(ObjectIdentifier(module)).inserted else { return }
      result.append((path, module))
      for (key, child) in module.children() { visit(child, path.isEmpty ? key : "\(path).\(key)") }
      above.remove(ObjectIdentifier(module))
    }
    visit(self, "")
    return result
  }

  /// Like `namedTensors`, with every name of a tensor that several modules share, as state dicts list them.
  final func everyName() -> [(name: String, tensor: ModuleTensor)] {
    everyPath().flatMap { path, module in
      module.ownTensors().map { key, tensor in (path.isEmpty ? key : "\(path).\(key)", tensor) }
    }
  }

  /// Names that two different tensors would have.
  final func repeatedNames() -> [String] {
    var owners: [String: ObjectIdentifier] = [:]
    return everyName().compactMap { name, tensor in
      owners.updateValue(tensor.identity, forKey: name).map { $0 != tensor.identity } == true ? name : nil
    }
  }

  // MARK: Modes

  /// Sets the mode of this module and of all inside it.
  public final func train(_ isTraining: Bool = true) {
    for (_, module) in namedModules() { module.isTraining = isTraining }
  }

  /// Sets evaluation mode, in which a model can be exported.
  public final func eval() { train(false) }
}

/// A tensor that belongs to a module.
public enum ModuleTensor {
  /// What training changes.
  case parameter(Parameter)
  /// What it does not change by gradients.
  case buffer(Buffer)

  var identity: ObjectIdentifier {
    switch self {
    case .parameter(let parameter): ObjectIdentifier(parameter)
    case .buffer(let buffer): ObjectIdentifier(buffer)
    }
  }
}

extension String {
  /// `inProjWeight` → `in_proj_weight`, `mlpFC1` → `mlp_fc1`: digits stay with the word before them.
  fileprivate var snakeCased: String {
    let characters = Array(self)
    return characters.indices.reduce(into: "") { result, index in
      let character = characters[index]
      guard character.isUppercase else { return result.append(character) }
      let isNewWord =
        index > 0 && characters[index - 1] != "_"
        && (!characters[index - 1].isUppercase || (index + 1 < count && characters[index + 1].isLowercase))
      if isNewWord { result.append("_") }
      result += character.lowercased()
    }
  }
}
