import Swiftlet

/// A seeded source of shapes, scales and elements.
package struct Random {
  private var state: UInt64

  package init(_ seed: Int) { state = UInt64(truncatingIfNeeded: seed) &* 2 &+ 1 }

  package mutating func next(_ range: ClosedRange<Int>) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return range.lowerBound + Int(state >> 33) % (range.upperBound - range.lowerBound + 1)
  }

  package mutating func unit() -> Float { Float(next(0...(1 << 24) - 1)) / Float(1 << 24) }

  package mutating func float(_ low: Float, _ high: Float) -> Float { low + (high - low) * unit() }

  /// Activations of the given shape: uniform int8 with random parameters, or uniform floats in [-2, 2].
  package mutating func activation(_ shape: Shape, _ type: DataType, _ quantization: QuantizationParameters? = nil)
    -> Tensor
  {
    let order: DimOrder = shape.rank == 4 ? .channelsLast : .contiguous
    if type == .float32 {
      let values = (0..<shape.elementCount).map { _ in float(-2, 2) }
      return Tensor(values, shape: shape, dimOrder: order)
    }
    let values = (0..<shape.elementCount).map { _ in Int8(next(-128...127)) }
    return Tensor(values, shape: shape, dimOrder: order).reinterpreted(
      as: TensorSpec(.int8, shape, dimOrder: order, quantization: quantization ?? parameters()))
  }

  package mutating func parameters() -> QuantizationParameters {
    QuantizationParameters(scale: float(0.005, 0.05), zeroPoint: Int32(next(-128...127)))
  }

  /// Symmetric weights in [-127, 127], or floats in [-0.5, 0.5].
  package mutating func weight(_ shape: Shape, _ type: DataType, perChannel: Bool) -> Tensor {
    let order: DimOrder = shape.rank == 4 ? .channelsLast : .contiguous
    if type == .float32 {
      return Tensor((0..<shape.elementCount).map { _ in float(-0.5, 0.5) }, shape: shape, dimOrder: order)
    }
    let quantization =
      perChannel
      ? QuantizationParameters(perChannel: (0..<shape[0]).map { _ in float(0.001, 0.02) }, axis: 0)
      : QuantizationParameters(scale: float(0.001, 0.02), zeroPoint: 0)
    let values = (0..<shape.elementCount).map { _ in Int8(next(-127...127)) }
    return Tensor(values, shape: shape, dimOrder: order).reinterpreted(
      as: TensorSpec(.int8, shape, dimOrder: order, quantization: quantization))
  }

  package mutating func bias(_ count: Int, _ type: DataType) -> Tensor {
    type == .float32
      ? Tensor((0..<count).map { _ in float(-1, 1) }, shape: [count])
      : Tensor((0..<count).map { _ in Int32(next(-20_000...20_000)) }, shape: [count])
  }

  /// The output's spec: int8 with parameters that random sums of `terms` products mostly fit.
  package mutating func output(_ shape: Shape, _ type: DataType, scale: Float) -> TensorSpec {
    TensorSpec(
      type, shape, dimOrder: shape.rank == 4 ? .channelsLast : .contiguous,
      quantization: type == .int8 ? QuantizationParameters(scale: scale, zeroPoint: Int32(next(-128...127))) : nil)
  }
}
