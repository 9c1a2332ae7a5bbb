import GraphIR
import PipelineTesting
import TensorCore
import TestSupport
import Testing
import XNNPACKBackend

@testable import Quantization

/// torchao's PT2E and XNNPACKQuantizer test scenarios: the same values, the same Q/DQ graph. docs/scenarios.md has the list.
@Suite struct ScenarioTests {
  @Test(arguments: try PT2EGolden.load("scenarios.json"))
  func convertedGraphIsTorchaos(_ golden: PT2ECase) throws {
    let observed = try prepared(golden)
    let converted = try convert(observed, foldQuantize: !golden.name.hasPrefix("fold_quantize_false"))
    let expected = try golden.converted.program(golden.name)
    let (ours, theirs) = (try converted.lines(), try expected.lines())
    #expect(ours.count == theirs.count)
    for (line, want) in zip(ours, theirs) { #expect(line == want) }
    for target in converted.stateDict.keys {
      #expect(converted.stateDict[target]?.spec == expected.stateDict[target]?.spec, "\(target)")
      #expect(converted.stateDict[target]?.bits == expected.stateDict[target]?.bits, "\(target)")
    }
  }

  /// Every dequantize node is read by one quantized operator, or by operators in float alone.
  @Test(arguments: try PT2EGolden.load("scenarios.json").filter { $0.name.hasPrefix("duplicate_dq") })
  func dequantizeNodesAreNotShared(_ golden: PT2ECase) throws {
    let observed = try prepared(golden)
    let converted = try convert(observed)
    let quantized = Set(
      observed.program.graph.nodes.filter { observed.annotations.isQuantized($0.output) }.map(\.name))
    for node in converted.graph.nodes where node.operatorName.contains(".dequantize_") {
      let readers = converted.graph.nodes.filter { $0.inputs.contains(node.output) }.map(\.name)
      #expect(readers.count == 1 || readers.allSatisfy { !quantized.contains($0) }, "\(node.name): \(readers)")
    }
  }

  /// Everything that stays in float is explained, and nothing that is quantized.
  @Test(arguments: try PT2EGolden.load("scenarios.json"))
  func reasonsAreComplete(_ golden: PT2ECase) throws {
    let quantizer = ScenarioQuantizer.named(golden.name)
    guard quantizer is XNNPACKQuantizer else { return }
    let observed = try prepared(golden)
    let explained = Set(observed.notQuantized.map(\.node))
    for node in observed.program.graph.nodes where !node.isObserver {
      let isFloat = observed.program.graph.spec(node.output).dataType.isFloatingPoint
      #expect(
        explained.contains(node.name) == (isFloat && observed.annotations[node.output] == nil), "\(node.name)")
    }
    #expect(observed.notQuantized.allSatisfy { !$0.reason.isEmpty })
  }

  private func prepared(_ golden: PT2ECase) throws -> ObservedProgram {
    let program = try golden.float.program(golden.name)
    let observed = try prepare(program, quantizer: ScenarioQuantizer.named(golden.name))
    for sample in golden.samples {
      for observer in observed.calibratedObservers {
        let tensors = try observed.values(watchedBy: observer).map { value in
          try #require(sample[observed.program.graph[value].name], "\(observed.program.graph[value].name)").tensor
        }
        try observed.record(tensors, observer: observer)
      }
    }
    return observed
  }
}
