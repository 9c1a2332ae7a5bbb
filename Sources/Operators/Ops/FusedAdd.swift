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
  static let fusedAdd = Operator(sum: "fused.add", sign: 1)

  /// Elementwise difference with clamp: as `fused.add`, with −mb and −rb.
  static let fusedSub = Operator(sum: "fused.sub", sign: -1)

  private init(sum name: String, sign: Int32) {
    self.init(
      "\(name)(Tensor self, Tensor other, float output_min=-inf, float output_max=inf) -> Tensor", isInPlace: true,
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

/// The int8 sum, or difference, of two tensors with parameters of their own. Each operand's term is looked up: SSE2
/// multiplies no 32-bit integers.
private struct Int8Sum: Sendable {
  private let requantizer: Requantizer
  private let terms: Terms

  /// What each quantum of the operands adds, indexed by the quantum + 128.
  private enum Terms: Sendable {
    case fixedPoint(a: [Int32], b: [Int32], shift: Int32)
    case floatingPoint(a: [Float], b: [Float])
  }

  init(
    _ call: OperatorCall, _ a: TensorSpec, _ b: TensorSpec, _ output: TensorSpec, sign: Int32
  ) throws(OperatorError) {
    let (a, b) = (try call.int8Parameters(a, "self"), try call.int8Parameters(b, "other"))
    let scale = try call.int8Parameters(output, "output").scale
    let (ratioA, ratioB) = (a.scale / scale, b.scale / scale)
    // 2⁶⁴ keeps the float path clear of infinities, whose difference is NaN.
    try call.check(
      ratioA < 0x1p64 && ratioB < 0x1p64,
      "the scales \(a.scale) and \(b.scale) are too large for the output scale \(scale)")
    requantizer = try call.requantizer(output)
    if min(ratioA, ratioB) >= 0x1p-10 && max(ratioA, ratioB) < 0x1p8 {
      let shift = 20 - Int32(max(ratioA, ratioB).exponent)
      let power = Float(sign: .plus, exponent: Int(shift), significand: 1)
      let multiplierA = Int32((ratioA * power).rounded(.toNearestOrEven))
      let multiplierB = sign &* Int32((ratioB * power).rounded(.toNearestOrEven))
      // Sums stay below 2³¹: 2 · 255 · 2²¹ + 2²⁹.
      let half: Int32 = 1 &<< (shift &- 1)
      terms = .fixedPoint(
        a: (-128...127).map { half &+ ($0 &- a.zeroPoint) &* multiplierA },
        b: (-128...127).map { ($0 &- b.zeroPoint) &* multiplierB }, shift: shift)
    } else {
      terms = .floatingPoint(
        a: (-128...127).map { Float(Int32($0) &- a.zeroPoint) * ratioA },
        b: (-128...127).map { Float(Int32($0) &- b.zeroPoint) * (Float(sign) * ratioB) })
    }
  }

  func run(
    _ a: UnsafePointer<Int8>, _ b: UnsafePointer<Int8>, _ target: UnsafeMutablePointer<Int8>, _ count: Int
  ) {
    let requantizer = requantizer
    switch terms {
    case .fixedPoint(let termsA, let termsB, let shift):
      let (lower, upper) = (Int32(requantizer.lower), Int32(requantizer.upper))
      map(a, b, target, count, termsA, termsB) { sum in
        Int8(truncatingIfNeeded: max(lower, min(upper, sum &>> shift)) &+ requantizer.zeroPoint)
      } adding: {
        $0 &+ $1
      }
    case .floatingPoint(let termsA, let termsB):
      map(a, b, target, count, termsA, termsB) {
        requantizer.round($0)
      } adding: {
        $0 + $1
      }
    }
  }

  @inline(__always)
  private func map<Term>(
    _ a: UnsafePointer<Int8>, _ b: UnsafePointer<Int8>, _ target: UnsafeMutablePointer<Int8>, _ count: Int,
    _ termsA: [Term], _ termsB: [Term], quantum: (Term) -> Int8, adding: (Term, Term) -> Term
  ) {
    termsA.withUnsafeBufferPointer { termsA in
      termsB.withUnsafeBufferPointer { termsB in
        guard let centreA = termsA.baseAddress.map({ $0 + 128 }), let centreB = termsB.baseAddress.map({ $0 + 128 })
        else { return }
        for i in 0..<count { target[i] = quantum(adding(centreA[Int(a[i])], centreB[Int(b[i])])) }
      }
    }
  }
}
