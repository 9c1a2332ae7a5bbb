import Foundation
import Swiftlet
import SwiftletTools
import Testing

/// What a package of a user's own does. The target has no `package` access: what these tests call is public, and so is
/// what the documents' operators and quantizer call, whose files are linked here.
@Suite struct PublicFaceTests {
  // MARK: A model

  private final class Net: Module {
    let conv = Conv2d(3, 8, kernelSize: 3, padding: 1)
    let scale = Buffer(Tensor([Float(0.5)], shape: [1]))
    let fc = Linear(8, 4)

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try conv(input).relu()
      let y = try SymbolicTensor.call(.snake, ["self": .tensor(x), "alpha": .float(0.5)])[0]
      return try fc((y * y.buffer(scale)).mean(dim: [2, 3]))
    }
  }

  private func net(dynamicShapes: [[Int: Dim]] = []) throws -> ExportedProgram {
    let model = Net()
    model.resetParameters(seed: 3)
    var weights = model.stateDict()
    weights["fc.bias"] = Tensor([Float](repeating: 1, count: 4), shape: [4])
    try model.loadStateDict(weights)
    return try export(model, [TensorSpec(.float32, [1, 3, 8, 8])], dynamicShapes: dynamicShapes)
  }

  // MARK: Data of one's own

  private struct Waves: Dataset {
    let count: Int
    func label(_ index: Int) -> Int? { index % 4 }
    func input(_ index: Int) -> Tensor {
      Tensor((0..<192).map { sin(Float($0 * (index + 1)) / 7) }, shape: [1, 3, 8, 8])
    }
  }

  private func largest(_ tensors: [Tensor]) -> Float { tensors[0].elements(as: Float.self).map(abs).max() ?? 0 }

  @Test func anOperatorOfOnesOwnRunsInEveryForm() throws {
    let float = try net()
    try Verifier.verify(float, as: .float)
    #expect(float.graph.nodes.contains { $0.op == .snake })
    let input = Waves(count: 1).input(0)
    let expected = try Interpreter(float).run([input])
    let int8 = try quantize(float, Waves(count: 4), threads: 1).program
    for program in [float, int8] {
      let method = try Method(lower(program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 1))
      let result = try method.run([input])
      let difference = zip(result[0].elements(as: Float.self), expected[0].elements(as: Float.self)).map {
        abs($0 - $1)
      }
      #expect(difference.max() ?? 0 < 0.05 * largest(expected))
      // In int8 it is a table, as any function of one element.
      let backend = method.operations.first { $0.operatorName == "my.snake.default" }?.backend
      #expect(backend == (program.isQuantized ? nil : .portable))
    }

    let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).pt2").path
    defer { try? FileManager.default.removeItem(atPath: file) }
    try PT2Archive.write(int8, to: file)
    let read = try PT2Archive.read(file, operators: .standard.adding([.snake]))
    #expect(
      try Interpreter(read).run([input])[0].elements(as: Float.self) == Interpreter(int8).run([input])[0].elements())
  }

  // MARK: A quantizer and an observer of one's own

  /// The largest magnitude of all values.
  private final class Magnitude: PerTensorObserver {
    private let target: QuantizationTarget
    private var largest: Float?

    init(_ target: QuantizationTarget) { self.target = target }

    var hasObserved: Bool { largest != nil }
    func observe(_ values: UnsafeBufferPointer<Float>) throws(ObserverError) {
      for value in values { largest = max(largest ?? 0, abs(value)) }
    }
    func calculateQParams() throws(ObserverError) -> QParams {
      guard let largest else { throw .notCalibrated }
      let (scale, zeroPoint) = try target.parameters(min: -largest, max: largest)
      return QParams(scale: scale, zeroPoint: zeroPoint)
    }
  }

  /// Linear layers, and means that keep their input's parameters.
  private struct OwnQuantizer: Quantizer {
    let activation = QuantizationSpec(
      scheme: .perTensorAffine, observer: ObserverConstructor("Magnitude") { target, _ in Magnitude(target) })
    let weight = QuantizationSpec(quantMin: -127, scheme: .perTensorSymmetric, observer: .minMax)

    func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) {
      let constants = program.constants()
      for node in program.graph.nodes {
        if node.op == .relu || node.op == .meanDim, let x = node.value("self") {
          let input: AnnotatedSpec = annotations.isQuantized(x) ? .shared(with: .output(x)) : .own(activation)
          annotations[node.output] = QuantizationAnnotation(
            inputs: [(x, input)], output: .shared(with: .edge(from: x, to: node.output)))
        } else if node.op == .linear, let x = node.value("input"), let w = node.value("weight"), constants[w] != nil {
          annotations[node.output] = QuantizationAnnotation(
            inputs: [(x, .own(activation)), (w, .own(weight))], output: .own(activation))
        } else {
          annotations.keepInFloat(node, reason: "it is left alone")
        }
      }
    }
  }

  @Test func optionsTakeAnyQuantizerAndKeepNodesInFloat() throws {
    let float = try net()
    func result(_ floatNodes: Set<String>) throws -> QuantizationResult {
      try quantize(
        float, Waves(count: 4), options: QuantizationOptions(quantizer: OwnQuantizer(), floatNodes: floatNodes),
        threads: 1)
    }
    func quantizeCount(_ result: QuantizationResult) -> Int {
      result.program.graph.nodes.count { $0.op == .quantizePerTensor }
    }
    let all = try result([])
    #expect(!all.notQuantized.contains { $0.operatorName == Operator.linear.name })
    let linear = try #require(float.graph.nodes.first { $0.op == .linear })
    let fewer = try result([linear.name])
    #expect(fewer.notQuantized.contains { $0.node == linear.name && $0.reason == "it is set to stay in float" })
    #expect(quantizeCount(fewer) < quantizeCount(all))
    let composed = try prepare(
      float, quantizer: ComposableQuantizer([OwnQuantizer(), XNNPACKQuantizer()]).keepingInFloat([linear.name]))
    #expect(composed.notQuantized.contains { $0.node == linear.name })
  }

  // MARK: Editing a graph; sizes that vary; tools

  @Test func aGraphIsMadeByHand() throws {
    var program = ExportedProgram(name: "sum")
    let x = program.graph.addValue("x", TensorSpec(.float32, [2]))
    program.graph.inputs = [x]
    program.inputKinds = [.userInput]
    let one = program.addBuffer("one", Tensor([Float(1), 1], shape: [2]))
    let node = program.graph.makeNode(
      .add, name: "sum", arguments: [.init("self", .value(x)), .init("other", .value(one))],
      output: TensorSpec(.float32, [2]))
    program.graph.nodes.append(node)
    program.graph.outputs = [node.output]
    let lowered = try lower(program, partitioner: nil)
    #expect(lowered.name == "sum" && lowered.arenaByteCount > 0)
    let method = try Method(lowered, threads: ThreadPool(threadCount: 1), options: MethodOptions(kernels: .native))
    try method.setInput(0, to: Tensor([Float(2), 3], shape: [2]))
    try method.execute()
    #expect(method.output(0).elements(as: Float.self) == [3, 4])
  }

  @Test func methodsOfVaryingBatchesAreEvaluated() throws {
    let program = try net(dynamicShapes: [[0: Dim("batch", min: 1, max: 4)]])
    let method = try Method(lower(program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 1))
    #expect(try method.run([Tensor(zeros: TensorSpec(.float32, [3, 3, 8, 8]))])[0].shape == [3, 4])
    #expect(try evaluate(method, on: Waves(count: 8)).images == 8)
  }

  @Test func toolsLookAtModels() throws {
    let float = try net()
    let int8 = try quantize(float, Waves(count: 4), threads: 1).program
    let comparison = try compareLayers(float: float, quantized: int8, data: Waves(count: 2), threads: 1)
    #expect(comparison.worstFirst().first { $0.isQuantized }?.isolated?.sqnr ?? 0 > 10)
    let method = try Method(lower(float, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 1))
    #expect(method.delegationSummary.contains("XNNPACK"))
    #expect(method.fallback.contains { $0.op == "my.snake.default" })
  }
}
