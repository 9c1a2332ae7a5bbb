import GraphIR
import Operators
import SymbolicSizes
import TensorCore
import TestSupport
import Testing

/// What is computed ahead of time, and what is not.
struct FoldConstantsTests {
  /// zeros(sizes) → chunk into two, and an addition to `x` of the first piece.
  private func program(_ sizes: [Int]) throws -> ExportedProgram {
    var program = ExportedProgram(name: "fold")
    let half = TensorSpec(.float32, Shape([sizes[0] / 2] + sizes.dropFirst()))
    let x = program.graph.addValue("x", half)
    program.graph.inputs = [x]
    program.inputKinds = [.userInput]
    let zeros = program.graph.makeNode(
      OperatorSet.standard.resolve("aten.ones.default"), name: "ones",
      arguments: [.init("size", .attribute(.ints(sizes)))],
      output: TensorSpec(.float32, Shape(sizes)))
    let pieces = (0..<2).map { program.graph.addValue("piece\($0)", half) }
    let chunk = Node(
      name: "chunk", operatorName: "aten.chunk.default",
      arguments: [.init("self", .value(zeros.output)), .init("chunks", .attribute(.int(2)))], outputs: pieces)
    let add = program.graph.makeNode(
      OperatorSet.standard.resolve("aten.add.Tensor"), name: "add",
      arguments: [.init("self", .value(x)), .init("other", .value(pieces[1]))],
      output: half)
    program.graph.nodes = [zeros, chunk, add]
    program.graph.outputs = [add.output]
    try Verifier.verify(program, as: .float)
    return program
  }

  @Test func tensorsMadeOfNothingBecomeConstants() throws {
    var program = try program([4, 3])
    try foldConstantMovements(in: &program)
    try Verifier.verify(program, as: .float)
    #expect(program.graph.nodes.map(\.name) == ["add"])
    #expect(program.stateDict.values.map { $0.elements(as: Float.self) } == [[1, 1, 1, 1, 1, 1]])
    let input = Tensor([0, 1, 2, 3, 4, 5] as [Float], shape: [2, 3])
    #expect(try Interpreter(program).run([input])[0].elements(as: Float.self) == [1, 2, 3, 4, 5, 6])
  }

  @Test func varyingSizesStayComputed() throws {
    var program = try program([4, 3])
    let size = SymbolicSize.symbol("s0")
    program.dynamicShapes = DynamicShapes(hints: ["s0": 4], sizes: ["ones": [size, .int(3)]])
    try foldConstantMovements(in: &program)
    #expect(program.graph.nodes.map(\.name) == ["ones", "chunk", "add"])
  }

  /// A few bytes of a file may ask for any size.
  @Test func largeResultsStayComputed() throws {
    var program = try program([1 << 20, 1 << 10])
    try foldConstantMovements(in: &program)
    #expect(program.graph.nodes.map(\.name) == ["ones", "chunk", "add"] && program.stateDict.isEmpty)
  }
}
