import GraphIR
import PipelineTesting
import Swiftlet
import TensorCore
import TestSupport
import Testing

/// A function with a range of its own, a dropout behind it, and an operator with another range behind that.
@Suite struct FixedRangeTests {
  static let functions = [
    "aten.sigmoid.default", "aten.hardsigmoid.default", "aten.tanh.default", "aten.erf.default", "aten.softmax.int",
  ]

  private static func function(_ op: String, _ x: ValueID, hasDropout: Bool, in model: inout TestModel) -> ValueID {
    let result = model.unary(op, "f", x, op == "aten.softmax.int" ? ["dim": .attribute(.int(-1))] : [:])
    guard hasDropout else { return result }
    return model.unary(
      "aten.dropout.default", "dropout", result, ["p": .attribute(.float(0.5)), "train": .attribute(.bool(false))])
  }

  /// linear → function → dropout → linear.
  private static func layers(_ op: String, hasDropout: Bool) -> ExportedProgram {
    var model = TestModel()
    let x = model.input("x", [2, 16])
    func linear(_ name: String, _ x: ValueID, _ sizes: (Int, Int), seed: UInt64) -> ValueID {
      let shape = Shape([sizes.0, sizes.1])
      let weight = model.parameter(name + ".weight", Tensor(random(shape, scale: 0.4, seed: seed), shape: shape))
      return model.call(
        "aten.linear.default", name, ["input": .value(x), "weight": .value(weight)], Shape([2, sizes.0]))
    }
    let hidden = linear("first", x, (24, 16), seed: 1)
    let between = function(op, hidden, hasDropout: hasDropout, in: &model)
    model.program.graph.outputs = [linear("second", between, (8, 24), seed: 2)]
    return model.program
  }

  /// function(x · x) → dropout → · x, as attention has it.
  private static func products(_ op: String, hasDropout: Bool) -> ExportedProgram {
    var model = TestModel()
    let x = model.input("x", [2, 6, 6])
    let first = model.call("aten.matmul.default", "first", ["self": .value(x), "other": .value(x)], [2, 6, 6])
    let between = function(op, first, hasDropout: hasDropout, in: &model)
    model.program.graph.outputs = [
      model.call("aten.matmul.default", "second", ["self": .value(between), "other": .value(x)], [2, 6, 6])
    ]
    return model.program
  }

  @Test(arguments: functions, [true, false])
  func aDropoutBehindItChangesNothing(_ op: String, hasLayers: Bool) throws {
    let make = hasLayers ? Self.layers : Self.products
    let data = RandomSamples(shape: hasLayers ? [2, 16] : [2, 6, 6], count: 8)
    let methods = try [true, false].map { hasDropout in
      try Method(
        lower(
          quantize(make(op, hasDropout), data, threads: 1).program, partitioner: XNNPACKPartitioner()),
        threads: ThreadPool(threadCount: 1))
    }
    let float = try Interpreter(make(op, true))
    var (signal, noise) = (0.0, 0.0)
    for index in 0..<data.count {
      let outputs = try methods.map { try $0.run([data.input(index)])[0].elements(as: Float.self) }
      #expect(outputs[0] == outputs[1])
      for (x, y) in zip(try float.run([data.input(index)])[0].elements(as: Float.self), outputs[0]) {
        signal += Double(x * x)
        noise += Double((x - y) * (x - y))
      }
    }
    #expect(signal > noise * 1e3, "less than 30 dB")
  }
}
