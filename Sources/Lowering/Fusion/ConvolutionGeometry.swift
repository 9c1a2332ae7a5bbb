import GraphIR
import Operators
import TensorCore

/// How a convolution of any kind is a 2-D convolution: a 1-D one is on images of height 1; a transposed one slides the
/// reversed kernel over its input with zeros put between and around the elements.
struct ConvolutionGeometry {
  let isFlat, isTransposed: Bool
  /// The node's own.
  private let own: Window2d

  init(_ layer: Operator.Layer?, _ window: Window2d) {
    isFlat = [.convolution(spatial: 1), .transposedConvolution(spatial: 1)].contains(layer)
    isTransposed = [.transposedConvolution(spatial: 1), .transposedConvolution(spatial: 2)].contains(layer)
    own = window
  }

  /// That of the 2-D convolution.
  var window: Window2d {
    guard isTransposed else { return own }
    var window = Window2d(kernel: own.kernel, stride: [1, 1], dilation: own.dilation)
    window.groups = own.groups
    return window
  }

  /// Zeros that a transposed convolution puts around its input: top, right, bottom, left.
  private var margins: [Int] {
    zip([own.height, own.width, own.height, own.width], own.padding).map { axis, padding in axis.reach - padding }
  }

  /// A reason against; nil when there is none.
  var refusal: String? {
    isTransposed && margins.contains { $0 < 0 } ? "its padding \(own.padding) is wider than the kernel's reach" : nil
  }

  /// The rank of its input.
  var rank: Int { isFlat ? 3 : 4 }

  /// (N, C, L) as (N, C, 1, L).
  func withHeight(_ shape: Shape) -> Shape { Shape([shape[0], shape[1], 1, shape[2]]) }

  /// An image as the 2-D convolution sees it, with the attributes of the `fused.pad` that makes it; nil for the same one.
  func stuffed(_ image: Shape) -> (shape: Shape, pad: [(String, Operand)])? {
    let (pads, interior) = (margins, [0, 0, own.height.stride - 1, own.width.stride - 1])
    guard isTransposed, interior != [0, 0, 0, 0] || pads != [0, 0, 0, 0] else { return nil }
    let (pre, post) = ([0, 0, pads[0], pads[3]], [0, 0, pads[2], pads[1]])
    return (
      Shape((0..<4).map { image[$0] + max(0, image[$0] - 1) * interior[$0] + pre[$0] + post[$0] }),
      [
        ("pre", .attribute(.ints(pre))), ("post", .attribute(.ints(post))), ("interior", .attribute(.ints(interior))),
      ]
    )
  }

  /// The weight of the 2-D convolution: (O, C / groups, kh, kw), quantized along O where it is per channel.
  func images(_ weight: Fuser.Weight) -> Fuser.Weight {
    var tensor = weight.tensor
    if isFlat { tensor = tensor.reinterpreted(as: TensorSpec(tensor.dataType, withHeight(tensor.shape))) }
    guard isTransposed else { return Fuser.Weight(tensor: tensor, quantization: weight.quantization) }
    // Along O, the quantized axis is the first of the reversed kernel. Any other axis is for the caller to refuse.
    let quantization = weight.quantization.map { axes in
      axes.axis == 1 && own.groups == 1
        ? QuantizationParameters(perChannel: axes.scales, axis: 0)
        : axes.axis == 0 ? QuantizationParameters(perChannel: axes.scales, axis: 1) : axes
    }
    return Fuser.Weight(tensor: tensor.reversedKernel(groups: own.groups), quantization: quantization)
  }
}

extension Window2d {
  /// The arguments by which a fused operator takes it.
  func arguments(of op: Operator) -> [(String, Operand)] {
    let all: [(String, Attribute)] = [
      ("kernel_size", .ints(kernel)), ("stride", .ints(stride)), ("padding", .ints(padding)),
      ("dilation", .ints(dilation)), ("groups", .int(groups)),
    ]
    return all.filter { op.schema.parameter(named: $0.0) != nil }.map { ($0, .attribute($1)) }
  }
}

extension Fuser {
  /// The window of a convolution or pooling node; a 1-D one's has height 1.
  func window(_ node: Node) throws(GraphError) -> Window2d {
    let call = try call(node)
    return try reading { () throws(OperatorError) in try Window2d(call) }
  }
}
