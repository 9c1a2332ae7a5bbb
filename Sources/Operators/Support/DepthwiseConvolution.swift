import TensorCore

/// An f32 convolution of NCHW images whose filters see one channel each: every tap adds its multiple of the input plane,
/// shifted, to the output plane. Sums run over (kh, kw) in order, starting from the bias.
struct DepthwiseConvolution: Sendable {
  let window: Window2d
  let batch: Int
  /// A multiple of the window's groups, one for each channel.
  let outputs: Int

  /// Weights are [outputs][kh][kw].
  func run(
    input: UnsafePointer<Float>, weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
    output: UnsafeMutablePointer<Float>
  ) {
    let inputPlane = window.height.input &* window.width.input
    let outputPlane = window.height.output &* window.width.output
    let (channels, taps) = (window.groups, window.area)
    let multiplier = outputs / channels
    var target = output
    for image in 0..<batch {
      for channel in 0..<outputs {
        let source = input + (image &* channels &+ channel / multiplier) &* inputPlane
        target.update(repeating: bias?[channel] ?? 0, count: outputPlane)
        addTaps(source, weights + channel &* taps, target)
        target += outputPlane
      }
    }
  }

  private func addTaps(
    _ input: UnsafePointer<Float>, _ weights: UnsafePointer<Float>, _ output: UnsafeMutablePointer<Float>
  ) {
    let (height, width) = (window.height, window.width)
    let step = width.stride
    for ky in 0..<height.kernel {
      let rows = height.outputs(ofTap: ky)
      for kx in 0..<width.kernel {
        let columns = width.outputs(ofTap: kx)
        let weight = weights[ky &* width.kernel &+ kx]
        let count = columns.count
        let column = columns.lowerBound &* step &- width.padBefore &+ kx &* width.dilation
        for y in rows {
          let row = y &* height.stride &- height.padBefore &+ ky &* height.dilation
          let source = input + (row &* width.input &+ column)
          let target = output + (y &* width.output &+ columns.lowerBound)
          if step == 1 {
            for i in 0..<count { target[i] += source[i] * weight }
          } else {
            for i in 0..<count { target[i] += source[i &* step] * weight }
          }
        }
      }
    }
  }
}
