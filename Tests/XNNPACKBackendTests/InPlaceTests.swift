import PipelineTesting
import Swiftlet
import Testing

/// XNNPACK's elementwise operators and ours give the same bytes when the output lies where the first input lies, whatever
/// the length leaves over of a vector, and on one thread as on two.
@Suite struct InPlaceTests {
  private static let counts = Array(1...70) + [127, 129, 255, 257, 1023, 70_001, 300_007]

  private func check(_ node: SingleNode) throws {
    let expected = try node.run(node.method(delegate: true))
    for threads in [1, 2] {
      let method = try node.method(delegate: true, threads: threads, inPlace: true)
      #expect(method.operations[0].backend != .portable)
      #expect(try node.run(method) == expected, "\(node.operatorName) \(node.output)")
    }
  }

  @Test(arguments: ["fused.add", "fused.sub", "fused.mul"], [DataType.float32, .int8])
  func binary(_ name: String, _ type: DataType) throws {
    for count in Self.counts {
      var random = Random(count)
      let shape: Shape = [1, count]
      try check(
        SingleNode(
          operatorName: name, arguments: [("self", .tensor(0)), ("other", .tensor(1))],
          inputs: [random.activation(shape, type), random.activation(shape, type)],
          output: random.output(shape, type, scale: 0.03)))
    }
  }

  @Test(arguments: [DataType.float32, .int8])
  func clamp(_ type: DataType) throws {
    for count in Self.counts {
      var random = Random(count)
      let input = random.activation([1, count], type)
      let bounds = type == .int8 ? (-30.0, 47.0) : (-0.5, 1.25)
      try check(
        SingleNode(
          operatorName: "fused.clamp",
          arguments: [
            ("self", .tensor(0)), ("output_min", .attribute(.float(bounds.0))),
            ("output_max", .attribute(.float(bounds.1))),
          ], inputs: [input], output: input.spec))
    }
  }

  @Test func lookUp() throws {
    let table = Tensor((0..<256).map { Int8(truncatingIfNeeded: $0 &* 37 &+ 11) }, shape: [256])
    for count in Self.counts {
      var random = Random(count)
      try check(
        SingleNode(
          operatorName: "fused.lut", arguments: [("self", .tensor(0)), ("table", .tensor(1))],
          inputs: [random.activation([1, count], .int8), table], constantIndices: [1],
          output: random.output([1, count], .int8, scale: 0.03)))
    }
  }
}
