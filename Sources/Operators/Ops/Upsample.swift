import TensorCore

extension Operator {
  /// Height and width enlarged or reduced, each result the nearest element: input index = floor(i · input / output), or
  /// by the scale factor where one is given. f32, [N, C, H, W].
  public static let upsampleNearest2d = Operator(
    "aten.upsample_nearest2d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor"
  ) { call throws(OperatorError) in
    let resize = try Resize(call)
    return KernelPlan(resize.output) {
      let rows = resize.height.nearest()
      let columns = resize.width.nearest()
      return PreparedKernel { buffers in
        let (source, target) = (buffers.input(resize.input, as: Float.self), buffers.output(as: Float.self))
        resize.forEachRow { from, to, y in
          let line = source + (from &+ rows[y] &* resize.width.input)
          for x in 0..<resize.width.output { target[to &+ x] = line[columns[x]] }
        }
      }
    }
  }

  /// Height and width enlarged or reduced, each result interpolated between two by two elements. f32, [N, C, H, W].
  public static let upsampleBilinear2d = Operator(
    "aten.upsample_bilinear2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) "
      + "-> Tensor"
  ) { call throws(OperatorError) in
    let resize = try Resize(call)
    let aligned = try call.bool("align_corners")
    return KernelPlan(resize.output) {
      let rows = resize.height.linear(aligned: aligned)
      let columns = resize.width.linear(aligned: aligned)
      return PreparedKernel { buffers in
        let (source, target) = (buffers.input(resize.input, as: Float.self), buffers.output(as: Float.self))
        resize.forEachRow { from, to, y in
          let row = rows[y]
          let (top, bottom) = (
            source + (from &+ row.low &* resize.width.input), source + (from &+ row.high &* resize.width.input)
          )
          for x in 0..<resize.width.output {
            let c = columns[x]
            let upper = (1 - c.weight) * top[c.low] + c.weight * top[c.high]
            let lower = (1 - c.weight) * bottom[c.low] + c.weight * bottom[c.high]
            target[to &+ x] = (1 - row.weight) * upper + row.weight * lower
          }
        }
      }
    }
  }
}

/// A validated call of a resizing operator.
private struct Resize: Sendable {
  /// One dimension: sizes, and the factor given in place of their ratio.
  struct Axis: Sendable {
    let input: Int
    let output: Int
    let factor: Double?

    /// Input steps for each output step.
    private var step: Float { factor.map { Float(1 / $0) } ?? Float(input) / Float(output) }

    func nearest() -> [Int] { (0..<output).map { min(Int((Float($0) * step).rounded(.down)), input - 1) } }

    /// The neighbours of each output index, and the upper one's weight.
    func linear(aligned: Bool) -> [(low: Int, high: Int, weight: Float)] {
      (0..<output).map { index in
        let position: Float =
          if aligned {
            output > 1 ? Float(index) * (Float(input - 1) / Float(output - 1)) : 0
          } else {
            max(0, step * (Float(index) + 0.5) - 0.5)
          }
        let low = min(Int(position), input - 1)
        return (low, min(low + 1, input - 1), min(max(position - Float(low), 0), 1))
      }
    }
  }

  let input: TensorArgument
  let output: TensorSpec
  let height: Axis
  let width: Axis

  init(_ call: OperatorCall) throws(OperatorError) {
    input = try call.floatTensor("input")
    let shape = input.shape
    try call.check(
      shape.rank == 4 && shape[2] > 0 && shape[3] > 0, "'input' must be [N, C, H, W] with an image, not \(shape)")
    let (sizes, factors) = (try call.ints("output_size"), try call.floats("scale_factors"))
    try call.check(
      (sizes.count == 2) != (factors.count == 2) && sizes.count + factors.count == 2,
      "two sizes or two scale factors must be given, not \(sizes) and \(factors)")
    try call.check(
      factors.allSatisfy { $0 > 0 && $0 < Double(sizeLimit) }, "'scale_factors' must be positive, not \(factors)")
    func axis(_ index: Int) throws(OperatorError) -> Axis {
      let size = sizes.isEmpty ? Double(shape[2 + index]) * factors[index] : Double(sizes[index])
      try call.check(size >= 1 && size <= Double(sizeLimit), "the result would be \(size) long")
      return Axis(input: shape[2 + index], output: Int(size), factor: sizes.isEmpty ? factors[index] : nil)
    }
    (height, width) = (try axis(0), try axis(1))
    output = TensorSpec(.float32, try call.checkedShape([shape[0], shape[1], height.output, width.output]))
  }

  /// Calls `body` for each output row with the offsets of its input plane and of the row, and its index in the plane.
  @inline(__always)
  func forEachRow(_ body: (_ from: Int, _ to: Int, _ y: Int) -> Void) {
    for plane in 0..<(input.shape[0] &* input.shape[1]) {
      for y in 0..<height.output {
        body(
          plane &* height.input &* width.input, (plane &* height.output &+ y) &* width.output, y)
      }
    }
  }
}
