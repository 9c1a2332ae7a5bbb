import GraphIR
import PipelineTesting
import Quantization
import Swiftlet
import TensorCore
import TestSupport
import Testing

// How tests compare a reference representation with the lowered program and the Q/DQ simulation.

func expectBinary(
  _ op: String, _ scales: [Float], isRectified: Bool = false
) throws {
  let shape: Shape = [1, 4, 16, 16]
  var model = QDQModel()
  let a = model.pair(model.input(shape, "a"), scales[0], -7)
  let b = model.pair(model.input(shape, "b"), scales[1], 33)
  var y = model.real(op, ["self": .value(a), "other": .value(b)], shape)
  if isRectified { y = model.real("aten.relu.default", ["self": .value(y)], shape) }
  let program = model.finish(model.pair(y, scales[2], -20))
  let inputs = [
    Tensor.random(shape, -130 * scales[0]...130 * scales[0]),
    Tensor.random(shape, -130 * scales[1]...130 * scales[1], seed: 2),
  ]
  let reference = try expectAgreement(program, inputs, scales[2])
  #expect(reference.notRewritten.isEmpty)
}

func run(_ program: ExportedProgram, _ inputs: [Tensor]) throws -> [[Float]] {
  try Interpreter(program).run(inputs).map { $0.elements(as: Float.self) }
}

/// Equal to the lowered program, delegated or not, and at most one quantum from the Q/DQ simulation; equal to it when
/// `quantum` is nil.
@discardableResult
func expectAgreement(
  _ program: ExportedProgram, _ inputs: [Tensor], _ quantum: Float?
) throws -> ReferenceRepresentation {
  let reference = try referenceRepresentation(of: program)
  #expect(!reference.program.graph.nodes.contains { $0.operatorName.hasPrefix("quantized_decomposed.") })
  let outputs = try run(reference.program, inputs)
  for partitioner: (any Partitioner)? in [nil, XNNPACKPartitioner()] {
    let method = try Method(lower(program, partitioner: partitioner), threads: ThreadPool(threadCount: 1))
    let lowered = try method.run(inputs).map { $0.elements(as: Float.self) }
    #expect(outputs == lowered, "delegated: \(partitioner != nil)")
  }
  let relowered = try Method(lower(reference.program, partitioner: nil), threads: ThreadPool(threadCount: 1))
  #expect(try relowered.run(inputs).map { $0.elements(as: Float.self) } == outputs, "lowered itself")
  let simulated = try run(program, inputs)
  for (x, y) in zip(outputs.joined(), simulated.joined()) {
    #expect((x - y).magnitude <= (quantum ?? 0) * 1.001)
  }
  #expect(Set(outputs[0]).count > 1, "the test does not test much")
  return reference
}

extension ReferenceRepresentation {
  /// Whether the program has the operator, and on that type only.
  func expectOperator(_ name: String, on dataType: DataType) -> Bool {
    let nodes = program.graph.nodes.filter { $0.operatorName == name }
    return !nodes.isEmpty && nodes.allSatisfy { program.graph.spec($0.inputs[0]).dataType == dataType }
  }
}
