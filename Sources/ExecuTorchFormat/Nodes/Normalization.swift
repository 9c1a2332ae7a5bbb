import GraphIR
import Operators
import TensorCore
import TorchFormats

extension DelegateRow {
  static let normalizations: [DelegateRow] = [
    DelegateRow([.softmax], [.softmax]) { call throws(OperatorError) in
      let (dim, rank) = (try call.int("dim"), call.inputs[0].shape.rank)
      return dim == -1 || dim == rank - 1 ? nil : "the delegate takes the last dimension only"
    } write: { writer, node, call throws(OperatorError) in
      try writer.addNode(.softmax, call, [node.inputs[0], node.output])
    } read: { reader, node throws(FormatError) in
      let (input, output) = try node.ids(0, 1)
      let asImage = reader.isImage(input)
      let result = try reader.emit(
        .softmax, [("self", .value(try reader.real(input, asImage: asImage))), ("dim", .int(asImage ? 1 : -1))])
      try reader.finish(node, output, result, isImage: asImage)
    }
  ]
}

extension KernelRow {
  static let normalizations: [KernelRow] = [
    .init("aten::_softmax.out", .softmax, parameters: names("self dim") + [.fixed("half_to_float", .bool(false))]),
    .init(
      "aten::_log_softmax.out", .logSoftmax, parameters: names("self dim") + [.fixed("half_to_float", .bool(false))]),
    .init(
      "aten::native_layer_norm.out", .layerNorm, parameters: names("input normalized_shape weight bias eps"),
      unread: { call throws(OperatorError) in
        let normalized = try call.ints("normalized_shape").count
        let outer = call.inputs[0].shape.dimensions.dropLast(normalized)
        return [TensorSpec](
          repeating: TensorSpec(.float32, Shape(outer + [Int](repeating: 1, count: normalized))), count: 2)
      }),
    .init(
      "aten::native_group_norm.out", .groupNorm,
      parameters: names("input weight bias") + [
        .derived { call in .int(call.inputs[0].shape[0]) }, .derived { call in .int(call.inputs[0].shape[1]) },
        .derived { call in .int(call.inputs[0].shape.dimensions.dropFirst(2).reduce(1, *)) },
      ] + names("num_groups eps"),
      unread: { call throws(OperatorError) in
        let statistics = TensorSpec(.float32, [call.inputs[0].shape[0], try call.int("num_groups")])
        return [statistics, statistics]
      }),
    .init(
      "aten::_native_batch_norm_legit_no_training.out", .batchNorm,
      parameters: names("input weight bias running_mean running_var momentum eps"),
      unread: { _ in [TensorSpec](repeating: TensorSpec(.float32, [0]), count: 2) },
      adapt: { $0.arguments.append(("training", .bool(false))) }),
  ]
}

extension RewriteRow {
  static let normalizations: [RewriteRow] = [
    throughFloat(.fusedSoftmax, .softmax), throughFloat(.fusedLayerNorm, .layerNorm),
  ]
}
