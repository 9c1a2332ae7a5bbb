import TensorCore

/// An int32 convolution of NCHW images, wrapping: every tap adds its multiple of an input plane, shifted, to four output
/// planes at a time.
struct IntegerConvolution2d: Sendable {
  private let window: Window2d
  private let batch: Int
  private let channelsPerGroup: Int
  private let outputsPerGroup: Int

  init(window: Window2d, batch: Int, channelsPerGroup: Int, outputsPerGroup: Int) {
    self.window = window.joiningPointwiseRows()
    (self.batch, self.channelsPerGroup, self.outputsPerGroup) = (batch, channelsPerGroup, outputsPerGroup)
  }

  private var outputPlane: Int { window.height.output &* window.width.output }
  private var inputPlane: Int { window.height.input &* window.width.input }
  /// Weights per output channel.
  private var depth: Int { channelsPerGroup &* window.area }

  /// Weights are [O][C / groups][kh][kw]; `bias` may be absent (0).
  func run(
    input: UnsafePointer<Int32>, weights: UnsafePointer<Int32>, bias: UnsafePointer<Int32>?,
    output: UnsafeMutablePointer<Int32>
  ) {
    let groups = window.groups
    let outputs = groups &* outputsPerGroup
    for image in 0..<batch {
      for channel in 0..<outputs {
        (output + (image &* outputs &+ channel) &* outputPlane).update(
          repeating: bias?[channel] ?? 0, count: outputPlane)
      }
      for group in 0..<groups {
        let source = input + (image &* groups &+ group) &* channelsPerGroup &* inputPlane
        var first = group &* outputsPerGroup
        let end = first &+ outputsPerGroup
        while first < end {
          let count = end &- first >= 4 ? 4 : 1
          let target = output + (image &* outputs &+ first) &* outputPlane
          addTaps(source, weights + first &* depth, target, isBlock: count == 4)
          first &+= count
        }
      }
    }
  }

  /// All channels of a group into one output plane, or into four.
  private func addTaps(
    _ input: UnsafePointer<Int32>, _ weights: UnsafePointer<Int32>, _ output: UnsafeMutablePointer<Int32>, isBlock: Bool
  ) {
    let (height, width) = (window.height, window.width)
    var weight = weights
    var plane = input
    for _ in 0..<channelsPerGroup {
      for ky in 0..<height.kernel {
        let rows = height.outputs(ofTap: ky)
        for kx in 0..<width.kernel {
          let columns = width.outputs(ofTap: kx)
          let column = columns.lowerBound &* width.stride &- width.padBefore &+ kx &* width.dilation
          for y in rows {
            let row = y &* height.stride &- height.padBefore &+ ky &* height.dilation
            let source = plane + (row &* width.input &+ column)
            let target = output + (y &* width.output &+ columns.lowerBound)
            if isBlock {
              addToFour(source, columns.count, weight, target)
            } else {
              addToOne(source, columns.count, weight[0], target)
            }
          }
          weight += 1
        }
      }
      plane += inputPlane
    }
  }

  @inline(__always)
  private func addToOne(
    _ source: UnsafePointer<Int32>, _ count: Int, _ weight: Int32, _ target: UnsafeMutablePointer<Int32>
  ) {
    let step = window.width.stride
    if step == 1 {
      for i in 0..<count { target[i] &+= source[i] &* weight }
    } else {
      for i in 0..<count { target[i] &+= source[i &* step] &* weight }
    }
  }

  @inline(__always)
  private func addToFour(
    _ source: UnsafePointer<Int32>, _ count: Int, _ weight: UnsafePointer<Int32>, _ target: UnsafeMutablePointer<Int32>
  ) {
    let (step, plane, depth) = (window.width.stride, outputPlane, depth)
    let (w0, w1, w2, w3) = (weight[0], weight[depth], weight[2 &* depth], weight[3 &* depth])
    let (t0, t1, t2, t3) = (target, target + plane, target + 2 &* plane, target + 3 &* plane)
    if step == 1 {
      for i in 0..<count {
        let value = source[i]
        t0[i] &+= value &* w0
        t1[i] &+= value &* w1
        t2[i] &+= value &* w2
        t3[i] &+= value &* w3
      }
    } else {
      for i in 0..<count {
        let value = source[i &* step]
        t0[i] &+= value &* w0
        t1[i] &+= value &* w1
        t2[i] &+= value &* w2
        t3[i] &+= value &* w3
      }
    }
  }
}

/// int32 x · weightᵀ + bias, wrapping: input [rows][depth], weights [outputs][depth], output [rows][outputs].
func integerLinear(
  _ input: UnsafePointer<Int32>, rows: Int, depth: Int, weights: UnsafePointer<Int32>, bias: UnsafePointer<Int32>?,
  outputs: Int, _ output: UnsafeMutablePointer<Int32>
) {
  for row in 0..<rows {
    let x = input + row &* depth
    for channel in 0..<outputs {
      let w = weights + channel &* depth
      var total = bias?[channel] ?? 0
      for k in 0..<depth { total &+= x[k] &* w[k] }
      output[row &* outputs &+ channel] = total
    }
  }
}
