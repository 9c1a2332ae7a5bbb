import NN
import PipelineTesting
import Swiftlet
import SwiftletTools
import TestSupport
import Testing

/// Concatenations of convolutions' results: of two, of one twice, and of one that something else reads too.
private final class Concatenations: Module {
  let (first, second) = (Conv2d(3, 5, kernelSize: 3, padding: 1), Conv2d(3, 18, kernelSize: 1))
  let (third, fourth) = (Conv2d(23, 4, kernelSize: 1), Conv2d(8, 33, kernelSize: 3))
  let (fifth, last) = (Conv2d(33, 6, kernelSize: 1), Conv2d(39, 4, kernelSize: 1))

  override func forward(_ x: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let twice = try third(cat([first(x).relu(), second(x).relu()], dim: 1))
    let y = try fourth(cat([twice, twice], dim: 1)).relu()
    return try last(cat([fifth(y), y], dim: 1))
  }
}

/// Nodes of a fused graph that lowering joins into one.
@Suite(.oneAtATime) struct NodeFusionTests {
  private static let copy = "dim_order_ops._to_dim_order_copy.default"

  @Test func quantizingTransposes() throws {
    let method = try load(ResNet8.quantized())
    let first = try #require(method.operations.first)
    #expect(first.operatorName == "fused.quantize" && first.backend != .portable)
    #expect(!method.operations.contains { $0.operatorName == Self.copy })
    #expect(first.sourceNodes.count == 1)
  }

  /// Each block's last convolution, or that of its shortcut, which runs last.
  @Test func sumsJoinTheConvolutionThatRunsLast() throws {
    let program = try ResNet8.quantized()
    let lowered = try lower(program, partitioner: XNNPACKPartitioner())
    let sums = lowered.instructions.filter { $0.operatorName == "fused.add_conv2d" }
    #expect(sums.count == 3 && !lowered.instructions.contains { $0.operatorName == "fused.add" })
    for sum in sums {
      #expect(sum.reason == nil && sum.sourceNodes.count >= 2)
      // What nobody reads later makes room for the result.
      let (other, output) = (lowered.values[sum.inputs[0]], lowered.values[sum.outputs[0]])
      guard case .arena(let a) = other.location, case .arena(let b) = output.location else { continue }
      #expect(a == b)
      let cost = OperationCost(sum, in: lowered)
      #expect(cost.multiplyAdds > 0 && cost.isInt8)
    }
  }

  /// The bytes of the portable kernels, whose kernels ever run, on one thread and on two.
  @Test func joinedNodesGiveTheSameBytes() throws {
    try Pipeline(ResNet8.quantized(), samples: (10..<14).map { [ResNet8.input($0)] })
      .lower().expectPortable([])
      .run(kernels: MethodOptions.Kernels.allCases, threads: [1, 2]).compare(portable: .bytes)
  }

  /// What only convolutions compute, each once, is written in place; the rest is copied, with the same bytes.
  @Test func concatenationsGiveTheSameBytes() throws {
    try Pipeline(Concatenations(), [1, 3, 9, 7], count: 4)
      .quantize()
      .lower().expectDelegated("fused.cat_conv2d", count: 2).expectDelegated("fused.cat", count: 2).expectPortable([])
      .run(kernels: MethodOptions.Kernels.allCases, threads: [1, 2]).compare(toFloat: .decibels(30), portable: .bytes)
  }
}
