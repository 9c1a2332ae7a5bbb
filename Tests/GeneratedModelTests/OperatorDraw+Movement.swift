import Swiftlet
import TensorCore

// What moves elements, cuts them, makes them, or goes over several dimensions.

extension OperatorDraw {
  // MARK: Pooling

  private static func pool(_ name: String, spatial: Int, more: Bool) -> OperatorDraw {
    OperatorDraw(name) { g in
      let x = try g.value(rank: spatial + (g.random.chance(0.9) ? 2 : 1))
      let kernel = (0..<spatial).map { _ in g.random.int(1...3) }
      var arguments: [(String, Argument)] = [("self", .value(x)), ("kernel_size", .ints(kernel))]
      if g.random.chance(0.6) {
        arguments.append(("stride", .ints((0..<spatial).map { _ in g.random.int(1...2) })))
        arguments.append(("padding", .ints(kernel.map { g.random.int(0...$0 / 2) })))
        if more, g.random.chance(0.2) {
          arguments.append(("dilation", .ints((0..<spatial).map { _ in g.random.int(1...2) })))
        }
        if g.random.chance(0.3) { arguments.append(("ceil_mode", .bool(true))) }
        if !more, g.random.chance(0.3) { arguments.append(("count_include_pad", .bool(false))) }
      }
      return try g.call(name, arguments)
    }
  }

  private static func adaptive(_ name: String, spatial: Int) -> OperatorDraw {
    OperatorDraw(name) { g in
      let x = try g.value(rank: spatial + 2)
      let sizes = g.shape(x).dimensions.suffix(spatial).map { g.random.chance(0.6) ? 1 : g.random.int(1...$0) }
      return try g.call(name, [("self", .value(x)), ("output_size", .ints(sizes))])
    }
  }

  private static func reduction(_ name: String, weight: Int) -> OperatorDraw {
    OperatorDraw(name, weight: weight) { g in
      let x = try g.value { $0.rank($1) >= 1 }
      let dims =
        g.rank(x) == 4 && g.random.chance(0.5)
        ? [2, 3] : Set((0..<g.random.int(1...2)).map { _ in g.random.int(0...g.rank(x) - 1) }).sorted()
      return try g.call(
        name,
        [
          ("self", .value(x)), ("dim", .ints(dims.map { g.random.chance(0.3) ? $0 - g.rank(x) : $0 })),
          ("keepdim", .bool(g.random.chance(0.5))),
        ])
    }
  }

  static let pools: [OperatorDraw] = [
    pool("aten.max_pool1d.default", spatial: 1, more: true),
    pool("aten.max_pool2d.default", spatial: 2, more: true),
    pool("aten.avg_pool1d.default", spatial: 1, more: false),
    pool("aten.avg_pool2d.default", spatial: 2, more: false),
    adaptive("aten.adaptive_avg_pool1d.default", spatial: 1),
    adaptive("aten.adaptive_avg_pool2d.default", spatial: 2),
    reduction("aten.mean.dim", weight: 2),
    OperatorDraw("aten.upsample_nearest2d.vec") { g in
      let x = try g.value(rank: 4)
      return try g.call(
        "aten.upsample_nearest2d.vec",
        [("input", .value(x)), ("output_size", .attribute(.none)), ("scale_factors", .attribute(.floats([2, 2])))])
    },
    OperatorDraw("aten.upsample_bilinear2d.vec") { g in
      let x = try g.value(rank: 4)
      let size = g.shape(x).dimensions.suffix(2).map { $0 + g.random.int(0...4) }
      return try g.call(
        "aten.upsample_bilinear2d.vec",
        [
          ("input", .value(x)), ("output_size", .ints(size)), ("align_corners", .bool(g.random.chance(0.5))),
          ("scale_factors", .attribute(.none)),
        ])
    },
  ]

  // MARK: Movement

  /// A tensor in another shape of as many elements.
  private static func otherShape(_ shape: Shape, _ g: inout ModelGenerator) -> [Int] {
    var sizes = shape.dimensions
    let count = shape.elementCount
    switch g.random.int(0...3) {
    case 0: return [shape.dimensions.first ?? 1, count / (shape.dimensions.first ?? 1)]
    case 1: return [count]
    case 2 where sizes.count >= 2:
      sizes.swapAt(0, sizes.count - 1)
      return sizes
    default:
      let inner = (2...4).first { count % $0 == 0 } ?? 1
      return g.random.chance(0.3) ? [1, -1, inner] : [count / inner, inner]
    }
  }

  static let movements: [OperatorDraw] = [
    OperatorDraw("aten.view.default", weight: 2) { g in
      let x = try g.rowMajor(g.value())
      return try g.call("aten.view.default", [("self", .value(x)), ("size", .ints(otherShape(g.shape(x), &g)))])
    },
    OperatorDraw("aten.reshape.default", weight: 2) { g in
      let x = try g.value()
      return try g.call("aten.reshape.default", [("self", .value(x)), ("shape", .ints(otherShape(g.shape(x), &g)))])
    },
    OperatorDraw("aten.view_as.default") { g in
      let y = try g.value()
      let x = try g.rowMajor(g.value { $0.shape($1).elementCount == $0.shape(y).elementCount })
      return try g.call("aten.view_as.default", [("self", .value(x)), ("other", .value(y))])
    },
    OperatorDraw("aten.reshape_as.default") { g in
      let y = try g.value()
      let x = try g.value { $0.shape($1).elementCount == $0.shape(y).elementCount }
      return try g.call("aten.reshape_as.default", [("self", .value(x)), ("other", .value(y))])
    },
    OperatorDraw("aten.flatten.using_ints", weight: 2) { g in
      let x = try g.value { $0.rank($1) >= 2 }
      let first = g.random.chance(0.6) ? 1 : g.random.int(0...g.rank(x) - 1)
      return try g.call("aten.flatten.using_ints", [("self", .value(x)), ("start_dim", .int(first))])
    },
    OperatorDraw("aten.squeeze.dim") { g in
      let x = try g.value { $0.rank($1) >= 1 }
      let dim = g.shape(x).dimensions.firstIndex(of: 1) ?? g.random.int(0...g.rank(x) - 1)
      return try g.call("aten.squeeze.dim", [("self", .value(x)), ("dim", .int(dim))])
    },
    OperatorDraw("aten.unsqueeze.default") { g in
      let x = try g.value()
      return try g.call("aten.unsqueeze.default", [("self", .value(x)), ("dim", .int(g.random.int(0...g.rank(x))))])
    },
    OperatorDraw("aten.unflatten.int") { g in
      let x = try g.rowMajor(g.value { g, id in g.shape(id).dimensions.contains { $0 % 2 == 0 } })
      let dim = g.shape(x).dimensions.firstIndex { $0 % 2 == 0 } ?? 0
      return try g.call(
        "aten.unflatten.int",
        [("self", .value(x)), ("dim", .int(dim)), ("sizes", .ints([2, g.shape(x)[dim] / 2]))])
    },
    OperatorDraw("aten.permute.default", weight: 2) { g in
      let x = try g.value { $0.rank($1) >= 2 }
      var dims = Array(0..<g.rank(x))
      if g.rank(x) == 4, g.random.chance(0.5) {
        dims = g.random.pick([[0, 2, 3, 1], [0, 3, 1, 2]])
      } else {
        for i in dims.indices.dropFirst() { dims.swapAt(i, g.random.int(0...i)) }
      }
      return try g.call("aten.permute.default", [("self", .value(x)), ("dims", .ints(dims))])
    },
    OperatorDraw("aten.transpose.int") { g in
      let x = try g.value { $0.rank($1) >= 2 }
      let (a, b) = (g.random.int(0...g.rank(x) - 1), g.random.int(0...g.rank(x) - 1))
      return try g.call("aten.transpose.int", [("self", .value(x)), ("dim0", .int(a)), ("dim1", .int(b - g.rank(x)))])
    },
    OperatorDraw("aten.t.default") { g in try g.call("aten.t.default", [("self", .value(g.value(rank: 2)))]) },
    OperatorDraw("aten.expand.default") { g in
      let x = try g.value()
      var sizes = g.shape(x).dimensions.map { $0 == 1 ? g.random.int(1...4) : g.random.pick([$0, -1]) }
      if g.random.chance(0.3), sizes.count < 5 { sizes.insert(g.random.int(1...3), at: 0) }
      return try g.call("aten.expand.default", [("self", .value(x)), ("size", .ints(sizes))])
    },
    OperatorDraw("aten.expand_as.default") { g in
      let y = try g.value { $0.rank($1) >= 1 }
      let x =
        g.random.chance(0.4)
        ? g.constant(g.broadcastable(to: g.shape(y)))
        : try g.call(
          "aten.mean.dim", [("self", .value(y)), ("dim", .ints([g.rank(y) - 1])), ("keepdim", .bool(true))])[0]
      return try g.call("aten.expand_as.default", [("self", .value(x)), ("other", .value(y))])
    },
    function("aten.roll.default") { g, x in
      g.rank(x) == 0 || g.random.chance(0.2)
        ? [("shifts", .ints([2]))]
        : [("shifts", .ints([g.random.int(-2...3)])), ("dims", .ints([g.random.int(0...g.rank(x) - 1)]))]
    },
    function("aten.contiguous.default"),
    function("aten.clone.default"),
    function("aten.alias.default"),
    OperatorDraw("aten.pad.default") { g in
      let x = try g.value { $0.rank($1) >= 1 }
      var arguments: [(String, Argument)] = [("self", .value(x)), ("pad", .ints(pads(g.rank(x), &g)))]
      if g.random.chance(0.3) { arguments += [("mode", .string("constant")), ("value", .float(0.5))] }
      return try g.call("aten.pad.default", arguments)
    },
    OperatorDraw("aten.constant_pad_nd.default") { g in
      let x = try g.value { $0.rank($1) >= 1 }
      return try g.call(
        "aten.constant_pad_nd.default",
        [("self", .value(x)), ("pad", .ints(pads(g.rank(x), &g))), ("value", .float(g.random.chance(0.7) ? 0 : -0.25))])
    },
  ]

  private static func pads(_ rank: Int, _ g: inout ModelGenerator) -> [Int] {
    (0..<2 * g.random.int(1...min(3, rank))).map { _ in g.random.pick([0, 1, 1, 2, -1]) }
  }

  // MARK: Cuts and joins

  static let cuts: [OperatorDraw] = [
    OperatorDraw("aten.cat.default", weight: 3) { g in
      let x = try g.value { $0.rank($1) >= 1 }
      let dim = g.rank(x) > 1 && g.random.chance(0.6) ? 1 : g.random.int(0...g.rank(x) - 1)
      var parts = [x]
      for _ in 0..<g.random.int(1...2) {
        let others = g.pool.filter { id in
          g.rank(id) == g.rank(x)
            && g.shape(id).dimensions.indices.allSatisfy { $0 == dim || g.shape(id)[$0] == g.shape(x)[$0] }
        }
        parts.append(others.count > 1 && g.random.chance(0.6) ? g.random.pick(others) : try g.partner(of: x))
      }
      if g.random.chance(0.1) { parts.append(g.constant(g.shape(x))) }
      return try g.call(
        "aten.cat.default", [("tensors", .values(parts)), ("dim", .int(g.random.chance(0.2) ? dim - g.rank(x) : dim))])
    },
    OperatorDraw("aten.stack.default") { g in
      let x = try g.value()
      let parts = [x, try g.partner(of: x)]
      return try g.call(
        "aten.stack.default", [("tensors", .values(parts)), ("dim", .int(g.random.int(0...g.rank(x))))])
    },
    OperatorDraw("aten.slice.Tensor", weight: 2) { g in
      let x = try g.value { $0.rank($1) >= 1 }
      let dim = g.random.int(0...g.rank(x) - 1)
      let size = g.shape(x)[dim]
      let start = g.random.int(0...size - 1)
      let end = g.random.pick([size, g.random.int(start + 1...size), 9_223_372_036_854_775_807, -1])
      return try g.call(
        "aten.slice.Tensor",
        [
          ("self", .value(x)), ("dim", .int(dim)), ("start", .int(start)), ("end", .int(end)),
          ("step", .int(g.random.pick([1, 1, 2, 3]))),
        ])
    },
    OperatorDraw("aten.select.int") { g in
      let x = try g.value { $0.rank($1) >= 2 }
      let dim = g.random.int(0...g.rank(x) - 1)
      let size = g.shape(x)[dim]
      return try g.call(
        "aten.select.int", [("self", .value(x)), ("dim", .int(dim)), ("index", .int(g.random.int(-size...size - 1)))])
    },
    OperatorDraw("aten.index.Tensor") { g in
      let x = try g.value { $0.rank($1) >= 1 }
      let rows = g.shape(x)[0]
      let count = g.random.int(1...5)
      let indices =
        g.random.chance(0.6)
        ? g.constant(Tensor((0..<count).map { _ in Int64(g.random.int(-rows...rows - 1)) }, shape: [count]))
        : g.addInput([count], indexBound: rows)
      return try g.call("aten.index.Tensor", [("self", .value(x)), ("indices", .values([indices]))])
    },
    cut("aten.chunk.default") { g, _ in [("chunks", .int(g.random.int(1...3)))] },
    cut("aten.split.Tensor") { g, size in [("split_size", .int(g.random.int(max(1, size / 3)...size)))] },
    cut("aten.split_with_sizes.default") { g, size in
      let first = g.random.int(1...size)
      return [("split_sizes", .ints(first == size ? [size] : [first, size - first]))]
    },
    cut("aten.unbind.int") { _, size in
      guard size <= 4 else { throw Unsuitable() }
      return []
    },
  ]

  private static func cut(
    _ name: String, _ more: @escaping @Sendable (inout ModelGenerator, Int) throws -> [(String, Argument)]
  ) -> OperatorDraw {
    OperatorDraw(name) { g in
      let x = try g.value { $0.rank($1) >= 1 && $0.shape($1).dimensions.contains { $0 > 1 } }
      let dims = g.shape(x).dimensions
      let dim = g.random.pick(dims.indices.filter { dims[$0] > 1 })
      return try g.call(name, [("self", .value(x))] + more(&g, dims[dim]) + [("dim", .int(dim))])
    }
  }

  // MARK: Creation

  /// Made, and added to something.
  private static func creation(_ name: String, _ more: [(String, Argument)] = []) -> OperatorDraw {
    OperatorDraw(name) { g in
      let x = try g.value()
      let made = try g.call(name, [("size", .ints(g.shape(x).dimensions))] + more)[0]
      if g.random.chance(0.3), g.rank(x) > 0 {
        return try g.call("aten.cat.default", [("tensors", .values([x, made])), ("dim", .int(-1))])
      }
      let operation = g.random.pick(["aten.add.Tensor", "aten.mul.Tensor", "aten.maximum.default"])
      return try g.call(operation, [("self", .value(x)), ("other", .value(made))])
    }
  }

  static let creations: [OperatorDraw] = [
    creation("aten.zeros.default"), creation("aten.ones.default"),
    creation("aten.full.default", [("fill_value", .float(0.75))]),
  ]

  // MARK: Recurrent layers

  private static func recurrent(_ name: String, gates: Int) -> OperatorDraw {
    OperatorDraw(name) { g in
      let x = try g.value(rank: 3)
      let (hidden, layers) = (g.random.int(1...5), g.random.int(1...2))
      let (isBatchFirst, isTwoWay) = (g.random.chance(0.5), g.random.chance(0.3))
      let directions = isTwoWay ? 2 : 1
      var weights: [ValueID] = []
      for layer in 0..<layers {
        for _ in 0..<directions {
          let features = layer == 0 ? g.shape(x)[2] : hidden * directions
          for sizes in [[gates * hidden, features], [gates * hidden, hidden], [gates * hidden], [gates * hidden]] {
            weights.append(g.constant(Shape(sizes), -0.6...0.6))
          }
        }
      }
      let batch = g.shape(x)[isBatchFirst ? 0 : 1]
      let size = [layers * directions, batch, hidden]
      let state = try g.call("aten.zeros.default", [("size", .ints(size))])[0]
      let states = gates == 4 ? Argument.values([state, g.constant(Shape(size))]) : .value(state)
      let results = try g.call(
        name,
        [
          ("input", .value(x)), ("hx", states), ("params", .values(weights)), ("has_biases", .bool(true)),
          ("num_layers", .int(layers)), ("dropout", .float(0)), ("train", .bool(false)),
          ("bidirectional", .bool(isTwoWay)), ("batch_first", .bool(isBatchFirst)),
        ])
      return g.random.chance(0.5) ? [results[0]] : results
    }
  }

  static let sequences: [OperatorDraw] = [
    recurrent("aten.lstm.input", gates: 4), recurrent("aten.gru.input", gates: 3),
  ]
}
