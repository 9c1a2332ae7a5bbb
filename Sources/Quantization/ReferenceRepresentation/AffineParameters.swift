import GraphIR
import Operators
import TensorCore

/// The parameters of a quantize or dequantize node: per tensor, or per index of `axis`.
struct AffineParameters {
  /// One, or one per channel; as the kernels use them.
  let scales: [Float]
  /// What a quantize node multiplies with: 1 / scale, of a tensor's scale in double precision, of a channel's in float.
  let inverses: [Float]
  /// Parallel to `scales`, each in the range of `dataType`.
  let zeroPoints: [Int]
  let axis: Int?
  let range: ClosedRange<Int>
  let dataType: DataType

  init(_ parameters: QuantizationParameters) {
    self.init(perTensor: Double(parameters.scale), Int(parameters.zeroPoint), -128...127, .int8)
  }

  private init(perTensor scale: Double, _ zeroPoint: Int, _ range: ClosedRange<Int>, _ dataType: DataType) {
    (scales, inverses, zeroPoints) = ([Float(scale)], [Float(1 / scale)], [zeroPoint])
    (axis, self.range, self.dataType) = (nil, range, dataType)
  }

  private init(
    perChannel scales: [Float], _ zeroPoints: [Int], axis: Int, _ range: ClosedRange<Int>, _ dataType: DataType
  ) {
    (self.scales, inverses, self.zeroPoints) = (scales, scales.map { 1 / $0 }, zeroPoints)
    (self.axis, self.range, self.dataType) = (axis, range, dataType)
  }

  /// The parameters of an int8 tensor with one scale; nil for any other.
  var activation: QuantizationParameters? {
    guard axis == nil, dataType == .int8 else { return nil }
    return QuantizationParameters(scale: scales[0], zeroPoint: Int32(zeroPoints[0]))
  }

  /// Whether a sum of products of these scales can start from the integers: int32, symmetric.
  func isBias(scales: [Float]) -> Bool {
    dataType == .int32 && self.scales == scales && zeroPoints.allSatisfy { $0 == 0 }
  }

  /// Whether a convolution can take the integers as they are: int8, symmetric, per tensor or output channel.
  var isSymmetricWeight: Bool { dataType == .int8 && axis ?? 0 == 0 && zeroPoints.allSatisfy { $0 == 0 } }
}

/// Parameters, or why there is no arithmetic for them.
enum AffineReading {
  case parameters(AffineParameters)
  case refused(String)
}

extension AffineParameters {
  /// Reads a `quantized_decomposed` node of the given graph.
  static func reading(_ node: Node, _ graph: QuantizedGraph) throws(GraphError) -> AffineReading {
    try graph.read(node) { call throws(OperatorError) in
      let dataType = try call.dataType("dtype")
      let (low, high) = (try call.int("quant_min"), try call.int("quant_max"))
      guard low <= high, [.int8, .uint8, .int16, .int32].contains(dataType) else {
        return .refused("\(dataType) values in \(low)...\(high) have no integer form here")
      }
      if call.schema.parameter(named: "axis") == nil {
        let (scale, zeroPoint) = (try call.float("scale"), try call.int("zero_point"))
        guard dataType != .int32 || zeroPoint == 0 else { return .refused("int32 with a zero point other than 0") }
        return .parameters(AffineParameters(perTensor: scale, zeroPoint, low...high, dataType))
      }
      guard let tensor = try call.constant("scales"), tensor.dataType == .float32 else {
        return .refused("its scales are computed, or not float32")
      }
      let scales = tensor.elements(as: Float.self)
      guard let zeroPoints = try zeroPoints(call, count: scales.count),
        dataType != .int32 || zeroPoints.allSatisfy({ $0 == 0 }),
        zeroPoints.allSatisfy((low...high).contains)
      else { return .refused("its zero points are computed, real, or out of range") }
      let rank = try call.spec("input").shape.rank
      let axis = try call.int("axis")
      return .parameters(
        AffineParameters(perChannel: scales, zeroPoints, axis: axis < 0 ? axis + rank : axis, low...high, dataType))
    }
  }

  /// 0 for each channel when the node has none; nil when they are no constants.
  private static func zeroPoints(_ call: OperatorCall, count: Int) throws(OperatorError) -> [Int]? {
    guard try call.index(of: "zero_points") != nil else { return [Int](repeating: 0, count: count) }
    guard let tensor = try call.constant("zero_points") else { return nil }
    switch tensor.dataType {
    case .int8: return tensor.elements(as: Int8.self).map(Int.init)
    case .int32: return tensor.elements(as: Int32.self).map(Int.init)
    case .int64: return tensor.elements(as: Int64.self).map(Int.init)
    default: return nil
    }
  }
}
