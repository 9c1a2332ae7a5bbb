import NN
import Swiftlet
import TestSupport
import Testing

/// A model on its way from float to results, one stage after the other:
///
///     try Pipeline(Sequential([Conv2d(3, 8, kernelSize: 3), ReLU()]), [1, 3, 9, 7])
///       .quantize().expect("quantized_decomposed.quantize_per_tensor.default", count: 2)
///       .lower().expectDelegated("fused.conv2d", count: 1).expectPortable([])
///       .writePTE().run().compare(toFloat: .decibels(30), portable: .bytes)
///
/// A step that cannot be taken throws; an expectation that fails is recorded where it stands.
package struct Pipeline {
  package let float: ExportedProgram
  /// What calibration sees, and `run` unless it is told otherwise: inputs, sample by sample.
  package let samples: [[Tensor]]
  /// The graph of the present stage: float, or Q/DQ.
  package private(set) var program: ExportedProgram
  /// What `lower` made of it.
  package private(set) var lowered: Program?
  /// The graphs that were written and read again, by the files' kind.
  private var files: [(kind: String, program: ExportedProgram)] = []
  private var inputs: [[Tensor]] = []
  /// What `run` gave: a label, and outputs sample by sample.
  private var results: [(label: String, outputs: [[Tensor]])] = []

  package init(_ program: ExportedProgram, samples: [[Tensor]]) {
    (float, self.program, self.samples) = (program, program, samples)
  }

  /// A model on seeded uniform noise in [−scale, scale].
  package init(_ model: Module, _ shapes: Shape..., count: Int = 3, scale: Float = 2, seed: UInt64 = 1) throws {
    let samples = (0..<count).map { sample in
      shapes.enumerated().map { index, shape in
        Tensor.random(shape, -scale...scale, seed: seed &* 1000 &+ UInt64(10 * sample + index))
      }
    }
    self.init(try export(model, shapes.map { TensorSpec(.float32, $0) }), samples: samples)
  }

  // MARK: Stages

  /// Prepares, calibrates on the reference interpreter, converts.
  package func quantize(_ quantizer: any Quantizer = XNNPACKQuantizer()) throws -> Pipeline {
    let observed = try prepare(program, quantizer: quantizer)
    let interpreter = try Interpreter(observed.floatProgram)
    try observed.calibrate(samples) { sample in
      var seen = Dictionary(uniqueKeysWithValues: zip((try observed.floatProgram).userInputs, sample))
      _ = try interpreter.run(sample) { seen[$0] = $1 }
      return observed.observedValues.compactMap { seen[$0.value] }
    }
    var next = self
    next.program = try convert(observed)
    return next
  }

  package func lower(_ partitioner: (any Partitioner)? = XNNPACKPartitioner()) throws -> Pipeline {
    var next = self
    next.lowered = try Swiftlet.lower(program, partitioner: partitioner)
    return next
  }

  /// Writes the graph as an ExecuTorch program and reads it again; `run` runs that one too.
  package func writePTE() throws -> Pipeline { try write("pte") { try PTEArchive.write($0, to: $1) } }

  /// The same with a `torch.export` archive.
  package func writePT2() throws -> Pipeline { try write("pt2") { try PT2Archive.write($0, to: $1) } }

  private func write(_ kind: String, _ writer: (ExportedProgram, String) throws -> Void) throws -> Pipeline {
    let folder = try TemporaryFolder()
    try writer(program, folder.path("program." + kind))
    var next = self
    next.files.append((kind, try readProgram(folder.path("program." + kind))))
    return next
  }

  /// Runs the lowered program, on every one of these kernels with every number of threads, and what was read from files.
  ///
  /// - Parameter inputs: others than the samples of calibration.
  package func run(
    _ inputs: [[Tensor]]? = nil, kernels: [MethodOptions.Kernels] = [.auto], threads: [Int] = [1],
    at location: SourceLocation = #_sourceLocation
  ) throws -> Pipeline {
    var next = self
    next.inputs = inputs ?? samples
    let program = try lowered ?? #require(lower().lowered)
    for kernels in kernels {
      for threads in threads {
        let method = try Method(
          program, threads: ThreadPool(threadCount: threads), options: MethodOptions(kernels: kernels))
        let refused = zip(program.instructions, method.operations).filter {
          $0.delegateCall != nil && $1.backend == .portable
        }
        #expect(refused.isEmpty, "refused at load: \(refused.map(\.1))", sourceLocation: location)
        next.results.append(("\(kernels), \(threads) threads", try next.inputs.map(method.run)))
      }
    }
    for (kind, program) in files {
      let method = try load(program, threads: 1)
      next.results.append((kind, try next.inputs.map(method.run)))
    }
    return next
  }

  // MARK: Expectations

  /// How many nodes of the graph, or instructions of the lowered program, are of an operator.
  @discardableResult
  package func expect(_ op: String, count: Int, at location: SourceLocation = #_sourceLocation) -> Pipeline {
    let names = lowered.map { $0.instructions.map(\.operatorName) } ?? program.operatorNames
    #expect(names.count { $0 == op } == count, "\(op) among \(names)", sourceLocation: location)
    return self
  }

  /// How many instructions of an operator a delegate runs.
  @discardableResult
  package func expectDelegated(_ op: String, count: Int, at location: SourceLocation = #_sourceLocation) -> Pipeline {
    let names = (lowered?.instructions ?? []).filter { $0.delegateCall != nil }.map(\.operatorName)
    #expect(names.count { $0 == op } == count, "\(op) among \(names)", sourceLocation: location)
    return self
  }

  /// The operators that no delegate runs, in order; each of them says why.
  @discardableResult
  package func expectPortable(
    _ operators: [String], because reason: String = "", at location: SourceLocation = #_sourceLocation
  ) -> Pipeline {
    let portable = lowered?.instructions.filter { $0.delegateCall == nil }
    #expect(portable?.map(\.operatorName) == operators, sourceLocation: location)
    for instruction in portable ?? [] {
      let text = instruction.reason ?? ""
      #expect(!text.isEmpty && (reason.isEmpty || text.contains(reason)), sourceLocation: location)
    }
    return self
  }

  /// How many subgraphs the delegated instructions form.
  @discardableResult
  package func expectSubgraphs(_ count: Int, at location: SourceLocation = #_sourceLocation) -> Pipeline {
    #expect(lowered?.delegates.count == count, sourceLocation: location)
    return self
  }

  /// Whether every instruction computes on integers, conversions at the ends aside.
  @discardableResult
  package func expectInt8(at location: SourceLocation = #_sourceLocation) -> Pipeline {
    let real = lowered?.floatInstructions.map(\.operatorName)
    #expect(real == [], sourceLocation: location)
    return self
  }

  /// Compares what `run` gave with other runs of the same model.
  ///
  /// - Parameters:
  ///   - float: with the float model on the reference interpreter.
  ///   - simulation: with the Q/DQ graph on it.
  ///   - portable: with the program on portable kernels.
  ///   - files: in place of `portable`, for what was read from files that compute in another form.
  @discardableResult
  package func compare(
    toFloat: Agreement? = nil, simulation: Agreement? = nil, portable: Agreement? = nil, files: Agreement? = nil,
    at location: SourceLocation = #_sourceLocation
  ) throws -> Pipeline {
    #expect(!results.isEmpty, "nothing was run", sourceLocation: location)
    func check(_ agreement: Agreement?, _ name: String, _ expected: () throws -> [[Tensor]]) throws {
      guard let agreement else { return }
      let expected = try expected()
      for (label, outputs) in results {
        let isFile = self.files.contains { $0.kind == label }
        let agreement = name == "portable kernels" && isFile ? files ?? agreement : agreement
        let problem = agreement.problem(outputs.flatMap { $0 }, expected.flatMap { $0 }, quantum: program.outputScale)
        #expect(problem == nil, "\(label) and \(name)", sourceLocation: location)
      }
    }
    try check(toFloat, "the float model") {
      let interpreter = try Interpreter(float)
      return try inputs.map { try interpreter.run($0) }
    }
    try check(simulation, "the simulation") {
      let interpreter = try Interpreter(program)
      return try inputs.map { try interpreter.run($0) }
    }
    try check(portable, "portable kernels") { try inputs.map(load(program, delegate: false, threads: 1).run) }
    return self
  }
}

extension ExportedProgram {
  /// The scale of the last quantize node per tensor; not a number without one.
  package var outputScale: Float {
    let last = graph.nodes.last { $0.operatorName == "quantized_decomposed.quantize_per_tensor.default" }
    guard case .attribute(.float(let scale))? = last?.operand("scale") else { return .nan }
    return Float(scale)
  }
}
