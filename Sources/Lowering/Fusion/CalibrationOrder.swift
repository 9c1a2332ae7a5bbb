import GraphIR
import Operators
import TensorCore

/// Calibration in PyTorch's order of summation.
///
/// A histogram's range search turns on single counts, so activations that differ from PyTorch's in their last bit can
/// move a scale by a whole bin. When a graph is lowered for calibration, its f32 convolutions therefore add their
/// products in the order in which PyTorch does on a CPU with AVX-512, found by comparing bits:
///
/// - Large inputs (oneDNN): for each block of 16 input channels a sum from 0 over (height, width, channel); then the
///   first sum plus bias, plus the second, and so on. A 1×1 convolution starts from the bias, as XNNPACK's own does.
/// - Small inputs (matrix multiplication of patches): sums from 0 over blocks of the patch in the order (channel, height,
///   width), added up in the same way.
/// - Depthwise: from the bias, over (height, width). XNNPACK's depthwise kernels go down the columns first; with a column
///   of zeros added to the filter it takes its general kernel, which does not, but is slow: done for small inputs only.
extension Fuser {
  /// PyTorch leaves a single image of at most so many elements to matrix multiplication, unless both sides of the kernel
  /// are longer than 3.
  private static let smallInput = 20_480

  /// How one convolution is summed.
  private struct Summation {
    /// Ranges of the input's channels (or of the patch) that are summed on their own.
    let blocks: [Range<Int>]
    let usesPatches: Bool
  }

  private func summation(_ weight: Tensor, input: Shape) -> Summation? {
    guard weight.dataType == .float32 else { return nil }
    let (channels, height, width) = (weight.shape[1], weight.shape[2], weight.shape[3])
    let isSmall = input.elementCount <= Fuser.smallInput && input[0] == 1 && !(height > 3 && width > 3)
    if isSmall {
      let count = channels * height * width
      // The matrix library's own blocking of the summed dimension.
      let size = count <= 192 ? count : count <= 384 ? count / 2 : 192
      return Summation(blocks: Fuser.blocks(count, size), usesPatches: height * width > 1)
    }
    if height * width == 1 { return nil }
    return Summation(
      blocks: Fuser.blocks(channels, channels % 16 == 0 ? 16 : channels), usesPatches: false)
  }

  private static func blocks(_ count: Int, _ size: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: max(1, size)).map { $0..<min($0 + size, count) }
  }

  /// Emits a float convolution as partial sums in PyTorch's order and returns their total, clamped as the chain says;
  /// nil when it has no order of its own. `output` is the image that it gives.
  mutating func emitInCalibrationOrder(
    _ chain: OutputChain, input: ValueID, sourceShape: Shape, weight: Tensor, bias: ValueID?,
    window: Window2d, output: TensorSpec
  ) -> ValueID? {
    if window.groups > 1 {
      return emitDepthwiseByRows(
        chain, input: input, sourceShape: sourceShape, weight: weight, bias: bias, window: window, output: output)
    }
    guard let summation = summation(weight, input: sourceShape) else { return nil }
    let name = chain.name
    var (input, weight, window) = (input, weight, window)
    if summation.usesPatches {
      input = emitPatches(of: input, weight, output, window, name: name)
      weight = weight.reinterpreted(
        as: TensorSpec(.float32, [weight.shape[0], summation.blocks.last!.upperBound, 1, 1]))
      window = Window2d(kernel: [1, 1], stride: [1, 1])
    }
    var total: ValueID?
    for block in summation.blocks {
      let part = summation.blocks.count == 1 ? input : emitChannels(block, of: input, name: name)
      let kernel = addConstant("\(name)_weight", weight.channels(block).channelsLast())
      let sum = emit(
        .fusedConv2d, name: "\(name)_partial",
        [("input", .value(part)), ("weight", .value(kernel))]
          + window.arguments(of: .fusedConv2d),
        output: output, sources: chain.nodes)
      if let running = total {
        total = emit(
          .fusedAdd, name: "\(name)_sum", [("self", .value(running)), ("other", .value(sum))], output: output)
      } else {
        total = bias.map { emitBias($0, to: sum, name: name) } ?? sum
      }
    }
    guard let total, !chain.bounds().isEmpty else { return total }
    return emit(.fusedClamp, name: "\(name)_clamp", [("self", .value(total))] + chain.bounds(), output: output)
  }

  private mutating func emitDepthwiseByRows(
    _ chain: OutputChain, input: ValueID, sourceShape: Shape, weight: Tensor, bias: ValueID?,
    window: Window2d, output: TensorSpec
  ) -> ValueID? {
    guard weight.dataType == .float32, weight.shape[0] == window.groups, weight.shape[1] == 1,
      weight.shape[3] > 1, sourceShape.elementCount <= Fuser.smallInput
    else { return nil }
    var window = window
    window.width.kernel += 1
    window.width.padAfter += window.width.dilation
    let kernel = addConstant(chain.name + "_weight", weight.withZeroColumn().channelsLast())
    let arguments: [(String, Operand)] =
      [("input", .value(input)), ("weight", .value(kernel))] + (bias.map { [("bias", .value($0))] } ?? [])
      + window.arguments(of: .fusedConv2d)
    return emit(
      .fusedConv2d, name: chain.name, arguments + chain.bounds(), output: output, sources: chain.nodes)
  }

  private mutating func emitPatches(
    of value: ValueID, _ weight: Tensor, _ output: TensorSpec, _ window: Window2d, name: String
  ) -> ValueID {
    let shape: Shape = [output.shape[0], weight.shape[1] * window.area, output.shape[2], output.shape[3]]
    return emit(
      .fusedIm2col, name: "\(name)_patches",
      [("self", .value(value))] + window.arguments(of: .fusedIm2col),
      output: TensorSpec(.float32, shape, dimOrder: .channelsLast))
  }

  private mutating func emitChannels(_ range: Range<Int>, of value: ValueID, name: String) -> ValueID {
    var output = spec(value)
    output.shape = [output.shape[0], range.count, output.shape[2], output.shape[3]]
    return emit(
      .fusedSlice, name: "\(name)_channels",
      [
        ("self", .value(value)), ("dim", .attribute(.int(1))), ("start", .attribute(.int(range.lowerBound))),
        ("end", .attribute(.int(range.upperBound))), ("step", .attribute(.int(1))),
      ], output: output)
  }

  /// `value + bias` with one rounding: a depthwise 1×1 convolution by 1.
  private mutating func emitBias(_ bias: ValueID, to value: ValueID, name: String) -> ValueID {
    let channels = spec(value).shape[1]
    let ones = Tensor([Float](repeating: 1, count: channels), shape: [channels, 1, 1, 1]).channelsLast()
    return emit(
      .fusedConv2d, name: "\(name)_bias",
      [
        ("input", .value(value)), ("weight", .value(addConstant(name + "_ones", ones))), ("bias", .value(bias)),
        ("groups", .attribute(.int(channels))),
      ], output: spec(value))
  }
}

extension Tensor {
  /// A contiguous f32 OIHW weight with a zero after each row.
  fileprivate func withZeroColumn() -> Tensor {
    let values = elements(as: Float.self)
    let width = shape[3]
    let rows = stride(from: 0, to: values.count, by: width).flatMap { values[$0..<$0 + width] + [0] }
    return Tensor(rows, shape: [shape[0], shape[1], shape[2], width + 1])
  }

  /// The input channels `range` of a contiguous OIHW weight.
  fileprivate func channels(_ range: Range<Int>) -> Tensor {
    guard range.count != shape[1] else { return self }
    let area = shape[2] * shape[3]
    let (row, part) = (shape[1] * area * dataType.size, range.count * area * dataType.size)
    let spec = TensorSpec(dataType, [shape[0], range.count, shape[2], shape[3]])
    return Tensor(unsafeUninitialized: spec) { target in
      withUnsafeBytes { source in
        for o in 0..<shape[0] {
          let start = o * row + range.lowerBound * area * dataType.size
          UnsafeMutableRawBufferPointer(rebasing: target[o * part..<(o + 1) * part])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[start..<start + part]))
        }
      }
    }
  }
}
