import NN
import Swiftlet
import Testing

/// Calls a closure as a model.
private final class Lambda: Module {
  let body: ([SymbolicTensor]) throws(ExportError) -> [SymbolicTensor]

  init(_ body: @escaping ([SymbolicTensor]) throws(ExportError) -> [SymbolicTensor]) { self.body = body }

  override func forward(_ inputs: [SymbolicTensor]) throws(ExportError) -> [SymbolicTensor] { try body(inputs) }
}

private final class Small: Module {
  let conv = Conv2d(2, 4, kernelSize: 3, stride: 2, padding: 1)
  let pool = MaxPool2d(kernelSize: 2)
  let fc = Linear(4, 3)

  override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let x = try pool(conv(input).relu())
    return try fc(x.adaptiveAvgPool2d([1, 1]).view([x.size(0), x.size(1)]))
  }
}

struct DynamicCaptureTests {
  @Test func batchAndSizesVary() throws {
    let (batch, side) = (Dim("batch", min: 1, max: 32), Dim("side", min: 8, max: 64))
    let program = try export(
      Small(), [TensorSpec(.float32, [4, 2, 16, 16])], dynamicShapes: [[0: batch, 2: side, 3: side]])
    let shapes = try #require(program.dynamicShapes)
    #expect(shapes.hints == ["s0": 4, "s1": 16])
    #expect(shapes.rangeConstraints["s1"] == RangeConstraint(minimum: 8, maximum: 64))
    #expect(shapes.symbolicSizes(of: "conv2d")?.map(\.description) == ["s0", "4", "(s1 + 1)//2", "(s1 + 1)//2"])
    #expect(shapes.arguments["view"]?["size"]?.map(\.description) == ["s0", "4"])
    for (count, size) in [(1, 8), (32, 64), (3, 11)] {
      let other = try program.resized(["s0": count, "s1": size])
      try Verifier.verify(other, as: .float)
      #expect(other.graph.spec(other.graph.outputs[0]).shape == [count, 3])
    }
    #expect(throws: GraphError.self) { try program.resized(["s0": 33]) }
  }

  @Test func sizeThatAnOperatorRefusesIsNamed() {
    let error = #expect(throws: ExportError.self) {
      try export(
        Small(), [TensorSpec(.float32, [1, 2, 16, 16])], dynamicShapes: [[2: Dim("height", min: 1, max: 64)]])
    }
    #expect(error?.operatorName == "aten.max_pool2d.default")
    #expect(error?.reason.contains("height = 1") == true)
  }

  @Test func inputsShareDimsAndDeriveThem() throws {
    let batch = Dim("batch", min: 2, max: 10)
    let model = Lambda { x throws(ExportError) in [try cat([x[0], x[0], x[1]]), try x[0].flatten()] }
    let specs = [TensorSpec(.float32, [3, 4]), TensorSpec(.float32, [7, 4])]
    let program = try export(model, specs, dynamicShapes: [[0: batch], [0: 2 * batch + 1]])
    let shapes = try #require(program.dynamicShapes)
    #expect(shapes.symbolicSizes(of: "x_1")?[0].description == "2*s0 + 1")
    #expect(shapes.symbolicSizes(of: "cat")?[0].evaluated(["s0": 10]) == 41)
    #expect(shapes.symbolicSizes(of: "flatten")?[0].description == "4*s0")
    #expect(shapes.rangeConstraints["2*s0 + 1"] == RangeConstraint(minimum: 5, maximum: 21))
    let error = #expect(throws: ExportError.self) { try export(model, specs, dynamicShapes: [[0: batch], [0: batch]]) }
    #expect(error?.reason.contains("batch is 3") == true)
  }

  @Test func specializationIsReportedWithEveryPlace() {
    let model = Lambda { x throws(ExportError) in
      let count = Int(x[0].size(0))
      let y = x[0].size(0) > 2 ? try x[0].relu() : x[0]
      return [try y.reshape([SymInt(count * 4)])]
    }
    let error = #expect(throws: ExportError.self) {
      try export(model, [TensorSpec(.float32, [3, 4])], dynamicShapes: [[0: Dim("batch", min: 1, max: 8)]])
    }
    // Either the operator at another size or the guards stop it; both say which size.
    #expect(error?.reason.contains("= 1") == true)
    let comparing = Lambda { x throws(ExportError) in [x[0].size(0) > 2 ? try x[0].relu() : x[0]] }
    let guarded = #expect(throws: ExportError.self) {
      try export(comparing, [TensorSpec(.float32, [3, 4])], dynamicShapes: [[0: Dim("batch", min: 1, max: 8)]])
    }
    #expect(guarded?.reason.contains("specialized") == true)
    #expect(guarded?.reason.contains("'2 < batch' is true in the example and false at batch = 1") == true)
  }

  @Test func automaticDimsBecomeFixedWhereTheModelFixesThem() throws {
    let model = Lambda { x throws(ExportError) in [x[0].size(0) == 3 ? try x[0].relu() : x[0]] }
    let program = try export(
      model, [TensorSpec(.float32, [3, 4])], dynamicShapes: [[0: .auto, 1: .auto]])
    let shapes = try #require(program.dynamicShapes)
    #expect(shapes.symbolicSizes(of: "relu")?.map(\.description) == ["3", "s1"])
  }

  @Test func guardsThatAlwaysHoldAreKept() throws {
    let model = Lambda { x throws(ExportError) in [x[0].size(0) < 100 ? try x[0].relu() : x[0]] }
    let program = try export(
      model, [TensorSpec(.float32, [3, 4])], dynamicShapes: [[0: Dim("batch", min: 1, max: 64)]])
    #expect(program.dynamicShapes?.guards == ["s0 < 100"])
  }

  @Test(arguments: [(1, 4096), (1, nil)] as [(Int, Int?)])
  func rareDecisionsAreFound(_ low: Int, _ high: Int?) {
    let model = Lambda { x throws(ExportError) in [x[0].size(0) == 1000 ? try x[0].relu() : x[0]] }
    let error = #expect(throws: ExportError.self) {
      try export(
        model, [TensorSpec(.float32, [4, 2])], dynamicShapes: [[0: Dim("batch", min: low, max: high)]])
    }
    #expect(error?.reason.contains("batch = 1000") == true)
    let far = Lambda { x throws(ExportError) in [x[0].size(0) * 3 > 15_000 ? try x[0].relu() : x[0]] }
    #expect(throws: ExportError.self) {
      try export(far, [TensorSpec(.float32, [4, 2])], dynamicShapes: [[0: Dim("batch")]])
    }
  }

  @Test func decisionsThatHoldEverywhereAreKept() throws {
    let model = Lambda { x throws(ExportError) in
      let (n, m) = (x[0].size(0), x[0].size(1))
      return [n * 2 == m * 2 + 1 || n + m < 1 ? try x[0].relu() : x[0]]
    }
    let dims = [[0: Dim("n", min: 8, max: 1 << 20), 1: Dim("m", min: 1, max: 7)]]
    let program = try export(model, [TensorSpec(.float32, [8, 2])], dynamicShapes: dims)
    #expect(program.dynamicShapes?.guards.count == 2)
    let undecided = Lambda { x throws(ExportError) in
      [(x[0].size(0) * x[0].size(0)) % 7 == 6 ? try x[0].relu() : x[0]]
    }
    let error = #expect(throws: ExportError.self) {
      try export(undecided, [TensorSpec(.float32, [8, 2])], dynamicShapes: [[0: Dim("n")]])
    }
    #expect(error?.reason.contains("cannot be decided") == true)
  }

  @Test func automaticDimsBecomeFixedWhereAnOperatorFixesThem() throws {
    let program = try export(
      Lambda { x throws(ExportError) in [try x[0] + x[1]] },
      [TensorSpec(.float32, [3, 4]), TensorSpec(.float32, [1, 4])], dynamicShapes: [[0: .auto, 1: .auto]])
    #expect(program.dynamicShapes?.symbolicSizes(of: "add")?.map(\.description) == ["s0", "4"])
  }

  /// Far more sizes than an operator is asked for.
  @Test(arguments: [(400, 160), (10, 5), (160, 100)])
  func stridesOfWideRangesAreExact(_ kernel: Int, _ stride: Int) throws {
    let program = try export(
      Conv1d(1, 2, kernelSize: kernel, stride: stride), [TensorSpec(.float32, [1, 1, 16000])],
      dynamicShapes: [[2: Dim("samples", min: 16000, max: 48000)]])
    let sizes = try #require(program.dynamicShapes?.symbolicSizes(of: "conv1d"))
    for count in Swift.stride(from: 16000, through: 48000, by: 1) {
      guard sizes[2].evaluated(["s0": count]) != (count - kernel) / stride + 1 else { continue }
      Issue.record("\(sizes[2]) at \(count)")
      break
    }
  }

  @Test(arguments: [40, 64, 100, 256]) func stepsOfSlicesAreExact(_ step: Int) throws {
    let program = try export(
      Lambda { x throws(ExportError) in [try x[0].slice(dim: 0, step: step)] }, [TensorSpec(.float32, [500])],
      dynamicShapes: [[0: Dim("count", min: 1, max: 990)]])
    let sizes = try #require(program.dynamicShapes?.symbolicSizes(of: "slice"))
    #expect((1...990).allSatisfy { sizes[0].evaluated(["s0": $0]) == ($0 + step - 1) / step }, "\(sizes)")
  }

  @Test func squaresAreSizes() throws {
    let model = Lambda { x throws(ExportError) in [try x[0].matmul(x[0].transpose(0, 1)).flatten()] }
    let program = try export(
      model, [TensorSpec(.float32, [3, 4])], dynamicShapes: [[0: Dim("batch", min: 1, max: 90)]])
    #expect(program.dynamicShapes?.symbolicSizes(of: "flatten")?[0].description == "s0*s0")
  }

  @Test(arguments: [Int.max, 1 << 40, 1 << 20]) func rangesBeyondMemoryAreOpen(_ maximum: Int) throws {
    let program = try export(
      Linear(4, 2), [TensorSpec(.float32, [2, 4])], dynamicShapes: [[0: Dim("batch", min: 1, max: maximum)]])
    #expect(program.dynamicShapes?.symbolicSizes(of: "linear")?.map(\.description) == ["s0", "2"])
    #expect(program.dynamicShapes?.rangeConstraints["s0"] == RangeConstraint(minimum: 1, maximum: maximum))
  }
}
