import TensorCore

extension Operator {
  /// Maximum over windows, f32 or int8, [N, C, H, W] or [C, H, W]. Padding never wins; a NaN in the window does.
  public static let maxPool2d = Operator(
    "aten.max_pool2d.default(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, int[2] dilation=1, "
      + "bool ceil_mode=False) -> Tensor", traits: [.choosesElements, .sharesQuantization, .scalesWithChannels]
  ) { call throws(OperatorError) in
    let input = try call.images("self", orInteger: .int8)
    let window = try call.poolingWindow()
    let shape = try call.pooledShape(input, height: window.height.output, width: window.width.output)
    let planes = input.shape.dimensions.dropLast(2).reduce(1, *)
    return KernelPlan(TensorSpec(input.dataType, shape)) {
      if input.dataType == .int8 {
        return PreparedKernel { buffers in
          maxPool(window, planes, buffers.input(input), buffers.output(), least: Int8.min)
        }
      }
      return PreparedKernel { buffers in
        maxPool(window, planes, buffers.input(input), buffers.output(), least: -Float.infinity)
      }
    }
  }
}

/// `least` is what a window without any element gives.
@inline(__always)
private func maxPool<Element: Comparable>(
  _ window: Window2d, _ planes: Int, _ input: UnsafePointer<Element>, _ output: UnsafeMutablePointer<Element>,
  least: Element
) {
  let (height, width) = (window.height, window.width)
  var (plane, target) = (input, output)
  for _ in 0..<planes {
    for y in 0..<height.output {
      let rows = height.taps(y)
      for x in 0..<width.output {
        let columns = width.taps(x)
        var best = least
        for ky in rows.first..<rows.end {
          let line = plane + (rows.origin &+ ky &* height.dilation) &* width.input
          for kx in columns.first..<columns.end {
            let value = line[columns.origin &+ kx &* width.dilation]
            best = value > best || value != value ? value : best
          }
        }
        target[x] = best
      }
      target += width.output
    }
    plane += height.input &* width.input
  }
}
