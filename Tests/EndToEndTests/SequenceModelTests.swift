import PipelineTesting
import Swiftlet
import SwiftletTools
import TestSupport
import Testing

/// Operators with several outputs, attention and recurrent layers, from PyTorch's file to int8.
@Suite struct SequenceModelTests {
  static let names = ["lines", "moves", "pieces", "attention", "lstm", "gru"]

  /// Operators that stay in float by nature, or read what one of these gives.
  private static let real = [
    "lines": [], "moves": [], "pieces": [], "attention": ["aten.scaled_dot_product_attention.default"],
    "lstm": ["aten.lstm.input"],
    "gru": ["aten.zeros.default", "aten.gru.input"],
  ]

  private func program(_ name: String) throws -> ExportedProgram {
    try PT2Archive.read(goldenPath("formats", "\(name).pt2"))
  }

  private func golden(_ key: String) throws -> (inputs: [Tensor], outputs: [Tensor]) {
    let archive = try NumPyArchive(path: goldenPath("formats", "sequences.npz"))
    var outputs: [Tensor] = []
    while archive.names.contains("\(key)_out\(outputs.count)") {
      outputs.append(try archive.tensor("\(key)_out\(outputs.count)").aligned())
    }
    return ([try archive.tensor("\(key)_in").aligned()], outputs)
  }

  private func quantized(_ name: String) throws -> (program: ExportedProgram, notQuantized: [NotQuantized]) {
    let result = try quantize(program(name), Samples(samples: [golden(name).inputs[0]]))
    return (result.program, result.notQuantized)
  }

  private func bytes(_ tensors: [Tensor]) -> [[UInt8]] { tensors.map { $0.withUnsafeBytes { Array($0) } } }

  /// Within a part of each output's range.
  private func expectClose(
    _ actual: [Tensor], _ expected: [Tensor], within part: Float = 1e-5, at location: SourceLocation = #_sourceLocation
  ) {
    #expect(actual.map(\.shape) == expected.map(\.shape), sourceLocation: location)
    for (a, b) in zip(actual, expected) {
      let (a, b) = (a.elements(as: Float.self), b.elements(as: Float.self))
      let tolerance = part * ((b.max() ?? 0) - (b.min() ?? 0))
      #expect(zip(a, b).allSatisfy { ($0 - $1).magnitude <= tolerance }, sourceLocation: location)
    }
  }

  @Test(arguments: names)
  func runsAsInPyTorch(_ name: String) throws {
    let float = try program(name)
    let (inputs, expected) = try golden(name)
    #expect(!expected.isEmpty)
    try expectClose(Interpreter(float).run(inputs), expected)
    try expectClose(load(float).run(inputs), expected)
    try expectClose(load(float, delegate: false).run(inputs), expected)
  }

  @Test func aRecurrentLayersStateGrowsWithTheBatch() throws {
    let float = try program("gru")
    let symbol = try #require(float.dynamicShapes?.hints.keys.first)
    let resized = try float.resized([symbol: 5])
    let (inputs, expected) = try golden("gru_5")
    try expectClose(Interpreter(resized).run(inputs), expected)
    try expectClose(load(resized).run(inputs), expected)
    let lowered = try lower(float, partitioner: XNNPACKPartitioner()).resized([symbol: 5])
    try expectClose(Method(lowered, threads: ThreadPool(threadCount: 1)).run(inputs), expected)
  }

  /// Lists of tensors are written as lists, tuples as single tensors.
  @Test(arguments: names)
  func survivesWriting(_ name: String) throws {
    let folder = try TemporaryFolder()
    for program in [try program(name), try quantized(name).program] {
      try PT2Archive.write(program, to: folder.path("a.pt2"))
      let again = try PT2Archive.read(folder.path("a.pt2"))
      #expect(again.graph.printed() == program.graph.printed())
      #expect(again.dynamicShapes?.arguments == program.dynamicShapes?.arguments)
      let (inputs, _) = try golden(name)
      #expect(try bytes(Interpreter(again).run(inputs)) == bytes(Interpreter(program).run(inputs)))
    }
  }

  /// The delegate gives the portable kernels' bytes, and reals are computed in what is listed only.
  @Test(arguments: names)
  func quantizesWithEveryFallbackExplained(_ name: String) throws {
    let (program, notQuantized) = try quantized(name)
    let (inputs, expected) = try golden(name)
    let simulated = try Interpreter(program).run(inputs)
    let portable = try load(program, delegate: false).run(inputs)
    for delegate in [true, false] {
      let method = try load(program, delegate: delegate)
      let outputs = try method.run(inputs)
      #expect(bytes(outputs) == bytes(portable))
      // A sum that lies between two quanta may be rounded otherwise.
      expectClose(outputs, simulated, within: 0.02)
      let real = method.program.floatInstructions
      #expect(real.map(\.operatorName) == Self.real[name], "\(real.map(\.node))")
      #expect(real.allSatisfy { $0.reason?.isEmpty == false })
    }
    #expect(notQuantized.allSatisfy { !$0.reason.isEmpty })
    #expect(
      Set(notQuantized.map(\.operatorName)).isSuperset(
        of: (Self.real[name] ?? []).filter { $0 != "aten.zeros.default" }))
    expectClose(simulated, expected, within: 0.05)
  }

  /// Pieces have the parameters of the whole.
  @Test func piecesShareTheirInputsObserver() throws {
    let graph = try quantized("pieces").program.graph
    let (producers, users) = (graph.producers(), graph.users())
    let cuts: Set = ["aten.chunk.default", "aten.split_with_sizes.default", "aten.split.Tensor", "aten.unbind.int"]
    let nodes = graph.nodes.filter { cuts.contains($0.operatorName) }
    #expect(Set(nodes.map(\.operatorName)) == cuts && nodes.allSatisfy { $0.outputs.count >= 2 })
    for node in nodes {
      let dequantize = try #require(node.value("self").flatMap { producers[$0] }.map { graph.nodes[$0] })
      for output in node.outputs {
        let quantizers = (users[output] ?? []).map { graph.nodes[$0] }
        #expect(quantizers.map(\.operatorName) == ["quantized_decomposed.quantize_per_tensor.default"])
        for name in ["scale", "zero_point"] {
          #expect(quantizers.allSatisfy { $0.operand(name) == dequantize.operand(name) })
        }
      }
    }
  }

  /// PyTorch's quantizer has no rule for them; int8 still goes through, under the parameters of each reader.
  @Test func torchaosPatternsLeavePiecesAlone() throws {
    let observed = try prepare(program("pieces"), quantizer: XNNPACKQuantizer(patterns: .torchao))
    #expect(observed.notQuantized.contains { $0.operatorName == "aten.chunk.default" })
    try calibrate(observed, with: Samples(samples: golden("pieces").inputs))
    let program = try convert(observed)
    let lowered = try lower(program, partitioner: nil)
    let slices = lowered.instructions.filter { $0.operatorName == "fused.slice" }
    #expect(slices.contains { lowered.values[$0.outputs[0]].spec.dataType == .int8 })
    let (inputs, _) = try golden("pieces")
    try expectClose(load(program).run(inputs), Interpreter(program).run(inputs), within: 0.02)
  }

  @Test func theReferenceRepresentationMovesIntegers() throws {
    let program = try quantized("pieces").program
    let reference = try referenceRepresentation(of: program)
    #expect(reference.notRewritten.isEmpty, "\(reference.notRewritten)")
    let (inputs, _) = try golden("pieces")
    #expect(try bytes(Interpreter(reference.program).run(inputs)) == bytes(load(program).run(inputs)))
  }

  @Test func layersThatReadPiecesAreCompared() throws {
    let comparison = try compareLayers(
      float: program("pieces"), quantized: quantized("pieces").program,
      data: Samples(samples: golden("pieces").inputs))
    for name in ["getitem", "getitem_1", "getitem_3"] {
      let layer = try #require(comparison.layers.first { $0.name == name })
      #expect((layer.isolated?.sqnr ?? 0) > 25, "\(name): \(String(describing: layer.isolated))")
    }
  }

  /// A tensor changed in place while a piece of it is read later is refused.
  @Test func piecesShareTheirInputsMemory() throws {
    var program = ExportedProgram(name: "pieces")
    let x = program.graph.addValue("x", TensorSpec(.float32, [4]))
    program.graph.inputs = [x]
    program.inputKinds = [.userInput]
    let pieces = (0..<2).map { program.graph.addValue("piece\($0)", TensorSpec(.float32, [2])) }
    program.graph.nodes.append(
      Node(
        name: "chunk", operatorName: "aten.chunk.default",
        arguments: [.init("self", .value(x)), .init("chunks", .attribute(.int(2)))], outputs: pieces))
    let relu = program.graph.makeNode(
      OperatorSet.standard.resolve("aten.relu_.default"), name: "relu_", arguments: [.init("self", .value(pieces[1]))],
      output: TensorSpec(.float32, [2]))
    program.graph.nodes.append(relu)
    program.graph.outputs = [relu.output, pieces[0]]
    var changed = program
    program.graph.functionalize()
    #expect(program.graph.nodes[1].operatorName == "aten.relu_.default")
    changed.graph.outputs = [relu.output]
    changed.graph.functionalize()
    #expect(changed.graph.nodes[1].operatorName == "aten.relu.default")
  }

  @Test(arguments: ["lstm", "gru"])
  func aPTERefusesThemByName(_ name: String) throws {
    let folder = try TemporaryFolder()
    #expect {
      try PTEArchive.write(program(name), to: folder.path("a.pte"))
    } throws: { "\($0)".contains("aten.") && "\($0)".contains("ExecuTorch") }
  }

  @Test func piecesSurviveInAPTE() throws {
    try Pipeline(quantized("pieces").program, samples: [golden("pieces").inputs])
      .writePTE().run().compare(portable: .bytes)
  }
}

private struct Samples: Dataset {
  let samples: [Tensor]
  var count: Int { samples.count }
  func input(_ index: Int) -> Tensor { samples[index] }
  func label(_ index: Int) -> Int? { nil }
}
