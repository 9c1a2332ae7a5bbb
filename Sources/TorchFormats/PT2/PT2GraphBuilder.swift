import Foundation
import GraphIR
import Operators
import TensorCore

/// Builds a graph from the serialized one, in whose order every value is defined before it is read.
struct PT2GraphBuilder {
  private(set) var graph = Graph()
  private(set) var inputKinds: [InputKind] = []
  private let path: String
  private let program: PT2Schema.Program
  private var serialized: PT2Schema.GraphModule { program.graphModule }
  private var values: [String: ValueID] = [:]
  private var symInts: PT2SymIntReader

  /// Nil when all sizes are fixed.
  var dynamicShapes: DynamicShapes? { symInts.shapes.hints.isEmpty ? nil : symInts.shapes }

  private let operators: OperatorSet

  init(path: String, serialized: PT2Schema.Program, operators: OperatorSet) {
    self.operators = operators
    self.path = path
    self.program = serialized
    symInts = PT2SymIntReader(path: path, program: serialized)
  }

  mutating func build() throws(FormatError) {
    try buildInputs()
    graph.nodes.reserveCapacity(serialized.graph.nodes.count)
    for (index, node) in serialized.graph.nodes.enumerated() { try buildNode(node, index) }
    try buildOutputs()
  }

  /// Nil where it is no structure of the graph's inputs and outputs.
  var callSignature: CallSignature? {
    let calls = serialized.moduleCallGraph ?? []
    guard let signature = calls.first(where: { $0.path.isEmpty })?.signature,
      leafCount(signature.inputs) == inputKinds.filter({ $0 == .userInput }).count,
      leafCount(signature.outputs) == graph.outputs.count
    else { return nil }
    return CallSignature(
      inputs: signature.inputs, outputs: signature.outputs, argumentNames: signature.argumentNames ?? [],
      modules: calls.map(\.path).filter { !$0.isEmpty })
  }

  /// A structure's text is a list of the protocol's number and the structure.
  private func leafCount(_ text: String) -> Int? {
    struct Versioned: Decodable {
      let tree: PT2Schema.TreeSpec
      init(from decoder: any Decoder) throws {
        var items = try decoder.unkeyedContainer()
        guard try items.decode(Int.self) == 1 else {
          throw DecodingError.dataCorruptedError(in: items, debugDescription: "another protocol")
        }
        tree = try items.decode(PT2Schema.TreeSpec.self)
      }
    }
    return try? JSONDecoder().decode(Versioned.self, from: Data(text.utf8)).tree.leafCount
  }

  private func error(_ place: String, _ reason: String) -> FormatError {
    FormatError(path: path, place: place, reason: reason)
  }

  private mutating func define(_ name: String, _ place: String) throws(FormatError) -> ValueID {
    guard let meta = serialized.graph.tensorValues[name] else {
      throw error(place, "the value '\(name)' is not described")
    }
    let spec: TensorSpec
    do { spec = try meta.spec() } catch { throw self.error(place, "the value '\(name)' \(error.reason)") }
    guard values[name] == nil else { throw error(place, "the value '\(name)' is defined twice") }
    let id = graph.addValue(name, spec)
    try symInts.addSizes(meta.sizes, of: name, place)
    values[name] = id
    return id
  }

  private func value(_ name: String, _ place: String) throws(FormatError) -> ValueID {
    guard let id = values[name] else { throw error(place, "the value '\(name)' is read before it is computed") }
    return id
  }

  // MARK: Inputs and outputs

  private mutating func buildInputs() throws(FormatError) {
    let specs = serialized.signature.inputSpecs
    guard specs.count == serialized.graph.inputs.count else {
      throw error("signature", "has \(specs.count) inputs; the graph has \(serialized.graph.inputs.count)")
    }
    for (index, (argument, spec)) in zip(serialized.graph.inputs, specs).enumerated() {
      let place = "input \(index)"
      guard case .tensor(let name) = argument else {
        throw error(place, "is not a tensor (\(argument)); export the model with tensors only")
      }
      graph.inputs.append(try define(name, place))
      if let parameter = spec.parameter {
        inputKinds.append(.parameter(parameter.name))
      } else if let buffer = spec.buffer {
        inputKinds.append(.buffer(buffer.name, isPersistent: buffer.persistent))
      } else if let constant = spec.constant {
        inputKinds.append(.constantTensor(constant.name))
      } else if spec.userInput != nil {
        inputKinds.append(.userInput)
      } else {
        throw error(place, "'\(name)' is not a parameter, buffer, constant tensor or input tensor")
      }
    }
  }

  private mutating func buildOutputs() throws(FormatError) {
    let specs = serialized.signature.outputSpecs
    guard specs.count == serialized.graph.outputs.count else {
      throw error("signature", "has \(specs.count) outputs; the graph has \(serialized.graph.outputs.count)")
    }
    for (index, (argument, spec)) in zip(serialized.graph.outputs, specs).enumerated() {
      let place = "output \(index)"
      guard spec.userOutput != nil else {
        throw error(place, "is a mutation, a loss or a gradient; export the model in eval() mode")
      }
      guard case .tensor(let name) = argument else { throw error(place, "is not a tensor (\(argument))") }
      graph.outputs.append(try value(name, place))
    }
  }

  // MARK: Nodes

  /// PyTorch 2.5 writes a BatchNorm of inference as this operator, whose other results nothing reads.
  private static let batchNormOfInference = "torch.ops.aten._native_batch_norm_legit_no_training.default"

  private mutating func buildNode(_ node: PT2Schema.Node, _ index: Int) throws(FormatError) {
    if try symInts.define(node) { return }
    var outputNames: [String] = []
    for output in node.outputs {
      switch output {
      case .tensor(let name): outputNames.append(name)
      case .tensors(let names): outputNames += names
      default: throw error("node \(index)", "has an output that is not a tensor (\(output))")
      }
    }
    let isBatchNorm = node.target == PT2GraphBuilder.batchNormOfInference
    if isBatchNorm { outputNames = Array(outputNames.prefix(1)) }
    guard let name = node.name ?? outputNames.first else { throw error("node \(index)", "has neither name nor output") }
    let place = "node '\(name)' (\(node.target))"
    let prefix = "torch.ops."
    guard node.target.hasPrefix(prefix) else { throw error(place, "is not a call of an operator") }
    var arguments: [GraphIR.Node.Argument] = []
    for argument in node.inputs {
      if case .placement = argument.arg { continue }
      if let example = try symInts.example(of: argument, node: name, place) {
        arguments.append(.init(argument.name, .attribute(example)))
      } else {
        arguments.append(.init(argument.name, try operand(argument, place)))
      }
    }
    if isBatchNorm { arguments.append(.init("training", .attribute(.bool(false)))) }
    var outputs: [ValueID] = []
    for output in outputNames { outputs.append(try define(output, place)) }
    let op = isBatchNorm ? .batchNorm : operators.resolve(String(node.target.dropFirst(prefix.count)))
    graph.nodes.append(
      Node(
        name: name, op: op, arguments: arguments, outputs: outputs,
        metadata: node.metadata))
  }

  private func operand(_ named: PT2Schema.NamedArgument, _ place: String) throws(FormatError) -> Operand {
    let place = "\(place), argument '\(named.name)'"
    switch named.arg {
    case .none, .placement: return .attribute(.none)
    case .tensor(let name): return .value(try value(name, place))
    case .tensors(let names): return .values(try names.map { name throws(FormatError) in try value(name, place) })
    case .optionalTensors(let names):
      var ids: [ValueID] = []
      for name in names {
        guard let name else { throw error(place, "is a list of tensors with None in it, which cannot be read") }
        ids.append(try value(name, place))
      }
      return .values(ids)
    case .bool(let value): return .attribute(.bool(value))
    case .bools(let values): return .attribute(.bools(values))
    case .int(let value), .memoryFormat(let value): return .attribute(.int(value))
    case .ints(let values): return .attribute(.ints(values))
    case .float(let value): return .attribute(.float(value))
    case .floats(let values): return .attribute(.floats(values))
    case .string(let value): return .attribute(.string(value))
    case .symInt, .symInts: throw error(place, "is a symbolic size where a value is expected")
    case .scalarType(let code):
      guard let type = PT2Schema.scalarTypes[code] else {
        throw error(place, "is scalar type \(code), which is not supported")
      }
      return .attribute(.dataType(type))
    case .unsupported(let kind): throw error(place, "has kind '\(kind)', which cannot be read")
    }
  }
}
