import PipelineTesting
import Swiftlet
import TestSupport
import Testing

@testable import Runtime

/// Programs with dynamic sizes, lowered once and run at all of them.
@Suite struct DynamicExecutionTests {
  /// Whose kernels run a program; nil for portable ones.
  enum Runner: String, CaseIterable { case auto, xnnpack, native, portable }

  private func program(_ name: String) throws -> ExportedProgram {
    try PT2Archive.read(goldenPath("dynamic", "\(name).pt2"))
  }

  private func quantized(_ program: ExportedProgram) throws -> ExportedProgram {
    let inputs = program.userInputs.map { noise(program.graph.spec($0).shape, seed: 7) }
    return try Pipeline(program, samples: [inputs]).quantize().program
  }

  private func method(_ program: ExportedProgram, _ runner: Runner, threads: Int = 1) throws -> Method {
    try Method(
      lower(program, partitioner: runner == .portable ? nil : XNNPACKPartitioner()),
      threads: ThreadPool(threadCount: threads),
      options: MethodOptions(kernels: MethodOptions.Kernels(rawValue: runner.rawValue) ?? .auto))
  }

  private func noise(_ shape: Shape, seed: UInt64) -> Tensor {
    var generator = SeededGenerator(seed: seed)
    return Tensor((0..<shape.elementCount).map { _ in Float.random(in: -2...2, using: &generator) }, shape: shape)
  }

  /// `count` rows of a tensor from `start`.
  private func rows(_ tensor: Tensor, _ start: Int, _ count: Int) -> Tensor {
    let length = tensor.shape.elementCount / tensor.shape[0]
    let elements = tensor.elements(as: Float.self)[start * length..<(start + count) * length]
    return Tensor(Array(elements), shape: Shape([count] + tensor.shape.dimensions.dropFirst()))
  }

  // MARK: Batches

  @Test(arguments: Runner.allCases, [1, 2])
  func everyBatchEqualsOneAtATime(_ runner: Runner, _ threads: Int) throws {
    let method = try method(quantized(program("residual")), runner, threads: threads)
    let images = noise([32, 3, 12, 12], seed: 1)
    let single = try (0..<32).map { try method.run([rows(images, $0, 1)])[0].elements(as: Float.self) }
    #expect(Set(single).count == 32)
    let operators = method.steps.map(\.delegated)
    let (capacity, packed) = (method.arenaCapacity, method.packedWeightByteCount)
    #expect(runner == .portable || (operators.allSatisfy { $0 != nil } && packed > 0))
    #expect(runner != .native || method.operations.contains { $0.backend == .native })
    var generator = SeededGenerator(seed: 3)
    for batch in Array(1...32) + (1...32).reversed() + (1...32).shuffled(using: &generator) {
      let start = Int.random(in: 0...32 - batch, using: &generator)
      let output = try method.run([rows(images, start, batch)])[0]
      #expect(output.shape == [batch, 10])
      #expect(output.elements(as: Float.self) == single[start..<start + batch].flatMap { $0 })
    }
    #expect(method.arenaCapacity == capacity && method.packedWeightByteCount == packed)
    #expect(zip(operators, method.steps).allSatisfy { $0 === $1.delegated })
  }

  /// Sums of a float layer may be in another order where the library takes other kernels for a single row.
  @Test(arguments: [Runner.auto, .portable])
  func floatBatchesEqualOneAtATime(_ runner: Runner) throws {
    let method = try method(program("residual"), runner)
    let images = noise([32, 3, 12, 12], seed: 2)
    let single = try (0..<32).flatMap { try method.run([rows(images, $0, 1)])[0].elements(as: Float.self) }
    for batch in [32, 7, 1, 16] {
      let output = try method.run([rows(images, 0, batch)])[0].elements(as: Float.self)
      for (a, b) in zip(output, single) { #expect(abs(a - b) <= 1e-5) }
    }
  }

  // MARK: PyTorch

  @Test(arguments: ["residual", "fully_convolutional", "two_inputs"], [Runner.auto, .portable])
  func givesWhatPyTorchGives(_ name: String, _ runner: Runner) throws {
    let archive = try NumPyArchive(path: goldenPath("dynamic", "outputs.npz"))
    let method = try method(program(name), runner)
    for index in 0..<2 {
      func arrays(_ kind: String) throws -> [Tensor] {
        try archive.names.filter { $0.hasPrefix("\(name)_\(index)_\(kind)") }.sorted().map {
          try archive.tensor($0).aligned()
        }
      }
      let outputs = try method.run(arrays("in"))
      for (output, expected) in zip(outputs, try arrays("out")) {
        #expect(output.shape == expected.shape)
        for (a, b) in zip(output.elements(as: Float.self), expected.elements(as: Float.self)) {
          #expect(abs(a - b) <= 1e-5)
        }
      }
    }
  }

  // MARK: Images of any size

  @Test(arguments: Runner.allCases)
  func imagesOfAnySizeEqualAProgramOfThatSize(_ runner: Runner) throws {
    let int8 = try quantized(program("fully_convolutional"))
    let method = try method(int8, runner)
    let capacity = method.arenaCapacity
    let portable = method.operations.filter { $0.backend == .portable }
    #expect(runner == .portable || portable.map(\.node) == ["sigmoid"])
    for shape: Shape in [
      [1, 3, 8, 8], [8, 3, 64, 64], [1, 3, 63, 9], [2, 3, 17, 22], [3, 3, 16, 64], [1, 3, 8, 8],
    ] {
      let input = noise(shape, seed: UInt64(shape.elementCount))
      let outputs = try method.run([input])
      var fixed = try int8.resized(inputShapes: [shape])
      fixed.dynamicShapes = nil
      let expected = try self.method(fixed, .portable).run([input])
      for (a, b) in zip(outputs, expected) {
        #expect(a.shape == b.shape)
        #expect(a.elements(as: Float.self) == b.elements(as: Float.self), "\(shape)")
      }
    }
    #expect(method.arenaCapacity == capacity)
  }

  // MARK: Refusals

  @Test func shapesThatAnInputMayNotHaveAreRefusedAndChangeNothing() throws {
    let method = try method(quantized(program("residual")), .auto)
    let input = noise([5, 3, 12, 12], seed: 4)
    let before = try method.run([input])[0].elements(as: Float.self)
    let refusals: [(Shape, String)] = [
      ([0, 3, 12, 12], "= 0 lies outside 1 ≤ "), ([33, 3, 12, 12], "= 33 lies outside 1 ≤ "),
      ([3, 12, 12], "must be float32["), ([5, 3, 12, 11], "must be float32["),
    ]
    for (shape, words) in refusals {
      func isNamed(_ error: any Error) -> Bool { "\(error)".contains(words) && "\(error)".contains("input 'x'") }
      #expect { try method.resize(inputShapes: [shape]) } throws: { isNamed($0) }
      #expect { try method.setInput(0, to: Tensor(zeros: TensorSpec(.float32, shape))) } throws: { isNamed($0) }
    }
    #expect { try method.setInput(0, to: Tensor(zeros: TensorSpec(.int8, [4, 3, 12, 12]))) } throws: {
      "\($0)".contains("must be float32[")
    }
    #expect(throws: ProgramError.self) { try method.resize(inputShapes: []) }
    try method.execute()
    #expect(method.output(0).elements(as: Float.self) == before)
  }

  @Test func inputsThatShareASizeMustAgree() throws {
    let method = try method(program("two_inputs"), .auto)
    let (x, y) = (noise([6, 6], seed: 5), noise([6, 3], seed: 6))
    let expected = try method.run([x, y])[0].elements(as: Float.self)
    #expect { _ = try method.run([x, rows(y, 0, 4)]) } throws: {
      "\($0)".contains("input 'y'") && "\($0)".contains("is 6 in 'x'")
    }
    // One by one: the first resizes, the second fits.
    try method.setInput(0, to: rows(x, 0, 2))
    try method.setInput(1, to: rows(y, 0, 2))
    try method.execute()
    #expect(method.output(0).elements(as: Float.self) == Array(expected[..<8]))
  }

  // MARK: Hostile ranges

  @Test(arguments: [Int.max, 1 << 62, 1 << 33, nil])
  func absurdBoundsGrowWhenNeeded(_ maximum: Int?) throws {
    var int8 = try quantized(program("residual"))
    let symbol = try #require(int8.dynamicShapes?.hints.keys.first)
    int8.dynamicShapes?.rangeConstraints[symbol] = RangeConstraint(minimum: 1, maximum: maximum)
    let start = ContinuousClock.now
    let method = try method(int8, .auto)
    #expect(ContinuousClock.now - start < .seconds(2))
    #expect(method.arenaCapacity < 1 << 20)
    let images = noise([40, 3, 12, 12], seed: 8)
    let first = try method.run([rows(images, 0, 1)])[0].elements(as: Float.self)
    let all = try method.run([images])[0]
    #expect(all.shape == [40, 10] && Array(all.elements(as: Float.self).prefix(10)) == first)
    let capacity = method.arenaCapacity
    for shape: Shape in [[1 << 40, 3, 12, 12], [1 << 31, 3, 12, 12]] {
      #expect(throws: ProgramError.self) { try method.resize(inputShapes: [shape]) }
    }
    #expect(method.arenaCapacity == capacity)
    try method.execute()
    #expect(method.output(0).elements(as: Float.self) == all.elements(as: Float.self))
  }

  /// Rules that are wrong from 20 on, for one value after the other: nothing runs on them, and the method stays as it was.
  @Test(arguments: [true, false]) func wrongRulesAreFoundAndChangeNothing(_ delegates: Bool) throws {
    let lowered = try lower(quantized(program("residual")), partitioner: delegates ? XNNPACKPartitioner() : nil)
    let dynamic = try #require(lowered.dynamicSizes)
    let symbol = SymbolicSize.symbol(try #require(dynamic.symbols.keys.first))
    let wrong = SymbolicSize.call(.add, [symbol, .call(.floorDivide, [symbol, .int(20)])])
    let (small, large) = (noise([5, 3, 12, 12], seed: 1), noise([25, 3, 12, 12], seed: 2))
    for index in dynamic.sizes.keys.sorted() where !lowered.inputs.contains(index) {
      var sizes = dynamic.sizes
      sizes[index]![0] = wrong
      let program = Program(
        name: lowered.name, values: lowered.values, inputs: lowered.inputs, outputs: lowered.outputs,
        instructions: lowered.instructions, delegates: lowered.delegates, arenaByteCount: lowered.arenaByteCount,
        dynamicSizes: .init(
          rangeConstraints: dynamic.rangeConstraints, symbols: dynamic.symbols, sizes: sizes,
          arguments: dynamic.arguments))
      let method = try Method(program, threads: ThreadPool(threadCount: 1))
      let before = try method.run([small])[0].elements(as: Float.self)
      #expect(throws: ProgramError.self, "\(lowered.values[index].name)") { try method.run([large]) }
      try method.execute()
      #expect(method.output(0).elements(as: Float.self) == before)
      #expect(method.operations.allSatisfy { ($0.backend == .portable) != delegates })
    }
  }

  // MARK: Programs

  @Test func lowersForAllSizesAtOnce() throws {
    let int8 = try quantized(program("fully_convolutional"))
    let lowered = try lower(int8, partitioner: XNNPACKPartitioner())
    let dynamic = try #require(lowered.dynamicSizes)
    #expect(dynamic.symbols.count == 3)
    for shape: Shape in [[1, 3, 8, 8], [5, 3, 31, 64], [8, 3, 64, 64]] {
      let resized = try lowered.resized(lowered.symbols(forInputs: [0: shape]))
      var fixed = try int8.resized(inputShapes: [shape])
      fixed.dynamicShapes = nil
      let alone = try lower(fixed, partitioner: XNNPACKPartitioner())
      #expect(resized.values.map(\.spec) == alone.values.map(\.spec))
      #expect(resized.instructions.map(\.arguments) == alone.instructions.map(\.arguments))
      #expect(resized.arenaByteCount == alone.arenaByteCount)
    }
    #expect(lowered.describe(lowered.inputs[0]).contains("≤ 64"))
    #expect { _ = try lowered.resized(["nothing": 1]) } throws: { "\($0)".contains("no size 'nothing'") }
  }
}

/// Trained models exported with a batch of 1, made dynamic: every value that depends on the input has the batch.
@Suite(.oneAtATime, .enabled(if: ZooModel.isAvailable)) struct DynamicModels {
  private func batched(_ program: ExportedProgram) -> ExportedProgram {
    var shapes = DynamicShapes(
      rangeConstraints: ["s0": RangeConstraint(minimum: 1, maximum: 32)], hints: ["s0": 1])
    let graph = program.graph
    var varying = Set(program.userInputs)
    for node in graph.nodes where node.inputs.contains(where: varying.contains) {
      varying.formUnion(node.outputs)
      if case .attribute(.ints(let size)) = node.operand("size") {
        shapes.arguments[node.name] = ["size": [.symbol("s0")] + size.dropFirst().map { .int($0) }]
      }
    }
    for id in varying {
      shapes.sizes[graph[id].name] = [.symbol("s0")] + graph.spec(id).shape.dimensions.dropFirst().map { .int($0) }
    }
    var result = program
    result.dynamicShapes = shapes
    return result
  }

  @Test(arguments: ["resnet8_cifar10", "ds_cnn_kws", "autoencoder_ad"], MethodOptions.Kernels.allCases)
  func batchesEqualOneAtATime(_ name: String, _ kernels: MethodOptions.Kernels) throws {
    let model = ZooModel.named(name)
    let program = try batched(PT2Archive.read(model.path("_int8_torchao.pt2")))
    let method = try Method(
      lower(program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 2),
      options: MethodOptions(kernels: kernels))
    let dataset = try model.dataset(.calibration)
    let samples = try (0..<min(32, dataset.count)).map(dataset.input)
    let packed = method.packedWeightByteCount
    let single = try samples.map { try method.run([$0])[0].elements(as: Float.self) }
    for batch in [32, 1, 5, 8, 31, 2] {
      let chosen = (0..<batch).map { ($0 * 3 + batch) % samples.count }
      let pixels = chosen.flatMap { samples[$0].elements(as: Float.self) }
      let input = Tensor(pixels, shape: Shape([batch] + samples[0].shape.dimensions.dropFirst()))
      #expect(try method.run([input])[0].elements(as: Float.self) == chosen.flatMap { single[$0] })
    }
    #expect(method.packedWeightByteCount == packed && packed > 0)
    #expect(method.operations.allSatisfy { $0.backend != .portable })
  }
}
