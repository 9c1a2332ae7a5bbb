import GraphIR
import Swiftlet
import TestSupport
import Testing

@testable import ExecuTorchFormat

/// Dynamic programs as ExecuTorch has them: tensors of the largest sizes, marked as upper bounds.
@Suite struct DynamicBoundTests {
  private func model(_ name: String) throws -> ExportedProgram {
    try PT2Archive.read(goldenPath("dynamic", "\(name).pt2"))
  }

  private func plan(_ program: ExportedProgram) throws -> ExecutionPlan {
    let folder = try TemporaryFolder()
    try PTEArchive.write(program, to: folder.path("x.pte"))
    return try PTEFile(path: folder.path("x.pte")).method(nil)
  }

  private func tensors(_ plan: ExecutionPlan, _ indices: [Int]) -> [ExecutionPlan.TensorValue] {
    indices.compactMap { if case .tensor(let value) = plan.values[$0] { value } else { nil } }
  }

  @Test func inputsAndOutputsAreUpperBounds() throws {
    let plan = try plan(model("fully_convolutional"))
    let values = tensors(plan, plan.inputs + plan.outputs)
    #expect(values.map(\.spec.shape) == [[8, 3, 64, 64], [8, 5], [8, 16, 16, 16]])
    #expect(values.allSatisfy { $0.isDynamic })
  }

  @Test func fixedProgramsHaveNone() throws {
    var program = try model("residual")
    program.dynamicShapes = nil
    let plan = try plan(program)
    let values = tensors(plan, Array(plan.values.indices))
    #expect(values.first?.spec.shape == [2, 3, 12, 12] && !values.contains { $0.isDynamic })
  }

  @Test func theSizeThatVariesIsLeftOpenInReshapes() throws {
    let folder = try TemporaryFolder()
    try PTEArchive.write(model("residual"), to: folder.path("x.pte"))
    // Reading needs numbers.
    let error = #expect(throws: FormatError.self) { try PTEArchive.read(folder.path("x.pte")) }
    #expect(error.map { "\($0)" }?.contains("its size is dynamic") == true)
    let fused = try fuse(model("residual"))
    let (bound, varying) = try EdgeRewriter.rewriteAll(fused, source: model("residual"))
    let view = try #require(bound.graph.nodes.first { $0.operatorName == "fused.view" })
    #expect(view.operand("size") == .attribute(.ints([-1, 72])))
    #expect(varying[view.output] == [0] && bound.graph.spec(view.output).shape == [32, 72])
  }

  @Test func unboundedSizesAreRefused() throws {
    var program = try model("residual")
    let symbol = try #require(program.dynamicShapes?.hints.keys.first)
    for maximum in [nil, 1 << 40] as [Int?] {
      program.dynamicShapes?.rangeConstraints[symbol] = RangeConstraint(minimum: 1, maximum: maximum)
      let error = #expect(throws: GraphError.self) { try plan(program) }
      #expect(error?.reason.contains(maximum == nil ? "has no bound" : "too large") == true)
    }
  }
}
