import Foundation
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

/// Operators that this library does not know, as docs/operators.md shows them.
@Suite struct OwnOperatorTests {
  @Test func theyComputeWhatTheySay() throws {
    let pipeline = try Pipeline(SnakeNet(), [3, 8])
    let method = try Method(
      lower(pipeline.float, partitioner: nil), threads: ThreadPool(threadCount: 1))
    let result = try method.run(pipeline.samples[0])[0]
    #expect(try result.elements(as: Float.self) == Interpreter(pipeline.float).run(pipeline.samples[0])[0].elements())
    for row in 0..<3 {
      let squares = result.elements(as: Float.self)[row * 16..<row * 16 + 16].map { $0 * $0 }
      #expect(abs(squares.reduce(0, +) / 16 - 1) < 1e-4)
    }
  }

  @Test func theyAreQuantizedAndFused() throws {
    let quantized = try Pipeline(SnakeNet(), [3, 8]).quantize(ownQuantizer)
    let program = try lower(quantized.program, partitioner: XNNPACKPartitioner(), rules: ownRules)
    #expect(program.instructions.contains { $0.op == .int8RMSNorm && $0.delegateCall == nil })
    // The function of one element became a table that the delegate runs.
    #expect(program.instructions.contains { $0.operatorName == "fused.lut" && $0.delegateCall != nil })
    #expect(program.floatInstructions.isEmpty)
    let method = try Method(program, threads: ThreadPool(threadCount: 1))
    let simulated = try Interpreter(quantized.program)
    for sample in quantized.samples {
      let (ours, expected) = (try method.run(sample)[0], try simulated.run(sample)[0])
      let scale = try #require(expected.elements(as: Float.self).map(abs).max()) / 127
      for (a, b) in zip(ours.elements(as: Float.self), expected.elements(as: Float.self)) {
        #expect(abs(a - b) <= 2 * scale)
      }
    }
  }

  /// Without the rule the operator runs on reals, and says so.
  @Test func withoutARuleItStaysReal() throws {
    let quantized = try Pipeline(SnakeNet(), [3, 8]).quantize(ownQuantizer)
    let program = try lower(quantized.program, partitioner: XNNPACKPartitioner())
    let node = try #require(program.floatInstructions.first { $0.op == .rmsNorm })
    #expect(node.reason?.contains("no fused operator") == true)
  }

  @Test func theySurviveAFile() throws {
    let path = NSTemporaryDirectory() + "own-operators-\(UUID().uuidString).pt2"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let pipeline = try Pipeline(SnakeNet(), [3, 8])
    try PT2Archive.write(pipeline.float, to: path)
    let read = try PT2Archive.read(path, operators: ownOperators)
    #expect(
      try Interpreter(read).run(pipeline.samples[0])[0].elements(as: Float.self)
        == Interpreter(pipeline.float).run(pipeline.samples[0])[0].elements())
    // Who does not name them is told which is unknown.
    let error = #expect(throws: GraphError.self) { try Interpreter(PT2Archive.read(path)) }
    #expect(error?.operatorName == "my.snake.default" && error?.reason.contains("unknown operator") == true)
  }

  @Test func theDocumentShowsIt() throws {
    let source = try String(
      contentsOfFile: repositoryPath("Tests/SwiftletTests/OwnOperators.swift"), encoding: .utf8)
    let text = try String(contentsOfFile: repositoryPath("docs/operators.md"), encoding: .utf8)
    #expect(text.contains(source.trimmingCharacters(in: .whitespacesAndNewlines)))
  }
}
