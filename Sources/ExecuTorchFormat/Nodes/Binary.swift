import GraphIR
import Operators
import TensorCore
import TorchFormats

extension DelegateRow {
  static let binary: [DelegateRow] = [
    binary(.add, .fusedAdd, readAs: .add, reasonAgainst: sumReason),
    binary(.subtract, .fusedSub, readAs: .sub, reasonAgainst: sumReason),
    binary(.multiply, .fusedMul, readAs: .mul) { call throws(OperatorError) in
      let scales = call.inputs.compactMap { $0.quantization?.scale }
      guard scales.count == 2, let target = try call.output().quantization?.scale else { return nil }
      return (0x1p-16..<0x1p8).contains(scales[0] * scales[1] / target) ? nil : ratioReason
    },
    binary(.div, .div, readAs: .div), binary(.minimum, .minimum, readAs: .minimum),
    binary(.maximum, .maximum, readAs: .maximum),
  ]

  private static let ratioReason = "its scales differ by more than the delegate takes"

  private static func sumReason(_ call: OperatorCall) throws(OperatorError) -> String? {
    for index in call.inputs.indices {
      if let ratio = try call.scaleRatio(index), !(0x1p-10..<0x1p8).contains(ratio) { return ratioReason }
    }
    return nil
  }

  private static func binary(
    _ kind: XNNNodeKind, _ op: Operator, readAs read: Operator,
    reasonAgainst: @escaping @Sendable (OperatorCall) throws(OperatorError) -> String? = { _ in nil }
  ) -> DelegateRow {
    DelegateRow([kind], [op]) { call throws(OperatorError) in
      guard call.inputs.count == 2 else { return "an operand is a scalar" }
      // Channels last, sizes of other ranks would be aligned at another dimension.
      let isMixed = call.inputs[0].shape.rank != call.inputs[1].shape.rank
      if isMixed, call.inputs.contains(where: { $0.dimOrder == .channelsLast }) { return "its operands differ in rank" }
      return try reasonAgainst(call)
    } write: { writer, node, call throws(OperatorError) in
      try writer.addNode(kind, call, [node.inputs[0], node.inputs[1], node.output])
    } read: { reader, node throws(FormatError) in
      let (a, b, output) = try node.ids(0, 1, 2)
      // Sizes broadcast from the right, where an image has its channels in the delegate.
      let ranks = [try reader.value(a).dimensions, try reader.value(b).dimensions]
      let asImage =
        (reader.isImage(a) || reader.isImage(b)) && ranks.allSatisfy { $0.count == 4 || $0.allSatisfy { $0 == 1 } }
        && ranks.contains { $0.count == 4 }
      var operands: [ValueID] = []
      for (id, sizes) in zip([a, b], ranks) {
        operands.append(try reader.real(id, asImage: asImage && sizes.count == 4))
      }
      let result = try reader.emit(read, [("self", .value(operands[0])), ("other", .value(operands[1]))])
      try reader.finish(node, output, result, isImage: asImage)
    }
  }
}

extension OperatorCall {
  /// The scale of an operand by that of the result; nil if one is real.
  func scaleRatio(_ operand: Int) throws(OperatorError) -> Float? {
    guard let a = inputs[operand].quantization, let b = try output().quantization else { return nil }
    return a.scale / b.scale
  }
}

extension KernelRow {
  static let binary: [KernelRow] = [
    .init("aten::add.out", .add, "self other alpha"),
    .init("aten::sub.out", .sub, "self other alpha"),
    .init("aten::mul.out", .mul, "self other"),
    .init("aten::div.out", .div, "self other"),
    .init("aten::minimum.out", .minimum, "self other"),
    .init("aten::maximum.out", .maximum, "self other"),
    .init("aten::add.Scalar_out", .add, "self other alpha"),
    .init("aten::sub.Scalar_out", .sub, "self other alpha"),
    .init("aten::mul.Scalar_out", .mul, "self other"),
    .init("aten::div.Scalar_out", .div, "self other"),
    .init("aten::rsub.Scalar_out", .rsub, "self other alpha"),
  ]
}

extension RewriteRow {
  static let binary: [RewriteRow] = [
    RewriteRow([.add, .sub, .mul, .div], number),
    RewriteRow([.fusedAdd, .fusedSub, .fusedMul]) { rewriter, call throws(GraphError) in
      let call = rewriter.withNarrowOperands(call)
      guard call.output.quantization != nil, try rewriter.reasonAgainst(call) != nil else {
        return try rewriter.emit(call)
      }
      return try rewriter.throughFloat(call, call.op)
    },
  ]

  /// A number in a tensor's place becomes a constant.
  private static func number(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> ValueID? {
    let input = try call.value("self")
    guard call.operand("other")?.valueIDs.isEmpty ?? true else { return nil }
    let (number, factor) = try rewriter.read(call) { call throws(OperatorError) in
      (try call.float("other"), call.schema.parameter(named: "alpha") == nil ? 1 : try call.float("alpha"))
    }
    guard call.output.dataType == .float32 else {
      let integer = Tensor([Int32(truncatingIfNeeded: Int(number))], shape: [])
      var call = call
      call.set("other", .value(rewriter.addConstant(call.name + "_constant", integer)))
      return try rewriter.emit(call)
    }
    let fused: [Operator: Operator] = [.add: .fusedAdd, .sub: .fusedSub, .mul: .fusedMul]
    return try rewriter.emit(fused[call.op] ?? call.op, call, [input, rewriter.scalar(Float(factor * number), call)])
  }
}

extension EdgeRewriter {
  /// The delegate's operators broadcast by themselves: expanded operands are taken as they were before, if that still gives
  /// the result its sizes.
  fileprivate func withNarrowOperands(_ call: Call) -> Call {
    var narrowed = call
    var sizes = [Int](repeating: 1, count: call.output.shape.rank)
    for index in call.arguments.indices {
      guard case .value(let id) = call.arguments[index].operand else { continue }
      let operand = narrow[id] ?? id
      narrowed.arguments[index].operand = .value(operand)
      for (axis, size) in zip(sizes.indices.reversed(), spec(operand).shape.dimensions.reversed()) where size != 1 {
        sizes[axis] = size
      }
    }
    return sizes == call.output.shape.dimensions ? narrowed : call
  }
}
