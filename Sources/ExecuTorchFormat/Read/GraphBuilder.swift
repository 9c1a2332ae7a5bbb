import GraphIR
import Operators
import TensorCore
import TorchFormats

/// Builds the graph of a program that is read: nodes whose results are what their operators infer.
///
/// A class, since the plan's reader and those of its delegates add to one graph.
final class GraphBuilder {
  let path: String
  private(set) var graph = Graph()
  private var constantInputs: [ValueID] = []
  private var userInputs: [ValueID] = []
  private(set) var constants: [ValueID: Tensor] = [:]
  /// Keys of named data that are constants of delegates.
  var constantKeys: Set<String> = []

  /// How many values have been given each name.
  private var nameCounts: [String: Int] = [:]

  init(path: String) { self.path = path }

  /// A value whose name gets the next number at once: the graph looks for a free one from 1 on.
  private func addValue(_ name: String, _ spec: TensorSpec) -> ValueID {
    let count = nameCounts[name, default: 0]
    nameCounts[name] = count + 1
    return graph.addValue(count == 0 ? name : "\(name)_\(count)", spec)
  }

  func error(_ place: String, _ reason: String) -> FormatError { FormatError(path: path, place: place, reason: reason) }

  func addInput(_ spec: TensorSpec) -> ValueID {
    let id = addValue("input", TensorSpec(spec.dataType, spec.shape))
    userInputs.append(id)
    return id
  }

  /// A constant, which the graph takes as row-major however it is stored.
  func addConstant(_ name: String, _ tensor: Tensor) -> ValueID {
    let id = addValue(name, TensorSpec(tensor.dataType, tensor.shape))
    constantInputs.append(id)
    constants[id] = tensor
    return id
  }

  func spec(_ id: ValueID) -> TensorSpec { graph.spec(id) }

  /// Appends a node and returns its results. Throws what the operator has against the call.
  func emitAll(
    _ op: Operator, name: String, _ arguments: [(String, Operand)], _ place: String
  ) throws(FormatError) -> [ValueID] {
    var calls = CallArguments()
    var inputs: [ValueID] = []
    for (name, operand) in arguments {
      switch operand {
      case .value(let id):
        calls[name] = .tensor(inputs.count)
        inputs.append(id)
      case .values(let ids):
        calls[name] = .tensors(Array(inputs.count..<inputs.count + ids.count))
        inputs += ids
      case .attribute(let attribute): calls[name] = .attribute(attribute)
      }
    }
    let call = OperatorCall(
      op: op, node: place, arguments: calls, inputs: inputs.map(graph.spec),
      constants: inputs.map { constants[$0] })
    let specs: [TensorSpec]
    do { specs = try op.infer(call) } catch {
      throw self.error(
        place, "\(op): \(error.reason); inputs: \(error.inputs.map(\.description).joined(separator: ", "))")
    }
    let outputs = specs.map { addValue(name, $0) }
    let arguments = arguments.map { Node.Argument($0.0, $0.1) }
    let node = Node(name: graph[outputs[0]].name, op: op, arguments: arguments, outputs: outputs)
    node.accept(call.with(node: node.name, outputs: specs), reading: inputs)
    graph.nodes.append(node)
    return outputs
  }

  func emit(
    _ op: Operator, name: String, _ arguments: [(String, Operand)], _ place: String
  ) throws(FormatError) -> ValueID {
    try emitAll(op, name: name, arguments, place)[0]
  }

  /// A value of one element under other sizes of one element: a delegate has no scalars without dimensions.
  func scalarView(_ id: ValueID, _ shape: Shape, _ place: String) throws(FormatError) -> ValueID {
    let own = spec(id).shape
    guard own != shape, own.elementCount == 1, shape.elementCount == 1 else { return id }
    if let tensor = constants[id] {
      return addConstant(graph[id].name, tensor.reinterpreted(as: TensorSpec(tensor.dataType, shape)))
    }
    return try emit(
      .view, name: "view", [("self", .value(id)), ("size", .ints(shape.dimensions))], place)
  }

  func finish(outputs: [ValueID]) -> ExportedProgram {
    graph.inputs = constantInputs + userInputs
    graph.outputs = outputs
    var program = ExportedProgram(name: path, graph: graph)
    program.inputKinds =
      constantInputs.map { .buffer(graph[$0].name, isPersistent: true) } + userInputs.map { _ in .userInput }
    program.stateDict = Dictionary(uniqueKeysWithValues: constants.map { (graph[$0].name, $1) })
    return program
  }
}

extension Operand {
  static func ints(_ values: [Int]) -> Operand { .attribute(.ints(values)) }
  static func int(_ value: Int) -> Operand { .attribute(.int(value)) }
  static func float(_ value: Double) -> Operand { .attribute(.float(value)) }
  static func bool(_ value: Bool) -> Operand { .attribute(.bool(value)) }
}
