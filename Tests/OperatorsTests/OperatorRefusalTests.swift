import TensorCore
import Testing

@testable import Operators

/// A call that must be refused, and words its message must have.
struct Refusal: Sendable, CustomTestStringConvertible {
  let operatorName: String
  let inputs: [TensorSpec]
  let attributes: [String: Attribute]
  let words: [String]

  init(_ operatorName: String, _ inputs: [TensorSpec], _ attributes: [String: Attribute] = [:], _ words: String...) {
    self.init(operatorName, inputs, attributes, words)
  }

  init(_ operatorName: String, _ inputs: [TensorSpec], _ attributes: [String: Attribute], _ words: [String]) {
    self.operatorName = operatorName
    self.inputs = inputs
    self.attributes = attributes
    self.words = words
  }

  var testDescription: String { "\(operatorName)(\(inputs), \(attributes))" }
}

extension OperatorCall {
  /// A call whose tensors are bound to the schema's tensor parameters in order; a list takes all of them.
  init(_ op: Operator, _ inputs: [TensorSpec], _ attributes: [String: Attribute]) {
    var arguments = CallArguments(attributes.mapValues { CallArgument.attribute($0) })
    var next = 0
    for parameter in op.schema.parameters where attributes[parameter.name] == nil {
      switch parameter.kind {
      case .tensors: arguments[parameter.name] = .tensors(Array(inputs.indices))
      case .tensor, .optionalTensor:
        if next < inputs.count { arguments[parameter.name] = .tensor(next) }
        next += 1
      default: break
      }
    }
    self.init(
      op: op, node: "node", arguments: arguments, inputs: inputs,
      constants: [Tensor?](repeating: nil, count: inputs.count))
  }
}

func f32(_ sizes: Int...) -> TensorSpec { TensorSpec(.float32, Shape(sizes)) }
func spec(_ type: DataType, _ sizes: Int...) -> TensorSpec { TensorSpec(type, Shape(sizes)) }

extension Refusal {
  private static let image = f32(1, 3, 8, 8)
  private static let filter = f32(4, 3, 3, 3)
  private static let nhwc = TensorSpec(.float32, [1, 3, 8, 8], dimOrder: .channelsLast)
  private static let perTensor: [String: Attribute] = [
    "scale": .float(0.1), "zero_point": .int(0), "quant_min": .int(-128), "quant_max": .int(127),
    "dtype": .dataType(.int8),
  ]
  private static let perChannel: [String: Attribute] = [
    "axis": .int(0), "quant_min": .int(-128), "quant_max": .int(127), "dtype": .dataType(.int8),
  ]
  private static let norm: [String: Attribute] = [
    "training": .bool(false), "momentum": .float(0.1), "eps": .float(1e-5), "cudnn_enabled": .bool(true),
  ]

  static let all: [Refusal] = weighted + layers + elementwise + pooling + movement + quantization + integers + sequences

  private static let weighted: [Refusal] = [
    Refusal("aten.conv2d.default", [image, f32(4, 5, 3, 3)], [:], "[4, 5, 3, 3]", "[1, 3, 8, 8]"),
    Refusal("aten.conv2d.default", [image, f32(4, 3, 3)], [:], "[4, 3, 3]"),
    Refusal("aten.conv2d.default", [f32(8, 8), filter], [:], "[8, 8]"),
    Refusal("aten.conv2d.default", [nhwc, filter], [:], "channels last"),
    Refusal("aten.conv2d.default", [spec(.int8, 1, 3, 8, 8), filter], [:], "float32", "int8"),
    Refusal("aten.conv2d.default", [image, filter, f32(3)], [:], "[4]", "[3]"),
    Refusal("aten.conv2d.default", [image, f32(4, 3, 9, 9)], [:], "does not fit"),
    Refusal("aten.conv2d.default", [image, filter], ["stride": .ints([0, 1])], "stride"),
    Refusal("aten.conv2d.default", [image, filter], ["padding": .ints([-1])], "padding"),
    Refusal("aten.conv2d.default", [image, filter], ["padding": .ints([1, 1, 1])], "padding"),
    Refusal("aten.conv2d.default", [image, filter], ["dilation": .ints([.max, 1])], "dilation"),
    Refusal("aten.conv2d.default", [image, filter], ["groups": .int(0)], "groups"),
    Refusal("aten.conv2d.default", [image, f32(4, 1, 1, 1)], ["groups": .int(3)], "4 output channels", "3 groups"),
    Refusal("aten.conv2d.default", [image, filter], ["padding": .ints([2_000_000_000])], "too large"),
    Refusal("aten.conv2d.default", [image], [:], "weight"),
    Refusal("aten.linear.default", [f32(2, 7), f32(3, 8)], [:], "[2, 7]", "[3, 8]"),
    Refusal("aten.linear.default", [f32(), f32(3, 8)], [:], "[3, 8]"),
    Refusal("aten.linear.default", [f32(2, 8), f32(3, 8, 1)], [:], "[3, 8, 1]"),
    Refusal("aten.linear.default", [f32(2, 0), f32(3, 0)], [:], "empty"),
    Refusal("aten.batch_norm.default", [image, f32(3), f32(3), f32(3), f32(4)], norm, "running_var", "[3]", "[4]"),
    Refusal("aten.batch_norm.default", [image, f32(3), f32(3)], norm, "running statistics"),
    Refusal(
      "aten.batch_norm.default", [image, f32(3), f32(3), f32(3), f32(3)],
      norm.merging(["training": .bool(true)]) { $1 }, "training=True"),
    Refusal("aten.dropout.default", [image], ["p": .float(0.5), "train": .bool(true)], "train=True"),
  ]

  private static let elementwise: [Refusal] = [
    Refusal("aten.add.Tensor", [f32(2, 3), f32(2, 4)], [:], "[2, 3]", "[2, 4]"),
    Refusal("aten.mul.Tensor", [f32(2), spec(.int64, 2)], [:], "int64"),
    Refusal("aten.sub.Tensor", [f32(2), f32(2)], ["alpha": .string("x")], "alpha"),
    Refusal("aten.mul.Tensor", [f32(2)], [:], "other"),
    Refusal("aten.mul.Tensor", [f32(100_000, 1), f32(1, 100_000)], [:], "too large"),
    Refusal("aten.relu.default", [spec(.int8, 2)], [:], "int8"),
    Refusal("aten.hardtanh.default", [f32(2)], ["min_val": .float(2), "max_val": .float(1)], "min_val"),
    Refusal("aten.clamp.default", [f32(2)], [:], "min"),
    Refusal("aten.clamp.default", [f32(2)], ["min": .float(.nan)], "NaN"),
    Refusal("aten.softmax.int", [f32(2, 3)], ["dim": .int(2)], "dim", "[2, 3]"),
    Refusal("aten.softmax.int", [f32(2)], ["dim": .int(0), "dtype": .dataType(.float64)], "float64"),
  ]

  private static let pooling: [Refusal] = [
    Refusal("aten.max_pool2d.default", [image], ["kernel_size": .ints([0])], "kernel_size"),
    Refusal("aten.max_pool2d.default", [image], ["kernel_size": .ints([3]), "padding": .ints([2])], "half"),
    Refusal("aten.max_pool2d.default", [image], ["kernel_size": .ints([9, 9])], "does not fit"),
    Refusal("aten.max_pool2d.default", [f32(1, 3, 0, 8)], ["kernel_size": .ints([2])], "empty"),
    Refusal("aten.avg_pool2d.default", [image], ["kernel_size": .ints([2]), "divisor_override": .int(0)], "divisor"),
    Refusal("aten.avg_pool2d.default", [image], ["kernel_size": .ints([2]), "stride": .ints([1, 2, 3])], "stride"),
    Refusal("aten.adaptive_avg_pool2d.default", [image], ["output_size": .ints([0, 1])], "output_size"),
    Refusal("aten.adaptive_avg_pool2d.default", [image], ["output_size": .ints([1_000_000, 1_000_000])], "too large"),
    Refusal("aten.mean.dim", [f32(2, 3)], ["dim": .ints([1, -1])], "more than once"),
    Refusal("aten.mean.dim", [f32(2, 3)], ["dim": .ints([2])], "dim"),
    Refusal("aten.mean.dim", [f32(2, 0)], ["dim": .ints([1])], "no elements"),
    Refusal("aten.mean.dim", [spec(.int64, 2)], ["dim": .ints([0])], "int64"),
  ]

  private static let movement: [Refusal] = [
    Refusal("aten.cat.default", [], [:], "at least one"),
    Refusal("aten.cat.default", [f32(2, 3), f32(3, 3)], ["dim": .int(1)], "[2, 3]", "[3, 3]"),
    Refusal("aten.cat.default", [f32(2, 3), spec(.int8, 2, 3)], [:], "int8", "float32"),
    Refusal("aten.cat.default", [f32(2, 3), f32(2)], [:], "[2]"),
    Refusal("aten.cat.default", [f32()], [:], "scalar"),
    Refusal("aten.pad.default", [image], ["pad": .ints([1, 1]), "mode": .string("reflect")], "reflect"),
    Refusal("aten.pad.default", [image], ["pad": .ints([1])], "pad"),
    Refusal("aten.pad.default", [f32(2)], ["pad": .ints([1, 1, 1, 1])], "[2]"),
    Refusal("aten.pad.default", [image], ["pad": .ints([-9, 0])], "[1, 3, 8, 8]"),
    Refusal("aten.pad.default", [image], ["pad": .ints([.min, 0])], "too large"),
    Refusal("aten.constant_pad_nd.default", [spec(.int8, 2)], ["pad": .ints([1, 1]), "value": .float(0.5)], "int8"),
    Refusal("aten.slice.Tensor", [image], ["step": .int(0)], "step"),
    Refusal("aten.slice.Tensor", [image], ["dim": .int(4)], "dim"),
    Refusal("aten.slice.Tensor", [f32()], [:], "scalar"),
    Refusal("aten.view.default", [f32(2, 3)], ["size": .ints([4, 2])], "[2, 3]", "[4, 2]"),
    Refusal("aten.view.default", [f32(2, 3)], ["size": .ints([-1, -1])], "-1"),
    Refusal("aten.view.default", [f32(2, 3)], ["size": .ints([-1, 4])], "[-1, 4]"),
    Refusal("aten.view.default", [f32(0, 3)], ["size": .ints([-1, 0])], "-1"),
    Refusal("aten.reshape.default", [f32(2, 3)], ["shape": .ints([-2, -3])], "[-2, -3]"),
    Refusal("aten.reshape.default", [f32(2, 3)], ["shape": .ints([.max, .max, -1])], "too large"),
    Refusal("aten.flatten.using_ints", [f32(2, 3)], ["start_dim": .int(1), "end_dim": .int(0)], "start_dim"),
    Refusal("aten.permute.default", [f32(2, 3)], ["dims": .ints([0])], "dims"),
    Refusal("aten.permute.default", [f32(2, 3)], ["dims": .ints([0, -2])], "more than once"),
    Refusal("aten.permute.default", [nhwc], ["dims": .ints([0, 1, 2, 3])], "channels last"),
    Refusal("aten.transpose.int", [f32(2, 3)], ["dim0": .int(0), "dim1": .int(-3)], "dim1"),
    Refusal("aten.squeeze.dim", [f32(2, 3)], ["dim": .int(.min)], "dim"),
    Refusal("aten.unsqueeze.default", [f32(2, 3)], ["dim": .int(3)], "dim"),
    Refusal("aten.clone.default", [nhwc], [:], "channels last"),
    Refusal("quantization.observe", [image], [:], "observer"),
  ]

  private static let pixels = spec(.int32, 1, 3, 8, 8)

  private static let integers: [Refusal] = [
    Refusal("aten.conv2d.default", [pixels, filter], [:], "int32", "float32"),
    Refusal("aten.conv2d.default", [pixels, spec(.int32, 4, 3, 3, 3), f32(4)], [:], "bias", "int32"),
    Refusal("aten.linear.default", [spec(.int32, 2, 7), spec(.int8, 3, 7)], [:], "int32", "int8"),
    Refusal("aten.add.Tensor", [spec(.int32, 2), f32(2)], [:], "int32", "float32"),
    Refusal("aten.add.Tensor", [spec(.int32, 2), spec(.int32, 2)], ["alpha": .float(0.5)], "alpha"),
    Refusal("aten.mul.Tensor", [spec(.int32, 2)], ["other": .float(2)], "other"),
    Refusal("aten.sub.Tensor", [spec(.int32, 2)], ["other": .int(1 << 31)], "other"),
    Refusal("aten.clamp.default", [spec(.int8, 2)], ["min": .float(0.5)], "integer"),
    Refusal("aten.clamp.default", [spec(.int16, 2)], ["min": .int(0)], "int16"),
    Refusal("aten.max_pool2d.default", [pixels], ["kernel_size": .ints([2])], "int32"),
    Refusal("aten.sum.dim_IntList", [f32(2)], ["dim": .ints([0]), "dtype": .dataType(.int32)], "float32"),
    Refusal("aten.sum.dim_IntList", [spec(.int32, 2)], ["dim": .ints([0])], "dtype"),
    Refusal("aten.sum.dim_IntList", [spec(.int32, 2)], ["dim": .ints([1]), "dtype": .dataType(.int32)], "dim"),
    Refusal("aten.bitwise_right_shift.Tensor_Scalar", [spec(.int32, 2)], ["other": .int(32)], "0...31"),
    Refusal("aten.bitwise_right_shift.Tensor_Scalar", [spec(.int8, 2)], ["other": .int(1)], "int8"),
    Refusal("aten.round.default", [spec(.int32, 2)], [:], "int32"),
    Refusal("aten.to.dtype", [f32(2)], ["dtype": .dataType(.float16)], "float16"),
    Refusal("aten.to.dtype", [spec(.bfloat16, 2)], ["dtype": .dataType(.float32)], "bfloat16"),
  ]

  private static func quantize(_ changes: [String: Attribute], _ word: String) -> Refusal {
    Refusal(
      "quantized_decomposed.quantize_per_tensor.default", [f32(2)], perTensor.merging(changes) { $1 }, word)
  }

  private static let layers: [Refusal] = [
    Refusal("aten.conv1d.default", [f32(1, 3, 8, 8), f32(4, 3, 3)], [:], "[N, C, L]"),
    Refusal("aten.conv1d.default", [f32(1, 3, 8), f32(4, 3, 3, 3)], [:], "[O, C / groups, k]"),
    Refusal("aten.conv1d.default", [f32(1, 3, 8), f32(4, 3, 3)], ["stride": .ints([1, 1])], "stride"),
    Refusal("aten.conv1d.padding", [f32(1, 3, 8), f32(4, 3, 3)], ["padding": .string("full")], "full"),
    Refusal(
      "aten.conv2d.padding", [image, filter], ["padding": .string("same"), "stride": .ints([2, 2])], "stride 1",
      "[2, 2]"),
    Refusal("aten.conv_transpose2d.input", [image, f32(4, 3, 3, 3)], [:], "3"),
    Refusal("aten.conv_transpose2d.input", [image, f32(3, 3, 3)], [:], "[C, O / groups, kh, kw]"),
    Refusal(
      "aten.conv_transpose2d.input", [image, f32(3, 2, 3, 3)], ["output_padding": .ints([1, 1])], "output_padding"),
    Refusal("aten.conv_transpose2d.input", [image, f32(3, 2, 3, 3)], ["padding": .ints([9, 9])], "long"),
    Refusal("aten.matmul.default", [f32(2, 3), f32(4, 2)], [:], "inner sizes", "3 and 4"),
    Refusal("aten.matmul.default", [f32(2, 2, 3), f32(3, 3, 2)], [:], "broadcast"),
    Refusal("aten.matmul.default", [f32(), f32(3)], [:], "dimensions"),
    Refusal("aten.matmul.default", [spec(.int8, 2, 2), f32(2, 2)], [:], "float32"),
    Refusal("aten.bmm.default", [f32(2, 3), f32(3, 2)], [:], "dimensions"),
    Refusal("aten.gelu.default", [f32(2)], ["approximate": .string("fast")], "approximate", "fast"),
    Refusal("aten.layer_norm.default", [f32(2, 3)], ["normalized_shape": .ints([2])], "normalized_shape", "[2, 3]"),
    Refusal("aten.layer_norm.default", [f32(2, 3)], ["normalized_shape": .ints([])], "normalized_shape"),
    Refusal(
      "aten.layer_norm.default", [f32(2, 3), f32(2)], ["normalized_shape": .ints([3]), "bias": .none], "weight", "[2]"),
    Refusal("aten.group_norm.default", [f32(1, 6, 2)], ["num_groups": .int(4)], "6 channels"),
    Refusal("aten.group_norm.default", [f32(6)], ["num_groups": .int(1)], "[N, C, ...]"),
    Refusal(
      "aten.upsample_nearest2d.vec", [f32(1, 2, 3)], ["output_size": .ints([2, 2]), "scale_factors": .none],
      "[N, C, H, W]"),
    Refusal(
      "aten.upsample_nearest2d.vec", [image], ["output_size": .ints([2, 2]), "scale_factors": .floats([1, 1])],
      "two sizes or two scale factors"),
    Refusal(
      "aten.upsample_bilinear2d.vec", [image],
      ["output_size": .ints([0, 2]), "align_corners": .bool(false), "scale_factors": .none], "0"),
    Refusal(
      "aten.upsample_nearest2d.vec", [image], ["output_size": .none, "scale_factors": .floats([.nan, 1])],
      "scale_factors"),
    Refusal("aten.embedding.default", [f32(4, 2), f32(3)], [:], "indices", "float32"),
    Refusal("aten.embedding.default", [f32(4), spec(.int64, 3)], [:], "[rows, width]"),
    Refusal("aten.expand.default", [f32(2, 3)], ["size": .ints([4, 3])], "[4, 3]"),
    Refusal("aten.expand.default", [f32(2, 3)], ["size": .ints([3])], "expanded"),
    Refusal("aten.expand.default", [f32(2)], ["size": .ints([-1, 2])], "-1"),
    Refusal("aten.select.int", [f32(2, 3)], ["dim": .int(1), "index": .int(3)], "out of range"),
    Refusal("aten.select.int", [f32()], ["dim": .int(0), "index": .int(0)], "scalar"),
  ]

  private static let quantization: [Refusal] = [
    quantize(["scale": .float(0)], "scale"), quantize(["scale": .float(-1)], "scale"),
    quantize(["scale": .float(.nan)], "scale"), quantize(["scale": .float(.infinity)], "scale"),
    quantize(["scale": .float(1e-40)], "scale"), quantize(["zero_point": .int(128)], "zero_point"),
    quantize(["quant_min": .int(-129)], "quant_min"), quantize(["quant_max": .int(-129)], "quant_max"),
    quantize(["dtype": .dataType(.int32)], "int32"), quantize(["dtype": .none], "dtype"),
    Refusal("quantized_decomposed.quantize_per_tensor.default", [spec(.float64, 2)], perTensor, "float64"),
    Refusal("quantized_decomposed.dequantize_per_tensor.default", [spec(.uint8, 2)], perTensor, "uint8", "int8"),
    Refusal(
      "quantized_decomposed.dequantize_per_tensor.default", [spec(.int8, 2)],
      perTensor.merging(["out_dtype": .dataType(.float16)]) { $1 }, "out_dtype"),
    Refusal(
      "quantized_decomposed.quantize_per_channel.default", [f32(2, 3), f32(3), spec(.int64, 3)], perChannel, "[2]",
      "[3]"),
    Refusal("quantized_decomposed.quantize_per_channel.default", [f32(2, 3), f32(2)], perChannel, "zero_points"),
    Refusal(
      "quantized_decomposed.quantize_per_channel.default", [f32(2, 3), f32(2), spec(.float64, 2)], perChannel,
      "zero_points"),
    Refusal(
      "quantized_decomposed.dequantize_per_channel.default", [spec(.int8, 2, 3), spec(.int64, 2), spec(.int64, 2)],
      perChannel, "scales"),
    Refusal(
      "quantized_decomposed.dequantize_per_channel.default", [spec(.int8, 2, 3), f32(2), spec(.int64, 2)],
      perChannel.merging(["axis": .int(2)]) { $1 }, "axis"),
  ]
}

@Suite struct OperatorRefusalTests {
  @Test(arguments: Refusal.all)
  func isRefusedWithReason(_ refusal: Refusal) throws {
    let op = try #require(OperatorSet.standard[refusal.operatorName])
    let error = try #require(throws: OperatorError.self) {
      _ = try op.infer(OperatorCall(op, refusal.inputs, refusal.attributes))
    }
    #expect(error.operatorName == refusal.operatorName && error.inputs == refusal.inputs)
    for word in refusal.words { #expect(error.reason.contains(word), "'\(word)' is not in: \(error.reason)") }
  }

  @Test func wrongOutputSpecIsRefused() throws {
    let op = try #require(OperatorSet.standard["aten.relu.default"])
    for output in [f32(3), spec(.int8, 2), TensorSpec(.float32, [1, 2, 1, 1], dimOrder: .channelsLast)] {
      let call = OperatorCall(
        op: op, node: "relu", arguments: ["self": .tensor(0)], inputs: [f32(2)], constants: [nil],
        outputs: [output])
      #expect(throws: OperatorError.self) { try op.prepare(call) }
    }
  }

  @Test func tensorsThatDoNotMatchTheCallAreRefused() throws {
    let op = try #require(OperatorSet.standard["aten.relu.default"])
    let call = OperatorCall(op, [f32(2)], [:])
    #expect(throws: OperatorError.self) { try op.execute(call, inputs: [Tensor([1] as [Float], shape: [1])]) }
    #expect(throws: OperatorError.self) { try op.execute(call, inputs: []) }
  }
}
