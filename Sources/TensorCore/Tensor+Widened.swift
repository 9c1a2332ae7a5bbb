extension Tensor {
  /// The same numbers as float32: float16 and bfloat16 exactly, subnormals, infinities and NaN included; float64 rounded
  /// to nearest, ties to even. A tensor of another type is returned as it is.
  package func widened() -> Tensor {
    switch dataType {
    case .float16: widened(from: UInt16.self) { Tensor.float(half: $0) }
    case .bfloat16: widened(from: UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
    case .float64: widened(from: UInt64.self) { Float(Double(bitPattern: $0)) }
    case .uint8, .int8, .int16, .int32, .int64, .float32, .bool: self
    }
  }

  /// In memory order, which stays the same. The source need not be aligned.
  private func widened<Bits: BitwiseCopyable>(from type: Bits.Type, _ value: (Bits) -> Float) -> Tensor {
    var target = spec
    target.dataType = .float32
    return Tensor(unsafeUninitialized: target) { bytes in
      let floats = bytes.assumingMemoryBound(to: Float.self)
      withUnsafeBytes { source in
        for i in floats.indices {
          floats[i] = value(source.loadUnaligned(fromByteOffset: i * MemoryLayout<Bits>.size, as: Bits.self))
        }
      }
    }
  }

  /// IEEE binary16 to binary32: exact, since every half is a float; the payload of a NaN is kept.
  ///
  /// By integers rather than `Float16`, whose conversion is a library call per element on baseline x86-64.
  private static func float(half bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let magnitude = UInt32(bits & 0x7fff)
    if magnitude < 0x0400 {
      // Subnormal or zero: an integer multiple of 2^-24, which a float holds exactly.
      return Float(bitPattern: (Float(magnitude) * 0x1p-24).bitPattern | sign)
    }
    // The exponent's bias goes from 15 to 127; that of infinities and NaN from all ones to all ones.
    let bias: UInt32 = magnitude >= 0x7c00 ? 255 - 31 : 127 - 15
    return Float(bitPattern: sign | (magnitude << 13) &+ (bias << 23))
  }
}
