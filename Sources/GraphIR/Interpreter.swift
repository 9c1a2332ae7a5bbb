import Operators
import TensorCore

/// Runs a graph node by node on the portable kernels: the reference that every lowered form is compared with.
///
/// Works on any dialect; quantize and dequantize nodes are executed as they stand, so a Q/DQ graph is simulated in float.
public struct Interpreter: Sendable {
  private struct Step: Sendable {
    let kernel: PreparedKernel
    let inputs: [ValueID]
    let outputs: [ValueID]
    /// Values that no later step reads.
    let dead: [ValueID]
  }

  private let program: ExportedProgram
  private let steps: [Step]
  private let constants: [ValueID: Tensor]

  /// Verifies the program and prepares every node. Throws a `GraphError` for a broken rule and for a node that its operator
  /// refuses.
  public init(_ program: ExportedProgram) throws(GraphError) {
    // Kernels rely on the recorded shapes: one larger than its tensor would let them read what lies behind it.
    try Verifier.verify(program, as: Dialect(of: program.graph))
    self.program = program
    let constants = program.constants().mapValues { $0.aligned() }
    self.constants = constants
    var lastUse: [ValueID: Int] = [:]
    for (index, node) in program.graph.nodes.enumerated() {
      for id in node.inputs + node.outputs { lastUse[id] = index }
    }
    for id in program.graph.outputs { lastUse[id] = .max }
    var steps: [Step] = []
    for (index, node) in program.graph.nodes.enumerated() {
      let (op, call) = try program.call(of: node, constants: constants)
      let kernel: PreparedKernel
      do { kernel = try op.prepare(call) } catch { throw GraphError(error, program: program.name) }
      let inputs = node.callInputs
      steps.append(
        Step(
          kernel: kernel, inputs: inputs, outputs: node.outputs,
          dead: Set(inputs + node.outputs).filter { lastUse[$0] == index }))
    }
    self.steps = steps
  }

  /// One forward pass. `observe` sees every computed value, in execution order.
  ///
  /// Throws a `GraphError` when the inputs do not have the number, types and shapes of the program's user inputs.
  public func run(
    _ inputs: [Tensor], observe: (ValueID, Tensor) -> Void = { _, _ in }
  ) throws(GraphError) -> [Tensor] {
    let expected = program.userInputs
    guard inputs.count == expected.count else {
      throw GraphError(program: program.name, reason: "takes \(expected.count) inputs, not \(inputs.count)")
    }
    var tensors = constants
    for (id, tensor) in zip(expected, inputs) {
      guard tensor.spec == program.graph.spec(id) else {
        throw GraphError(
          program: program.name,
          reason: "input '\(program.graph[id].name)' must be \(program.graph.spec(id)), not \(tensor.spec)")
      }
      tensors[id] = tensor.aligned()
    }
    for step in steps {
      let outputs = step.outputs.map { id in
        Tensor(unsafeUninitialized: program.graph.spec(id)) { _ in }
      }
      step.kernel.run(inputs: step.inputs.map { tensors[$0]! }, outputs: outputs)
      for (id, tensor) in zip(step.outputs, outputs) {
        tensors[id] = tensor
        observe(id, tensor)
      }
      for id in step.dead { tensors[id] = nil }
    }
    return program.graph.outputs.map { tensors[$0]! }
  }
}
