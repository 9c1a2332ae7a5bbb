import GraphIR
import Swiftlet
import TestSupport
import Testing

@testable import ExecuTorchFormat

/// Every call of Tests/Golden/operators as a program: written, read again, and run, it gives what it gave; in float, and in
/// int8 what the `.pt2` gives to the byte.
@Suite struct OperatorFileTests {
  private static let names = OperatorSet.standard.operators
    .filter { !$0.has(.fused) && $0 != .toDimOrderCopy && RewriteRow.refused[$0] == nil }.map(\.name)

  /// Parts of the reasons why a file does not hold some calls of an operator.
  private static let refusals: [String: String] = [
    "aten.scaled_dot_product_attention.default": "its mask is computed as bool"
  ]

  /// Operators that others in a file stand for: equal functions of other arithmetic.
  private static let computedOtherwise: Set<Operator> = [.silu, .hardsigmoid, .scaledDotProductAttention]

  @Test(arguments: names)
  func survivesInFloat(_ name: String) throws {
    try forEachCase(name) { opCase, program in
      let inputs = Array(opCase.inputs.prefix(program.userInputs.count))
      let again = try written(program)
      let (actual, expected) = (try Interpreter(again).run(inputs), try Interpreter(program).run(inputs))
      #expect(actual.count == expected.count)
      // What a query gets that sees no key is not defined, where the mask is computed.
      let mayBeNaN = program.graph.nodes[0].op == .scaledDotProductAttention && inputs.count == 4
      for (a, b) in zip(actual, expected) { expectSame(a, b, opCase, mayBeNaN: mayBeNaN) }
    }
  }

  @Test(arguments: names)
  func survivesInInt8(_ name: String) throws {
    try forEachCase(name) { opCase, program in
      let inputs = Array(opCase.inputs.prefix(program.userInputs.count))
      let quantized = try program.quantizedEverywhere(inputs)
      guard quantized.graph.nodes.count > program.graph.nodes.count else { return }
      let quanta = try distance(quantized, inputs)
      #expect(quanta <= (Self.computedOtherwise.contains(program.graph.nodes[0].op) ? 1.001 : 0), "\(opCase)")
    }
  }

  /// Between convolutions, where images are channels last: `1 - x` among them.
  @Test(arguments: OperatorSet.standard.operators.filter { $0.has(.pointwise) || $0 == .prelu }.map(\.name))
  func survivesBetweenConvolutions(_ name: String) throws {
    for opCase in try OperatorGolden.cases.get() where opCase.operatorName == name {
      var random = SeededGenerator(seed: UInt64(opCase.number))
      func tensor(_ shape: Shape) -> Tensor {
        Tensor((0..<shape.elementCount).map { _ in Float.random(in: -1...1, using: &random) }, shape: shape)
      }
      let op = try #require(OperatorSet.standard[name])
      var model = FileModel()
      let first = try model.call(.conv2d, model.input([1, 3, 9, 8]), [("weight", tensor([8, 3, 3, 3]))])
      let gate = try model.call(.sigmoid, first)
      let attributes = op.schema.parameters.compactMap { parameter -> (String, Attribute)? in
        if case .attribute(let value) = opCase.arguments[parameter.name] { (parameter.name, value) } else { nil }
      }
      let value = try model.call(op, gate, op == .prelu ? [("weight", tensor([8]))] : [], attributes)
      model.program.graph.outputs = [try model.call(.conv2d, value, [("weight", tensor([4, 8, 1, 1]))])]
      let quantized = try model.program.quantizedEverywhere([tensor([1, 3, 9, 8])])
      let quanta = try distance(quantized, [tensor([1, 3, 9, 8])])
      #expect(quanta <= (Self.computedOtherwise.contains(op) ? 1.001 : 0), "\(opCase)")
    }
  }

  /// Runs a body on programs of an operator's cases, with all tensors as inputs and with the first alone. Of those that are
  /// refused, the reason is to be expected; some are not.
  private func forEachCase(_ name: String, _ body: (OpCase, ExportedProgram) throws -> Void) throws {
    var writtenCount = 0
    for opCase in try OperatorGolden.cases.get() where opCase.operatorName == name {
      for firstConstant in Set([1, opCase.inputs.count]) {
        do {
          try body(opCase, opCase.program(firstConstant: firstConstant))
          writtenCount += 1
        } catch let error as GraphError {
          let isEmpty = (opCase.inputs + opCase.expected).contains { $0.shape.elementCount == 0 }
          let reason = isEmpty ? "a tensor is empty" : Self.refusals[name] ?? "nothing"
          #expect(error.reason.contains(reason), "\(opCase)")
        }
      }
    }
    #expect(writtenCount > 0)
  }

  private func written(_ program: ExportedProgram) throws -> ExportedProgram {
    let folder = try TemporaryFolder()
    try PTEArchive.write(program, to: folder.path("x.pte"))
    return try PTEArchive.read(folder.path("x.pte"))
  }

  /// How far a program's result from a file is from its own, in quanta.
  private func distance(_ program: ExportedProgram, _ inputs: [Tensor]) throws -> Float {
    var worst: Float = 0
    let results = try [program, written(program)].map {
      try Method(lower($0, partitioner: nil), threads: ThreadPool(threadCount: 1)).run(inputs)
    }
    for (index, id) in program.graph.outputs.enumerated() {
      guard results[0][index].dataType == .float32 else { continue }
      let last = program.graph.nodes.first { $0.outputs == [id] }
      guard case .attribute(.float(let scale))? = last?.operand("scale") else { continue }
      for (a, b) in zip(results[0][index].elements(as: Float.self), results[1][index].elements(as: Float.self)) {
        worst = max(worst, abs(a - b) / Float(scale))
      }
    }
    return worst
  }

  private func expectSame(_ actual: Tensor, _ expected: Tensor, _ opCase: OpCase, mayBeNaN: Bool) {
    #expect(actual.spec == expected.spec, "\(opCase)")
    guard actual.spec == expected.spec, expected.dataType == .float32 else {
      #expect(actual.withUnsafeBytes { Array($0) } == expected.withUnsafeBytes { Array($0) }, "\(opCase)")
      return
    }
    let (a, b) = (actual.elements(as: Float.self), expected.elements(as: Float.self))
    let finite = b.filter(\.isFinite)
    let range = max((finite.max() ?? 0) - (finite.min() ?? 0), finite.map(\.magnitude).max() ?? 0)
    let different = zip(a, b).enumerated().first { _, pair in
      let (x, y) = pair
      return !(x == y || (x.isNaN && (y.isNaN || (mayBeNaN && y == 0))) || abs(x - y) <= 1e-6 * range)
    }
    #expect(different == nil, "\(opCase)")
  }
}
