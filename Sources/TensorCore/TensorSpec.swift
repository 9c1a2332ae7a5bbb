/// How integers of a tensor stand for reals: `real = (q − zeroPoint) · scale`.
public struct QuantizationParameters: Hashable, Sendable {
  /// One scale for the whole tensor, or one per index of `axis`. Finite and greater than 0.
  public let scales: [Float]
  /// The integer that stands for 0; the same for every channel.
  public let zeroPoint: Int32
  /// The dimension that `scales` runs along; nil for per-tensor.
  public let axis: Int?

  /// Parameters of a whole tensor.
  public init(scale: Float, zeroPoint: Int32) {
    self.scales = [scale]
    self.zeroPoint = zeroPoint
    self.axis = nil
  }

  /// Symmetric per-channel parameters (zero point 0).
  public init(perChannel scales: [Float], axis: Int) {
    self.scales = scales
    self.zeroPoint = 0
    self.axis = axis
  }

  /// Whether each index of `axis` has a scale of its own.
  public var isPerChannel: Bool { axis != nil }

  /// - Precondition: per-tensor.
  public var scale: Float {
    precondition(axis == nil, "a per-channel tensor has no single scale")
    return scales[0]
  }

  /// The int8 that stands for a real: `clamp(round(real / scale) + zeroPoint)`, ties to even; NaN becomes the zero point.
  /// - Precondition: per-tensor.
  public func quantize(_ real: Float) -> Int8 {
    let quantum = (real * Float(1 / Double(scale))).rounded(.toNearestOrEven) + Float(zeroPoint)
    return quantum.isNaN ? Int8(clamping: zeroPoint) : Int8(max(-128, min(127, quantum)))
  }
}

/// All that is known of a tensor without its data.
public struct TensorSpec: Hashable, Sendable, CustomStringConvertible {
  /// The element type.
  public var dataType: DataType
  /// The sizes, in the logical order.
  public var shape: Shape
  /// How the elements lie in memory.
  public var dimOrder: DimOrder
  /// Set on the integer tensors of a lowered graph; nil where the graph spells quantization out in Q/DQ nodes.
  public var quantization: QuantizationParameters?

  /// A spec; row-major and without quantization parameters unless told otherwise.
  public init(
    _ dataType: DataType, _ shape: Shape, dimOrder: DimOrder = .contiguous,
    quantization: QuantizationParameters? = nil
  ) {
    self.dataType = dataType
    self.shape = shape
    self.dimOrder = dimOrder
    self.quantization = quantization
  }

  /// Bytes of all elements.
  public var byteCount: Int { shape.elementCount * dataType.size }

  public var description: String {
    var text = "\(dataType)\(shape)"
    if dimOrder == .channelsLast { text += " nhwc" }
    if let quantization {
      text +=
        quantization.isPerChannel
        ? " qc8(axis \(quantization.axis!))" : " qs8(\(quantization.scale), \(quantization.zeroPoint))"
    }
    return text
  }
}
