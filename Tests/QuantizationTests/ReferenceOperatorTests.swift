import GraphIR
import PipelineTesting
import Quantization
import Swiftlet
import TensorCore
import TestSupport
import Testing

/// The reference representation of small graphs: the bytes of the lowered program, at most one quantum from the Q/DQ
/// simulation.
@Suite struct ReferenceOperatorTests {
  @Test(arguments: [[0.02, 0.03, 0.04], [0.5, 0.01, 0.002]] as [[Float]]) func mul(scales: [Float]) throws {
    try expectBinary("aten.mul.Tensor", scales)
  }

  @Test(arguments: [[0.02, 0.03, 0.04], [0.001, 2, 2.1]] as [[Float]]) func sub(scales: [Float]) throws {
    try expectBinary("aten.sub.Tensor", scales)
  }

  /// Of height 1, padded by name, and both.
  @Test(arguments: ["aten.conv1d.default", "aten.conv1d.padding", "aten.conv2d.padding"])
  func otherConvolutions(op: String) throws {
    let isFlat = op.contains("conv1d")
    let (shape, kernel): (Shape, Shape) = isFlat ? ([2, 4, 9], [6, 4, 4]) : ([2, 4, 9, 8], [6, 4, 2, 3])
    let padding: Attribute = op.hasSuffix("padding") ? .string("same") : .ints([1])
    var output = shape.dimensions
    output[1] = 6
    if !op.hasSuffix("padding") { output[2] = 8 }
    var model = QDQModel()
    let x = model.pair(model.input(shape), 0.021, -7)
    let weight = model.weight(kernel)
    let y = model.real(
      op, ["input": .value(x), "weight": .value(weight), "padding": .attribute(padding)], Shape(output))
    let rectified = model.real("aten.relu6.default", ["self": .value(y)], Shape(output))
    let reference = try expectAgreement(
      model.finish(model.pair(rectified, 0.023, -128)), [.random(shape, -3...3)], 0.023)
    #expect(reference.expectOperator(op, on: .int32))
  }

  @Test(arguments: ["aten.matmul.default", "aten.bmm.default", "aten.mm.default"]) func matmul(op: String) throws {
    let batch = op == "aten.mm.default" ? [] : [2]
    let (a, b, c) = (Shape(batch + [5, 7]), Shape(batch + [7, 3]), Shape(batch + [5, 3]))
    var model = QDQModel()
    let x = model.pair(model.input(a, "a"), 0.021, -7)
    let y = model.pair(model.input(b, "b"), 0.017, 30)
    let product = model.real(
      op, op.contains("matmul") ? ["self": .value(x), "other": .value(y)] : ["self": .value(x), "mat2": .value(y)], c)
    let inputs = [Tensor.random(a, -3...3), Tensor.random(b, -3...3, seed: 2)]
    let reference = try expectAgreement(model.finish(model.pair(product, 0.1, 4)), inputs, 0.1)
    #expect(reference.expectOperator(op, on: .int32))
  }

  @Test func averages() throws {
    let calls: [(String, [String: Attribute], Shape)] = [
      ("aten.adaptive_avg_pool2d.default", ["output_size": .ints([1, 1])], [2, 3, 1, 1]),
      ("aten.adaptive_avg_pool2d.default", ["output_size": .ints([2, 4])], [2, 3, 2, 4]),
      ("aten.mean.dim", ["dim": .ints([-1, -2]), "keepdim": .bool(true)], [2, 3, 1, 1]),
      ("aten.avg_pool2d.default", ["kernel_size": .ints([3, 2])], [2, 3, 2, 4]),
      (
        "aten.avg_pool2d.default",
        ["kernel_size": .ints([3, 3]), "stride": .ints([2, 1]), "padding": .ints([1, 1])], [2, 3, 3, 8]
      ),
    ]
    for (op, attributes, shape) in calls {
      var model = QDQModel()
      let x = model.pair(model.input([2, 3, 6, 8]), 0.021, 5)
      let node = model.model.program.graph.makeNode(
        OperatorSet.standard.resolve(op), name: "mean",
        arguments: [.init("self", .value(x))] + attributes.map { .init($0.key, .attribute($0.value)) },
        output: TensorSpec(.float32, shape))
      model.model.program.graph.nodes.append(node)
      let program = model.finish(model.pair(node.output, 0.0078, -30))
      let reference = try expectAgreement(program, [.random([2, 3, 6, 8], -3...3)], 0.0078)
      #expect(reference.notRewritten.isEmpty)
    }
  }

  /// Padding, slices, permutations and concatenation with three different ranges.
  @Test func movement() throws {
    var model = QDQModel()
    let x = model.input([1, 2, 4, 6])
    let a = model.pair(x, 0.021, 5)
    let padded = model.real(
      "aten.pad.default", ["self": .value(a), "pad": .attribute(.ints([1, 0, 0, 2]))], [1, 2, 6, 7])
    let sliced = model.real(
      "aten.slice.Tensor",
      ["self": .value(padded), "dim": .attribute(.int(3)), "start": .attribute(.int(0)), "end": .attribute(.int(6))],
      [1, 2, 6, 6])
    let turned = model.real(
      "aten.permute.default", ["self": .value(model.pair(sliced, 0.021, 5)), "dims": .attribute(.ints([0, 1, 3, 2]))],
      [1, 2, 6, 6])
    let other = model.pair(model.pair(sliced, 0.021, 5), 0.04, -100)
    let joined = model.real(
      "aten.cat.default", ["tensors": .values([turned, other]), "dim": .attribute(.int(1))], [1, 4, 6, 6])
    let flat = model.real(
      "aten.view.default", ["self": .value(model.pair(joined, 0.03, 17)), "size": .attribute(.ints([1, 144]))],
      [1, 144])
    let reference = try expectAgreement(model.finish(model.pair(flat, 0.03, 17)), [.random([1, 2, 4, 6], -3...3)], nil)
    #expect(reference.notRewritten.isEmpty)
    #expect(reference.expectOperator("aten.cat.default", on: .int8))
  }

  /// An input that is moved before it is quantized is quantized first.
  @Test func movementOfReals() throws {
    var model = QDQModel()
    let x = model.input([1, 2, 4, 6])
    let padded = model.real(
      "aten.pad.default", ["self": .value(x), "pad": .attribute(.ints([1, 0, 0, 2]))], [1, 2, 6, 7])
    let program = model.finish(
      model.pair(padded, 0.021, 5),
      model.real("aten.view.default", ["self": .value(x), "size": .attribute(.ints([48]))], [48]))
    let reference = try expectAgreement(program, [.random([1, 2, 4, 6], -3...3)], nil)
    #expect(reference.notRewritten.map(\.node) == ["view"])
    #expect(reference.expectOperator("aten.constant_pad_nd.default", on: .int8))
  }

  @Test func clampOnQuanta() throws {
    var model = QDQModel()
    let x = model.pair(model.input([300]), 0.021, 5)
    let rectified = model.real("aten.relu.default", ["self": .value(x)], [300])
    let program = model.finish(
      model.pair(rectified, 0.021, 5),
      model.pair(model.real("aten.relu.default", ["self": .value(x)], [300]), 0.013, -128))
    let reference = try expectAgreement(program, [.random([300], -3...3)], nil)
    #expect(reference.notRewritten.map(\.node) == ["relu_1"])
    #expect(reference.notRewritten[0].reason.contains("other parameters"))
  }

  @Test func functionsWithoutAnIntegerFormStayAndAreReported() throws {
    var model = QDQModel()
    let x = model.pair(model.input([300]), 0.05, 5)
    let program = model.finish(
      model.pair(model.real("aten.sigmoid.default", ["self": .value(x)], [300]), 1 / 256, -128))
    let reference = try expectAgreement(program, [.random([300], -6...6)], nil)
    #expect(reference.notRewritten.map(\.node) == ["sigmoid"])
    #expect(reference.notRewritten[0].reason.contains("no integer form"))
  }

  @Test func aHalfQuantizedUnitStaysInFloat() throws {
    var model = QDQModel()
    let x = model.pair(model.input([2, 8]), 0.05, 5)
    let weight = model.weight([3, 8])
    let program = model.finish(
      model.real("aten.linear.default", ["input": .value(x), "weight": .value(weight)], [2, 3]))
    let reference = try referenceRepresentation(of: program)
    #expect(reference.notRewritten.map(\.reason) == ["its output is not quantized"])
    let input = Tensor.random([2, 8], -6...6)
    #expect(try run(reference.program, [input]) == run(program, [input]))
  }

  @Test func programsOfOtherDialectsAreRefused() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let observer: KeyValuePairs<String, Operand> = ["input": .value(x), "observer": .attribute(.int(0))]
    model.program.graph.outputs = [model.call("quantization.observe", "observe", observer, [1, 3, 4, 4])]
    #expect(throws: GraphError.self) { try referenceRepresentation(of: model.program) }
  }
}
