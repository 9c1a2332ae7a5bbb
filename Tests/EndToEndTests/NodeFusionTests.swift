import Swiftlet
import TestSupport
import Testing

extension EndToEnd {
  /// Nodes of a fused graph that lowering joins into one.
  struct NodeFusionTests {
    private static let copy = "dim_order_ops._to_dim_order_copy.default"

    @Test func quantizingTransposes() throws {
      let method = try load(DelegationTests.quantizedResNet8())
      let first = try #require(method.operations.first)
      #expect(first.operatorName == "fused.quantize" && first.backend != .portable)
      #expect(!method.operations.contains { $0.operatorName == Self.copy })
      #expect(first.sourceNodes.count == 1)
    }
  }
}
