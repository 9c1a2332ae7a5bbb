import TensorCore

extension Operator {
  /// The same numbers in another element type, any but the 16-bit floats.
  ///
  /// Integers wrap, floats lose their fraction (rounded towards 0) and saturate, NaN becomes 0: where a float does not
  /// fit, C and PyTorch leave the result open. `copy`, `non_blocking` and the memory format change nothing that can be
  /// seen.
  public static let toDtype = Operator(
    "aten.to.dtype(Tensor self, ScalarType dtype, bool non_blocking=False, bool copy=False, "
      + "MemoryFormat? memory_format=None) -> Tensor", traits: .mayAlias
  ) { call throws(OperatorError) in
    let input = try call.tensor("self")
    let dataType = try call.dataType("dtype")
    for type in [input.dataType, dataType] {
      try call.check(type != .float16 && type != .bfloat16, "conversion of \(type) is not supported")
    }
    let count = input.shape.elementCount
    return KernelPlan(TensorSpec(dataType, input.shape)) {
      PreparedKernel { buffers in
        let (source, target) = (buffers.inputs[input.index], buffers.outputs[0])
        switch input.dataType {
        case .bool: convert(source, Bool.self, dataType, target, count)
        case .uint8: convert(source, UInt8.self, dataType, target, count)
        case .int8: convert(source, Int8.self, dataType, target, count)
        case .int16: convert(source, Int16.self, dataType, target, count)
        case .int32: convert(source, Int32.self, dataType, target, count)
        case .int64: convert(source, Int64.self, dataType, target, count)
        case .float32: convert(source, Float.self, dataType, target, count)
        case .float64: convert(source, Double.self, dataType, target, count)
        case .float16, .bfloat16: return
        }
      }
    }
  }
}

/// A number that converts to every other type.
private protocol Convertible {
  func integer<T: FixedWidthInteger>(_ type: T.Type) -> T
  var float: Float { get }
  var double: Double { get }
  var isTrue: Bool { get }
}

extension Convertible where Self: BinaryInteger {
  @inline(__always)
  fileprivate func integer<T: FixedWidthInteger>(_ type: T.Type) -> T { T(truncatingIfNeeded: self) }
  fileprivate var float: Float { Float(self) }
  fileprivate var double: Double { Double(self) }
  fileprivate var isTrue: Bool { self != 0 }
}

extension Convertible where Self: BinaryFloatingPoint {
  @inline(__always)
  fileprivate func integer<T: FixedWidthInteger>(_ type: T.Type) -> T {
    // T.max may round up to a power of two, which is outside; T.min is always exact.
    if self >= Self(T.max) { return T.max }
    if self <= Self(T.min) { return T.min }
    return self == self ? T(truncatingIfNeeded: Int64(self)) : 0
  }
  fileprivate var float: Float { Float(self) }
  fileprivate var double: Double { Double(self) }
  fileprivate var isTrue: Bool { self != 0 }
}

extension UInt8: Convertible {}
extension Int8: Convertible {}
extension Int16: Convertible {}
extension Int32: Convertible {}
extension Int64: Convertible {}
extension Float: Convertible {}
extension Double: Convertible {}
extension Bool: Convertible {
  fileprivate func integer<T: FixedWidthInteger>(_ type: T.Type) -> T { self ? 1 : 0 }
  fileprivate var float: Float { self ? 1 : 0 }
  fileprivate var double: Double { self ? 1 : 0 }
  fileprivate var isTrue: Bool { self }
}

@inline(__always)
private func convert<Source: Convertible>(
  _ source: UnsafeRawPointer, _ type: Source.Type, _ dataType: DataType, _ target: UnsafeMutableRawPointer,
  _ count: Int
) {
  let source = source.assumingMemoryBound(to: Source.self)
  @inline(__always)
  func write<Target>(_ type: Target.Type, _ value: (Source) -> Target) {
    let target = target.assumingMemoryBound(to: Target.self)
    for i in 0..<count { target[i] = value(source[i]) }
  }
  switch dataType {
  case .bool: write(Bool.self) { $0.isTrue }
  case .uint8: write(UInt8.self) { $0.integer(UInt8.self) }
  case .int8: write(Int8.self) { $0.integer(Int8.self) }
  case .int16: write(Int16.self) { $0.integer(Int16.self) }
  case .int32: write(Int32.self) { $0.integer(Int32.self) }
  case .int64: write(Int64.self) { $0.integer(Int64.self) }
  case .float32: write(Float.self) { $0.float }
  case .float64: write(Double.self) { $0.double }
  case .float16, .bfloat16: return
  }
}
