import Foundation
import GraphIR
import TensorCore
import TestSupport
import Testing
import XNNPACKBackend

@testable import Quantization

/// Writing, configuring and composing quantizers.
@Suite struct QuantizerTests {
  /// x [2, 3, 4] → six linear layers, the last two of them on 2-D inputs.
  private func linears() -> ExportedProgram {
    var model = TestModel()
    var x = model.input("x", [2, 3, 4])
    for index in 0..<6 {
      if index == 4 {
        x = model.call(
          "aten.view.default", "flat", ["self": .value(x), "size": .attribute(.ints([6, 4]))], [6, 4])
      }
      let weight = model.parameter("l\(index).weight", [4, 4])
      let shape: Shape = index < 4 ? [2, 3, 4] : [6, 4]
      x = model.call(
        "aten.linear.default", "l\(index)", ["input": .value(x), "weight": .value(weight)], shape, module: "l\(index)")
    }
    model.program.graph.outputs = [x]
    return model.program
  }

  @Test func aQuantizerOfOnesOwn() throws {
    let observed = try prepare(linears(), quantizer: AlternatingLinearQuantizer())
    let quantized = observed.program.graph.nodes.filter { observed.annotations.isQuantized($0.output) }.map(\.name)
    #expect(quantized == ["l1", "l3"])
    #expect(observed.notQuantized.map(\.node) == ["l0", "l2", "l4", "l5"])
    try observed.calibrateWithRamps()
    let converted = try convert(observed)
    #expect(converted.operatorNames.count { $0.contains(".quantize_per_tensor") } == 4)
  }

  /// The README shows the file as it is compiled here.
  @Test func theReadmeShowsIt() throws {
    let source = try String(
      contentsOfFile: repositoryPath("Tests/QuantizationTests/AlternatingLinearQuantizer.swift"), encoding: .utf8)
    for document in ["README.md", "docs/quantizers.md"] {
      let text = try String(contentsOfFile: repositoryPath(document), encoding: .utf8)
      #expect(text.contains(source.trimmingCharacters(in: .whitespacesAndNewlines)), "\(document)")
    }
  }

  @Test func precedenceIsNameThenTypeThenOperatorThenGlobal() throws {
    let program = linears()
    func quantized(_ quantizer: XNNPACKQuantizer) throws -> [String] {
      let observed = try prepare(program, quantizer: quantizer)
      return observed.program.graph.nodes.filter {
        $0.operatorName == "aten.linear.default" && observed.annotations.isQuantized($0.output)
      }.map(\.name)
    }
    let on = QuantizationConfig.symmetric()
    #expect(try quantized(XNNPACKQuantizer(nil)) == [])
    #expect(try quantized(XNNPACKQuantizer(on)).count == 6)
    #expect(try quantized(XNNPACKQuantizer(on).setObjectType("aten.linear", nil)) == [])
    #expect(try quantized(XNNPACKQuantizer(nil).setObjectType("aten.linear.default", on)).count == 6)
    // The test model's modules are of class X.
    #expect(try quantized(XNNPACKQuantizer(on).setOperatorType("aten.linear", on).setModuleType("X", nil)) == [])
    #expect(try quantized(XNNPACKQuantizer(nil).setModuleType("X", nil).setModuleName("l2", on)) == ["l2"])
    #expect(try quantized(XNNPACKQuantizer(on).setModuleName("l2", nil)) == ["l0", "l1", "l3", "l4", "l5"])
    #expect(
      try quantized(XNNPACKQuantizer(on).setModuleName("l2", nil).setFilter { $0.name != "l5" }) == [
        "l0", "l1", "l3", "l4",
      ])
  }

  @Test func modulesThatDoNotExistAreNamed() throws {
    let error = #expect(throws: QuantizationError.self) {
      try prepare(linears(), quantizer: XNNPACKQuantizer().setModuleName("l9", nil))
    }
    let text = "\(try #require(error))"
    #expect(text.contains("no module 'l9'") && text.contains("l0, l1"))
  }

  /// Probabilities that are the model's result stay real unless asked for.
  @Test func resultsInAKnownRangeStayReal() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let inner = model.unary("aten.sigmoid.default", "inner", x)
    model.program.graph.outputs = [model.unary("aten.sigmoid.default", "outer", inner)]
    let observed = try prepare(model.program, quantizer: XNNPACKQuantizer())
    #expect(observed.notQuantized.map(\.node) == ["outer"])
    #expect(observed.notQuantized[0].reason.contains("tie"))
    let chosen = XNNPACKQuantizer().setObjectType("aten.sigmoid", .symmetric())
    #expect(try prepare(model.program, quantizer: chosen).notQuantized.isEmpty)
  }

  @Test func capabilitiesNameEveryPattern() {
    let all = XNNPACKQuantizer().quantizationCapabilities()
    let torchao = XNNPACKQuantizer(patterns: .torchao).quantizationCapabilities()
    #expect(torchao.map(\.pattern) == all.filter(\.isTorchao).map(\.pattern))
    #expect(all.first { $0.pattern == "linear" }?.configurations == ["static", "dynamic"])
    #expect(all.first { $0.pattern == "conv_relu" }?.activations.contains("aten.hardtanh.default") == true)
    #expect(torchao.first { $0.pattern == "conv_relu" }?.activations == ["aten.relu.default"])
  }

  @Test func capabilitiesOfComposedQuantizersAreTheirUnion() {
    let own = XNNPACKQuantizer().quantizationCapabilities()
    let both = ComposableQuantizer([EmbeddingQuantizer(), XNNPACKQuantizer(), XNNPACKQuantizer(nil)])
    #expect(both.quantizationCapabilities().map(\.pattern) == ["embedding"] + own.map(\.pattern))
  }

  // MARK: Composition

  /// Removes what others have annotated.
  private struct Careless: Quantizer {
    func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) {
      for node in program.graph.nodes { annotations[node.output] = nil }
    }
  }

  @Test func conflictsAreRefusedByName() throws {
    let quantizer = ComposableQuantizer([XNNPACKQuantizer(), Careless()])
    let error = #expect(throws: QuantizationError.self) { try prepare(linears(), quantizer: quantizer) }
    guard case .conflictingAnnotations(_, "l0", _, "XNNPACKQuantizer", "Careless")? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test func quantizersTakeWhatOthersLeave() throws {
    let quantizer = ComposableQuantizer([
      AlternatingLinearQuantizer(), XNNPACKQuantizer(.symmetric(isDynamic: true)),
    ])
    let observed = try prepare(linears(), quantizer: quantizer)
    // The view between them keeps the parameters of the layer before it.
    #expect(observed.notQuantized.isEmpty)
    try observed.calibrateWithRamps()
    let names = try convert(observed).operatorNames
    #expect(names.count { $0 == "quantized_decomposed.choose_qparams_per_token_asymmetric.default" } == 4)
    #expect(names.count { $0 == "quantized_decomposed.quantize_per_tensor.default" } == 5)
  }

  @Test func dynamicQuantizationNeedsNoCalibration() throws {
    let observed = try prepare(linears(), quantizer: XNNPACKQuantizer(.symmetric(isDynamic: true)))
    #expect(observed.calibratedObservers.isEmpty)
    #expect(try convert(observed).operatorNames.count { $0.contains("choose_qparams") } == 6)
  }

  // MARK: Observers

  /// Makes both observers of the first linear layer one, and takes the others' away.
  private struct Sharing: Quantizer {
    func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) throws(QuantizationError) {
      try XNNPACKQuantizer(.symmetric(isPerChannel: false)).annotate(program, &annotations)
    }

    func assignObservers(_ assignment: inout ObserverAssignment, of program: ExportedProgram) {
      let first = program.graph.nodes[0]
      guard let x = first.value("input") else { return }
      for place in assignment.places {
        switch place {
        case .output(first.output): assignment[place] = assignment[.edge(from: x, to: first.output)]
        case .edge(_, first.output): break
        default: assignment[place] = nil
        }
      }
      if let shared = assignment[.output(first.output)] {
        assignment.replace(shared, with: QuantizationSpec(scheme: .perTensorAffine, observer: .minMax))
      }
    }
  }

  @Test func theLastWordOnObservers() throws {
    let observed = try prepare(linears(), quantizer: Sharing())
    #expect(observed.watchedNames == ["x:[0]", "l0:[0]"])
    #expect(observed.observers[0] is MinMaxObserver)
    try observed.calibrateWithRamps()
    #expect(try convert(observed).operatorNames.count { $0 == "quantized_decomposed.quantize_per_tensor.default" } == 2)
  }

  // MARK: Derived parameters

  private func derived(_ makePlaces: @escaping @Sendable (Node) -> [QuantizedPlace]) -> AnnotatingQuantizer {
    AnnotatingQuantizer { node, annotations in
      guard let x = node.value("input"), let w = node.value("weight") else { return }
      let spec = DerivedQuantizationSpec(
        from: makePlaces(node), .int8, quantMin: -128, quantMax: 127, name: "test"
      ) { observers throws(ObserverError) in try observers[0].calculateQParams() }
      annotations[node.output] = QuantizationAnnotation(inputs: [(x, .derived(spec)), (w, .derived(spec))])
    }
  }

  @Test func derivationsFromNowhereOrInACircleAreRefused() throws {
    let nowhere = derived { [.output($0.output)] }
    let circle = derived { [.edge(from: $0.value("weight")!, to: $0.output)] }
    for (quantizer, word) in [(nowhere, "is not quantized"), (circle, "cycle")] {
      let error = #expect(throws: QuantizationError.self) { try prepare(linears(), quantizer: quantizer) }
      #expect("\(try #require(error))".contains(word))
    }
  }

  @Test func fixedParametersAreChecked() throws {
    let bad = AnnotatingQuantizer { node, annotations in
      guard let x = node.value("input") else { return }
      annotations[node.output] = QuantizationAnnotation(
        inputs: [(x, .fixed(FixedQParamsQuantizationSpec(scale: 0, zeroPoint: 0)))])
    }
    #expect(throws: QuantizationError.self) { try prepare(linears(), quantizer: bad) }
  }
}
