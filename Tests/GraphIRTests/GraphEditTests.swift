import GraphIR
import Operators
import TensorCore
import TestSupport
import Testing

/// x → relu (a) → relu (b) → relu (c), with b read by a sum and given as a result too.
struct GraphEditTests {
  private static func program() -> ExportedProgram {
    var program = ExportedProgram(name: "edits")
    let spec = TensorSpec(.float32, [4])
    let x = program.graph.addValue("x", spec)
    program.graph.inputs = [x]
    program.inputKinds = [.userInput]
    var last = x
    for name in ["a", "b", "c"] {
      let node = program.graph.makeNode(
        OperatorSet.standard.resolve("aten.relu.default"), name: name, arguments: [.init("self", .value(last))],
        output: spec)
      program.graph.nodes.append(node)
      last = node.output
    }
    let b = program.graph.nodes[1].output
    let sum = program.graph.makeNode(
      OperatorSet.standard.resolve("aten.add.Tensor"), name: "sum",
      arguments: [.init("self", .value(b)), .init("other", .value(last))], output: spec)
    program.graph.nodes.append(sum)
    program.graph.outputs = [b, sum.output]
    return program
  }

  private func value(_ name: String, _ program: ExportedProgram) throws -> ValueID {
    try #require(program.graph.nodes.first { $0.name == name }).output
  }

  @Test func everyReaderOfARemovedValueIsForwarded() throws {
    var program = Self.program()
    let x = program.graph.inputs[0]
    let (a, b, c) = (try value("a", program), try value("b", program), try value("c", program))
    try program.removeNodes(forwarding: [b: a, a: x])
    #expect(program.graph.nodes.map(\.name) == ["c", "sum"])
    #expect(program.graph.nodes[0].inputs == [x])
    #expect(program.graph.nodes[1].inputs == [x, c])
    #expect(program.graph.outputs[0] == x)
    try Verifier.verify(program, as: .float)
  }

  @Test func aReplacementThatIsComputedTooLateIsRefused() throws {
    var program = Self.program()
    let (b, sum) = (try value("b", program), try value("sum", program))
    #expect {
      try program.removeNodes(forwarding: [b: sum])
    } throws: { "\($0)".contains("reads 'sum' before it is computed") }
  }

  @Test func anotherGraphsValueIsRefused() throws {
    var (program, other) = (Self.program(), Self.program())
    var last = other.graph.outputs[1]
    for _ in 0..<3 { last = other.graph.addValue("more", TensorSpec(.float32, [4])) }
    let b = try value("b", program)
    #expect(throws: GraphError.self) { try program.removeNodes(forwarding: [b: last]) }
  }

  @Test func aResultWithoutReplacementMustHaveNoReader() throws {
    var program = Self.program()
    let spec = TensorSpec(.float32, [2])
    let parts = ["p", "q"].map { program.graph.addValue($0, spec) }
    let x = program.graph.inputs[0]
    program.graph.nodes.append(
      Node(
        name: "split", operatorName: "aten.split.Tensor",
        arguments: [.init("self", .value(x)), .init("split_size", .attribute(.int(2)))], outputs: parts))
    program.graph.outputs = parts
    try Verifier.verify(program, as: .float)
    #expect {
      try program.removeNodes(forwarding: [parts[0]: x])
    } throws: { "\($0)".contains("output 'q' is never computed") }
  }

  @Test func theInterpreterRunsVerifiedGraphsOnly() throws {
    // A weight that is recorded larger than it is.
    var program = ExportedProgram(name: "leak")
    let x = program.graph.addValue("x", TensorSpec(.float32, [1, 4]))
    program.graph.inputs = [x]
    program.inputKinds = [.userInput]
    let w = program.addBuffer("w", Tensor([1, 2, 3, 4] as [Float], shape: [1, 4]))
    program.graph.setSpec(TensorSpec(.float32, [500, 4]), of: w)
    let node = program.graph.makeNode(
      OperatorSet.standard.resolve("aten.linear.default"), name: "y",
      arguments: [.init("input", .value(x)), .init("weight", .value(w))],
      output: TensorSpec(.float32, [1, 500]))
    program.graph.nodes = [node]
    program.graph.outputs = [node.output]
    #expect {
      _ = try Interpreter(program)
    } throws: { "\($0)".contains("the tensor 'w' is float32[1, 4], but the graph's input 'b_w' is float32[500, 4]") }
  }
}
