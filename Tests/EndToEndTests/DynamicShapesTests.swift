import Foundation
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

/// Programs exported with dynamic shapes: read, quantized at the example's size, written, and run at other sizes.
@Suite struct DynamicShapesTests {
  static let files = ["dynamic_batch.pt2", "dynamic_derived.pt2"]

  private func program(_ file: String) throws -> ExportedProgram { try PT2Archive.read(goldenPath("formats", file)) }

  private func quantized(_ program: ExportedProgram) throws -> ExportedProgram {
    let inputs = program.userInputs.map { id in
      let shape = program.graph.spec(id).shape
      return Tensor((0..<shape.elementCount).map { Float($0 % 17) / 8 - 1 }, shape: shape)
    }
    return try Pipeline(program, samples: [inputs]).quantize().program
  }

  /// The values of one key of the golden arrays: `NAME_SIZE_in0`, ….
  private func golden(_ file: String, _ size: Int, _ kind: String) throws -> [Tensor] {
    let archive = try NumPyArchive(path: goldenPath("formats", "dynamic_shapes.npz"))
    let count = file == "dynamic_batch.pt2" ? 1 : 3
    return try (0..<count).map { try archive.tensor("\(file.dropLast(4))_\(size)_\(kind)\($0)").aligned() }
  }

  private func symbol(_ program: ExportedProgram) throws -> String {
    try #require(program.dynamicShapes?.hints.keys.first)
  }

  @Test(arguments: files, [1, 2, 3, 7])
  func runsAsInPyTorchAtEverySize(_ file: String, _ size: Int) throws {
    let float = try program(file)
    let resized = try float.resized([symbol(float): size])
    try Verifier.verify(resized, as: .float)
    let (inputs, expected) = (try golden(file, size, "in"), try golden(file, size, "out"))
    for outputs in [try Interpreter(resized).run(inputs), try load(resized).run(inputs)] {
      for (a, b) in zip(outputs, expected) {
        #expect(a.shape == b.shape)
        for (x, y) in zip(a.elements(as: Float.self), b.elements(as: Float.self)) { #expect(abs(x - y) <= 1e-5) }
      }
    }
  }

  @Test(arguments: files)
  func quantizedProgramsKeepTheirSymbolicSizes(_ file: String) throws {
    let float = try program(file)
    let int8 = try quantized(float)
    let folder = try TemporaryFolder()
    try PT2Archive.write(int8, to: folder.path("a.pt2"))
    let again = try PT2Archive.read(folder.path("a.pt2"))
    #expect(again.graph.printed() == int8.graph.printed() && again.callSignature == float.callSignature)
    let (shapes, before) = (try #require(again.dynamicShapes), try #require(float.dynamicShapes))
    #expect(shapes.rangeConstraints == before.rangeConstraints && shapes.guards == before.guards)
    #expect(shapes.arguments == before.arguments && shapes.hints == before.hints)
    let varying = again.graph.nodes.filter { shapes.symbolicSizes(of: again.graph[$0.output].name) != nil }
    #expect(varying.count { $0.operatorName.contains("quantize_per_tensor") } >= 8)
    try PT2Archive.write(again, to: folder.path("b.pt2"))
    let bytes = try ["a.pt2", "b.pt2"].map { try Data(contentsOf: URL(fileURLWithPath: folder.path($0))) }
    #expect(bytes[0] == bytes[1])
    let size = 7
    let resized = try again.resized([symbol(again): size])
    let inputs = try golden(file, size, "in")
    let outputs = try Interpreter(resized).run(inputs)
    #expect(outputs.map(\.shape) == (try golden(file, size, "out")).map(\.shape))
    for (a, b) in zip(outputs, try load(resized).run(inputs)) {
      #expect(a.elements(as: Float.self) == b.elements(as: Float.self))
    }
  }

  @Test func sizesOutsideTheRangeAreRefused() throws {
    let program = try program("dynamic_batch.pt2")
    let symbol = try symbol(program)
    #expect(program.describe(program.userInputs[0]) == "float32[\(symbol), 3, 4, 4], 1 ≤ \(symbol) ≤ 32")
    #expect { _ = try program.resized([symbol: 33]) } throws: { "\($0)".contains("outside [1, 32]") }
    #expect { _ = try program.resized(["other": 1]) } throws: { "\($0)".contains("no size 'other'") }
  }

  @Test func containersOfInputsStay() throws {
    let signature = try #require(try program("dynamic_derived.pt2").callSignature)
    #expect(signature.argumentNames == ["tensors"] && signature.modules.contains("conv"))
    #expect(signature.inputs.contains(#"[\"image\", \"pair\"]"#) && signature.outputs.contains("builtins.dict"))
  }
}
