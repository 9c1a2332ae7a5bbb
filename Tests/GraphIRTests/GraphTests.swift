import GraphIR
import Operators
import TensorCore
import TestSupport
import Testing

/// A graph x → relu → relu.
private func chain(_ names: [String] = ["aten.relu.default", "aten.relu.default"]) -> ExportedProgram {
  var program = ExportedProgram(name: "chain")
  let spec = TensorSpec(.float32, [4])
  let input = program.graph.addValue("x", spec)
  program.graph.inputs = [input]
  program.inputKinds = [.userInput]
  var last = input
  for (index, name) in names.enumerated() {
    let node = program.graph.makeNode(
      OperatorSet.standard.resolve(name), name: "node\(index)", arguments: [.init("self", .value(last))], output: spec)
    program.graph.nodes.append(node)
    last = node.output
  }
  program.graph.outputs = [last]
  return program
}

struct VerifierTests {
  @Test func aWellFormedGraphPasses() throws {
    try Verifier.verify(chain(), as: .float)
  }

  @Test func anUnknownOperatorIsNamed() {
    #expect {
      try Verifier.verify(chain(["aten.mystery.default"]), as: .float)
    } throws: { error in
      let text = "\(error)"
      return text.contains("node0") && text.contains("aten.mystery.default") && text.contains("unknown operator")
    }
  }

  @Test func useBeforeDefinitionIsRefused() {
    var program = chain()
    program.graph.nodes.reverse()
    #expect(throws: GraphError.self) { try Verifier.verify(program, as: .float) }
  }

  @Test func aRecordedShapeThatTheInputsContradictIsRefused() {
    var program = chain()
    program.graph.setSpec(TensorSpec(.float32, [5]), of: program.graph.nodes[0].output)
    #expect(throws: GraphError.self) { try Verifier.verify(program, as: .float) }
  }

  @Test func missingDataIsRefused() {
    var program = chain()
    program.inputKinds = [.parameter("weight")]
    #expect(throws: GraphError.self) { try Verifier.verify(program, as: .float) }
  }

  @Test func observersDoNotBelongIntoAFloatGraph() throws {
    var program = chain()
    let node = program.graph.makeNode(
      OperatorSet.standard.resolve("quantization.observe"), name: "observe",
      arguments: [
        .init("input", .value(program.graph.outputs[0])), .init("observer", .attribute(.int(0))),
      ], output: TensorSpec(.float32, [4]))
    program.graph.nodes.append(node)
    try Verifier.verify(program, as: .observed)
    #expect(throws: GraphError.self) { try Verifier.verify(program, as: .float) }
  }
}

struct GraphTests {
  @Test func inPlaceOperatorsBecomeFunctional() throws {
    var program = chain(["aten.relu_.default", "aten.relu.default"])
    // The second node reads the tensor that the first one changed in place.
    program.graph.nodes[1].arguments[0].operand = .value(program.graph.inputs[0])
    program.graph.functionalize()
    #expect(program.graph.nodes[0].operatorName == "aten.relu.default")
    #expect(program.graph.nodes[1].inputs == [program.graph.nodes[0].output])
    try Verifier.verify(program, as: .float)
  }

  /// Some in-place operators name their first argument otherwise than the functional ones.
  @Test func inPlaceOperatorsMayNameTheirArgumentOtherwise() throws {
    var program = chain(["aten.dropout_.default"])
    program.graph.nodes[0].arguments += [.init("p", .attribute(.float(0.5))), .init("train", .attribute(.bool(false)))]
    program.graph.functionalize()
    #expect(program.graph.nodes[0].arguments[0].name == "input")
    try Verifier.verify(program, as: .float)
  }

  @Test func aChangeThatAnotherViewSeesIsRefused() throws {
    // x → view → relu_ in place; x is read again afterwards.
    var program = chain(["aten.view.default", "aten.relu_.default", "aten.relu.default"])
    program.graph.nodes[0].arguments.append(.init("size", .attribute(.ints([4]))))
    var harmless = program
    program.graph.nodes[2].arguments[0].operand = .value(program.graph.inputs[0])
    program.graph.functionalize()
    #expect(program.graph.nodes[1].operatorName == "aten.relu_.default")
    #expect {
      try Verifier.verify(program, as: .float)
    } throws: { "\($0)".contains("in place") }
    harmless.graph.functionalize()
    try Verifier.verify(harmless, as: .float)
    var owned = chain(["aten.relu_.default"])
    owned.graph.functionalize(constants: [owned.graph.inputs[0]])
    #expect(owned.graph.nodes[0].operatorName == "aten.relu_.default")
  }

  @Test func deadNodesGo() {
    var program = chain()
    program.graph.outputs = [program.graph.nodes[0].output]
    program.graph.removeDeadNodes()
    #expect(program.graph.nodes.map(\.name) == ["node0"])
  }

  @Test func takenNamesGetASuffix() {
    var graph = Graph()
    let spec = TensorSpec(.float32, [1])
    let ids = ["x", "x", "x"].map { graph.addValue($0, spec) }
    #expect(ids.map { graph[$0].name } == ["x", "x_1", "x_2"])
  }

  @Test func theInterpreterRunsNodesInOrder() throws {
    let interpreter = try Interpreter(chain())
    var seen = 0
    let outputs = try interpreter.run([Tensor([-1, 0, 1, 2] as [Float], shape: [4])]) { _, _ in seen += 1 }
    #expect(outputs[0].elements(as: Float.self) == [0, 0, 1, 2])
    #expect(seen == 2)
    #expect(throws: GraphError.self) { try interpreter.run([]) }
  }
}
