import TensorCore

extension Operator {
  /// Elementwise sum with clamp, of two tensors of one shape and layout: f32, or int8 with parameters of their own.
  ///
  /// The int8 result is fixed point. With ra = self scale / output scale and rb likewise, both in [2⁻¹⁰, 2⁸):
  ///
  ///     shift = 20 − exponent(max(ra, rb))                       12…30
  ///     ma, mb = RNE(ra · 2^shift), RNE(rb · 2^shift)            at most 2²¹
  ///     q = clamp(((2^(shift−1) + (a − za)·ma + (b − zb)·mb) >> shift) + zp)
  ///
  /// that is, rounded half up. Outside those ratios it is RNE(clamp(Float(a − za)·ra + Float(b − zb)·rb)) + zp in
  /// Float. `infer` leaves the quantization parameters of an int8 output open.
  package static let fusedAdd = Operator(sum: "fused.add", sign: 1)

  /// Elementwise difference with clamp: as `fused.add`, with −mb and −rb.
  package static let fusedSub = Operator(sum: "fused.sub", sign: -1)

  private convenience init(sum name: String, sign: Int32) {
    self.init(
      "\(name)(Tensor self, Tensor other, float output_min=-inf, float output_max=inf) -> Tensor",
      traits: [.inPlace, .fused],
      infer: { call throws(OperatorError) in try call.elementwiseOutputs() },
      prepare: { call throws(OperatorError) in
        let (a, b) = try call.elementwiseOperands()
        let output = try call.checkedOutput(try call.elementwiseOutputs())
        let (indexA, indexB) = (try call.position("self"), try call.position("other"))
        let count = output.shape.elementCount
        if a.dataType == .int8 {
          let sum = try Int8Sum(call, a, b, output, sign: sign)
          return PreparedKernel { buffers in
            sum.run(buffers.input(indexA), buffers.input(indexB), buffers.output(), count)
          }
        }
        let (lower, upper) = try call.floatBounds()
        let factor = Float(sign)
        return PreparedKernel { buffers in
          let (x, y) = (buffers.input(indexA, as: Float.self), buffers.input(indexB, as: Float.self))
          let target = buffers.output(as: Float.self)
          for i in 0..<count { target[i] = clamped(x[i] + factor * y[i], lower, upper) }
        }
      })
  }
}

/// The int8 sum, or difference, of two tensors with parameters of their own.
private struct Int8Sum: Sendable {
  private let zeroPointA, zeroPointB: Int32
  private let ratioA, ratioB: Float
  /// 1 or −1, for the second operand.
  private let sign: Int32
  private let requantizer: Requantizer
  private let bounds: (lower: Int32, upper: Int32)

  init(
    _ call: OperatorCall, _ a: TensorSpec, _ b: TensorSpec, _ output: TensorSpec, sign: Int32
  ) throws(OperatorError) {
    self.sign = sign
    let (a, b) = (try call.int8Parameters(a, "self"), try call.int8Parameters(b, "other"))
    let scale = try call.int8Parameters(output, "output").scale
    (ratioA, ratioB) = (a.scale / scale, b.scale / scale)
    // 2⁶⁴ keeps the float path clear of infinities, whose difference is NaN.
    try call.check(
      ratioA < 0x1p64 && ratioB < 0x1p64,
      "the scales \(a.scale) and \(b.scale) are too large for the output scale \(scale)")
    (zeroPointA, zeroPointB) = (a.zeroPoint, b.zeroPoint)
    requantizer = try call.requantizer(output)
    bounds = (Int32(requantizer.lower), Int32(requantizer.upper))
  }

  private var isFixedPoint: Bool { min(ratioA, ratioB) >= 0x1p-10 && max(ratioA, ratioB) < 0x1p8 }

  func run(
    _ a: UnsafePointer<Int8>, _ b: UnsafePointer<Int8>, _ target: UnsafeMutablePointer<Int8>, _ count: Int
  ) {
    if isFixedPoint { fixedPoint(a, b, target, count) } else { floatingPoint(a, b, target, count) }
  }

  /// Sums stay below 2³¹: 2 · 255 · 2²¹ + 2²⁹.
  private func fixedPoint(
    _ a: UnsafePointer<Int8>, _ b: UnsafePointer<Int8>, _ target: UnsafeMutablePointer<Int8>, _ count: Int
  ) {
    let shift = 20 - Int32(max(ratioA, ratioB).exponent)
    let power = Float(sign: .plus, exponent: Int(shift), significand: 1)
    let sum = FixedPointSum(
      multipliers: (
        Int32((ratioA * power).rounded(.toNearestOrEven)), sign &* Int32((ratioB * power).rounded(.toNearestOrEven))
      ),
      zeroPoints: (zeroPointA, zeroPointB), shift: shift, bounds: bounds, outputZeroPoint: requantizer.zeroPoint)
    var i = 0
    while i &+ 8 <= count {
      let x = UnsafeRawPointer(a + i).loadUnaligned(as: SIMD8<UInt8>.self)
      let y = UnsafeRawPointer(b + i).loadUnaligned(as: SIMD8<UInt8>.self)
      UnsafeMutableRawPointer(target + i).storeBytes(of: sum.quanta(x, y), as: SIMD8<Int8>.self)
      i &+= 8
    }
    while i < count {
      let (x, y) = (UInt8(bitPattern: a[i]), UInt8(bitPattern: b[i]))
      target[i] = sum.quanta(SIMD8(repeating: x), SIMD8(repeating: y))[0]
      i &+= 1
    }
  }

  private func floatingPoint(
    _ a: UnsafePointer<Int8>, _ b: UnsafePointer<Int8>, _ target: UnsafeMutablePointer<Int8>, _ count: Int
  ) {
    let (zeroPointA, zeroPointB, ratioA, ratioB) = (zeroPointA, zeroPointB, ratioA, Float(sign) * ratioB)
    let requantizer = requantizer
    for i in 0..<count {
      let (x, y) = (Float(Int32(a[i]) &- zeroPointA), Float(Int32(b[i]) &- zeroPointB))
      target[i] = requantizer.round(x * ratioA + y * ratioB)
    }
  }
}

/// Eight sums at a time. A multiplier of up to 22 bits is high · 2¹⁵ + low, so that the products of both operands are two
/// multiply-adds of 16 bits: SSE2 multiplies no wider ones.
private struct FixedPointSum {
  private let low, high: SIMD8<Int16>
  private let bias, shift, lower, upper, zeroPoint: Int32

  @inline(__always)
  init(
    multipliers: (Int32, Int32), zeroPoints: (Int32, Int32), shift: Int32, bounds: (lower: Int32, upper: Int32),
    outputZeroPoint: Int32
  ) {
    let (lowA, lowB) = (Int16(multipliers.0 & 0x7FFF), Int16(multipliers.1 & 0x7FFF))
    // Truncated, not converted: else the compiler takes the factors for 32-bit ones.
    let highA = Int16(truncatingIfNeeded: multipliers.0 &>> 15)
    let highB = Int16(truncatingIfNeeded: multipliers.1 &>> 15)
    low = SIMD8(lowA, lowB, lowA, lowB, lowA, lowB, lowA, lowB)
    high = SIMD8(highA, highB, highA, highB, highA, highB, highA, highB)
    // Operands are multiplied with 128 added, as unsigned.
    bias =
      (1 &<< (shift &- 1)) &- (zeroPoints.0 &+ 128) &* multipliers.0 &- (zeroPoints.1 &+ 128) &* multipliers.1
    (self.shift, zeroPoint) = (shift, outputZeroPoint)
    (lower, upper) = (bounds.lower, bounds.upper)
  }

  /// Of the bits of int8 operands.
  @inline(__always)
  func quanta(_ a: SIMD8<UInt8>, _ b: SIMD8<UInt8>) -> SIMD8<Int8> {
    let flipped = SIMD8<UInt8>(repeating: 128)
    let (a, b) = (a ^ flipped, b ^ flipped)
    return SIMD8(
      lowHalf: quanta(SIMD8(a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3])),
      highHalf: quanta(SIMD8(a[4], b[4], a[5], b[5], a[6], b[6], a[7], b[7])))
  }

  @inline(__always)
  private func quanta(_ pairs: SIMD8<UInt8>) -> SIMD4<Int8> {
    let operands = SIMD8<Int16>(truncatingIfNeeded: pairs)
    let sum = (productSums(operands, high) &<< 15) &+ productSums(operands, low) &+ bias
    let quanta = clamped(sum &>> SIMD4(repeating: shift), lower, upper)
    return SIMD4<Int8>(truncatingIfNeeded: quanta &+ zeroPoint)
  }
}
