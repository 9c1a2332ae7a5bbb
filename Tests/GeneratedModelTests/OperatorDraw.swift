import Swiftlet
import TensorCore

/// One operator of the float graph, and how a call of it is drawn.
struct OperatorDraw: Sendable {
  let name: String
  /// How often it is drawn beside others.
  let weight: Int
  /// Adds the call, and what it needs; returns its float results.
  let draw: @Sendable (inout ModelGenerator) throws -> [ValueID]

  init(
    _ name: String, weight: Int = 1, _ draw: @escaping @Sendable (inout ModelGenerator) throws -> [ValueID]
  ) {
    (self.name, self.weight, self.draw) = (name, weight, draw)
  }

  static let all: [OperatorDraw] =
    layers + products + normalizations + functions + binaries + pools + movements + cuts + creations + sequences

  /// As often as each is to be drawn.
  static let weighted: [OperatorDraw] = all.flatMap { Array(repeating: $0, count: $0.weight) }

  static let dropout = all.first { $0.name == "aten.dropout.default" }!

  /// Operators that no float graph has, by prefix or name.
  static let absent: [String: String] = [
    "quantized_decomposed.": "of Q/DQ graphs",
    "quantization.": "of observed graphs",
    "fused.": "of lowered graphs",
    "dim_order_ops.": "of lowered graphs",
    "aten.bitwise_right_shift.Tensor_Scalar": "of integers, in reference representations",
    "aten.sum.dim_IntList": "of integers, in reference representations",
  ]

  /// A function of `self`.
  static func function(
    _ name: String, weight: Int = 1, limit: Float = 40,
    _ more: @escaping @Sendable (inout ModelGenerator, ValueID) -> [(String, Argument)] = { _, _ in [] }
  ) -> OperatorDraw {
    OperatorDraw(name, weight: weight) { g in
      let x = try g.bounded(g.value(), by: limit)
      return try g.call(name, [("self", .value(x))] + more(&g, x))
    }
  }
}

extension OperatorDraw {
  // MARK: Functions of one element

  static let functions: [OperatorDraw] = [
    function("aten.relu.default", weight: 4),
    function("aten.relu6.default"),
    function("aten.hardtanh.default", weight: 2) { g, _ in
      g.random.chance(0.5) ? [("min_val", .float(0)), ("max_val", .float(6))] : []
    },
    function("aten.clamp.default") { g, _ in
      let (low, high) = (Double(g.random.float(-1.5...0)), Double(g.random.float(0.2...2)))
      return switch g.random.int(0...2) {
      case 0: [("min", .float(low)), ("max", .float(high))]
      case 1: [("min", .float(low))]
      default: [("min", .attribute(.none)), ("max", .float(high))]
      }
    },
    function("aten.clamp_min.default") { g, _ in [("min", .float(Double(g.random.float(-1...0.5))))] },
    function("aten.sigmoid.default", weight: 2),
    function("aten.tanh.default", weight: 2),
    function("aten.hardswish.default"),
    function("aten.hardsigmoid.default"),
    function("aten.silu.default"),
    function("aten.gelu.default") { g, _ in g.random.chance(0.4) ? [("approximate", .string("tanh"))] : [] },
    function("aten.elu.default") { g, _ in g.random.chance(0.5) ? [("alpha", .float(0.7))] : [] },
    function("aten.leaky_relu.default") { g, _ in [("negative_slope", .float(0.15))] },
    OperatorDraw("aten.prelu.default") { g in
      let x = try g.value { $0.rank($1) >= 1 }
      let channels = g.rank(x) >= 2 && g.random.chance(0.7) ? g.shape(x)[1] : 1
      return try g.call(
        "aten.prelu.default", [("self", .value(x)), ("weight", .value(g.constant([channels], 0.05...0.5)))])
    },
    function("aten.erf.default", limit: 4),
    function("aten.exp.default", limit: 2),
    OperatorDraw("aten.log.default") { g in
      try g.call("aten.log.default", [("self", .value(g.positive()))])
    },
    function("aten.sin.default", limit: 4),
    function("aten.cos.default", limit: 4),
    function("aten.floor.default"),
    function("aten.ceil.default"),
    function("aten.round.default"),
    function("aten.neg.default"),
    function("aten.abs.default"),
    OperatorDraw("aten.sqrt.default") { g in
      try g.call("aten.sqrt.default", [("self", .value(g.positive(0.1)))])
    },
    OperatorDraw("aten.rsqrt.default") { g in
      try g.call("aten.rsqrt.default", [("self", .value(g.positive()))])
    },
    function("aten.square.default", limit: 4),
    OperatorDraw("aten.pow.Tensor_Scalar") { g in
      if g.random.chance(0.3) {
        return try g.call("aten.pow.Tensor_Scalar", [("self", .value(g.positive())), ("exponent", .float(1.5))])
      }
      let x = try g.bounded(g.value(), by: 3)
      return try g.call("aten.pow.Tensor_Scalar", [("self", .value(x)), ("exponent", .int(g.random.int(2...3)))])
    },
    OperatorDraw("aten.dropout.default", weight: 2) { g in
      try g.call(
        "aten.dropout.default", [("input", .value(g.value())), ("p", .float(0.3)), ("train", .bool(false))])
    },
    OperatorDraw("aten.to.dtype") { g in
      let shape = g.random.chance(0.5) ? Shape([g.random.int(2...9)]) : [2, g.random.int(2...7)]
      return try g.call(
        "aten.to.dtype",
        [("self", .value(g.addInput(shape, indexBound: 9))), ("dtype", .attribute(.dataType(.float32)))])
    },
  ]

  // MARK: Two operands

  /// A number, a constant that is broadcast, another value, the value itself.
  private static func binary(
    _ name: String, weight: Int = 1, scalars: Bool = true, hasAlpha: Bool = false
  ) -> OperatorDraw {
    OperatorDraw(name, weight: weight) { g in
      let x = try g.value()
      var arguments: [(String, Argument)] = [("self", .value(x))]
      switch g.random.int(0...9) {
      case 0 where scalars: arguments.append(("other", .float(Double(g.random.float(-2...2)))))
      case 1 where scalars: arguments.append(("other", .int(g.random.int(1...3))))
      case 2, 3: arguments.append(("other", .value(g.constant(g.broadcastable(to: g.shape(x))))))
      case 4 where g.rank(x) >= 2:
        let mean = try g.call(
          "aten.mean.dim", [("self", .value(x)), ("dim", .ints([g.rank(x) - 1])), ("keepdim", .bool(true))])[0]
        arguments.append(("other", .value(mean)))
      case 5 where scalars:
        // The larger operand comes second.
        arguments = [("self", .value(g.constant(g.broadcastable(to: g.shape(x))))), ("other", .value(x))]
      default: arguments.append(("other", .value(try g.partner(of: x))))
      }
      if hasAlpha, g.random.chance(0.1) { arguments.append(("alpha", .float(0.5))) }
      return try g.call(name, arguments)
    }
  }

  static let binaries: [OperatorDraw] = [
    binary("aten.add.Tensor", weight: 6, hasAlpha: true),
    binary("aten.sub.Tensor", weight: 2, hasAlpha: true),
    function("aten.rsub.Scalar", weight: 2) { g, _ in [("other", .float(Double(g.random.float(-2...2))))] },
    binary("aten.mul.Tensor", weight: 4),
    OperatorDraw("aten.div.Tensor") { g in
      let divisor = try g.positive(1)
      let x = try g.value { $0.shape($1) == $0.shape(divisor) }
      return try g.call("aten.div.Tensor", [("self", .value(x)), ("other", .value(divisor))])
    },
    binary("aten.minimum.default", scalars: false),
    binary("aten.maximum.default", scalars: false),
  ]

  // MARK: Layers

  /// What often stands behind a layer.
  private static func finish(_ x: ValueID, _ g: inout ModelGenerator) throws -> [ValueID] {
    var x = x
    if g.random.chance(0.2), g.rank(x) >= 2 { x = try batchNorm(x, &g) }
    guard g.random.chance(0.4) else { return [x] }
    switch g.random.int(0...3) {
    case 0:
      return try g.call(
        "aten.hardtanh.default", [("self", .value(x)), ("min_val", .float(0)), ("max_val", .float(6))])
    case 1: return try g.call("aten.relu6.default", [("self", .value(x))])
    default: return try g.call("aten.relu.default", [("self", .value(x))])
    }
  }

  private static func bias(_ count: Int, _ g: inout ModelGenerator) -> [(String, Argument)] {
    g.random.chance(0.2) ? [] : [("bias", .value(g.constant([count], -0.5...0.5)))]
  }

  private static func convolution(_ name: String, spatial: Int, isByName: Bool = false, weight: Int) -> OperatorDraw {
    OperatorDraw(name, weight: weight) { g in
      let hasBatch = g.random.chance(0.9)
      let x = try g.value(rank: spatial + (hasBatch ? 2 : 1))
      let channels = g.shape(x)[hasBatch ? 1 : 0]
      let groups = g.random.pick([1, 1, 1, channels, channels % 2 == 0 ? 2 : 1])
      let outputs = groups * g.random.int(1...(groups > 1 ? 2 : 9))
      let kernel = (0..<spatial).map { _ in g.random.pick([1, 2, 3, 3]) }
      let depth = kernel.reduce(channels / groups, *)
      let w = try g.weight(Shape([outputs, channels / groups] + kernel), depth: depth)
      var arguments: [(String, Argument)] = [("input", .value(x)), ("weight", .value(w))]
      arguments += bias(outputs, &g)
      if isByName {
        arguments.append(("padding", .string(g.random.pick(["same", "valid"]))))
      } else {
        arguments.append(("stride", .ints((0..<spatial).map { _ in g.random.pick([1, 1, 2]) })))
        arguments.append(("padding", .ints(kernel.map { g.random.int(0...$0 / 2) })))
      }
      if g.random.chance(0.15) { arguments.append(("dilation", .ints((0..<spatial).map { _ in g.random.int(1...2) }))) }
      arguments.append(("groups", .int(groups)))
      return try finish(g.call(name, arguments)[0], &g)
    }
  }

  private static func transposed(_ name: String, spatial: Int) -> OperatorDraw {
    OperatorDraw(name, weight: 1) { g in
      let x = try g.value(rank: spatial + 2)
      let channels = g.shape(x)[1]
      let groups = g.random.chance(0.15) ? channels : 1
      let outputs = g.random.int(1...5)
      let kernel = (0..<spatial).map { _ in g.random.int(1...3) }
      let w = try g.weight(Shape([channels, outputs] + kernel), depth: channels / groups * kernel.reduce(1, *))
      var arguments: [(String, Argument)] = [("input", .value(x)), ("weight", .value(w))]
      arguments += bias(outputs * groups, &g)
      let stride = (0..<spatial).map { _ in g.random.int(1...2) }
      arguments.append(("stride", .ints(stride)))
      arguments.append(("padding", .ints(kernel.map { g.random.int(0...$0 / 2) })))
      if g.random.chance(0.2) { arguments.append(("output_padding", .ints(stride.map { $0 - 1 }))) }
      arguments.append(("groups", .int(groups)))
      return try finish(g.call(name, arguments)[0], &g)
    }
  }

  static let layers: [OperatorDraw] = [
    convolution("aten.conv2d.default", spatial: 2, weight: 8),
    convolution("aten.conv2d.padding", spatial: 2, isByName: true, weight: 1),
    convolution("aten.conv1d.default", spatial: 1, weight: 2),
    convolution("aten.conv1d.padding", spatial: 1, isByName: true, weight: 1),
    transposed("aten.conv_transpose1d.default", spatial: 1),
    transposed("aten.conv_transpose2d.input", spatial: 2),
    OperatorDraw("aten.linear.default", weight: 8) { g in
      let x = try g.value { $0.rank($1) >= 1 }
      let depth = g.shape(x).dimensions.last!
      let outputs = g.random.int(1...13)
      let w = try g.weight([outputs, depth], depth: depth)
      return try finish(
        g.call("aten.linear.default", [("input", .value(x)), ("weight", .value(w))] + bias(outputs, &g))[0], &g)
    },
    OperatorDraw("aten.embedding.default") { g in
      let (count, width) = (g.random.int(3...12), g.random.int(1...9))
      let indices = g.addInput(g.random.chance(0.5) ? [g.random.int(1...7)] : [2, 3], indexBound: count)
      let table = g.constant([count, width])
      return try g.call("aten.embedding.default", [("weight", .value(table)), ("indices", .value(indices))])
    },
  ]

  // MARK: Products

  static let products: [OperatorDraw] = [
    OperatorDraw("aten.matmul.default", weight: 3) { g in
      let x = try g.value { $0.rank($1) >= 2 }
      let sizes = g.shape(x).dimensions
      let depth = sizes.last!
      let other: ValueID
      switch g.random.int(0...3) {
      case 0: other = try g.weight([depth, g.random.int(1...9)], depth: depth)
      case 1: other = g.constant(Shape(sizes.dropLast(2) + [depth, g.random.int(1...5)]))
      case 2:
        let y = try g.value { $0.rank($1) == sizes.count && $0.shape($1).dimensions.dropLast(2) == sizes.dropLast(2) }
        guard g.shape(y)[sizes.count - 2] == depth else { throw Unsuitable() }
        other = y
      default:
        let y = try g.partner(of: x)
        other = try g.call(
          "aten.transpose.int", [("self", .value(y)), ("dim0", .int(-2)), ("dim1", .int(-1))])[0]
      }
      let product = try g.call("aten.matmul.default", [("self", .value(x)), ("other", .value(other))])[0]
      return [try g.bounded(product, by: 4)]
    },
    OperatorDraw("aten.bmm.default") { g in
      let x = try g.value(rank: 3)
      let y = try g.call(
        "aten.permute.default", [("self", .value(try g.partner(of: x))), ("dims", .ints([0, 2, 1]))])[0]
      return [try g.bounded(g.call("aten.bmm.default", [("self", .value(x)), ("mat2", .value(y))])[0], by: 4)]
    },
    OperatorDraw("aten.mm.default") { g in
      let x = try g.value(rank: 2)
      let depth = g.shape(x)[1]
      let y: ValueID
      if g.random.chance(0.5) {
        y = g.constant([depth, g.random.int(1...9)])
      } else {
        y = try g.call("aten.t.default", [("self", .value(g.partner(of: x)))])[0]
      }
      return try g.call("aten.mm.default", [("self", .value(x)), ("mat2", .value(y))])
    },
    OperatorDraw("aten.addmm.default") { g in
      let x = try g.value(rank: 2)
      let (depth, outputs) = (g.shape(x)[1], g.random.int(1...7))
      let (b, w) = (g.constant([outputs]), try g.weight([depth, outputs], depth: depth))
      return try g.call("aten.addmm.default", [("self", .value(b)), ("mat1", .value(x)), ("mat2", .value(w))])
    },
    OperatorDraw("aten.scaled_dot_product_attention.default") { g in
      let x = try g.value(rank: g.random.int(3...4))
      let (rows, depth) = (g.shape(x).dimensions[g.rank(x) - 2], g.shape(x).dimensions.last!)
      let heads = try ["query", "key", "value"].map { name in
        let w = try g.weight([depth, depth], depth: depth)
        return (
          name,
          Argument.value(try g.call("aten.linear.default", [("input", .value(x)), ("weight", .value(w))])[0])
        )
      }
      var more: [(String, Argument)] = []
      switch g.random.int(0...2) {
      case 0: more = [("attn_mask", .value(g.constant([rows, rows])))]
      case 1: more = [("attn_mask", .attribute(.none)), ("dropout_p", .float(0)), ("is_causal", .bool(true))]
      default: break
      }
      return try g.call("aten.scaled_dot_product_attention.default", heads + more)
    },
  ]

  // MARK: Normalization

  private static func batchNorm(_ x: ValueID, _ g: inout ModelGenerator) throws -> ValueID {
    let channels = Shape([g.shape(x)[1]])
    let constants: [(String, Argument)] = [
      ("weight", .value(g.constant(channels, 0.5...1.5))), ("bias", .value(g.constant(channels, -0.3...0.3))),
      ("running_mean", .value(g.constant(channels, -0.3...0.3))),
      ("running_var", .value(g.constant(channels, 0.4...2))),
    ]
    return try g.call(
      "aten.batch_norm.default",
      [("input", .value(x))] + constants
        + [
          ("training", .bool(false)), ("momentum", .float(0.1)), ("eps", .float(1e-5)), ("cudnn_enabled", .bool(true)),
        ])[0]
  }

  static let normalizations: [OperatorDraw] = [
    OperatorDraw("aten.batch_norm.default", weight: 2) { g in
      [try batchNorm(g.value { $0.rank($1) >= 2 }, &g)]
    },
    OperatorDraw("aten.layer_norm.default", weight: 2) { g in
      let x = try g.value { $0.rank($1) >= 1 && $0.shape($1).dimensions.last! > 2 }
      let sizes = Array(g.shape(x).dimensions.suffix(g.random.int(1...min(2, g.rank(x)))))
      var arguments: [(String, Argument)] = [("input", .value(x)), ("normalized_shape", .ints(sizes))]
      if g.random.chance(0.8) {
        arguments.append(("weight", .value(g.constant(Shape(sizes), 0.5...1.5))))
        arguments.append(("bias", .value(g.constant(Shape(sizes)))))
      }
      return try g.call("aten.layer_norm.default", arguments)
    },
    OperatorDraw("aten.group_norm.default") { g in
      let x = try g.value(rank: g.random.int(3...4))
      let channels = g.shape(x)[1]
      guard g.shape(x).elementCount / g.shape(x)[0] > 4 else { throw Unsuitable() }
      let groups = channels % 2 == 0 && channels > 2 ? 2 : 1
      return try g.call(
        "aten.group_norm.default",
        [
          ("input", .value(x)), ("num_groups", .int(groups)), ("weight", .value(g.constant([channels], 0.5...1.5))),
          ("bias", .value(g.constant([channels]))),
        ])
    },
    function("aten.softmax.int", weight: 2) { g, x in
      [("dim", .int(g.random.chance(0.7) ? -1 : g.random.int(0...max(0, g.rank(x) - 1))))]
    },
    function("aten.log_softmax.int") { _, _ in [("dim", .int(-1))] },
  ]
}

extension ModelGenerator {
  /// Some sizes 1, and some leading ones gone.
  mutating func broadcastable(to shape: Shape) -> Shape {
    let sizes = shape.dimensions.map { random.chance(0.5) ? 1 : $0 }
    return Shape(Array(sizes.dropFirst(random.chance(0.5) ? 0 : random.int(0...sizes.count))))
  }
}
