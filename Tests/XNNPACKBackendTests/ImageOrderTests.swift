import PipelineTesting
import Swiftlet
import TensorCore
import TestSupport
import Testing

/// 4-D values whose memory is not that of an image: nothing may take them for channels last.
@Suite struct ImageOrderTests {
  /// A program of one float input and a chain of calls on it.
  private func program(_ input: Shape, _ calls: [(op: String, arguments: [Node.Argument])]) throws -> ExportedProgram {
    var program = ExportedProgram(name: "order")
    var last = program.graph.addValue("x", TensorSpec(.float32, input))
    program.graph.inputs = [last]
    program.inputKinds = [.userInput]
    for (index, (name, arguments)) in calls.enumerated() {
      var node = Node(
        name: "n\(index)", operatorName: name, arguments: [.init("self", .value(last))] + arguments, outputs: [])
      let (op, call) = try program.call(of: node, constants: [:])
      node.outputs = try op.infer(call).map { program.graph.addValue(node.name, $0) }
      program.graph.nodes.append(node)
      last = node.output
    }
    program.graph.outputs = [last]
    return program
  }

  private func expectAgreement(
    _ program: ExportedProgram, within tolerance: Float, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    var random = Random(3)
    let shape = program.graph.spec(program.userInputs[0]).shape
    let x = Tensor((0..<shape.elementCount).map { _ in random.float(-1, 1) }, shape: shape)
    let expected = try Interpreter(program).run([x])[0].elements(as: Float.self)
    for partitioner in [XNNPACKPartitioner(), nil] {
      let method = try Method(lower(program, partitioner: partitioner), threads: ThreadPool(threadCount: 1))
      let actual = try method.run([x])[0].elements(as: Float.self)
      #expect(
        zip(actual, expected).allSatisfy { abs($0 - $1) <= tolerance } && actual.count == expected.count,
        sourceLocation: sourceLocation)
    }
  }

  /// Equally much around channels, height and width: sizes in another order would still fit.
  @Test func channelsAreNotPaddedAsColumns() throws {
    try expectAgreement(
      program(
        [1, 3, 5, 4],
        [
          (
            "aten.constant_pad_nd.default",
            [.init("pad", .attribute(.ints([1, 2, 1, 2, 2, 1]))), .init("value", .attribute(.float(0.5)))]
          )
        ]), within: 0)
  }

  /// An int8 image becomes 5-D.
  @Test func anImageIsRowMajorBeforeItGetsMoreDimensions() throws {
    let float = try program(
      [1, 3, 5, 4],
      [
        ("aten.add.Tensor", [.init("other", .attribute(.float(0.5)))]),
        ("aten.max_pool2d.default", [.init("kernel_size", .attribute(.ints([2, 2])))]),
        ("aten.expand.default", [.init("size", .attribute(.ints([2, 1, 3, -1, -1])))]),
        ("aten.neg.default", []),
      ])
    let observed = try prepare(float, quantizer: XNNPACKQuantizer())
    let ramp = Tensor((0..<60).map { Float($0) / 30 - 1 }, shape: [1, 3, 5, 4])
    try calibrate(observed, with: RampData(tensor: ramp), threads: 1)
    let int8 = try convert(observed)
    #expect(try lower(int8, partitioner: nil).instructions.contains { $0.operatorName == "fused.expand" })
    try expectAgreement(int8, within: 0.03)
  }

  private struct RampData: Dataset {
    let tensor: Tensor
    let count = 1
    func input(_ index: Int) -> Tensor { tensor }
    func label(_ index: Int) -> Int? { nil }
  }
}
