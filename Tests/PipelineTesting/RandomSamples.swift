import Swiftlet
import TestSupport

/// Seeded samples, roughly normal with deviation `scale`.
package struct RandomSamples: Dataset {
  package let shape: Shape
  package let count: Int
  private let scale: Float
  private let seed: UInt64
  package var labels: [Int]?

  package init(shape: Shape, count: Int, scale: Float = 1, seed: UInt64 = 1, labels: [Int]? = nil) {
    (self.shape, self.count, self.scale, self.seed, self.labels) = (shape, count, scale, seed, labels)
  }

  package func input(_ index: Int) -> Tensor {
    Tensor(random(shape, scale: scale, seed: seed &* 1000 &+ UInt64(index)), shape: shape)
  }
  package func label(_ index: Int) -> Int? { labels?[index] }
}

/// Sums of three uniform numbers, with deviation `scale`.
package func random(_ shape: Shape, scale: Float, seed: UInt64) -> [Float] {
  var generator = SeededGenerator(seed: seed)
  return (0..<shape.elementCount).map { _ in
    (0..<3).reduce(0) { sum, _ in sum + Float.random(in: -1...1, using: &generator) } * scale
  }
}

extension TestModel {
  /// A convolution with random weights over [1, C, H, W]; padded so that height and width stay.
  package mutating func randomConvolution(
    _ name: String, _ x: ValueID, channels: Int, kernel: Int = 1, isDepthwise: Bool = false, hasBias: Bool = true,
    rowScales: [Float]? = nil
  ) -> ValueID {
    let input = program.graph.spec(x).shape
    let shape = Shape([channels, isDepthwise ? 1 : input[1], kernel, kernel])
    let row = shape.elementCount / channels
    let seed = name.utf8.reduce(UInt64(7)) { $0 &* 31 &+ UInt64($1) }
    var weights = random(shape, scale: 1 / Float(row).squareRoot(), seed: seed)
    for index in weights.indices { weights[index] *= rowScales?[index / row] ?? 1 }
    var arguments: [Node.Argument] = [
      .init("input", .value(x)), .init("weight", .value(parameter(name + ".weight", Tensor(weights, shape: shape)))),
    ]
    if hasBias {
      var bias = random([channels], scale: 0.2, seed: seed &+ 1)
      for index in bias.indices { bias[index] *= rowScales?[index] ?? 1 }
      arguments.append(.init("bias", .value(parameter(name + ".bias", Tensor(bias, shape: [channels])))))
    }
    arguments += [
      .init("stride", .attribute(.ints([1, 1]))), .init("padding", .attribute(.ints([kernel / 2, kernel / 2]))),
      .init("dilation", .attribute(.ints([1, 1]))), .init("groups", .attribute(.int(isDepthwise ? channels : 1))),
    ]
    let node = program.graph.makeNode(
      OperatorSet.standard.resolve("aten.conv2d.default"), name: name, arguments: arguments,
      output: TensorSpec(.float32, [input[0], channels, input[2], input[3]]),
      metadata: ["nn_module_stack": "L__self__,,M;L__self___\(name),net.\(name),X"])
    program.graph.nodes.append(node)
    return node.output
  }

  package mutating func add(_ name: String, _ a: ValueID, _ b: ValueID) -> ValueID {
    call("aten.add.Tensor", name, ["self": .value(a), "other": .value(b)], program.graph.spec(a).shape)
  }

  /// conv 3×3 → relu → conv 3×3 → relu → conv 1×1, with a residual connection over the middle one.
  package static func residual(rowScales: [Float]? = nil) -> ExportedProgram {
    var model = TestModel()
    let x = model.input("x", [1, 3, 8, 8])
    let stem = model.randomConvolution("stem", x, channels: 8, kernel: 3, rowScales: rowScales)
    let first = model.unary("aten.relu.default", "relu", stem)
    let middle = model.randomConvolution("middle", first, channels: 8, kernel: 3, rowScales: rowScales)
    let sum = model.add("sum", first, middle)
    let second = model.unary("aten.relu.default", "relu_1", sum)
    model.program.graph.outputs = [model.randomConvolution("head", second, channels: 4)]
    return model.program
  }
}

extension ExportedProgram {
  /// The same graph under other names, as another exporter might give them.
  package func renamed(_ rename: (String) -> String) -> ExportedProgram {
    var copy = self
    copy.graph = Graph()
    var ids: [ValueID: ValueID] = [:]
    func add(_ id: ValueID) -> ValueID {
      let new = copy.graph.addValue(rename(graph[id].name), graph.spec(id))
      ids[id] = new
      return new
    }
    copy.graph.inputs = graph.inputs.map(add)
    copy.graph.nodes = graph.nodes.map { node in
      var node = node
      node.mapInputs { ids[$0] ?? $0 }
      node.outputs = node.outputs.map(add)
      node.name = rename(node.name)
      return node
    }
    copy.graph.outputs = graph.outputs.map { ids[$0] ?? $0 }
    return copy
  }
}

/// Largest difference of two programs' first outputs over samples, as a fraction of the first's range.
package func largestDifference(_ a: ExportedProgram, _ b: ExportedProgram, on data: some Dataset) throws -> Float {
  let (a, b) = (try Interpreter(a), try Interpreter(b))
  var (difference, low, high) = (Float(0), Float.infinity, -Float.infinity)
  for index in 0..<data.count {
    let x: [Float] = try a.run([data.input(index)])[0].elements()
    let y: [Float] = try b.run([data.input(index)])[0].elements()
    for (x, y) in zip(x, y) {
      difference = max(difference, abs(x - y))
      (low, high) = (min(low, x), max(high, x))
    }
  }
  return difference / (high - low)
}
