import TensorCore

extension Operator {
  /// `constant_pad_nd` under its general name; the modes other than 'constant' are refused.
  public static let pad = Operator(
    "aten.pad.default(Tensor self, SymInt[] pad, str mode=\"constant\", float? value=None) -> Tensor",
    traits: .movesElements, reasonForFloat: "it is not observed; lowering makes it part of the convolution that follows"
  ) { call throws(OperatorError) in
    let mode = try call.string("mode")
    try call.check(mode == "constant", "the padding mode '\(mode)' is not supported, only 'constant'")
    return try padPlan(call)
  }

  /// A constant around a tensor of any element type: `pad` is (before, after) of the last dimension, then of the one
  /// before it, and so on. Negative padding cuts elements off.
  public static let constantPadNd = Operator(
    "aten.constant_pad_nd.default(Tensor self, SymInt[] pad, Scalar value=0) -> Tensor", traits: .movesElements,
    reasonForFloat: "it is not observed; lowering makes it part of the convolution that follows"
  ) { call throws(OperatorError) in try padPlan(call) }
}

private func padPlan(_ call: OperatorCall) throws(OperatorError) -> KernelPlan {
  let input = try call.tensor("self")
  let pads = try call.ints("pad")
  let rank = input.shape.rank
  try call.check(
    pads.count % 2 == 0 && pads.count / 2 <= rank, "'pad' must be at most \(rank) pairs for \(input.shape), not \(pads)"
  )
  try call.check(pads.allSatisfy { (-sizeLimit...sizeLimit).contains($0) }, "'pad' is too large: \(pads)")
  let fill = try FillPattern(call.optionalFloat("value") ?? 0, of: input.dataType, call)
  var (sizes, copied) = (input.shape.dimensions, input.shape.dimensions)
  var (skipped, starts) = ([Int](repeating: 0, count: rank), [Int](repeating: 0, count: rank))
  for index in 0..<pads.count / 2 {
    let (dim, before, after) = (rank - 1 - index, pads[2 * index], pads[2 * index + 1])
    copied[dim] += min(before, 0) + min(after, 0)
    try call.check(copied[dim] >= 0, "'pad' \(pads) cuts more than all off dimension \(dim) of \(input.shape)")
    sizes[dim] += before + after
    (skipped[dim], starts[dim]) = (max(-before, 0), max(before, 0))
  }
  let shape = try call.checkedShape(sizes)
  return KernelPlan(TensorSpec(input.dataType, shape)) {
    let (targetStrides, sourceStrides) = (shape.strides, input.shape.strides)
    let loops = StridedLoops(
      (0..<rank).map { StridedLoops.Axis(size: copied[$0], first: targetStrides[$0], second: sourceStrides[$0]) })
    let size = input.dataType.size
    let sourceOffset = (0..<rank).reduce(0) { $0 + skipped[$1] * sourceStrides[$1] } * size
    let targetOffset = (0..<rank).reduce(0) { $0 + starts[$1] * targetStrides[$1] } * size
    let count = shape.elementCount
    return PreparedKernel { buffers in
      let (source, target) = (buffers.inputs[input.index], buffers.outputs[0])
      fill.write(to: target, count: count)
      loops.copy(elementSize: size, from: source + sourceOffset, to: target + targetOffset)
    }
  }
}

/// One element's bytes, to fill a tensor of any type with.
private struct FillPattern: Sendable {
  private let bits: UInt64
  private let size: Int

  /// Refuses a value that an integer type cannot hold, and any but 0 for the 16-bit float types.
  init(_ value: Double, of dataType: DataType, _ call: OperatorCall) throws(OperatorError) {
    size = dataType.size
    let integer = Int(exactly: value)
    let pattern: UInt64? =
      switch dataType {
      case .float32: UInt64(Float(value).bitPattern)
      case .float64: value.bitPattern
      case .float16, .bfloat16: value == 0 ? 0 : nil
      case .bool: value == 0 ? 0 : 1
      case .uint8: integer.flatMap { UInt8(exactly: $0) }.map { UInt64($0) }
      case .int8: integer.flatMap { Int8(exactly: $0) }.map { UInt64(UInt8(bitPattern: $0)) }
      case .int16: integer.flatMap { Int16(exactly: $0) }.map { UInt64(UInt16(bitPattern: $0)) }
      case .int32: integer.flatMap { Int32(exactly: $0) }.map { UInt64(UInt32(bitPattern: $0)) }
      case .int64: integer.map { UInt64(bitPattern: Int64($0)) }
      }
    guard let pattern else { throw call.error("\(dataType) cannot be padded with \(value)") }
    bits = pattern
  }

  func write(to target: UnsafeMutableRawPointer, count: Int) {
    switch size {
    case 1: target.assumingMemoryBound(to: UInt8.self).update(repeating: UInt8(truncatingIfNeeded: bits), count: count)
    case 2:
      target.assumingMemoryBound(to: UInt16.self).update(repeating: UInt16(truncatingIfNeeded: bits), count: count)
    case 4:
      target.assumingMemoryBound(to: UInt32.self).update(repeating: UInt32(truncatingIfNeeded: bits), count: count)
    default: target.assumingMemoryBound(to: UInt64.self).update(repeating: bits, count: count)
    }
  }
}
