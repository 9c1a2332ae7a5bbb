import TensorCore

// What the operators of lowered graphs check alike: activations, quantization parameters, bounds and output specs.

/// A per-tensor quantized int8 activation's parameters: `real = (q − zeroPoint) · scale`.
struct Int8Parameters: Hashable, Sendable {
  /// Normal and greater than 0.
  let scale: Float
  /// In −128…127.
  let zeroPoint: Int32

  /// `real` as a quantum: RNE(real · Float(1 / scale)) + zeroPoint, saturated; NaN becomes the zero point.
  @inline(__always)
  func quantize(_ real: Float, inverse: Float) -> Int8 {
    let scaled = real * inverse
    let number = scaled == scaled ? scaled : 0
    let requantizer = Requantizer(self)
    return requantizer.round(number)
  }

  /// `1 / scale`, divided in double precision and then rounded, as PyTorch does.
  var inverseScale: Float { Float(1 / Double(scale)) }
}

/// The bounds of an operator's output.
enum OutputBounds: Sendable {
  /// Reals; infinite for none.
  case float(lower: Float, upper: Float)
  /// Quanta in −128…127; the whole range for none.
  case int8(lower: Int32, upper: Int32)
}

extension OperatorCall {
  /// An activation argument: float32, or int8 with per-tensor parameters; channels last only when it is 4-D.
  func activation(_ name: String) throws(OperatorError) -> TensorSpec {
    let spec = try spec(name)
    try checkActivation(spec, name)
    return spec
  }

  func checkActivation(_ spec: TensorSpec, _ name: String) throws(OperatorError) {
    try checkLayout(spec, name)
    switch spec.dataType {
    case .float32:
      try check(spec.quantization == nil, "'\(name)' is float32 but has quantization parameters")
    case .int8: _ = try int8Parameters(spec, name)
    default: throw error("'\(name)' must be float32 or int8, not \(spec.dataType)")
    }
  }

  func checkLayout(_ spec: TensorSpec, _ name: String) throws(OperatorError) {
    try check(
      spec.dimOrder == .contiguous || spec.shape.rank == 4, "'\(name)' is channels last but not 4-D: \(spec.shape)")
  }

  /// A 4-D channels-last activation whose sizes other than the batch are at least 1 and fit in 31 bits.
  func imageActivation(_ name: String) throws(OperatorError) -> TensorSpec {
    let spec = try activation(name)
    try check(
      spec.shape.rank == 4 && spec.dimOrder == .channelsLast, "'\(name)' must be 4-D and channels last, not \(spec)")
    try check(
      spec.shape.dimensions.dropFirst().allSatisfy { (1...Int(Int32.max)).contains($0) },
      "'\(name)' has an empty or too large dimension: \(spec.shape)")
    return spec
  }

  /// The per-tensor parameters of an int8 tensor.
  func int8Parameters(_ spec: TensorSpec, _ name: String) throws(OperatorError) -> Int8Parameters {
    try check(spec.dataType == .int8, "'\(name)' must be int8, not \(spec.dataType)")
    guard let quantization = spec.quantization else { throw error("'\(name)' is int8 without quantization parameters") }
    try check(
      !quantization.isPerChannel && quantization.scales.count == 1,
      "'\(name)' must be quantized per tensor, not \(spec)")
    let scale = quantization.scales[0]
    try check(scale.isNormal && scale > 0, "the scale of '\(name)' must be a positive normal number, not \(scale)")
    try check(
      (-128...127).contains(quantization.zeroPoint),
      "the zero point of '\(name)' must be in -128...127, not \(quantization.zeroPoint)")
    return Int8Parameters(scale: scale, zeroPoint: quantization.zeroPoint)
  }

  /// The attributes `output_min` and `output_max`.
  func outputBounds(_ dataType: DataType) throws(OperatorError) -> OutputBounds {
    let (lower, upper) = (try float("output_min"), try float("output_max"))
    try check(lower <= upper, "output_min \(lower) must not be above output_max \(upper)")
    if dataType != .int8 { return .float(lower: Float(lower), upper: Float(upper)) }
    return .int8(lower: try quantum(lower, "output_min", -128), upper: try quantum(upper, "output_max", 127))
  }

  private func quantum(_ value: Double, _ name: String, _ none: Int32) throws(OperatorError) -> Int32 {
    if value == (none < 0 ? -Double.infinity : Double.infinity) { return none }
    guard let quantum = Int32(exactly: value), (-128...127).contains(quantum) else {
      throw error("\(name) must be an integer in -128...127 for int8, not \(value)")
    }
    return quantum
  }

  /// The output's spec, equal to what `infer` gave save that parameters which cannot be inferred are filled in.
  func checkedOutput(_ inferred: [TensorSpec]) throws(OperatorError) -> TensorSpec {
    let output = try output()
    guard let expected = inferred.first else { throw error("the operator has no output") }
    var comparable = output
    if expected.quantization == nil, expected.dataType == .int8 { comparable.quantization = nil }
    try check(comparable == expected, "the output must be \(expected), not \(output)")
    return output
  }

  /// The int8 output's parameters, and how sums are brought to it.
  func requantizer(_ output: TensorSpec) throws(OperatorError) -> Requantizer {
    let parameters = try int8Parameters(output, "output")
    guard case .int8(let lower, let upper) = try outputBounds(.int8) else { throw error("int8 has integer bounds") }
    return Requantizer(parameters, lower: lower, upper: upper)
  }

  func floatBounds() throws(OperatorError) -> (lower: Float, upper: Float) {
    guard case .float(let lower, let upper) = try outputBounds(.float32) else { throw error("float32 has real bounds") }
    return (lower, upper)
  }

  /// The data of a tensor argument that is constant, aligned; nil when it is computed.
  func alignedConstant(_ name: String) throws(OperatorError) -> Tensor? {
    guard let tensor = try constant(name) else { return nil }
    let spec = try spec(name)
    try check(
      tensor.spec.byteCount == spec.byteCount && tensor.dataType == spec.dataType,
      "the data of '\(name)' is \(tensor.spec), its spec \(spec)")
    return tensor.aligned()
  }
}
