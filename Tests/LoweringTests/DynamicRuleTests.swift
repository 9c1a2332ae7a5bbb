import NN
import Swiftlet
import TestSupport
import Testing

/// Two slices whose lengths differ at one size in ten.
private final class Ends: Module {
  override func forward(_ inputs: [SymbolicTensor]) throws(ExportError) -> [SymbolicTensor] {
    let count = inputs[0].size(0)
    return [
      try inputs[0].slice(dim: 0, end: (count + 3) / 10).relu(),
      try inputs[0].slice(dim: 0, end: (count + 2) / 10).relu(),
    ]
  }
}

/// Two convolutions whose results' lengths differ at one size in ten.
private final class Convolutions: Module {
  let a = Conv1d(1, 2, kernelSize: 7, stride: 10)
  let b = Conv1d(1, 2, kernelSize: 8, stride: 10)

  override func forward(_ inputs: [SymbolicTensor]) throws(ExportError) -> [SymbolicTensor] {
    [try a(inputs[0]).relu(), try b(inputs[0])]
  }
}

private final class Images: Module {
  let a = Conv2d(4, 4, kernelSize: Pair(1, 7), stride: Pair(1, 10))
  let b = Conv2d(4, 4, kernelSize: Pair(1, 8), stride: Pair(1, 10))

  override func forward(_ inputs: [SymbolicTensor]) throws(ExportError) -> [SymbolicTensor] {
    [try a(inputs[0].relu()).relu(), try b(inputs[0]).relu()]
  }
}

private final class Flat: Module {
  override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.relu().flatten() }
}

private final class Gram: Module {
  override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.matmul(input.transpose(0, 1)).flatten()
  }
}

/// Sizes of lowered programs whose rules differ little, or of which few sizes tell anything.
@Suite struct DynamicRuleTests {
  private func noise(_ shape: Shape) -> Tensor {
    var generator = SeededGenerator(seed: UInt64(shape.elementCount))
    return Tensor((0..<shape.elementCount).map { _ in Float.random(in: -2...2, using: &generator) }, shape: shape)
  }

  private func method(_ program: ExportedProgram) throws -> Method {
    try Method(lower(program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 1))
  }

  /// Expects the bytes that a program lowered at each size alone gives.
  private func expectAsFixed(
    _ model: Module, _ dims: [Int: Dim], example: [Int], _ shapes: [[Int]], tolerance: Float = 0
  ) throws {
    model.resetParameters(seed: 3)
    let program = try export(model, [TensorSpec(.float32, Shape(example))], dynamicShapes: [dims])
    let method = try method(program)
    for shape in shapes.map({ Shape($0) }) {
      var fixed = try program.resized(inputShapes: [shape])
      fixed.dynamicShapes = nil
      let expected = try self.method(fixed).run([noise(shape)])
      let outputs = try method.run([noise(shape)])
      #expect(outputs.map(\.shape) == expected.map(\.shape), "\(shape)")
      for (a, b) in zip(outputs, expected) where a.shape == b.shape {
        let differences = zip(a.elements(as: Float.self), b.elements(as: Float.self)).map { abs($0 - $1) }
        #expect(differences.max() ?? 0 <= tolerance, "\(shape)")
      }
    }
  }

  @Test func slicesOfAlmostEqualLengthsStayApart() throws {
    try expectAsFixed(
      Ends(), [0: Dim("t", min: 1000, max: 2000)], example: [1000, 2],
      [1000, 1006, 1007, 1008, 1557, 2000].map { [$0, 2] })
    try expectAsFixed(Ends(), [0: Dim("t", min: 18, max: 60)], example: [40, 2], (18...60).map { [$0, 2] })
  }

  @Test func convolutionsOfAlmostEqualSizesStayApart() throws {
    let sizes = [1000, 1006, 1007, 1008, 1017, 1557, 2000]
    try expectAsFixed(
      Convolutions(), [2: Dim("t", min: 1000, max: 2000)], example: [1, 1, 1000], sizes.map { [1, 1, $0] })
    try expectAsFixed(
      Images(), [3: Dim("t", min: 1000, max: 2000)], example: [1, 4, 3, 1000], sizes.map { [1, 4, 3, $0] })
    try expectAsFixed(
      Convolutions(), [2: Dim("t", min: 18, max: 60)], example: [1, 1, 40], (18...60).map { [1, 1, $0] })
  }

  @Test(arguments: [1...2, 2...3, 1...3, 1...1]) func shortRangesAreWhole(_ range: ClosedRange<Int>) throws {
    let batch = Dim("batch", min: range.lowerBound, max: range.upperBound)
    for example in range {
      try expectAsFixed(Flat(), [0: batch], example: [example, 3, 4], range.map { [$0, 3, 4] })
      try expectAsFixed(Gram(), [0: batch], example: [example, 3], range.map { [$0, 3] }, tolerance: 1e-5)
    }
    let images = Sequential([
      Conv2d(2, 4, kernelSize: 3, padding: 1), ReLU(), AdaptiveAvgPool2d(1), Flatten(), Linear(4, 3),
    ])
    // The library sums a single row in another order.
    try expectAsFixed(
      images, [0: batch], example: [range.upperBound, 2, 8, 8], range.map { [$0, 2, 8, 8] }, tolerance: 1e-5)
  }

  @Test func shortRangesOfTwoSizesAreWhole() throws {
    let (a, b) = (Dim("a", min: 1, max: 2), Dim("b", min: 1, max: 2))
    try expectAsFixed(
      Flat(), [0: a, 1: b], example: [1, 2, 5], [[1, 1, 5], [1, 2, 5], [2, 1, 5], [2, 2, 5]])
  }
}
