import Operators
import TensorCore

// MARK: - Elementwise

extension SymbolicTensor {
  /// max(x, 0)
  public func relu() throws(ExportError) -> SymbolicTensor { try call(.relu) }
  /// x brought into [0, 6].
  public func relu6() throws(ExportError) -> SymbolicTensor { try call(.relu6) }
  /// 1 / (1 + e⁻ˣ)
  public func sigmoid() throws(ExportError) -> SymbolicTensor { try call(.sigmoid) }
  /// tanh x
  public func tanh() throws(ExportError) -> SymbolicTensor { try call(.tanh) }
  /// x · sigmoid(x)
  public func silu() throws(ExportError) -> SymbolicTensor { try call(.silu) }
  /// x · hardsigmoid(x)
  public func hardswish() throws(ExportError) -> SymbolicTensor { try call(.hardswish) }
  /// min(max(x + 3, 0), 6) / 6
  public func hardsigmoid() throws(ExportError) -> SymbolicTensor { try call(.hardsigmoid) }
  /// eˣ
  public func exp() throws(ExportError) -> SymbolicTensor { try call(.exp) }
  /// The natural logarithm.
  public func log() throws(ExportError) -> SymbolicTensor { try call(.log) }
  /// √x
  public func sqrt() throws(ExportError) -> SymbolicTensor { try call(.sqrt) }
  /// 1 / √x
  public func rsqrt() throws(ExportError) -> SymbolicTensor { try call(.rsqrt) }
  /// x²
  public func square() throws(ExportError) -> SymbolicTensor { try call(.square) }
  /// The magnitude.
  public func abs() throws(ExportError) -> SymbolicTensor { try call(.abs) }
  /// The largest integer that is not above x.
  public func floor() throws(ExportError) -> SymbolicTensor { try call(.floor) }
  /// The smallest integer that is not below x.
  public func ceil() throws(ExportError) -> SymbolicTensor { try call(.ceil) }
  /// sin x, in radians.
  public func sin() throws(ExportError) -> SymbolicTensor { try call(.sin) }
  /// cos x, in radians.
  public func cos() throws(ExportError) -> SymbolicTensor { try call(.cos) }

  /// - Parameter approximate: `none` (erf) or `tanh`.
  public func gelu(approximate: String = "none") throws(ExportError) -> SymbolicTensor {
    try call(.gelu, "self", ["approximate": .string(approximate)])
  }

  /// x brought into [min, max].
  public func hardtanh(min: Double = -1, max: Double = 1) throws(ExportError) -> SymbolicTensor {
    try call(.hardtanh, "self", ["min_val": .float(min), "max_val": .float(max)])
  }

  /// Either bound may be absent.
  public func clamp(min: Double? = nil, max: Double? = nil) throws(ExportError) -> SymbolicTensor {
    func bound(_ value: Double?) -> CaptureArgument { value.map { .float($0) } ?? .none }
    return try call(.clamp, "self", ["min": bound(min), "max": bound(max)])
  }

  /// x, below 0 multiplied by `negativeSlope`.
  public func leakyRelu(negativeSlope: Double = 0.01) throws(ExportError) -> SymbolicTensor {
    try call(.leakyRelu, "self", ["negative_slope": .float(negativeSlope)])
  }

  /// x; alpha · (eˣ − 1) below 0.
  public func elu(alpha: Double = 1) throws(ExportError) -> SymbolicTensor {
    try call(.elu, "self", ["alpha": .float(alpha)])
  }

  /// x to that power.
  public func pow(_ exponent: Double) throws(ExportError) -> SymbolicTensor {
    try call(.pow, "self", ["exponent": .float(exponent)])
  }

  /// e to each element over the sum along the dimension.
  public func softmax(dim: Int) throws(ExportError) -> SymbolicTensor {
    try call(.softmax, "self", ["dim": .int(dim)])
  }

  // MARK: Arithmetic, broadcast as NumPy does

  /// The sum of each two elements, broadcast as PyTorch does.
  public static func + (a: SymbolicTensor, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try a.call(.add, "self", ["other": .tensor(b)])
  }
  /// The difference of each two elements, broadcast.
  public static func - (a: SymbolicTensor, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try a.call(.sub, "self", ["other": .tensor(b)])
  }
  /// The product of each two elements, broadcast.
  public static func * (a: SymbolicTensor, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try a.call(.mul, "self", ["other": .tensor(b)])
  }
  /// The quotient of each two elements, broadcast.
  public static func / (a: SymbolicTensor, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try a.call(.div, "self", ["other": .tensor(b)])
  }
  /// Adds a number to each element.
  public static func + (a: SymbolicTensor, b: Double) throws(ExportError) -> SymbolicTensor {
    try a.call(.add, "self", ["other": .float(b)])
  }
  /// Subtracts a number from each element.
  public static func - (a: SymbolicTensor, b: Double) throws(ExportError) -> SymbolicTensor {
    try a.call(.sub, "self", ["other": .float(b)])
  }
  /// Multiplies each element by a number.
  public static func * (a: SymbolicTensor, b: Double) throws(ExportError) -> SymbolicTensor {
    try a.call(.mul, "self", ["other": .float(b)])
  }
  /// Divides each element by a number.
  public static func / (a: SymbolicTensor, b: Double) throws(ExportError) -> SymbolicTensor {
    try a.call(.div, "self", ["other": .float(b)])
  }
  /// Multiplies each element by a number.
  public static func * (a: Double, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try b * a }
  /// Adds a number to each element.
  public static func + (a: Double, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try b + a }
  /// −x
  public static prefix func - (a: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try a.call(.neg)
  }

  /// `a = a + b`: the graph gets a new value.
  public static func += (a: inout SymbolicTensor, b: SymbolicTensor) throws(ExportError) { a = try a + b }
  /// `a = a * b`: the graph gets a new value.
  public static func *= (a: inout SymbolicTensor, b: SymbolicTensor) throws(ExportError) { a = try a * b }

  /// The smaller of each two elements, broadcast.
  public func minimum(_ other: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try call(.minimum, "self", ["other": .tensor(other)])
  }
  /// The larger of each two elements, broadcast.
  public func maximum(_ other: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try call(.maximum, "self", ["other": .tensor(other)])
  }
}

// MARK: - Products and reductions

extension SymbolicTensor {
  /// (…, N, M) · (…, M, P) → (…, N, P); the dimensions before the last two are broadcast.
  public func matmul(_ other: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try call(.matmul, "self", ["other": .tensor(other)])
  }

  /// (B, N, M) · (B, M, P)
  public func bmm(_ other: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try call(.bmm, "self", ["mat2": .tensor(other)])
  }

  /// The mean over some dimensions, which are dropped unless `keepdim`.
  public func mean(dim: [Int], keepdim: Bool = false) throws(ExportError) -> SymbolicTensor {
    try call(.meanDim, "self", ["dim": .ints(dim), "keepdim": .bool(keepdim)])
  }

  /// The sum over some dimensions, which are dropped unless `keepdim`.
  public func sum(dim: [Int], keepdim: Bool = false) throws(ExportError) -> SymbolicTensor {
    try call(.sumDim, "self", ["dim": .ints(dim), "keepdim": .bool(keepdim)])
  }
}

// MARK: - Shape

extension SymbolicTensor {
  /// Makes one dimension of those from `startDim` to `endDim`.
  public func flatten(startDim: Int = 0, endDim: Int = -1) throws(ExportError) -> SymbolicTensor {
    try call(.flatten, "self", ["start_dim": .int(startDim), "end_dim": .int(endDim)])
  }

  /// One size may be −1.
  public func view(_ sizes: [SymInt]) throws(ExportError) -> SymbolicTensor {
    try call(.view, "self", ["size": .sizes(sizes)])
  }

  /// One size may be −1.
  public func reshape(_ sizes: [SymInt]) throws(ExportError) -> SymbolicTensor {
    try call(.reshape, "self", ["shape": .sizes(sizes)])
  }

  /// The dimensions in another order: dimension i of the result is `dims[i]` of this.
  public func permute(_ dims: [Int]) throws(ExportError) -> SymbolicTensor {
    try call(.permute, "self", ["dims": .ints(dims)])
  }

  /// Swaps two dimensions.
  public func transpose(_ dim0: Int, _ dim1: Int) throws(ExportError) -> SymbolicTensor {
    try call(.transposeInt, "self", ["dim0": .int(dim0), "dim1": .int(dim1)])
  }

  /// Drops a dimension of size 1; one of another size stays.
  public func squeeze(dim: Int) throws(ExportError) -> SymbolicTensor {
    try call(.squeeze, "self", ["dim": .int(dim)])
  }

  /// Puts a dimension of size 1 before `dim`.
  public func unsqueeze(dim: Int) throws(ExportError) -> SymbolicTensor {
    try call(.unsqueeze, "self", ["dim": .int(dim)])
  }

  /// Splits one dimension into several.
  public func unflatten(dim: Int, _ sizes: [SymInt]) throws(ExportError) -> SymbolicTensor {
    try call(.unflatten, "self", ["dim": .int(dim), "sizes": .sizes(sizes)])
  }

  /// −1 keeps a size.
  public func expand(_ sizes: [SymInt]) throws(ExportError) -> SymbolicTensor {
    try call(.expand, "self", ["size": .sizes(sizes)])
  }

  /// The part at one index of a dimension, without that dimension.
  public func select(dim: Int, _ index: Int) throws(ExportError) -> SymbolicTensor {
    try call(.select, "self", ["dim": .int(dim), "index": .int(index)])
  }

  /// Elements `start..<end` of a dimension; negative bounds count from the end, no `end` means all that follow.
  public func slice(
    dim: Int, start: SymInt = 0, end: SymInt? = nil, step: Int = 1
  ) throws(ExportError) -> SymbolicTensor {
    // What PyTorch writes for an open end.
    try call(
      .slice, "self",
      ["dim": .int(dim), "start": .size(start), "end": end.map { .size($0) } ?? .int(.max), "step": .int(step)])
  }

  /// The same elements, row-major.
  public func contiguous() throws(ExportError) -> SymbolicTensor { try call(.contiguous) }

  /// Parts of equal size along a dimension; the last may be smaller.
  public func chunk(_ count: Int, dim: Int = 0) throws(ExportError) -> [SymbolicTensor] {
    try tracer.call(.chunk, [("self", .tensor(self)), ("chunks", .int(count)), ("dim", .int(dim))])
  }

  /// Parts of the given sizes along a dimension.
  public func split(_ sizes: [Int], dim: Int = 0) throws(ExportError) -> [SymbolicTensor] {
    try tracer.call(
      .splitWithSizes, [("self", .tensor(self)), ("split_sizes", .ints(sizes)), ("dim", .int(dim))])
  }

  /// Pads the last dimensions: pairs (before, after), the last dimension's first.
  public func pad(_ amounts: [Int], value: Double = 0) throws(ExportError) -> SymbolicTensor {
    try call(
      .pad, "self",
      ["pad": .ints(amounts), "mode": .string("constant"), "value": value == 0 ? .none : .float(value)])
  }
}

/// Puts tensors together along a dimension.
/// - Precondition: there is at least one tensor.
public func cat(_ tensors: [SymbolicTensor], dim: Int = 0) throws(ExportError) -> SymbolicTensor {
  try SymbolicTensor.call(.cat, ["tensors": .tensors(tensors), "dim": .int(dim)])[0]
}

/// Puts tensors of equal sizes together along a new dimension.
/// - Precondition: there is at least one tensor.
public func stack(_ tensors: [SymbolicTensor], dim: Int = 0) throws(ExportError) -> SymbolicTensor {
  try SymbolicTensor.call(.stack, ["tensors": .tensors(tensors), "dim": .int(dim)])[0]
}

// MARK: - Pooling, resizing, attention

extension SymbolicTensor {
  /// (N, C, H, W) → (N, C, outputSize[0], outputSize[1])
  public func adaptiveAvgPool2d(_ outputSize: [SymInt]) throws(ExportError) -> SymbolicTensor {
    try call(.adaptiveAvgPool2d, "self", ["output_size": .sizes(outputSize)])
  }

  /// (N, C, H, W), magnified by whole or broken factors for height and width.
  public func upsampleNearest2d(scaleFactors: [Double]) throws(ExportError) -> SymbolicTensor {
    try call(
      .upsampleNearest2d, "input", ["output_size": .none, "scale_factors": .floats(scaleFactors)])
  }

  /// (N, C, H, W), magnified by whole or broken factors for height and width.
  public func upsampleBilinear2d(
    scaleFactors: [Double], alignCorners: Bool = false
  ) throws(ExportError) -> SymbolicTensor {
    try call(
      .upsampleBilinear2d, "input",
      ["output_size": .none, "align_corners": .bool(alignCorners), "scale_factors": .floats(scaleFactors)])
  }

  /// softmax(self · keyᵀ / √E) · value; self is the query, (…, L, E).
  public func scaledDotProductAttention(
    key: SymbolicTensor, value: SymbolicTensor, mask: SymbolicTensor? = nil, isCausal: Bool = false
  ) throws(ExportError) -> SymbolicTensor {
    try call(
      .scaledDotProductAttention, "query",
      [
        "key": .tensor(key), "value": .tensor(value), "attn_mask": mask.map { .tensor($0) } ?? .none,
        "is_causal": .bool(isCausal),
      ])
  }
}
