import TensorCore

extension Tensor {
  /// A 4-D contiguous tensor with its second dimension moved innermost in memory (OIHW to OHWI).
  func channelsLast() -> Tensor {
    precondition(shape.rank == 4 && spec.dimOrder == .contiguous)
    var target = spec
    target.dimOrder = .channelsLast
    let source = aligned()
    return Tensor(unsafeUninitialized: target) { bytes in
      source.withUnsafeBytes { from in
        guard let input = from.baseAddress, let output = bytes.baseAddress else { return }
        switch dataType.size {
        case 1:
          moveChannelsInwards(input.assumingMemoryBound(to: UInt8.self), output.assumingMemoryBound(to: UInt8.self))
        case 2:
          moveChannelsInwards(input.assumingMemoryBound(to: UInt16.self), output.assumingMemoryBound(to: UInt16.self))
        case 4:
          moveChannelsInwards(input.assumingMemoryBound(to: UInt32.self), output.assumingMemoryBound(to: UInt32.self))
        default:
          moveChannelsInwards(input.assumingMemoryBound(to: UInt64.self), output.assumingMemoryBound(to: UInt64.self))
        }
      }
    }
  }

  /// `input` is (O, I, H·W), `output` (O, H·W, I).
  private func moveChannelsInwards<T>(_ input: UnsafePointer<T>, _ output: UnsafeMutablePointer<T>) {
    let (outer, channels, area) = (shape[0], shape[1], shape[2] * shape[3])
    for o in 0..<outer {
      let (from, to) = (input + o * channels * area, output + o * channels * area)
      for p in 0..<area {
        for c in 0..<channels { to[p * channels + c] = from[c * area + p] }
      }
    }
  }

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
    let source = aligned()
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
