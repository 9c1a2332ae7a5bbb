import TensorCore

extension Operator {
  /// Mean over windows, f32, [N, C, H, W] or [C, H, W].
  ///
  /// The divisor is `divisor_override`, or the number of elements of the window: with `count_include_pad` those in the
  /// padding too, but not what `ceil_mode` makes a window reach beyond it.
  public static let avgPool2d = Operator(
    "aten.avg_pool2d.default(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, "
      + "bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
    traits: [.ownQuantization, .scalesWithChannels]
  ) { call throws(OperatorError) in
    let input = try call.images("self")
    let window = try call.poolingWindow()
    let countsPadding = try call.bool("count_include_pad")
    let divisor = try call.optionalInt("divisor_override")
    try call.check(divisor != 0, "divisor_override must not be 0")
    let shape = try call.pooledShape(input, height: window.height.output, width: window.width.output)
    let planes = input.shape.dimensions.dropLast(2).reduce(1, *)
    return KernelPlan(TensorSpec(.float32, shape)) {
      let divisor = divisor.map { Float($0) }
      return PreparedKernel { buffers in
        averagePool(window, planes, buffers.input(input), buffers.output()) { y, x, count in
          if let divisor { return divisor }
          return countsPadding ? Float(window.height.extent(y) &* window.width.extent(x)) : Float(count)
        }
      }
    }
  }
}

/// `divisor` is given the output position and the number of elements in the image.
@inline(__always)
private func averagePool(
  _ window: Window2d, _ planes: Int, _ input: UnsafePointer<Float>, _ output: UnsafeMutablePointer<Float>,
  divisor: (_ y: Int, _ x: Int, _ count: Int) -> Float
) {
  let (height, width) = (window.height, window.width)
  var (plane, target) = (input, output)
  for _ in 0..<planes {
    for y in 0..<height.output {
      let rows = height.taps(y)
      for x in 0..<width.output {
        let columns = width.taps(x)
        let length = columns.end &- columns.first
        var total: Float = 0
        for ky in rows.first..<rows.end {
          let line = plane + ((rows.origin &+ ky) &* width.input &+ columns.origin &+ columns.first)
          total += sum(line, count: length)
        }
        let count = (rows.end &- rows.first) &* length
        target[x] = count == 0 ? 0 : total / divisor(y, x, count)
      }
      target += width.output
    }
    plane += height.input &* width.input
  }
}

extension Window2d.Axis {
  /// How far the undilated window at an output position reaches in the padded image.
  @inline(__always)
  fileprivate func extent(_ position: Int) -> Int {
    let origin = position &* stride &- padBefore
    return min(origin &+ kernel, input &+ padBefore) &- origin
  }
}
