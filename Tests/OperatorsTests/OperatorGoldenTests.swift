import TensorCore
import TestSupport
import Testing

@testable import Operators

/// The portable operators against PyTorch.
@Suite struct OperatorGoldenTests {
  @Test(arguments: OperatorSet.atenOperators.map(\.name) + OperatorSet.quantizedDecomposedOperators.map(\.name))
  func agreesWithPyTorch(operatorName: String) throws {
    let cases = try OperatorGolden.cases.get().filter { $0.operatorName == operatorName }
    #expect(!cases.isEmpty, "no golden case; add one to Tests/Golden/operators/generate.py")
    for opCase in cases {
      let (op, call) = try opCase.call()
      let output = try op.execute(call, inputs: opCase.inputs)
      #expect(output.count == opCase.expected.count)
      for (actual, expected) in zip(output, opCase.expected) { expect(actual, expected, opCase, "computed") }
      // Weights known ahead of time are packed in another place, which must not show.
      let (_, constantCall) = try opCase.call(firstConstant: 1)
      let packed = try op.execute(constantCall, inputs: opCase.inputs)
      #expect(bytes(packed[0]) == bytes(output[0]), "constants change the result of \(opCase)")
      if op.has(.inPlace) { expect(try runInPlace(op, call, opCase), opCase.expected[0], opCase, "in place") }
    }
  }

  @Test func everyCaseHasAnOperator() throws {
    for opCase in try OperatorGolden.cases.get() { #expect(OperatorSet.standard[opCase.operatorName] != nil) }
  }

  @Test func argumentOrderOfTensorsIsFree() throws {
    let (a, b) = (Tensor([1, 2, 3] as [Float], shape: [3]), Tensor([10] as [Float], shape: []))
    let op = try #require(OperatorSet.standard["aten.sub.Tensor"])
    let call = OperatorCall(
      op: op, node: "sub", arguments: ["self": .tensor(1), "other": .tensor(0)], inputs: [b.spec, a.spec],
      constants: [nil, nil])
    let result = try op.execute(call, inputs: [b, a])
    #expect(result[0].elements(as: Float.self) == [-9, -8, -7])
  }

  // MARK: Comparison

  /// Runs with the first output at the address of the first input.
  private func runInPlace(_ op: Operator, _ call: OperatorCall, _ opCase: OpCase) throws -> Tensor {
    let output = try op.infer(call)[0]
    #expect(output.byteCount == opCase.inputs[0].spec.byteCount)
    let full = OperatorCall(
      op: call.op, node: call.node, arguments: call.arguments, inputs: call.inputs, constants: call.constants,
      outputs: [output])
    let shared = Tensor(unsafeUninitialized: output) { target in
      opCase.inputs[0].withUnsafeBytes { target.copyMemory(from: $0) }
    }
    var inputs = opCase.inputs.map { $0.aligned() }
    inputs[0] = shared.reinterpreted(as: opCase.inputs[0].spec)
    try op.prepare(full).run(inputs: inputs, outputs: [shared])
    return shared
  }

  private func bytes(_ tensor: Tensor) -> [UInt8] { tensor.withUnsafeBytes { Array($0) } }

  private func expect(_ actual: Tensor, _ expected: Tensor, _ opCase: OpCase, _ how: String) {
    guard actual.spec == expected.spec else {
      Issue.record("\(opCase) \(how): \(actual.spec) instead of \(expected.spec)")
      return
    }
    guard expected.dataType == .float32 else {
      #expect(bytes(actual) == bytes(expected), "\(opCase) \(how)")
      return
    }
    for (index, (x, y)) in zip(actual.elements(as: Float.self), expected.aligned().elements(as: Float.self))
      .enumerated()
    {
      let tolerance = opCase.absoluteTolerance + opCase.relativeTolerance * Double(y.magnitude)
      let isClose = x == y || (x.isNaN && y.isNaN) || Double((x - y).magnitude) <= tolerance
      #expect(isClose, "\(opCase) \(how): element \(index) is \(x), PyTorch's \(y)")
      if !isClose { return }
    }
  }
}
