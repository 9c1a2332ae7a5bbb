import Swiftlet
import TestSupport
import Testing

/// Programs that ExecuTorch made, and what its runtime computes with them (Tests/Golden/executorch/generate.py).
struct GoldenProgram: Sendable, CustomTestStringConvertible {
  let name: String
  /// Distance from ExecuTorch's result, relative to its range; for int8 in quanta of the result.
  let tolerance: Float
  let isInt8: Bool
  var testDescription: String { name }

  static let all: [GoldenProgram] = [
    .init(name: "images_float", tolerance: 1e-5, isInt8: false),
    .init(name: "images_int8", tolerance: 1.001, isInt8: true),
    .init(name: "functions_float", tolerance: 1e-5, isInt8: false),
    // Its runtime and ours round the scales of run-time quantization in other places.
    .init(name: "rows_dynamic", tolerance: 1e-2, isInt8: false),
  ]

  var path: String { goldenPath("executorch", name + ".pte") }

  func arrays() throws -> (inputs: [Tensor], output: [Float]) {
    let archive = try NumPyArchive(path: goldenPath("executorch", name + ".npz"))
    let inputs = try ["input0", "input1"].filter(archive.names.contains).map { try archive.tensor($0) }
    return (inputs, try archive.tensor("output").elements(as: Float.self))
  }

  /// What a distance is measured in.
  func unit(_ program: ExportedProgram, _ expected: [Float]) -> Float {
    guard isInt8 else { return expected.max()! - expected.min()! }
    let last = program.graph.nodes.last { $0.operatorName == "quantized_decomposed.quantize_per_tensor.default" }
    guard case .attribute(.float(let scale))? = last?.operand("scale") else { return .nan }
    return Float(scale)
  }
}

@Suite struct ExecuTorchGoldenTests {
  private func distance(_ golden: GoldenProgram, _ program: ExportedProgram, delegate: Bool) throws -> Float {
    let (inputs, expected) = try golden.arrays()
    let method = try Method(
      lower(program, partitioner: delegate ? XNNPACKPartitioner() : nil), threads: ThreadPool(threadCount: 1))
    let output = try method.run(inputs)[0].elements(as: Float.self)
    #expect(output.count == expected.count)
    let unit = golden.unit(program, expected)
    return zip(output, expected).map { abs($0 - $1) / unit }.max() ?? .nan
  }

  @Test(arguments: GoldenProgram.all, [true, false])
  func givesWhatExecuTorchGives(_ golden: GoldenProgram, delegate: Bool) throws {
    let program = try PTEArchive.read(golden.path)
    #expect(try distance(golden, program, delegate: delegate) <= golden.tolerance)
  }

  /// Written by us and read again it is still that program.
  @Test(arguments: GoldenProgram.all)
  func survivesBeingWritten(_ golden: GoldenProgram) throws {
    let folder = try TemporaryFolder()
    try PTEArchive.write(PTEArchive.read(golden.path), to: folder.path("again.pte"))
    let again = try PTEArchive.read(folder.path("again.pte"))
    #expect(try distance(golden, again, delegate: true) <= golden.tolerance)
  }

  @Test func theSameProgramGivesTheSameBytes() throws {
    let folder = try TemporaryFolder()
    let program = try PTEArchive.read(GoldenProgram.all[1].path)
    try PTEArchive.write(program, to: folder.path("a.pte"))
    try PTEArchive.write(program, to: folder.path("b.pte"))
    let (a, b) = (try Storage(mapping: folder.path("a.pte")), try Storage(mapping: folder.path("b.pte")))
    #expect(Array(a.bytes) == Array(b.bytes))
  }

  /// Weights are windows on the file; what is copied is small.
  @Test func constantsStayMapped() throws {
    let program = try PTEArchive.read(GoldenProgram.all[1].path)
    let counts = program.stateByteCounts
    #expect(counts.mapped > 4 * counts.copied)
  }
}
