import TensorCore

extension Operator {
  /// Patches as channels, f32, channels last: output channel `(c · kernelHeight + y) · kernelWidth + x` of a pixel is the
  /// input under tap (y, x) of its window in channel c, zero outside the image (`aten.im2col` with its columns as an
  /// image). Padding is top, right, bottom, left.
  package static let fusedIm2col = Operator(
    "fused.im2col(Tensor self, int[2] kernel_size, int[2] stride, int[4] padding=0, int[2] dilation=1) -> Tensor",
    traits: [.fused, .movesElements],
    infer: { call throws(OperatorError) in try FusedIm2col(call).outputs },
    prepare: { call throws(OperatorError) in
      let patches = try FusedIm2col(call)
      _ = try call.checkedOutput(patches.outputs)
      let index = try call.position("self")
      let (window, batch, channels) = (patches.window, patches.batch, patches.channels)
      return PreparedKernel { buffers in
        im2col(window, batch, channels, buffers.input(index), buffers.output())
      }
    })
}

private struct FusedIm2col {
  let window: Window2d
  let batch: Int
  let channels: Int
  let outputs: [TensorSpec]

  init(_ call: OperatorCall) throws(OperatorError) {
    let input = try call.imageActivation("self")
    try call.check(input.dataType == .float32, "'self' must be float32, not \(input.dataType)")
    window = try Window2d(call)
    (batch, channels) = (input.shape[0], input.shape[1])
    let (columns, overflow) = window.area.multipliedReportingOverflow(by: channels)
    try call.check(!overflow, "the patches of \(input.shape) are too large")
    outputs = [
      TensorSpec(
        .float32, try window.outputShape(call, batch: batch, channels: columns), dimOrder: .channelsLast)
    ]
  }
}

private func im2col(
  _ window: Window2d, _ batch: Int, _ channels: Int, _ input: UnsafePointer<Float>,
  _ output: UnsafeMutablePointer<Float>
) {
  let area = window.area
  window.forEachOutput(batch: batch) { image, rows, columns, pixel in
    let target = output + pixel &* channels &* area
    for k in 0..<channels &* area { target[k] = 0 }
    for ky in rows.first..<rows.end {
      let line = (image &+ rows.origin &+ ky &* window.height.dilation) &* window.width.input
      for kx in columns.first..<columns.end {
        let values = input + (line &+ columns.origin &+ kx &* window.width.dilation) &* channels
        let tap = target + (ky &* window.width.kernel &+ kx)
        for c in 0..<channels { tap[c &* area] = values[c] }
      }
    }
  }
}
