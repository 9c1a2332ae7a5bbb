import Foundation
import GraphIR
import Operators
import TensorCore
import TestSupport
import Testing
import TorchFormats

struct PT2Tests {
  static let tiny = ["tiny_float.pt2", "tiny_int8.pt2"]
  static let models: [String] = {
    guard let folder = sharedData("models") else { return [] }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.filter { $0.hasSuffix(".pt2") }.sorted()
  }()

  static func golden(_ file: String) throws -> ExportedProgram { try PT2Archive.read(goldenPath("formats", file)) }

  // MARK: Reading

  @Test func theFloatModelIsRead() throws {
    let program = try Self.golden("tiny_float.pt2")
    #expect(program.userInputs.map { program.graph[$0].name } == ["image", "bias"])
    #expect(
      program.graph.outputs.map { program.graph.spec($0) } == [
        TensorSpec(.float32, [1, 16]), TensorSpec(.float32, [1, 16]),
      ])
    let conv = try #require(program.graph.nodes.first)
    #expect(conv.operatorName == "aten.conv2d.default" && conv.modulePath == "conv")
    #expect(conv.arguments.map(\.name) == ["input", "weight", "bias", "stride", "padding"])
    #expect(conv.operand("bias") == .attribute(.none) && conv.operand("padding") == .attribute(.ints([1, 1])))
    #expect(program.graph.nodes.contains { $0.operatorName == "aten.cat.default" && $0.inputs.count == 2 })
    #expect(program.extraFiles == ["preprocess.json": [UInt8](#"{"scale": 2}"#.utf8)])
    #expect(program.inputKinds.contains(.buffer("shift", isPersistent: false)))
    #expect(program.inputKinds.contains(.constantTensor("lifted_tensor_0")))
    #expect(program.stateDict["bn.num_batches_tracked"]?.elements(as: Int64.self) == [1])
    #expect(program.stateDict["shift"]?.elements(as: Float.self) == [0, 1, 2, 3])
    #expect(program.stateDict["lifted_tensor_0"]?.elements(as: Float.self) == [2])
  }

  @Test func tensorsAreWindowsAndTiedOnesShareTheirs() throws {
    let program = try Self.golden("tiny_float.pt2")
    let (first, second) = try (
      #require(program.stateDict["first.weight"]), #require(program.stateDict["second.weight"])
    )
    #expect(first.storage === second.storage && first.byteOffset == second.byteOffset)
    #expect(first.storage.byteCount > 20_000)
    // Stored channels last, therefore copied.
    #expect(program.stateDict["conv.weight"]?.storage !== first.storage)
  }

  @Test func valuesHaveTheirSpecs() throws {
    for file in Self.tiny {
      let program = try Self.golden(file)
      for (id, tensor) in program.constants() {
        #expect(tensor.spec == program.graph.spec(id), "\(program.graph[id].name)")
      }
    }
  }

  @Test func theQuantizedModelIsRead() throws {
    let program = try Self.golden("tiny_int8.pt2")
    let node = try #require(program.graph.nodes.first { $0.operatorName.contains("dequantize_per_channel") })
    #expect(
      node.operand("dtype") == .attribute(.dataType(.int8)) && node.operand("quant_min") == .attribute(.int(-127)))
    #expect(program.stateDict["_frozen_param0"]?.dataType == .int8)
    let pair = try #require(program.graph.nodes.first { $0.operatorName.contains("quantize_per_tensor") })
    #expect(pair.operand("zero_point") == .attribute(.int(-7)))
    #expect(pair.operand("scale") == .attribute(.float(0.01628808304667473)))
  }

  // MARK: Writing

  @Test(arguments: tiny)
  func writingAndReadingGiveTheSameProgramAndTheSameBytes(_ file: String) throws {
    try expectRoundTrip(goldenPath("formats", file))
  }

  @Test(.enabled(if: !models.isEmpty, "needs the shared models"), arguments: models)
  func sharedModelsSurviveARoundTrip(_ file: String) throws {
    try expectRoundTrip(#require(sharedData("models/\(file)")))
  }

  private func expectRoundTrip(_ path: String) throws {
    let folder = try TemporaryFolder()
    let program = try PT2Archive.read(path, verifyingWeights: true)
    try PT2Archive.write(program, to: folder.path("a.pt2"))
    let again = try PT2Archive.read(folder.path("a.pt2"), verifyingWeights: true)
    try PT2Archive.write(again, to: folder.path("other name.pt2"))
    #expect(again.graph == program.graph)
    #expect(again.inputKinds == program.inputKinds && again.extraFiles == program.extraFiles)
    #expect(again.stateDict.keys.sorted() == program.stateDict.keys.sorted())
    for (name, tensor) in program.stateDict {
      let copy = try #require(again.stateDict[name])
      #expect(copy.spec == tensor.spec && copy.byteOffset % 64 == 0)
      #expect(copy.withUnsafeBytes { a in tensor.withUnsafeBytes { b in a.elementsEqual(b) } }, "\(name)")
    }
    let files = try ["a.pt2", "other name.pt2"].map { try Data(contentsOf: URL(fileURLWithPath: folder.path($0))) }
    #expect(files[0] == files[1])
  }

  @Test func aFileCanBeWrittenOverItself() throws {
    let folder = try TemporaryFolder()
    try PT2Archive.write(Self.golden("tiny_float.pt2"), to: folder.path("a.pt2"))
    let program = try PT2Archive.read(folder.path("a.pt2"))
    try PT2Archive.write(program, to: folder.path("a.pt2"))
    #expect(try PT2Archive.read(folder.path("a.pt2")).graph == program.graph)
  }

  @Test func infinitiesAndAwkwardNamesSurvive() throws {
    let folder = try TemporaryFolder()
    var program = ExportedProgram(name: "x")
    let spec = TensorSpec(.float32, [2])
    let input = program.graph.addValue("x\"\\\n\u{1}é", spec)
    program.graph.inputs = [input]
    program.inputKinds = [.userInput]
    let values: [Attribute] = [
      .float(.infinity), .float(-.infinity), .float(0.1), .float(-0.0), .floats([1, 1e-300]), .ints([]), .bools([true]),
      .int(.min), .string("a\u{7f}b"), .none, .dataType(.bfloat16),
    ]
    let node = program.graph.makeNode(
      OperatorSet.standard.resolve("my.op.default"), name: "n",
      arguments: [.init("self", .value(input))] + values.enumerated().map { .init("a\($0)", .attribute($1)) },
      output: spec)
    program.graph.nodes = [node]
    program.graph.outputs = [node.output]
    try PT2Archive.write(program, to: folder.path("a.pt2"))
    #expect(try PT2Archive.read(folder.path("a.pt2")).graph == program.graph)
  }

  @Test func loweredGraphsAreNotWritten() throws {
    let folder = try TemporaryFolder()
    var program = try Self.golden("tiny_float.pt2")
    program.graph.nodes[0].op = .fusedConv2d
    #expect { try PT2Archive.write(program, to: folder.path("a.pt2")) } throws: { "\($0)".contains("fused.conv2d") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("")).isEmpty)
  }
}
