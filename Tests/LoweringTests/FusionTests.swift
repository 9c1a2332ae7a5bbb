import NN
import PipelineTesting
import Swiftlet
import Testing

/// A function of a tensor, in the place of a layer.
private final class Function: Module {
  private let body: (SymbolicTensor) throws(ExportError) -> SymbolicTensor

  init(_ body: @escaping (SymbolicTensor) throws(ExportError) -> SymbolicTensor) { self.body = body }

  override func forward(_ x: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try body(x) }
}

/// What fusion makes of a graph: one operator for each unit, and integers between them.
@Suite struct FusionTests {
  private static let quantize = "quantized_decomposed.quantize_per_tensor.default"

  /// BatchNorm and activation are part of the convolution.
  @Test(arguments: [false, true])
  func aLayerIsOneOperator(_ isClamped: Bool) throws {
    let activation = isClamped ? ReLU6() : ReLU()
    try Pipeline(Sequential([Conv2d(3, 8, kernelSize: 3, bias: false), BatchNorm2d(8), activation]), [2, 3, 9, 7])
      .expect("aten.batch_norm.default", count: 1)
      .quantize().expect("aten.batch_norm.default", count: 0).expect(Self.quantize, count: 2)
      .expect("quantized_decomposed.dequantize_per_channel.default", count: 1)
      .lower().expectDelegated("fused.conv2d", count: 1).expectPortable([]).expectSubgraphs(1).expectInt8()
      .writePT2().writePTE().run()
      .compare(toFloat: .decibels(30), simulation: .quanta(1), portable: .bytes)
  }

  @Test func aFloatModelIsFusedAlike() throws {
    try Pipeline(
      Sequential([Conv2d(3, 8, kernelSize: 3), BatchNorm2d(8), ReLU(), Flatten(), Linear(280, 5)]), [1, 3, 9, 7]
    )
    .lower().expectDelegated("fused.conv2d", count: 1).expectDelegated("fused.linear", count: 1).expectPortable([])
    .run(threads: [1, 2]).compare(toFloat: .relative(1e-5), portable: .relative(1e-5))
  }

  /// A function of one element between int8 values is a table.
  @Test func functionsAreTables() throws {
    try Pipeline(
      Sequential([
        Conv2d(3, 8, kernelSize: 1), Hardswish(), Conv2d(8, 8, kernelSize: 1), SiLU(), Conv2d(8, 2, kernelSize: 1),
      ]),
      [1, 3, 6, 5]
    )
    .quantize().lower().expectDelegated("fused.lut", count: 2).expectDelegated("fused.conv2d", count: 3)
    .expectPortable([]).expectInt8()
    .run().compare(toFloat: .decibels(25), simulation: .quanta(2), portable: .bytes)
  }

  /// The flattening costs nothing: the linear layer's weights stand in the order of its input's memory.
  @Test func aFlatteningIsAbsorbedByTheWeights() throws {
    try Pipeline(Sequential([Conv2d(3, 4, kernelSize: 3), ReLU(), Flatten(), Linear(48, 5)]), [2, 3, 6, 5])
      .quantize().lower().expect("fused.view", count: 0).expect("fused.permute", count: 0)
      .expect("dim_order_ops._to_dim_order_copy.default", count: 0)
      .expectDelegated("fused.linear", count: 1).expectPortable([]).expectInt8()
      .run().compare(toFloat: .decibels(25), portable: .bytes)
  }

  /// Zeros are the convolution's own padding.
  @Test func paddingIsAbsorbed() throws {
    let pad = Function { x throws(ExportError) in try x.pad([1, 0, 2, 1]) }
    try Pipeline(Sequential([Conv2d(3, 4, kernelSize: 1), pad, Conv2d(4, 5, kernelSize: 3)]), [1, 3, 6, 5])
      .quantize().lower().expect("fused.pad", count: 0).expectDelegated("fused.conv2d", count: 2).expectPortable([])
      .run().compare(toFloat: .decibels(25), portable: .bytes)
  }

  /// What moves elements moves integers, under whatever shapes.
  @Test func movementsStayInIntegers() throws {
    let move = Function { x throws(ExportError) in
      try cat([x.transpose(1, 2), x.transpose(1, 2).slice(dim: 1, start: 1)], dim: 1).reshape([2, -1, 3, 4])
        .permute([0, 2, 1, 3]).flatten(startDim: 2)
    }
    try Pipeline(Sequential([Linear(6, 8), move, Linear(20, 4)]), [2, 4, 6])
      .quantize().lower().expectInt8()
      .run().compare(toFloat: .decibels(25), portable: .bytes)
  }

  /// What a rule refuses says why, and only that is computed in reals.
  @Test func aRefusedUnitSaysWhy() throws {
    let pool = AvgPool2d(kernelSize: 2, stride: 2, ceilMode: true)
    try Pipeline(Sequential([Conv2d(3, 4, kernelSize: 1), pool, Conv2d(4, 2, kernelSize: 1)]), [1, 3, 5, 7])
      .quantize().lower().expectDelegated("fused.conv2d", count: 2)
      .expectPortable(["aten.avg_pool2d.default"], because: "ceil_mode is not fused")
      .run().compare(toFloat: .decibels(25), portable: .bytes)
  }
}
