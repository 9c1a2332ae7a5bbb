import GraphIR
import Operators
import SymbolicSizes
import TensorCore

/// Builds a graph while a model's `forward` runs on symbolic tensors.
final class Tracer {
  let modelName: String
  private(set) var graph = Graph()
  private(set) var shapes: DynamicShapes
  private(set) var guards: [SizeGuard] = []
  /// Values of the symbols at which every operator is asked for its sizes; empty when all are fixed.
  let samples: [[String: Int]]
  private(set) var lifted: [(id: ValueID, tensor: Tensor)] = []
  /// The sizes at which an operator refused the call that ended the capture; nil where it was refused in the example.
  private(set) var refusedSample: [String: Int]?
  private var moduleValues: [ObjectIdentifier: SymbolicTensor] = [:]
  private let paths: [ObjectIdentifier: String]
  /// Modules that are running, outermost first.
  private var stack: [(path: String, type: String)] = []
  /// Where the innermost modules were called.
  private var locations: [String] = []
  /// How often each function was called, for `torch_fn`.
  private var callCounts: [String: Int] = [:]

  init(_ model: Module, name: String, shapes: DynamicShapes) {
    modelName = name
    self.shapes = shapes
    samples =
      shapes.hints.isEmpty
      ? [] : RangeConstraint.samples(shapes.rangeConstraints, hints: shapes.hints, limit: Tracer.sampleLimit)
    paths = Dictionary(
      model.namedModules().map { (ObjectIdentifier($0.module), $0.path) }, uniquingKeysWith: { first, _ in first })
  }

  /// A range of as many sizes is tried whole, which proves the rules that are found.
  private static let sampleLimit = 64

  func error(_ reason: String, operatorName: String = "", at location: String? = nil) -> ExportError {
    ExportError(
      model: modelName, module: stack.last?.path ?? "", location: location ?? locations.last ?? "",
      operatorName: operatorName, reason: reason)
  }

  // MARK: Modules

  func within<R>(
    _ module: Module, at location: String, _ body: () throws(ExportError) -> R
  ) throws(ExportError) -> R {
    guard let path = paths[ObjectIdentifier(module)] else {
      throw error(
        "calls a \(type(of: module)) that is not part of the model: no stored property of a module, or array or dictionary in one, holds it",
        at: location)
    }
    stack.append((path, Tracer.plain(type(of: module).typeName)))
    locations.append(location)
    defer {
      stack.removeLast()
      locations.removeLast()
    }
    return try body()
  }

  /// Module stacks are lists of lists, divided by these characters.
  private static func plain(_ type: String) -> String { type.filter { $0 != "," && $0 != ";" } }

  // MARK: Values

  /// A graph input.
  func addInput(_ name: String, _ spec: TensorSpec, _ sizes: [SymbolicSize]) -> SymbolicTensor {
    SymbolicTensor(id: addValue(name, spec, sizes), spec: spec, sizes: sizes, tracer: self)
  }

  func addModuleTensor(_ name: String, _ tensor: ModuleTensor) -> ValueID {
    let (prefix, spec) =
      switch tensor {
      case .parameter(let parameter): ("p_", parameter.spec)
      case .buffer(let buffer): ("b_", buffer.tensor.spec)
      }
    let value = addInput(
      prefix + String(name.map { $0.isLetter || $0.isNumber ? $0 : "_" }), spec, spec.shape.dimensions.map { .int($0) })
    moduleValues[tensor.identity] = value
    return value.id
  }

  func moduleTensor(_ tensor: ModuleTensor) throws(ExportError) -> SymbolicTensor {
    guard let value = moduleValues[tensor.identity] else {
      throw error("uses a parameter or buffer that is not part of the model; make it a stored property of a module")
    }
    return value
  }

  func lift(_ tensor: Tensor) -> SymbolicTensor {
    let value = addInput("c_lifted_tensor_\(lifted.count)", tensor.spec, tensor.shape.dimensions.map { .int($0) })
    lifted.append((value.id, tensor))
    return value
  }

  private func addValue(_ name: String, _ spec: TensorSpec, _ sizes: [SymbolicSize]) -> ValueID {
    let id = graph.addValue(name, spec)
    if !samples.isEmpty { shapes.sizes[graph[id].name] = sizes }
    return id
  }

  // MARK: Sizes

  func record(
    _ relation: SizeGuard.Relation, _ left: SymbolicSize, _ right: SymbolicSize, holds: Bool, at location: String? = nil
  ) {
    guards.append(
      SizeGuard(
        relation: relation, left: left, right: right, holds: holds, module: stack.last?.path ?? "",
        location: location ?? locations.last ?? ""))
  }

  // MARK: Operators

  /// Throws for a tensor of another capture, which a model may have kept.
  func checkOwner(of tensors: [SymbolicTensor]) throws(ExportError) {
    guard tensors.allSatisfy({ $0.tracer === self }) else {
      throw error("uses a tensor that was kept from an earlier run of forward")
    }
  }

  func call(
    _ op: Operator, _ arguments: [(String, CaptureArgument)]
  ) throws(ExportError) -> [SymbolicTensor] {
    var captured: CapturedCall
    for case .tensor(let tensor) in arguments.map(\.1) { try checkOwner(of: [tensor]) }
    for case .tensors(let tensors) in arguments.map(\.1) { try checkOwner(of: tensors) }
    do {
      captured = try CapturedCall(op, arguments)
      try captured.inferSizes(samples)
    } catch {
      refusedSample = error.sample
      throw self.error(error.reason, operatorName: op.name)
    }

    let function = op.functionName
    let count = callCounts[function, default: 0]
    callCounts[function] = count + 1
    // One of several results is an item of what the node returns, as PyTorch writes it: `chunk`, `getitem`, `getitem_1`.
    let isSeveral = captured.outputs.count > 1
    let outputs = zip(captured.outputs, captured.outputSizes).map { spec, sizes in
      SymbolicTensor(
        id: addValue(isSeveral ? "getitem" : function, spec, sizes), spec: spec, sizes: sizes, tracer: self)
    }
    let name = isSeveral ? (count == 0 ? function : "\(function)_\(count)") : graph[outputs[0].id].name
    if !captured.sizeArguments.isEmpty { shapes.arguments[name] = captured.sizeArguments }
    graph.nodes.append(
      Node(
        name: name, op: op, arguments: captured.nodeArguments, outputs: outputs.map(\.id),
        metadata: metadata(of: function, call: count + 1)))
    return outputs
  }

  private func metadata(of function: String, call: Int) -> [String: String] {
    [
      "nn_module_stack": stack.map { "L__self__\($0.path),\($0.path),\($0.type)" }.joined(separator: ";"),
      "torch_fn": "\(function)_\(call);builtin_function_or_method.\(function)",
    ]
  }
}
