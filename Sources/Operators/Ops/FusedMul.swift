import TensorCore

extension Operator {
  /// Elementwise product with clamp, of two tensors of one shape and layout: f32, or int8 with parameters of their own.
  ///
  /// The int8 result is RNE(clamp(Float((a − za)·(b − zb)) · s)) + zp with s = self scale · other scale / output scale,
  /// all in Float, left to right. `infer` leaves the quantization parameters of an int8 output open.
  package static let fusedMul = Operator(
    "fused.mul(Tensor self, Tensor other, float output_min=-inf, float output_max=inf) -> Tensor",
    traits: [.inPlace, .fused],
    infer: { call throws(OperatorError) in try call.elementwiseOutputs() },
    prepare: { call throws(OperatorError) in
      let (a, b) = try call.elementwiseOperands()
      let output = try call.checkedOutput(try call.elementwiseOutputs())
      let (indexA, indexB) = (try call.position("self"), try call.position("other"))
      let count = output.shape.elementCount
      if a.dataType == .int8 { return try int8Product(call, a, b, output, indexA, indexB) }
      let (lower, upper) = try call.floatBounds()
      return PreparedKernel { buffers in
        let (x, y) = (buffers.input(indexA, as: Float.self), buffers.input(indexB, as: Float.self))
        let target = buffers.output(as: Float.self)
        for i in 0..<count { target[i] = clamped(x[i] * y[i], lower, upper) }
      }
    })
}

private func int8Product(
  _ call: OperatorCall, _ a: TensorSpec, _ b: TensorSpec, _ output: TensorSpec, _ indexA: Int, _ indexB: Int
) throws(OperatorError) -> PreparedKernel {
  let (a, b) = (try call.int8Parameters(a, "self"), try call.int8Parameters(b, "other"))
  let outputScale = try call.int8Parameters(output, "output").scale
  let scale = a.scale * b.scale / outputScale
  try call.check(
    scale.isFinite && scale > 0,
    "self scale \(a.scale) · other scale \(b.scale) / output scale \(outputScale) is not a positive finite number")
  let requantizer = try call.requantizer(output)
  let count = output.shape.elementCount
  return PreparedKernel { buffers in
    let (x, y) = (buffers.input(indexA, as: Int8.self), buffers.input(indexB, as: Int8.self))
    let target = buffers.output(as: Int8.self)
    let (zeroA, zeroB) = (Int16(a.zeroPoint), Int16(b.zeroPoint))
    func quanta(_ a: SIMD8<UInt8>, _ b: SIMD8<UInt8>) -> SIMD8<Int8> {
      let product = SIMD8<Float>(widened(centred(a, zeroA)) &* widened(centred(b, zeroB))) * scale
      return requantizer.round(product.lowHalf, product.highHalf)
    }
    var i = 0
    while i &+ 8 <= count {
      let (first, second) = (UnsafeRawPointer(x + i), UnsafeRawPointer(y + i))
      let result = quanta(
        first.loadUnaligned(as: SIMD8<UInt8>.self), second.loadUnaligned(as: SIMD8<UInt8>.self))
      UnsafeMutableRawPointer(target + i).storeBytes(of: result, as: SIMD8<Int8>.self)
      i &+= 8
    }
    while i < count {
      let (first, second) = (UInt8(bitPattern: x[i]), UInt8(bitPattern: y[i]))
      target[i] = quanta(SIMD8(repeating: first), SIMD8(repeating: second))[0]
      i &+= 1
    }
  }
}
