import TensorCore
import TestSupport
import Testing

@testable import Operators

/// What an operator says of itself is what passes build on: each trait is held against the kernel, on PyTorch's cases.
@Suite struct OperatorTraitTests {
  private struct Run {
    let op: Operator
    let call: OperatorCall
    let inputs: [Tensor]
    let outputs: [Tensor]

    func words(_ tensor: Tensor) -> [[UInt8]] {
      let size = tensor.dataType.size
      return tensor.aligned().withUnsafeBytes { bytes in
        (0..<tensor.shape.elementCount).map { Array(bytes[$0 * size..<($0 + 1) * size]) }
      }
    }
  }

  private static func runs(_ condition: (Operator) -> Bool) throws -> [Run] {
    try OperatorGolden.cases.get().compactMap { opCase in
      let (op, call) = try opCase.call()
      guard condition(op) else { return nil }
      return Run(op: op, call: call, inputs: opCase.inputs, outputs: try op.execute(call, inputs: opCase.inputs))
    }
  }

  /// Every operator with the trait has a case, so that no claim goes untested.
  private static func runs(having traits: Operator.Traits) throws -> [Run] {
    let runs = try runs { $0.has(traits) }
    let tested = Set(runs.map(\.op))
    for op in OperatorSet.atenOperators where op.has(traits) { #expect(tested.contains(op), "\(op)") }
    return runs
  }

  /// The elements reversed, so is the result, element by element.
  @Test func pointwise() throws {
    for run in try Self.runs(having: .pointwise)
    where run.inputs[0].dataType == .float32 && run.inputs[0].shape.elementCount > 0 {
      let shape = Shape([run.inputs[0].shape.elementCount])
      let elements: [Float] = run.inputs[0].aligned().elements()
      let call = OperatorCall(
        op: run.op, node: "n", arguments: run.call.arguments, inputs: [TensorSpec(.float32, shape)], constants: [nil])
      let reversed = try run.op.execute(call, inputs: [Tensor(elements.reversed(), shape: shape)])[0]
      #expect(run.words(reversed).reversed() == run.words(run.outputs[0]), "\(run.op)")
      #expect(run.call.inputs.count == 1, "\(run.op) reads more than one tensor")
    }
  }

  @Test func clamps() throws {
    for run in try Self.runs(having: .clamps) where run.inputs[0].dataType == .float32 {
      let (low, high) = try #require(try run.op.bounds?(run.call))
      let inputs: [Float] = run.inputs[0].aligned().elements()
      for (x, y) in zip(inputs, run.outputs[0].elements(as: Float.self)) where !x.isNaN {
        #expect(y == min(max(x, Float(low)), Float(high)), "\(run.op) of \(x)")
      }
    }
    for op in OperatorSet.standard.operators { #expect((op.bounds != nil) == op.has(.clamps), "\(op)") }
  }

  @Test(arguments: [Operator.Traits.movesElements, .choosesElements])
  func resultsAreElements(_ traits: Operator.Traits) throws {
    for run in try Self.runs(having: traits) {
      var known = Set(run.inputs.filter { $0.dataType == run.outputs[0].dataType }.flatMap(run.words))
      // What padding adds.
      if run.call.schema.parameter(named: "value") != nil {
        let value = try run.call.optionalFloat("value") ?? 0
        known.formUnion(run.words(Tensor([Float(value)], shape: [1])))
        if let integer = Int64(exactly: value) {
          known.formUnion(run.words(Tensor([Int8(clamping: integer)], shape: [1])))
          known.formUnion(run.words(Tensor([integer], shape: [1])))
        }
      }
      // What a maximum of no element is.
      if traits == .choosesElements { known.formUnion(run.words(Tensor([-Float.infinity], shape: [1]))) }
      for output in run.outputs { #expect(Set(run.words(output)).isSubset(of: known), "\(run.op)") }
    }
  }

  @Test(arguments: [Operator.Traits.reshapes, .passesThrough]) func resultIsTheInput(_ traits: Operator.Traits) throws {
    for run in try Self.runs(having: traits) {
      #expect(run.words(run.outputs[0]) == run.words(run.inputs[0]), "\(run.op)")
      #expect(!traits.contains(.passesThrough) || run.outputs[0].shape == run.inputs[0].shape, "\(run.op)")
    }
  }

  @Test func createsConstant() throws {
    for run in try Self.runs(having: .createsConstant) { #expect(run.inputs.isEmpty, "\(run.op)") }
  }

  /// Results lie in the range of the input, so that its parameters do for them.
  @Test func sharesQuantization() throws {
    for run in try Self.runs(having: .sharesQuantization) where run.inputs[0].dataType == .float32 {
      let inputs = run.inputs[0].aligned().elements(as: Float.self).filter { !$0.isNaN } + [0]
      guard let low = inputs.min(), let high = inputs.max() else { continue }
      for output in run.outputs {
        // A maximum of nothing is less than all.
        let isEmpty = run.op.has(.choosesElements) ? -Float.infinity : .nan
        for y in output.elements(as: Float.self) where !y.isNaN && y != isEmpty && !run.op.has(.clamps) {
          #expect(y >= low - 1e-6 * abs(low) && y <= high + 1e-6 * abs(high), "\(run.op): \(y)")
        }
      }
    }
  }

  @Test func resultRange() throws {
    for run in try Self.runs({ $0.resultRange != nil }) {
      let range = try #require(run.op.resultRange)
      for y in run.outputs[0].elements(as: Float.self) where !y.isNaN { #expect(range.contains(y), "\(run.op): \(y)") }
    }
  }

  /// Each channel of the first input times a power of two, exactly: so is the result's.
  @Test func scalesWithChannels() throws {
    for run in try Self.runs(having: .scalesWithChannels)
    where run.inputs[0].shape.rank == 4 && run.inputs[0].dataType == .float32 {
      let shape = run.inputs[0].shape
      func scaled(_ tensor: Tensor) -> [Float] {
        let plane = tensor.shape[2] * tensor.shape[3]
        return tensor.aligned().elements(as: Float.self).enumerated().map { index, x in
          x * (index / plane % shape[1] % 2 == 0 ? 4 : 0.5)
        }
      }
      let result = try run.op.execute(run.call, inputs: [Tensor(scaled(run.inputs[0]), shape: shape)])[0]
      for (x, y) in zip(scaled(run.outputs[0]), result.elements(as: Float.self)) where !x.isNaN {
        #expect(x == y, "\(run.op)")
      }
    }
  }

  /// Views and what may be the input itself: in-place operators are refused where these are read later.
  @Test func operatorsThatMoveOneTensorMayAliasIt() {
    let copies: Set<Operator> = [.clone, .cat, .stack, .index, .roll, .pad, .constantPadNd]
    for op in OperatorSet.atenOperators where op.has(.movesElements) {
      #expect(op.has(.mayAlias) != copies.contains(op), "\(op)")
    }
  }

  @Test func stagesAreToldApartByTraits() {
    for op in OperatorSet.standard.operators {
      #expect(op.has(.fused) == op.name.hasPrefix("fused."), "\(op)")
      #expect(op.has(.observes) == op.name.hasPrefix("quantization."), "\(op)")
      let isQuantization = op.name.hasPrefix("quantized_decomposed.")
      #expect((op.isAny(.quantizeDequantize) && !op.has(.fused)) == isQuantization, "\(op)")
    }
  }
}
