import GraphIR
import TensorCore
import TestSupport
import Testing

@testable import Quantization

/// Annotates what it is told to.
private struct FixedQuantizer: Quantizer {
  var annotations: Annotations
  func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) { annotations = self.annotations }
}

@Suite struct ObserverAssignmentTests {
  private let int8 = QuantizationSpec(scheme: .perTensorAffine, observer: .minMax)
  private let narrow = QuantizationSpec(quantMin: -100, quantMax: 100, scheme: .perTensorAffine, observer: .minMax)

  /// x → a → b, a → c; returns the values.
  private func model() -> (ExportedProgram, x: ValueID, a: ValueID, b: ValueID, c: ValueID) {
    var model = TestModel()
    let x = model.input("x", [1, 1, 4, 4])
    let a = model.unary("aten.relu.default", "a", x)
    let b = model.unary("aten.relu.default", "b", a)
    let c = model.unary("aten.relu.default", "c", a)
    model.program.graph.outputs = [b, c]
    return (model.program, x, a, b, c)
  }

  @Test func equalSpecsOnOneValueShare() throws {
    let (program, _, a, b, c) = model()
    var annotations = Annotations()
    annotations[a] = QuantizationAnnotation(output: .own(int8))
    annotations[b] = QuantizationAnnotation(inputs: [(a, .own(int8))])
    annotations[c] = QuantizationAnnotation(inputs: [(a, .own(int8))])
    let groups = try ObserverAssignment(program, annotations)
    #expect(groups.specs == [int8])
    #expect(groups[.edge(from: a, to: b)] == 0)
    let observed = try prepare(program, quantizer: FixedQuantizer(annotations: annotations))
    #expect(observed.program.operatorNames.count { $0 == "quantization.observe" } == 1)
  }

  @Test func otherSpecsDoNot() throws {
    let (program, _, a, b, c) = model()
    var annotations = Annotations()
    annotations[a] = QuantizationAnnotation(output: .own(int8))
    annotations[b] = QuantizationAnnotation(inputs: [(a, .own(narrow))])
    annotations[c] = QuantizationAnnotation(inputs: [(a, .own(int8))], allowImplicitSharing: false)
    #expect(try ObserverAssignment(program, annotations).specs == [int8, narrow, int8])
    let observed = try prepare(program, quantizer: FixedQuantizer(annotations: annotations))
    #expect(observed.watchedNames == ["a:[0, 2, 1]"])
    try observed.calibrateWithRamps()
    let converted = try convert(observed)
    // Two pairs of quantize and dequantize follow each other on the way to b and c.
    #expect(converted.operatorNames.count { $0.contains(".quantize_per_tensor") } == 3)
  }

  @Test func sharingIsTransitive() throws {
    let (program, x, a, b, c) = model()
    var annotations = Annotations()
    annotations[a] = QuantizationAnnotation(inputs: [(x, .own(int8))], output: .shared(with: .edge(from: x, to: a)))
    annotations[b] = QuantizationAnnotation(inputs: [(a, .shared(with: .output(a)))], output: .shared(with: .output(a)))
    annotations[c] = QuantizationAnnotation(output: .shared(with: .output(b)))
    #expect(try ObserverAssignment(program, annotations).specs == [int8])
    let observed = try prepare(program, quantizer: FixedQuantizer(annotations: annotations))
    #expect(observed.watchedNames == ["x:[0]", "a:[0]", "b:[0]", "c:[0]"])
  }

  @Test func cyclesAndMissingSpecsAreErrors() throws {
    let (program, x, a, b, c) = model()
    var cycle = Annotations()
    cycle[b] = QuantizationAnnotation(output: .shared(with: .output(c)))
    cycle[c] = QuantizationAnnotation(inputs: [(a, .shared(with: .output(b)))], output: .shared(with: .output(b)))
    var missing = Annotations()
    missing[b] = QuantizationAnnotation(output: .shared(with: .output(a)))
    var notRead = Annotations()
    notRead[b] = QuantizationAnnotation(inputs: [(x, .own(int8))])
    for annotations in [cycle, missing, notRead] {
      let error = #expect(throws: QuantizationError.self) {
        try prepare(program, quantizer: FixedQuantizer(annotations: annotations))
      }
      guard case .invalidAnnotation = error else { throw error ?? .invalidConfiguration(reason: "no error") }
    }
  }

  @Test func constantsThatShareWithActivationsCountInEverySample() throws {
    var model = TestModel()
    let x = model.input("x", [1, 1, 2, 2])
    let constant = model.parameter("k", [1, 1, 2, 2])
    let cat = model.call(
      "aten.cat.default", "cat", ["tensors": .values([x, constant]), "dim": .attribute(.int(1))], [1, 2, 2, 2])
    model.program.graph.outputs = [cat]
    var annotations = Annotations()
    let shared = AnnotatedSpec.shared(with: .edge(from: x, to: cat))
    annotations[cat] = QuantizationAnnotation(inputs: [(x, .own(int8)), (constant, shared)], output: shared)
    let observed = try prepare(model.program, quantizer: FixedQuantizer(annotations: annotations))
    #expect(observed.observers.map(\.hasObserved) == [false])
    #expect(observed.watchedNames == ["x:[0]", "cat:[0]"])
    try observed.calibrateWithRamps(low: 0, high: 0.5)
    #expect((observed.observers[0] as? MinMaxObserver)?.minimum == -1)
  }
}
