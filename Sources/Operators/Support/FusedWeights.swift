import TensorCore

/// The filter and bias of a convolution or linear, in the layout of its kernel: packed once when both are constant, at
/// every run, into the scratch memory, when they are not.
struct FusedWeights: Sendable {
  typealias Packer =
    @Sendable (_ weights: UnsafeRawPointer, _ bias: UnsafeRawPointer?, _ packed: UnsafeMutableRawPointer) -> Void

  private let constant: Storage?
  private let weightIndex: Int
  private let biasIndex: Int?
  private let pack: Packer
  /// Bytes taken at the start of the scratch memory, a multiple of 64.
  let scratchByteCount: Int

  init(_ call: OperatorCall, byteCount: Int, pack: @escaping Packer) throws(OperatorError) {
    weightIndex = try call.position("weight")
    self.pack = pack
    biasIndex = try call.index(of: "bias")
    let (weight, bias) = (try call.alignedConstant("weight"), try call.alignedConstant("bias"))
    if let weight, biasIndex == nil || bias != nil {
      let storage = Storage(byteCount: byteCount)
      weight.withUnsafeBytes { weights in
        if let bias {
          bias.withUnsafeBytes { pack(weights.baseAddress!, $0.baseAddress!, storage.base) }
        } else {
          pack(weights.baseAddress!, nil, storage.base)
        }
      }
      constant = storage
      scratchByteCount = 0
    } else {
      try call.check(byteCount <= Int.max / 2, "the weights are too large")
      constant = nil
      scratchByteCount = (byteCount + 63) / 64 * 64
    }
  }

  @inline(__always)
  func pointer(_ buffers: KernelBuffers) -> UnsafeRawPointer {
    if let constant { return UnsafeRawPointer(constant.base) }
    pack(buffers.inputs[weightIndex], biasIndex.map { buffers.inputs[$0] }, buffers.scratch)
    return UnsafeRawPointer(buffers.scratch)
  }
}

extension OperatorCall {
  /// Checks filter and bias of a convolution or linear, of `outputs` channels (the filter's dimension 0).
  /// An int8 operator's bias is int32, but for dynamic ones', whose result is real.
  func checkWeights(input: TensorSpec, isDynamic: Bool = false) throws(OperatorError) {
    let weight = try spec("weight")
    let outputs = weight.shape[0]
    let limit = Int(Int32.max)
    try check(
      weight.dataType == input.dataType, "'weight' must be \(input.dataType) as the input is, not \(weight.dataType)")
    try check(
      (1...limit).contains(outputs) && (1...limit).contains(weight.shape.elementCount / outputs),
      "'weight' has an empty or too large dimension: \(weight.shape)")
    if input.dataType == .int8 {
      _ = try weightScales(weight)
    } else {
      try check(weight.quantization == nil, "'weight' is float32 but has quantization parameters")
    }
    guard let bias = try optionalSpec("bias") else { return }
    let biasType: DataType = input.dataType == .int8 && !isDynamic ? .int32 : .float32
    try check(
      bias.dataType == biasType && bias.shape == Shape([outputs]) && bias.dimOrder == .contiguous,
      "'bias' must be \(biasType)[\(outputs)], not \(bias)")
  }

  /// The scales of an int8 filter: one, or one per output channel; symmetric.
  func weightScales(_ weight: TensorSpec) throws(OperatorError) -> [Float] {
    guard let quantization = weight.quantization else {
      throw error("'weight' is int8 without quantization parameters")
    }
    let outputs = weight.shape[0]
    try check(quantization.zeroPoint == 0, "the zero point of 'weight' must be 0, not \(quantization.zeroPoint)")
    try check(
      quantization.axis == nil || quantization.axis == 0,
      "'weight' must be quantized along dimension 0, not \(quantization.axis ?? 0)")
    try check(
      quantization.scales.count == (quantization.isPerChannel ? outputs : 1),
      "'weight' has \(quantization.scales.count) scales for \(outputs) output channels")
    try check(
      quantization.scales.allSatisfy { $0.isNormal && $0 > 0 }, "the scales of 'weight' must be positive normal numbers"
    )
    return quantization.scales
  }

  /// `input scale · weight scale / output scale` per output channel, each operation rounded to Float.
  func requantizationScales(input: TensorSpec, output: TensorSpec) throws(OperatorError) -> [Float] {
    let weight = try spec("weight")
    let scales = try weightScales(weight)
    let inputScale = try int8Parameters(input, "input").scale
    let outputScale = try int8Parameters(output, "output").scale
    var result: [Float] = []
    for channel in 0..<weight.shape[0] {
      let scale = inputScale * scales[scales.count == 1 ? 0 : channel] / outputScale
      try check(
        scale.isFinite && scale > 0,
        "input scale \(inputScale) · weight scale \(scales[scales.count == 1 ? 0 : channel]) / output scale "
          + "\(outputScale) is not a positive finite number (output channel \(channel))")
      result.append(scale)
    }
    return result
  }
}
