import TensorCore

extension Tensor {
  /// A [rows, C·H·W] weight with its columns in the order H, W, C.
  func permutedColumns(channels: Int, height: Int, width: Int) -> Tensor {
    let asImages = reinterpreted(as: TensorSpec(dataType, [shape[0], channels, height, width]))
    return asImages.channelsLast().reinterpreted(as: spec)
  }

  /// The weight (C, O / groups, kh, kw) of a transposed convolution as that of the convolution which computes it:
  /// (O, C / groups, kh, kw), each kernel turned by 180 degrees.
  func reversedKernel(groups: Int) -> Tensor {
    let (inputs, perGroup, area) = (shape[0], shape[1], shape[2] * shape[3])
    let (inputsPerGroup, size) = (inputs / groups, dataType.size)
    let target = TensorSpec(dataType, [perGroup * groups, inputsPerGroup, shape[2], shape[3]])
    let source = rowMajor().aligned()
    return Tensor(unsafeUninitialized: target) { bytes in
      source.withUnsafeBytes { from in
        for group in 0..<groups {
          for o in 0..<perGroup {
            for i in 0..<inputsPerGroup {
              for p in 0..<area {
                let to = (((group * perGroup + o) * inputsPerGroup + i) * area + p) * size
                let start = (((group * inputsPerGroup + i) * perGroup + o) * area + area - 1 - p) * size
                for byte in 0..<size { bytes[to + byte] = from[start + byte] }
              }
            }
          }
        }
      }
    }
  }
}
