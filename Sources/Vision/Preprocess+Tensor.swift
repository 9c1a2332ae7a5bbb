import TensorCore

extension Preprocess {
  /// The transforms that the file stands for: all of it but `scale`, which is for arrays.
  public var transforms: Compose { Compose(self) }

  /// The model input of a picture: float32 [1, 3, H, W]. Throws as `Compose.tensor(from:using:)`.
  public func tensor(from image: Image) throws(ImageError) -> Tensor { try transforms.tensor(from: image) }

  /// The model input of samples that are numbers already: their float32 values times `scale`, in the same shape and
  /// order.
  ///
  /// - Parameter array: uint8 or float32, of any shape; a batch dimension is kept.
  /// - Throws: `unsupportedArray` for another element type.
  public func tensor(fromArray array: Tensor) throws(PreprocessError) -> Tensor {
    let factor = Float(scale ?? 1)
    let count = array.shape.elementCount
    let spec = TensorSpec(.float32, array.shape, dimOrder: array.spec.dimOrder)
    switch array.dataType {
    case .uint8:
      return Tensor(unsafeUninitialized: spec) { bytes in
        let target = bytes.bindMemory(to: Float.self)
        array.withUnsafeBytes { source in
          for index in 0..<count { target[index] = Float(source[index]) * factor }
        }
      }
    case .float32:
      return Tensor(unsafeUninitialized: spec) { bytes in
        let target = bytes.bindMemory(to: Float.self)
        array.withUnsafeBytes { source in
          for index in 0..<count {
            target[index] = source.loadUnaligned(fromByteOffset: index &* 4, as: Float.self) * factor
          }
        }
      }
    case .int8, .int16, .int32, .int64, .float16, .bfloat16, .float64, .bool:
      throw .unsupportedArray(array.dataType)
    }
  }
}
