import TensorCore

extension Operator {
  /// Mean over the windows that divide each image into `output_size`, f32, [N, C, H, W] or [C, H, W].
  ///
  /// Of I rows, output row o of O sees ⌊o · I / O⌋ ..< ⌈(o + 1) · I / O⌉; columns alike.
  public static let adaptiveAvgPool2d = Operator(
    "aten.adaptive_avg_pool2d.default(Tensor self, SymInt[2] output_size) -> Tensor",
    traits: [.sharesQuantization, .scalesWithChannels]
  ) { call throws(OperatorError) in
    let input = try call.images("self")
    let size = try call.boundedPair("output_size", in: 1...sizeLimit)
    let shape = try call.pooledShape(input, height: size.height, width: size.width)
    let planes = input.shape.dimensions.dropLast(2).reduce(1, *)
    let (height, width) = (input.shape[input.shape.rank - 2], input.shape[input.shape.rank - 1])
    return KernelPlan(TensorSpec(.float32, shape)) {
      PreparedKernel { buffers in
        adaptivePool(buffers.input(input), planes, (height, width), size, buffers.output())
      }
    }
  }
}

private func adaptivePool(
  _ input: UnsafePointer<Float>, _ planes: Int, _ from: (height: Int, width: Int), _ to: (height: Int, width: Int),
  _ output: UnsafeMutablePointer<Float>
) {
  var (plane, target) = (input, output)
  for _ in 0..<planes {
    for y in 0..<to.height {
      let rows = adaptiveWindow(y, from.height, to.height)
      for x in 0..<to.width {
        let columns = adaptiveWindow(x, from.width, to.width)
        var total: Float = 0
        for row in rows { total += sum(plane + (row &* from.width &+ columns.lowerBound), count: columns.count) }
        target[x] = total / Float(rows.count &* columns.count)
      }
      target += to.width
    }
    plane += from.height &* from.width
  }
}

/// - Precondition: both sizes are in 31 bits.
@inline(__always)
private func adaptiveWindow(_ position: Int, _ input: Int, _ output: Int) -> Range<Int> {
  position &* input / output..<((position &+ 1) &* input &+ output &- 1) / output
}
