import Operators
import TensorCore
import Testing

/// A comparison of an operator with an independent reference on random shapes.
struct FusedCase: Sendable, CustomTestStringConvertible {
  let op: String
  let label: String
  let rounds: Int
  let body: @Sendable (inout FusedRandom) throws -> Void

  init(_ op: String, _ label: String, rounds: Int = 60, _ body: @escaping @Sendable (inout FusedRandom) throws -> Void)
  {
    self.op = op
    self.label = label
    self.rounds = rounds
    self.body = body
  }

  var testDescription: String { "\(op) \(label)" }

  static let all =
    convolution + sumOfConvolution + linear + dynamic + elementwise + real + pooling + movement + conversion
}

@Suite struct FusedCasesTests {
  @Test(arguments: FusedCase.all)
  func matchesItsReference(_ fusedCase: FusedCase) throws {
    for seed in 0..<fusedCase.rounds {
      var random = FusedRandom(seed: UInt64(seed))
      try fusedCase.body(&random)
    }
  }

  @Test func everyFusedOperatorHasCasesAndRefusals() {
    let names = OperatorSet.standard.operators.map(\.name).filter {
      $0.hasPrefix("fused.") || $0.hasPrefix("dim_order_ops.")
    }
    #expect(names.count == 27)
    for name in names {
      #expect(FusedCase.all.contains { $0.op == name }, "\(name) has no case")
      #expect(FusedRefusal.all.contains { $0.op == name }, "\(name) has no refusal")
    }
  }
}
