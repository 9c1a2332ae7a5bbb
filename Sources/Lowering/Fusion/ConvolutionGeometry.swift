import GraphIR
import Operators
import TensorCore

/// How a convolution of any kind is a 2-D convolution: a 1-D one is on images of height 1; a transposed one slides the
/// reversed kernel over its input with zeros put between and around the elements.
struct ConvolutionGeometry {
  /// What a transposed convolution puts into its input before it is convolved.
  struct Stuffing {
    /// Zeros between neighbours: height, width.
    var interior: [Int]
    /// Zeros around: top, right, bottom, left.
    var padding: [Int]
  }

  /// A reason against.
  struct Refusal: Error {
    let text: String
  }

  var isFlat = false
  var isTransposed = false
  var stride = [1, 1]
  /// Top, right, bottom, left.
  var padding = [0, 0, 0, 0]
  var dilation = [1, 1]
  var groups = 1
  var stuffing: Stuffing?

  /// The rank of its input.
  var rank: Int { isFlat ? 3 : 4 }

  /// (N, C, L) as (N, C, 1, L).
  func withHeight(_ shape: Shape) -> Shape { Shape([shape[0], shape[1], 1, shape[2]]) }

  /// The weight of the 2-D convolution: (O, C / groups, kh, kw), quantized along O where it is per channel.
  func images(_ weight: Fuser.Weight) -> Fuser.Weight {
    var tensor = weight.tensor
    if isFlat { tensor = tensor.reinterpreted(as: TensorSpec(tensor.dataType, withHeight(tensor.shape))) }
    guard isTransposed else { return Fuser.Weight(tensor: tensor, quantization: weight.quantization) }
    // Along O, the quantized axis is the first of the reversed kernel. Any other axis is for the caller to refuse.
    let quantization = weight.quantization.map { own in
      own.axis == 1 && groups == 1
        ? QuantizationParameters(perChannel: own.scales, axis: 0)
        : own.axis == 0 ? QuantizationParameters(perChannel: own.scales, axis: 1) : own
    }
    return Fuser.Weight(tensor: tensor.reversedKernel(groups: groups), quantization: quantization)
  }
}

extension Fuser {
  /// Reads the arguments of a convolution node; `kernel` is its weight's shape.
  func convolutionGeometry(
    _ node: Node, _ kernel: Shape
  ) throws(GraphError) -> Result<ConvolutionGeometry, ConvolutionGeometry.Refusal> {
    let call = try call(node)
    var geometry = ConvolutionGeometry()
    geometry.isFlat = [.convolution(spatial: 1), .transposedConvolution(spatial: 1)].contains(node.op.layer)
    if case .transposedConvolution = node.op.layer { geometry.isTransposed = true }
    func pair(_ name: String, _ neutral: Int) throws(GraphError) -> [Int] {
      try reading { () throws(OperatorError) in
        guard geometry.isFlat else {
          let pair = try call.pair(name)
          return [pair.height, pair.width]
        }
        return [neutral, try call.ints(name)[0]]
      }
    }
    let size = geometry.isFlat ? [1, kernel[2]] : [kernel[2], kernel[3]]
    geometry.stride = try pair("stride", 1)
    geometry.dilation = try pair("dilation", 1)
    geometry.groups = try reading { () throws(OperatorError) in try call.int("groups") }
    if geometry.isTransposed {
      let (padding, extra) = (try pair("padding", 0), try pair("output_padding", 0))
      let reach = (0..<2).map { geometry.dilation[$0] * (size[$0] - 1) - padding[$0] }
      guard reach.allSatisfy({ $0 >= 0 }) else {
        return .failure(.init(text: "its padding \(padding) is wider than the kernel's reach"))
      }
      geometry.stuffing = .init(
        interior: geometry.stride.map { $0 - 1 },
        padding: [reach[0], reach[1] + extra[1], reach[0] + extra[0], reach[1]])
      geometry.stride = [1, 1]
      return .success(geometry)
    }
    guard call.schema.parameter(named: "padding")?.kind == .string else {
      let padding = try pair("padding", 0)
      geometry.padding = [padding[0], padding[1], padding[0], padding[1]]
      return .success(geometry)
    }
    // 'same' puts an odd zero at the far side.
    if try reading({ () throws(OperatorError) in try call.string("padding") }) == "same" {
      let total = (0..<2).map { geometry.dilation[$0] * (size[$0] - 1) }
      geometry.padding = [total[0] / 2, total[1] - total[1] / 2, total[0] - total[0] / 2, total[1] / 2]
    }
    return .success(geometry)
  }
}
