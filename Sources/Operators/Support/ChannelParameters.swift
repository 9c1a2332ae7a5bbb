import TensorCore

/// Where the scale and zero point of each index of `axis` are found, and which elements they apply to.
struct ChannelParameters: Sendable {
  /// float32 or float64, one per channel.
  let scales: TensorArgument
  /// int8, int32, int64 or (real zero points, of embeddings) float32, one per channel; nil for 0.
  private let zeroPoints: TensorArgument?
  private let outer: Int
  private let channels: Int
  private let inner: Int

  /// Reads `scales`, `zero_points` and `axis`.
  init(_ call: OperatorCall, _ input: TensorArgument) throws(OperatorError) {
    try call.check(input.shape.rank > 0, "a scalar has no channels")
    let axis = try call.dimension(call.int("axis"), of: input.shape, "axis")
    (outer, channels, inner) = input.shape.split(at: axis)
    scales = try call.tensor("scales")
    zeroPoints = try call.index(of: "zero_points") == nil ? nil : call.tensor("zero_points")
    try call.check(
      scales.dataType == .float32 || scales.dataType == .float64,
      "'scales' must be float32 or float64, not \(scales.spec)")
    try call.check(
      [.int8, .int32, .int64, .float32].contains(zeroPoints?.dataType ?? .int64),
      "'zero_points' must be int8, int32, int64 or float32, not \(zeroPoints?.dataType ?? .int64)")
    for parameters in [scales, zeroPoints ?? scales] {
      try call.check(
        parameters.shape.dimensions == [channels],
        "scales and zero points must be [\(channels)] for axis \(axis) of \(input.shape), not \(parameters.shape)")
    }
  }

  @inline(__always)
  func scale(_ buffers: KernelBuffers, _ channel: Int) -> Double {
    scales.dataType == .float64
      ? buffers.input(scales, as: Double.self)[channel] : Double(buffers.input(scales, as: Float.self)[channel])
  }

  var hasRealZeroPoints: Bool { zeroPoints?.dataType == .float32 }

  /// - Precondition: `hasRealZeroPoints`.
  @inline(__always)
  func realZeroPoint(_ buffers: KernelBuffers, _ channel: Int) -> Float {
    zeroPoints.map { buffers.input($0, as: Float.self)[channel] } ?? 0
  }

  /// - Precondition: not `hasRealZeroPoints`.
  @inline(__always)
  func zeroPoint(_ buffers: KernelBuffers, _ channel: Int) -> Int {
    guard let zeroPoints else { return 0 }
    return switch zeroPoints.dataType {
    case .int8: Int(buffers.input(zeroPoints, as: Int8.self)[channel])
    case .int32: Int(buffers.input(zeroPoints, as: Int32.self)[channel])
    default: Int(buffers.input(zeroPoints, as: Int64.self)[channel])
    }
  }

  /// Calls `body` for each run of elements that share their parameters.
  @inline(__always)
  func forEachRun(_ body: (_ channel: Int, _ offset: Int, _ count: Int) -> Void) {
    if inner == 0 || channels == 0 { return }
    for run in 0..<outer &* channels { body(run % channels, run &* inner, inner) }
  }
}
