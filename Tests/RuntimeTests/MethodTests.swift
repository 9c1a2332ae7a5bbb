import NN
import PipelineTesting
import Swiftlet
import Testing

/// Loading programs, running them, and what is refused.
@Suite struct MethodTests {
  private static let shape: Shape = [1, 3, 5, 4]

  /// Quantized: a convolution, and a linear layer behind it.
  private static func pipeline() throws -> Pipeline {
    try Pipeline(Sequential([Conv2d(3, 4, kernelSize: 3), ReLU(), Flatten(), Linear(24, 5)]), shape).quantize()
  }

  private func program() throws -> Program { try #require(Self.pipeline().lower().lowered) }

  private func load(_ program: Program, threads: Int = 1) throws -> Method {
    try Method(program, threads: ThreadPool(threadCount: threads))
  }

  // MARK: Loading

  /// Changes to a valid program, and what is said about each.
  private static let damages: [(String, @Sendable (inout Parts) -> Void)] = [
    ("bytes do not hold 2 nodes", { $0.delegates[0] = .init(backend: "xnnpack", nodeCount: 2, processed: [1, 2, 3]) }),
    ("refers to a delegate node that does not exist", { $0.delegates = [] }),
    ("outside the arena of 64 bytes", { $0.arenaByteCount = 64 }),
    ("refers to value 1000", { $0.outputs = [1000] }),
    ("refers to value -1", { $0.inputs = [-1] }),
    ("the operator no.such.operator is unknown", { $0.replaceOperator("no.such.operator") }),
    ("fused.add", { $0.replaceOperator("fused.add.Tensor") }),
    ("of a value of another size", { $0.makeView(of: 0) }),
    ("of a value of another size", { $0.makeView(of: 1000) }),
    ("the machine has", { $0.arenaByteCount = 1 << 60 }),
  ]

  @Test(arguments: damages.indices)
  func aDamagedProgramIsRefused(_ index: Int) throws {
    let (words, damage) = Self.damages[index]
    var parts = Parts(try program())
    damage(&parts)
    let error = #expect(throws: ProgramError.self) { try load(parts.program) }
    #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    #expect(error?.program == parts.program.name)
  }

  /// The instruction names its portable operator, which gives the same bytes.
  @Test func whatTheLibraryRefusesAtLoadRunsOnThePortableKernel() throws {
    var random = Random(1)
    let (shape, one): (Shape, _) = ([1, 8, 2, 2], QuantizationParameters(scale: 1, zeroPoint: 0))
    let node = SingleNode(
      operatorName: "fused.add", arguments: [("self", .tensor(0)), ("other", .tensor(1))],
      inputs: (0..<2).map { _ in random.activation(shape, .int8, one) },
      output: TensorSpec(
        .int8, shape, dimOrder: .channelsLast, quantization: QuantizationParameters(scale: 1025, zeroPoint: 0)))
    let forced = try node.method(delegate: true, force: true)
    #expect(forced.operations.map(\.backend) == [.portable] && forced.delegated.nodes == 0)
    #expect(forced.operations[0].reason == "XNNPACK does not support the operator with these parameters")
    #expect(try node.run(forced) == node.run(node.method(delegate: false)))
  }

  // MARK: Running

  @Test func wrongInputsAreRefusedByName() throws {
    let pipeline = try Self.pipeline()
    let method = try load(program())
    let expected = try method.run(pipeline.samples[0])[0].elements(as: Float.self)
    let wrong: [(String, [Tensor])] = [
      ("takes 1 inputs, not 0", []), ("takes 1 inputs, not 2", pipeline.samples[0] + pipeline.samples[0]),
      ("must be float32[1, 3, 5, 4], not float32[1, 3, 4, 5]", [Tensor(zeros: TensorSpec(.float32, [1, 3, 4, 5]))]),
      ("must be float32[1, 3, 5, 4], not int8[1, 3, 5, 4]", [Tensor(zeros: TensorSpec(.int8, Self.shape))]),
    ]
    for (words, inputs) in wrong {
      let error = #expect(throws: ProgramError.self) { try method.run(inputs) }
      #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }
    #expect(throws: ProgramError.self) { try method.setInput(1, to: pipeline.samples[0][0]) }
    #expect(throws: ProgramError.self) { try method.withInput(-1) { $0.count } }
    #expect(throws: ProgramError.self) { try method.resize(inputShapes: [[2, 3, 5, 4]]) }
    // Nothing of that has changed the input.
    try method.execute()
    #expect(method.output(0).elements(as: Float.self) == expected)
  }

  @Test func inputsAndOutputsAreReachedInPlace() throws {
    let pipeline = try Self.pipeline()
    let method = try load(program())
    let expected = try pipeline.samples.map { try method.run($0)[0].elements(as: Float.self) }
    #expect(Set(expected).count == expected.count)
    for (sample, expected) in zip(pipeline.samples, expected) {
      let count = try method.withInput(0) { input in
        sample[0].withUnsafeBytes { input.copyMemory(from: $0) }
        return input.count
      }
      try method.execute()
      #expect(count == 240)
      let output = method.withOutput(0) { spec, bytes in (spec, Array(bytes.bindMemory(to: Float.self))) }
      #expect(output.0 == TensorSpec(.float32, [1, 5]) && output.1 == expected)
    }
  }

  // MARK: Profiling

  @Test(arguments: [true, false])
  func theProfilerTimesEveryOperationAndChangesNothing(_ delegate: Bool) throws {
    let pipeline = try Self.pipeline().lower(delegate ? XNNPACKPartitioner() : nil)
    let method = try load(#require(pipeline.lowered), threads: 2)
    let expected = try method.run(pipeline.samples[1])[0].elements(as: Float.self)
    _ = try method.run(pipeline.samples[0])
    try method.setInput(0, to: pipeline.samples[1][0])
    var profiler = Profiler(method)
    for _ in 0..<3 { try profiler.execute() }
    #expect(method.output(0).elements(as: Float.self) == expected)
    #expect(profiler.seconds.count == method.operations.count && method.operations.count > 2)
    #expect(profiler.seconds.allSatisfy { $0.count == 3 && $0.allSatisfy { $0 >= 0 } })
    #expect(profiler.seconds.joined().reduce(0, +) > 0)
  }

  @Test func poolsHaveAtLeastOneThread() throws {
    #expect(try ThreadPool(threadCount: 0).threadCount == 1 && ThreadPool(threadCount: 3).threadCount == 3)
    #expect(ThreadPool.physicalCoreCount >= 1)
  }
}

/// A program taken apart.
private struct Parts {
  var values: [Program.Value]
  var inputs, outputs: [Int]
  var instructions: [Program.Instruction]
  var delegates: [Program.Delegate]
  var arenaByteCount: Int

  init(_ program: Program) {
    (values, inputs, outputs) = (program.values, program.inputs, program.outputs)
    (instructions, delegates, arenaByteCount) = (program.instructions, program.delegates, program.arenaByteCount)
  }

  var program: Program {
    Program(
      name: "damaged", values: values, inputs: inputs, outputs: outputs, instructions: instructions,
      delegates: delegates, arenaByteCount: arenaByteCount)
  }

  /// The last instruction runs on a portable kernel, that of another operator.
  mutating func replaceOperator(_ name: String) {
    let old = instructions.removeLast()
    instructions.append(
      .init(
        node: old.node, op: OperatorSet.standard.resolve(name), arguments: old.arguments, inputs: old.inputs,
        outputs: old.outputs,
        delegateCall: nil, reason: "for the test", sourceNodes: []))
  }

  /// The last value lies in another one's memory.
  mutating func makeView(of owner: Int) {
    let old = values.removeLast()
    values.append(.init(name: old.name, spec: old.spec, location: old.location, owner: owner))
  }
}
