import NN
import PipelineTesting
import Swiftlet
import Testing

/// XNNPACK without some operators, so that a test decides what is delegated.
private struct Refusing: Partitioner {
  let refused: Set<String>
  private let base = XNNPACKPartitioner()
  var backend: String { base.backend }

  init(_ refused: [String]) { self.refused = Set(refused) }

  func reasonAgainst(_ call: OperatorCall) -> String? {
    refused.contains(call.schema.name) ? "refused by the test" : base.reasonAgainst(call)
  }

  func encode(_ call: OperatorCall, inputs: [Int], outputs: [Int]) throws(OperatorError) -> [UInt8] {
    try base.encode(call, inputs: inputs, outputs: outputs)
  }
}

/// Two arms of several layers, added; each has a function in its middle.
private final class Arms: Module {
  let (a, b) = (Conv2d(3, 4, kernelSize: 1), Conv2d(3, 4, kernelSize: 1))
  let (c, d) = (Conv2d(4, 4, kernelSize: 1), Conv2d(4, 4, kernelSize: 1))

  override func forward(_ x: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try c(a(x).hardswish()) * d(b(x).hardswish())
  }
}

/// The order of a lowered graph's nodes, and the program that is emitted.
@Suite struct ScheduleTests {
  private func lowered(_ partitioner: (any Partitioner)?) throws -> Pipeline {
    try Pipeline(Arms(), [1, 3, 4, 5]).quantize().lower(partitioner)
  }

  /// Both functions wait for the convolutions before them: two subgraphs, not three.
  @Test func delegatedNodesAreDrawnTogether() throws {
    try lowered(Refusing(["fused.lut"])).expectSubgraphs(2)
      .expectPortable(["fused.lut", "fused.lut"], because: "refused by the test")
      .run().compare(toFloat: .decibels(25), portable: .bytes)
    try lowered(Refusing(["fused.conv2d"])).expectPortable([String](repeating: "fused.conv2d", count: 4))
      .run().compare(portable: .bytes)
    try lowered(XNNPACKPartitioner()).expectSubgraphs(1).expectPortable([])
  }

  @Test func withoutABackendAllIsPortable() throws {
    let pipeline = try lowered(nil).expectSubgraphs(0)
    let instructions = try #require(pipeline.lowered).instructions
    #expect(instructions.allSatisfy { $0.reason == "delegation is switched off" && $0.delegateCall == nil })
  }

  /// Every value is there before it is read, every source node has its instruction, every delegate its nodes in order.
  @Test(arguments: [[], ["fused.lut"], ["fused.conv2d"], ["fused.mul", "fused.quantize"]])
  func theProgramIsWhole(_ refused: [String]) throws {
    let pipeline = try lowered(Refusing(refused))
    let program = try #require(pipeline.lowered)
    var ready = Set(program.inputs)
    ready.formUnion(
      program.values.indices.filter { if case .constant = program.values[$0].location { true } else { false } })
    var calls = program.delegates.map { _ in [Int]() }
    for instruction in program.instructions {
      #expect(ready.isSuperset(of: instruction.inputs), "\(instruction.node)")
      ready.formUnion(instruction.outputs)
      if let call = instruction.delegateCall { calls[call.delegate].append(call.node) }
    }
    #expect(ready.isSuperset(of: program.outputs))
    #expect(calls == program.delegates.map { Array(0..<$0.nodeCount) })
    let sources = Set(program.instructions.flatMap(\.sourceNodes))
    let computed = pipeline.program.graph.nodes.map(\.name).filter { !$0.contains("quantize") }
    #expect(sources.isSuperset(of: computed), "\(computed)")
  }
}
