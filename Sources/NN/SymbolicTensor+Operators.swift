import TensorCore

// MARK: - Elementwise

extension SymbolicTensor {
  public func relu() throws(ExportError) -> SymbolicTensor { try call("aten.relu.default") }
  public func relu6() throws(ExportError) -> SymbolicTensor { try call("aten.relu6.default") }
  public func sigmoid() throws(ExportError) -> SymbolicTensor { try call("aten.sigmoid.default") }
  public func tanh() throws(ExportError) -> SymbolicTensor { try call("aten.tanh.default") }
  public func silu() throws(ExportError) -> SymbolicTensor { try call("aten.silu.default") }
  public func hardswish() throws(ExportError) -> SymbolicTensor { try call("aten.hardswish.default") }
  public func hardsigmoid() throws(ExportError) -> SymbolicTensor { try call("aten.hardsigmoid.default") }
  public func exp() throws(ExportError) -> SymbolicTensor { try call("aten.exp.default") }
  public func log() throws(ExportError) -> SymbolicTensor { try call("aten.log.default") }
  public func sqrt() throws(ExportError) -> SymbolicTensor { try call("aten.sqrt.default") }
  public func rsqrt() throws(ExportError) -> SymbolicTensor { try call("aten.rsqrt.default") }
  public func square() throws(ExportError) -> SymbolicTensor { try call("aten.square.default") }
  public func abs() throws(ExportError) -> SymbolicTensor { try call("aten.abs.default") }
  public func floor() throws(ExportError) -> SymbolicTensor { try call("aten.floor.default") }
  public func ceil() throws(ExportError) -> SymbolicTensor { try call("aten.ceil.default") }
  public func sin() throws(ExportError) -> SymbolicTensor { try call("aten.sin.default") }
  public func cos() throws(ExportError) -> SymbolicTensor { try call("aten.cos.default") }

  /// - Parameter approximate: `none` (erf) or `tanh`.
  public func gelu(approximate: String = "none") throws(ExportError) -> SymbolicTensor {
    try call("aten.gelu.default", "self", ["approximate": .string(approximate)])
  }

  public func hardtanh(min: Double = -1, max: Double = 1) throws(ExportError) -> SymbolicTensor {
    try call("aten.hardtanh.default", "self", ["min_val": .float(min), "max_val": .float(max)])
  }

  /// Either bound may be absent.
  public func clamp(min: Double? = nil, max: Double? = nil) throws(ExportError) -> SymbolicTensor {
    func bound(_ value: Double?) -> CaptureArgument { value.map { .float($0) } ?? .none }
    return try call("aten.clamp.default", "self", ["min": bound(min), "max": bound(max)])
  }

  public func leakyRelu(negativeSlope: Double = 0.01) throws(ExportError) -> SymbolicTensor {
    try call("aten.leaky_relu.default", "self", ["negative_slope": .float(negativeSlope)])
  }

  public func elu(alpha: Double = 1) throws(ExportError) -> SymbolicTensor {
    try call("aten.elu.default", "self", ["alpha": .float(alpha)])
  }

  public func pow(_ exponent: Double) throws(ExportError) -> SymbolicTensor {
    try call("aten.pow.Tensor_Scalar", "self", ["exponent": .float(exponent)])
  }

  public func softmax(dim: Int) throws(ExportError) -> SymbolicTensor {
    try call("aten.softmax.int", "self", ["dim": .int(dim)])
  }

  // MARK: Arithmetic, broadcast as NumPy does

  public static func + (a: SymbolicTensor, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try a.call("aten.add.Tensor", "self", ["other": .tensor(b)])
  }
  public static func - (a: SymbolicTensor, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try a.call("aten.sub.Tensor", "self", ["other": .tensor(b)])
  }
  public static func * (a: SymbolicTensor, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try a.call("aten.mul.Tensor", "self", ["other": .tensor(b)])
  }
  public static func / (a: SymbolicTensor, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try a.call("aten.div.Tensor", "self", ["other": .tensor(b)])
  }
  public static func + (a: SymbolicTensor, b: Double) throws(ExportError) -> SymbolicTensor {
    try a.call("aten.add.Tensor", "self", ["other": .float(b)])
  }
  public static func - (a: SymbolicTensor, b: Double) throws(ExportError) -> SymbolicTensor {
    try a.call("aten.sub.Tensor", "self", ["other": .float(b)])
  }
  public static func * (a: SymbolicTensor, b: Double) throws(ExportError) -> SymbolicTensor {
    try a.call("aten.mul.Tensor", "self", ["other": .float(b)])
  }
  public static func / (a: SymbolicTensor, b: Double) throws(ExportError) -> SymbolicTensor {
    try a.call("aten.div.Tensor", "self", ["other": .float(b)])
  }
  public static func * (a: Double, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try b * a }
  public static func + (a: Double, b: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try b + a }
  public static prefix func - (a: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try a.call("aten.neg.default")
  }

  public static func += (a: inout SymbolicTensor, b: SymbolicTensor) throws(ExportError) { a = try a + b }
  public static func *= (a: inout SymbolicTensor, b: SymbolicTensor) throws(ExportError) { a = try a * b }

  public func minimum(_ other: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try call("aten.minimum.default", "self", ["other": .tensor(other)])
  }
  public func maximum(_ other: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try call("aten.maximum.default", "self", ["other": .tensor(other)])
  }
}

// MARK: - Products and reductions

extension SymbolicTensor {
  public func matmul(_ other: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try call("aten.matmul.default", "self", ["other": .tensor(other)])
  }

  /// (B, N, M) · (B, M, P)
  public func bmm(_ other: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try call("aten.bmm.default", "self", ["mat2": .tensor(other)])
  }

  public func mean(dim: [Int], keepdim: Bool = false) throws(ExportError) -> SymbolicTensor {
    try call("aten.mean.dim", "self", ["dim": .ints(dim), "keepdim": .bool(keepdim)])
  }

  public func sum(dim: [Int], keepdim: Bool = false) throws(ExportError) -> SymbolicTensor {
    try call("aten.sum.dim_IntList", "self", ["dim": .ints(dim), "keepdim": .bool(keepdim)])
  }
}

// MARK: - Shape

extension SymbolicTensor {
  public func flatten(startDim: Int = 0, endDim: Int = -1) throws(ExportError) -> SymbolicTensor {
    try call("aten.flatten.using_ints", "self", ["start_dim": .int(startDim), "end_dim": .int(endDim)])
  }

  /// One size may be −1.
  public func view(_ sizes: [SymInt]) throws(ExportError) -> SymbolicTensor {
    try call("aten.view.default", "self", ["size": .sizes(sizes)])
  }

  /// One size may be −1.
  public func reshape(_ sizes: [SymInt]) throws(ExportError) -> SymbolicTensor {
    try call("aten.reshape.default", "self", ["shape": .sizes(sizes)])
  }

  public func permute(_ dims: [Int]) throws(ExportError) -> SymbolicTensor {
    try call("aten.permute.default", "self", ["dims": .ints(dims)])
  }

  public func transpose(_ dim0: Int, _ dim1: Int) throws(ExportError) -> SymbolicTensor {
    try call("aten.transpose.int", "self", ["dim0": .int(dim0), "dim1": .int(dim1)])
  }

  public func squeeze(dim: Int) throws(ExportError) -> SymbolicTensor {
    try call("aten.squeeze.dim", "self", ["dim": .int(dim)])
  }

  public func unsqueeze(dim: Int) throws(ExportError) -> SymbolicTensor {
    try call("aten.unsqueeze.default", "self", ["dim": .int(dim)])
  }

  /// Splits one dimension into several.
  public func unflatten(dim: Int, _ sizes: [SymInt]) throws(ExportError) -> SymbolicTensor {
    try call("aten.unflatten.int", "self", ["dim": .int(dim), "sizes": .sizes(sizes)])
  }

  /// −1 keeps a size.
  public func expand(_ sizes: [SymInt]) throws(ExportError) -> SymbolicTensor {
    try call("aten.expand.default", "self", ["size": .sizes(sizes)])
  }

  public func select(dim: Int, _ index: Int) throws(ExportError) -> SymbolicTensor {
    try call("aten.select.int", "self", ["dim": .int(dim), "index": .int(index)])
  }

  /// Elements `start..<end` of a dimension; negative bounds count from the end, no `end` means all that follow.
  public func slice(
    dim: Int, start: SymInt = 0, end: SymInt? = nil, step: Int = 1
  ) throws(ExportError) -> SymbolicTensor {
    // What PyTorch writes for an open end.
    try call(
      "aten.slice.Tensor", "self",
      ["dim": .int(dim), "start": .size(start), "end": end.map { .size($0) } ?? .int(.max), "step": .int(step)])
  }

  public func contiguous() throws(ExportError) -> SymbolicTensor { try call("aten.contiguous.default") }

  /// Parts of equal size along a dimension; the last may be smaller.
  public func chunk(_ count: Int, dim: Int = 0) throws(ExportError) -> [SymbolicTensor] {
    try tracer.call("aten.chunk.default", [("self", .tensor(self)), ("chunks", .int(count)), ("dim", .int(dim))])
  }

  /// Parts of the given sizes along a dimension.
  public func split(_ sizes: [Int], dim: Int = 0) throws(ExportError) -> [SymbolicTensor] {
    try tracer.call(
      "aten.split_with_sizes.default", [("self", .tensor(self)), ("split_sizes", .ints(sizes)), ("dim", .int(dim))])
  }

  /// Pads the last dimensions: pairs (before, after), the last dimension's first.
  public func pad(_ amounts: [Int], value: Double = 0) throws(ExportError) -> SymbolicTensor {
    try call(
      "aten.pad.default", "self",
      ["pad": .ints(amounts), "mode": .string("constant"), "value": value == 0 ? .none : .float(value)])
  }
}

/// Puts tensors together along a dimension.
/// - Precondition: there is at least one tensor.
public func cat(_ tensors: [SymbolicTensor], dim: Int = 0) throws(ExportError) -> SymbolicTensor {
  try SymbolicTensor.call("aten.cat.default", ["tensors": .tensors(tensors), "dim": .int(dim)])[0]
}

/// Puts tensors of equal sizes together along a new dimension.
/// - Precondition: there is at least one tensor.
public func stack(_ tensors: [SymbolicTensor], dim: Int = 0) throws(ExportError) -> SymbolicTensor {
  try SymbolicTensor.call("aten.stack.default", ["tensors": .tensors(tensors), "dim": .int(dim)])[0]
}

// MARK: - Pooling, resizing, attention

extension SymbolicTensor {
  /// (N, C, H, W) → (N, C, outputSize[0], outputSize[1])
  public func adaptiveAvgPool2d(_ outputSize: [SymInt]) throws(ExportError) -> SymbolicTensor {
    try call("aten.adaptive_avg_pool2d.default", "self", ["output_size": .sizes(outputSize)])
  }

  /// (N, C, H, W), magnified by whole or broken factors for height and width.
  public func upsampleNearest2d(scaleFactors: [Double]) throws(ExportError) -> SymbolicTensor {
    try call(
      "aten.upsample_nearest2d.vec", "input", ["output_size": .none, "scale_factors": .floats(scaleFactors)])
  }

  /// (N, C, H, W), magnified by whole or broken factors for height and width.
  public func upsampleBilinear2d(
    scaleFactors: [Double], alignCorners: Bool = false
  ) throws(ExportError) -> SymbolicTensor {
    try call(
      "aten.upsample_bilinear2d.vec", "input",
      ["output_size": .none, "align_corners": .bool(alignCorners), "scale_factors": .floats(scaleFactors)])
  }

  /// softmax(self · keyᵀ / √E) · value; self is the query, (…, L, E).
  public func scaledDotProductAttention(
    key: SymbolicTensor, value: SymbolicTensor, mask: SymbolicTensor? = nil, isCausal: Bool = false
  ) throws(ExportError) -> SymbolicTensor {
    try call(
      "aten.scaled_dot_product_attention.default", "query",
      [
        "key": .tensor(key), "value": .tensor(value), "attn_mask": mask.map { .tensor($0) } ?? .none,
        "is_causal": .bool(isCausal),
      ])
  }
}
