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
/// Stored properties that are a `Module`, an array of modules, a `Parameter` or a `Buffer` belong to the state dict under
/// their names in snake case (`inProjWeight` is `in_proj_weight`), in the order of their declaration; nil ones do not.
/// `forward` runs on symbolic tensors: it computes nothing, and says which operators are called.
open class Module {
  /// Whether the module behaves as in training. A new one does not, unlike PyTorch's: nothing is trained here.
  public private(set) final var isTraining = false

  public init() {}

  /// What the module is called in a graph's module stack, for `XNNPACKQuantizer.setModuleType`. Layers have PyTorch's name
  /// of their class (`torch.nn.modules.conv.Conv2d`), others the name of their Swift type.
  open class var typeName: String { String(reflecting: self) }

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
    properties().flatMap { key, value -> [(key: String, module: Module)] in
      if let module = value as? Module { return [(key, module)] }
      return ((value as? [Module]) ?? []).enumerated().map { ("\(key).\($0.offset)", $0.element) }
    }
  }

  /// Stored properties with their keys, those of superclasses first.
  private func properties() -> [(key: String, value: Any)] {
    var mirrors: [Mirror] = []
    var mirror: Mirror? = Mirror(reflecting: self)
    while let current = mirror, current.subjectType != Module.self {
      mirrors.append(current)
      mirror = current.superclassMirror
    }
    return mirrors.reversed().flatMap(\.children).compactMap { child in
      child.label.map { (type(of: self).key(forProperty: $0), child.value) }
    }
  }

  /// This module and all inside it, outermost first, each once, with their paths (`layer1.0.conv1`; `""` is this one).
  public final func namedModules() -> [(path: String, module: Module)] {
    var result: [(path: String, module: Module)] = []
    var seen: Set<ObjectIdentifier> = []
    func visit(_ module: Module, _ path: String) {
      guard seen.insert(ObjectIdentifier(module)).inserted else { return }
      result.append((path, module))
      for (key, child) in module.children() { visit(child, path.isEmpty ? key : "\(path).\(key)") }
    }
    visit(self, "")
    return result
  }

  /// All parameters and buffers with their names in the state dict, each once.
  public final func namedTensors() -> [(name: String, tensor: ModuleTensor)] {
    var seen: Set<ObjectIdentifier> = []
    return namedModules().flatMap { path, module in
      module.ownTensors().compactMap { key, tensor in
        guard seen.insert(tensor.identity).inserted else { return nil }
        return (path.isEmpty ? key : "\(path).\(key)", tensor)
      }
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
  case parameter(Parameter)
  case buffer(Buffer)

  var identity: ObjectIdentifier {
    switch self {
    case .parameter(let parameter): ObjectIdentifier(parameter)
    case .buffer(let buffer): ObjectIdentifier(buffer)
    }
  }
}

extension String {
  /// `inProjWeight` → `in_proj_weight`; digits stay with the word before them.
  fileprivate var snakeCased: String {
    reduce(into: "") { result, character in
      guard character.isUppercase else { return result.append(character) }
      if let last = result.last, last != "_" { result.append("_") }
      result += character.lowercased()
    }
  }
}
