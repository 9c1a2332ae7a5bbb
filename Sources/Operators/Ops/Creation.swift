import TensorCore

// Tensors of one value, made of nothing. Where they lie (`layout`, `device`, `pin_memory`) has no meaning here.

extension Operator {
  /// Zeros; float32 unless `dtype` says otherwise.
  public static let zeros = Operator(
    "aten.zeros.default(SymInt[] size, \(placement)) -> Tensor", traits: .createsConstant
  ) {
    call throws(OperatorError) in try call.filled(with: .float(0))
  }

  /// Ones; float32 unless `dtype` says otherwise.
  public static let ones = Operator(
    "aten.ones.default(SymInt[] size, \(placement)) -> Tensor", traits: .createsConstant
  ) {
    call throws(OperatorError) in try call.filled(with: .float(1))
  }

  /// `fill_value`, of its own type unless `dtype` says otherwise: float32, int64 or bool.
  public static let full = Operator(
    "aten.full.default(SymInt[] size, Scalar fill_value, \(placement)) -> Tensor", traits: .createsConstant
  ) {
    call throws(OperatorError) in try call.filled(with: call.attribute("fill_value"))
  }

  private static let placement = "*, ScalarType? dtype=None, bool? pin_memory=None"
}

extension OperatorCall {
  fileprivate func filled(with value: Attribute) throws(OperatorError) -> KernelPlan {
    let spec: TensorSpec
    var number = 0.0
    let natural: DataType
    switch value {
    case .float(let value): (number, natural) = (value, .float32)
    case .int(let value): (number, natural) = (Double(value), .int64)
    case .bool(let value): (number, natural) = (value ? 1 : 0, .bool)
    default: throw error("'fill_value' must be a number, not \(value)")
    }
    let dataType = try attribute("dtype") == .none ? natural : dataType("dtype")
    spec = TensorSpec(dataType, try checkedShape(ints("size")))
    let bytes = try fillPattern(value, number, dataType)
    return KernelPlan(spec) {
      let count = spec.shape.elementCount
      return PreparedKernel { buffers in
        for i in 0..<count {
          (buffers.outputs[0] + i &* bytes.count).copyMemory(from: bytes, byteCount: bytes.count)
        }
      }
    }
  }

  /// The bytes of one element. A number that the type cannot hold is refused, as PyTorch does; the fraction is dropped.
  private func fillPattern(_ value: Attribute, _ number: Double, _ dataType: DataType) throws(OperatorError) -> [UInt8]
  {
    func integer<T: FixedWidthInteger>(_ type: T.Type) throws(OperatorError) -> [UInt8] {
      let exact: T?
      if case .int(let value) = value {
        exact = T(exactly: value)
      } else {
        exact = T(exactly: number.rounded(.towardZero))
      }
      guard let exact else { throw error("\(dataType) cannot hold 'fill_value' \(value)") }
      return withUnsafeBytes(of: exact) { [UInt8]($0) }
    }
    switch dataType {
    case .float32: return withUnsafeBytes(of: Float(number)) { [UInt8]($0) }
    case .float64: return withUnsafeBytes(of: number) { [UInt8]($0) }
    case .bool: return [number != 0 ? 1 : 0]
    case .uint8: return try integer(UInt8.self)
    case .int8: return try integer(Int8.self)
    case .int16: return try integer(Int16.self)
    case .int32: return try integer(Int32.self)
    case .int64: return try integer(Int64.self)
    case .float16, .bfloat16: throw error("\(dataType) is not supported")
    }
  }
}
