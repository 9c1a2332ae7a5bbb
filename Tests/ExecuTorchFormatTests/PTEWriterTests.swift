import GraphIR
import Swiftlet
import TestSupport
import Testing

@testable import ExecuTorchFormat

@Suite struct PTEWriterTests {
  /// ExecuTorch frees a delegate's bytes when it has packed the weights: what is read at each run has to be an argument.
  @Test func constantsThatAreNotPackedAreArguments() throws {
    var program = ExportedProgram(name: "scaled")
    let input = program.graph.addValue("x", TensorSpec(.float32, [1, 4, 3, 3]))
    program.graph.inputs.append(input)
    program.inputKinds.append(.userInput)
    let half = program.addBuffer("half", Tensor([0.5, 1, 2, 4] as [Float], shape: [1, 4, 1, 1]))
    let node = program.graph.makeNode(
      OperatorSet.standard.resolve("aten.mul.Tensor"), name: "mul",
      arguments: [.init("self", .value(input)), .init("other", .value(half))],
      output: TensorSpec(.float32, [1, 4, 3, 3]))
    program.graph.nodes.append(node)
    program.graph.outputs = [node.output]

    let folder = try TemporaryFolder()
    try PTEArchive.write(program, to: folder.path("x.pte"))
    let plan = try PTEFile(path: folder.path("x.pte")).method(nil)
    guard case .delegate(_, let arguments)? = plan.instructions.first else {
      Issue.record("no delegate")
      return
    }
    #expect(arguments.count == 3)
    let constants = arguments.filter { index in
      if case .tensor(let tensor) = plan.values[index] { tensor.constant > 0 } else { false }
    }
    #expect(constants.count == 1)

    let x = Tensor((0..<36).map { Float($0) - 17 }, shape: [1, 4, 3, 3])
    let again = try Interpreter(PTEArchive.read(folder.path("x.pte"))).run([x])[0].elements(as: Float.self)
    #expect(try again == Interpreter(program).run([x])[0].elements(as: Float.self))
  }
}
