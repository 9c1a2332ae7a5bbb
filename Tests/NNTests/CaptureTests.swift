import NN
import Swiftlet
import TestSupport
import Testing

/// Two convolutions with a residual, a pool and a head.
private final class Net: Module {
  let conv1 = Conv2d(3, 8, kernelSize: 3, padding: 1, bias: false)
  let bn1 = BatchNorm2d(8)
  let relu = ReLU(inplace: true)
  let blocks = Sequential([Conv2d(8, 8, kernelSize: 3, stride: 2, padding: 1), ReLU6()])
  let downSample: Conv2d? = Conv2d(8, 8, kernelSize: 1, stride: 2)
  let absent: Conv2d? = nil
  let fc = Linear(8, 4)

  override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    var x = try relu(bn1(conv1(input)))
    x = try relu(blocks(x) + downSample!(x))
    x = try x.adaptiveAvgPool2d([1, 1]).flatten(startDim: 1)
    return try fc(x)
  }
}

struct CaptureTests {
  private static let image = TensorSpec(.float32, [2, 3, 9, 9])

  @Test func graphHasPyTorchsOperatorsNamesAndModules() throws {
    let program = try export(Net(), [Self.image])
    #expect(
      program.graph.nodes.map(\.name) == [
        "conv2d", "batch_norm", "relu", "conv2d_1", "hardtanh", "conv2d_2", "add", "relu_1", "adaptive_avg_pool2d",
        "flatten", "linear",
      ])
    #expect(
      program.graph.inputs.map { program.graph[$0].name }.prefix(3) == ["p_conv1_weight", "p_bn1_weight", "p_bn1_bias"])
    #expect(program.userInputs.map { program.graph[$0].name } == ["x"])
    let stack = program.graph.nodes[3].moduleStack
    #expect(stack.map(\.path) == ["", "blocks", "blocks.0"])
    #expect(stack.last?.type == "torch.nn.modules.conv.Conv2d")
    #expect(program.graph.nodes[3].metadata["torch_fn"] == "conv2d_2;builtin_function_or_method.conv2d")
    let keys = [
      "conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked",
      "blocks.0.weight", "blocks.0.bias", "down_sample.weight", "down_sample.bias", "fc.weight", "fc.bias",
    ]
    #expect(Net().stateDict().names == keys)
    #expect(Set(program.stateDict.keys) == Set(keys))
  }

  @Test func capturedModelRunsAndDrawsTheSameWeightsEachTime() throws {
    let (a, b) = (try export(Net(), [Self.image]), try export(Net(), [Self.image]))
    let input = Tensor((0..<486).map { Float($0 % 17) / 17 }, shape: [2, 3, 9, 9])
    let (first, second) = (try Interpreter(a).run([input])[0], try Interpreter(b).run([input])[0])
    #expect(first.elements(as: Float.self) == second.elements(as: Float.self))
    #expect(Set(first.elements(as: Float.self)).count == 8)
  }

  @Test func loadStateDictListsAllThatDoesNotFit() throws {
    let net = Net()
    var dict = net.stateDict()
    dict["fc.bias"] = nil
    dict["extra"] = Tensor([Float(1)], shape: [1])
    dict["conv1.weight"] = Tensor([Float(1)], shape: [1])
    let error = #expect(throws: StateDictError.self) { try net.loadStateDict(dict) }
    #expect(error?.missing == ["fc.bias"])
    #expect(error?.unexpected == ["extra"])
    #expect(error?.mismatches.map(\.name) == ["conv1.weight"])
    dict["conv1.weight"] = Tensor([Float](repeating: 0.5, count: 216), shape: [8, 3, 3, 3])
    let keys = try net.loadStateDict(dict, strict: false)
    #expect(keys.missing == ["fc.bias"])
    #expect(net.stateDict()["conv1.weight"]?.elements(as: Float.self).first == 0.5)
  }

  @Test func trainingModeIsRefused() {
    let net = Net()
    net.train()
    #expect(net.bn1.isTraining)
    let error = #expect(throws: ExportError.self) { try export(net, [Self.image]) }
    #expect(error?.description.contains("call eval()") == true)
  }

  @Test func shapesThatDoNotFitNameModuleOperatorAndLine() {
    let error = #expect(throws: ExportError.self) { try export(Net(), [TensorSpec(.float32, [1, 4, 9, 9])]) }
    #expect(error?.module == "conv1")
    #expect(error?.operatorName == "aten.conv2d.default")
    #expect(error?.location.hasPrefix("NNTests/CaptureTests.swift:") == true)
    #expect(error?.reason.contains("[1, 4, 9, 9]") == true)
  }
}

extension CaptureTests {
  /// Adds a table that is no parameter.
  private final class Positions: Module {
    let table = Buffer(Tensor([Float(1), 2, 3, 4], shape: [4]), isPersistent: false)

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      try input + input.buffer(table) + input.constant(Tensor([Float(10)], shape: [1])) * 2.0
    }
  }

  @Test func constantsAndBuffersBecomeInputs() throws {
    let program = try export(Positions(), [TensorSpec(.float32, [4])])
    #expect(
      program.inputKinds == [
        .buffer("table", isPersistent: false), .constantTensor("lifted_tensor_0"), .userInput,
      ])
    #expect(program.graph.inputs.map { program.graph[$0].name } == ["b_table", "c_lifted_tensor_0", "x"])
    let output = try Interpreter(program).run([Tensor([Float](repeating: 0, count: 4), shape: [4])])[0]
    #expect(output.elements(as: Float.self) == [21, 22, 23, 24])
    #expect(Positions().stateDict().names.isEmpty)
  }

  private final class Branching: Module {
    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let mean = try input.mean(dim: [0])
      if try mean.item() > 0 { return try input.relu() }
      return input
    }
  }

  private final class Foreign: Module {
    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      try ReLU()(input)
    }
  }

  @Test func dataDependentControlFlowIsRefusedWithItsLine() {
    let error = #expect(throws: ExportError.self) { try export(Branching(), [TensorSpec(.float32, [4])]) }
    #expect(error?.location.hasPrefix("NNTests/CaptureTests.swift:") == true)
    #expect(error?.reason.contains("depends on a tensor's elements") == true)
  }

  @Test func modulesOutsideTheModelAreRefused() {
    let error = #expect(throws: ExportError.self) { try export(Foreign(), [TensorSpec(.float32, [4])]) }
    #expect(error?.reason.contains("is not part of the model") == true)
  }
}

extension CaptureTests {
  /// The example of docs/capture.md.
  private final class DocumentedNet: Module {
    let conv1 = Conv2d(3, 16, kernelSize: 3, stride: 2, padding: 1, bias: false)
    let bn1 = BatchNorm2d(16)
    let relu = ReLU()
    let blocks = Sequential([Conv2d(16, 32, kernelSize: 3, padding: 1), ReLU6()])
    let fc = Linear(32, 10)

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try blocks(relu(bn1(conv1(input))))
      return try fc(x.mean(dim: [2, 3]))
    }
  }

  @Test func theDocumentedModelIsSavedQuantizedAndRunAtAnyBatch() throws {
    let folder = try TemporaryFolder()
    let model = DocumentedNet()
    try model.stateDict().write(to: folder.path("net.safetensors"))
    model.resetParameters(seed: 7)
    try model.loadStateDict(StateDict.read(folder.path("net.safetensors")))
    let batch = Dim("batch", min: 1, max: 32)
    let program = try export(model, [TensorSpec(.float32, [1, 3, 64, 64])], dynamicShapes: [[0: batch]])
    try PT2Archive.write(program, to: folder.path("net.pt2"))

    let read = try PT2Archive.read(folder.path("net.pt2"))
    var generator = MersenneTwister(seed: 3)
    let pixels = generator.uniform(32 * 3 * 64 * 64)
    let first = Tensor(Array(pixels.prefix(3 * 64 * 64)), shape: [1, 3, 64, 64])
    let quantized = try quantize(read, SampleDataset(inputs: [first])).program
    let method = try Method(lower(quantized, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 1))
    let together = try method.run([Tensor(pixels, shape: [32, 3, 64, 64])])[0].elements(as: Float.self)
    #expect(try method.run([first])[0].elements(as: Float.self) == Array(together.prefix(10)))
  }
}

/// What a module's properties hold.
extension CaptureTests {
  private final class Nested: Module {
    let grid = [[Linear(2, 2, bias: false)], [Linear(2, 2, bias: false)]]
    let perhaps: [Linear?] = [nil, Linear(2, 2, bias: false)]
    let named = ["b": Linear(2, 2, bias: false), "a": Linear(2, 2, bias: false)]
    let scales = [Parameter([2], .ones)]
    let mlpFC1 = Linear(2, 2, bias: false)
    let numbers = [1, 2, 3]
    lazy var late = Linear(2, 2, bias: false)

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      try late(grid[1][0](named["a"]!(input))) * input.parameter(scales[0])
    }
  }

  @Test func propertiesOfAnyDepthBelongToTheStateDict() throws {
    let model = Nested()
    let all = [
      "scales.0", "grid.0.0.weight", "grid.1.0.weight", "perhaps.1.weight", "named.a.weight", "named.b.weight",
      "mlp_fc1.weight",
    ]
    #expect(model.stateDict().names == all)
    _ = model.late
    #expect(model.stateDict().names == all + ["late.weight"])
    #expect(try export(model, [TensorSpec(.float32, [1, 2])]).graph.nodes.count == 4)
  }

  private final class Tied: Module {
    let a = Linear(4, 4)
    let b: Linear
    override init() { b = a }
    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try b(a(input)) }
  }

  private final class Repeated: Module {
    let fooBar = Linear(4, 4)
    let fooBAR = Linear(4, 4)
    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try fooBAR(fooBar(input)) }
  }

  private final class Head: Sequential {
    let extra = Linear(4, 2)
    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      try extra(super.forward(input))
    }
  }

  @Test func sharedModulesHaveAllTheirNames() throws {
    let model = Tied()
    let dict = model.stateDict()
    #expect(dict.names == ["a.weight", "a.bias", "b.weight", "b.bias"])
    try model.loadStateDict(dict)
    #expect(try export(model, [TensorSpec(.float32, [1, 4])]).graph.inputs.count == 3)
  }

  @Test func twoTensorsOfOneNameAreRefused() {
    let error = #expect(throws: ExportError.self) { try export(Repeated(), [TensorSpec(.float32, [1, 4])]) }
    #expect(error?.reason.contains("foo_bar.weight") == true)
    let model = Repeated()
    #expect(throws: StateDictError.self) { try model.loadStateDict(model.stateDict()) }
  }

  @Test func subclassesOfLayersKeepTheirOwnPropertiesAndName() throws {
    let program = try export(Head([Linear(4, 4)]), [TensorSpec(.float32, [1, 4])])
    #expect(Set(program.stateDict.keys) == ["extra.weight", "extra.bias", "0.weight", "0.bias"])
    #expect(program.graph.nodes[0].moduleStack.first?.type.hasSuffix("Head") == true)
  }

  private final class Keeping: Module {
    var kept: SymbolicTensor?
    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let y = kept ?? input
      kept = try input.relu()
      return try y.sigmoid()
    }
  }

  @Test func tensorsOfAnEarlierCaptureAreRefused() throws {
    let model = Keeping()
    _ = try export(model, [TensorSpec(.float32, [1, 4])])
    let error = #expect(throws: ExportError.self) { try export(model, [TensorSpec(.float32, [1, 4])]) }
    #expect(error?.reason.contains("earlier run") == true)
  }
}

extension CaptureTests {
  /// The second example of docs/capture.md.
  private final class Reader: Module {
    let position = Parameter([1, 1, 32], .normal(standardDeviation: 0.02))
    let attention = MultiheadAttention(32, 4, batchFirst: true)
    let memory = LSTM(32, 16, batchFirst: true)
    let scale = Buffer(Tensor([Float(0.5)], shape: [1]))

    override func forward(_ inputs: [SymbolicTensor]) throws(ExportError) -> [SymbolicTensor] {
      let x = try inputs[0] + inputs[0].parameter(position)
      let read = try attention(x, inputs[1], inputs[1], needWeights: false).output
      return try memory([read * read.buffer(scale)])
    }
  }

  @Test func theDocumentedReaderRuns() throws {
    let specs = [TensorSpec(.float32, [1, 5, 32]), TensorSpec(.float32, [1, 7, 32])]
    let program = try export(Reader(), specs)
    let method = try Method(lower(program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 1))
    var generator = MersenneTwister(seed: 5)
    let inputs = specs.map { Tensor(generator.uniform($0.shape.elementCount), shape: $0.shape) }
    let (delegated, reference) = (try method.run(inputs), try Interpreter(program).run(inputs))
    for (a, b) in zip(delegated, reference) {
      for (x, y) in zip(a.elements(as: Float.self), b.elements(as: Float.self)) { #expect(abs(x - y) < 1e-5) }
    }
  }
}
