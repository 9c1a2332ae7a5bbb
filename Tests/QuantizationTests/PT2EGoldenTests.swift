import GraphIR
import PipelineTesting
import TensorCore
import TestSupport
import Testing
import XNNPACKBackend

@testable import Quantization

/// The whole flow against torchao: the same values, the same Q/DQ graph.
@Suite struct PT2EGoldenTests {
  @Test(arguments: try PT2EGolden.load())
  func foldedWeightsAreBitEqual(_ golden: PT2ECase) throws {
    var program = try golden.float.program(golden.name)
    try foldBatchNorms(in: &program)
    for (target, tensor) in golden.folded where target != "_tensor_constant_0" {
      let ours = try #require(program.stateDict[target], "\(target)")
      #expect(ours.spec == tensor.tensor.spec)
      #expect(ours.bits == tensor.tensor.bits, "\(target)")
    }
  }

  @Test(arguments: try PT2EGolden.load())
  func convertedGraphIsTorchaos(_ golden: PT2ECase) throws {
    let program = try golden.float.program(golden.name)
    let observed = try prepare(
      program, quantizer: XNNPACKQuantizer(.symmetric(isPerChannel: golden.isPerChannel), patterns: .torchao))
    try Verifier.verify(observed.program, as: .observed)
    for sample in golden.samples {
      for observer in observed.calibratedObservers {
        let tensors = try observed.values(watchedBy: observer).map { value in
          try #require(sample[observed.program.graph[value].name], "\(observed.program.graph[value].name)").tensor
        }
        try observed.record(tensors, observer: observer)
      }
    }
    let converted = try convert(observed)
    let expected = try golden.converted.program(golden.name)
    #expect(try converted.lines() == expected.lines())
    #expect(converted.graph.nodes.map(\.name).sorted() == expected.graph.nodes.map(\.name).sorted())
    if !golden.name.hasPrefix("operands") {
      // torchao's order of copies differs where one node reads a value twice.
      #expect(converted.graph.printed() == expected.graph.printed())
    }
    #expect(!converted.stateDict.isEmpty)
    for target in converted.stateDict.keys {
      #expect(converted.stateDict[target]?.spec == expected.stateDict[target]?.spec, "\(target)")
      #expect(converted.stateDict[target]?.bits == expected.stateDict[target]?.bits, "\(target)")
    }
  }

  @Test(arguments: [1, 2, 5])
  func threadsDoNotChangeTheResult(threads: Int) throws {
    let golden = try #require(try PT2EGolden.load().first)
    let observed = try prepare(try golden.float.program(golden.name), quantizer: XNNPACKQuantizer(patterns: .torchao))
    for sample in golden.samples {
      var tensors: [Tensor] = []
      var places: [Int: [Int]] = [:]
      for entry in observed.observedValues {
        let tensor = try #require(sample[observed.program.graph[entry.value].name]).tensor
        for observer in entry.observers { places[observer, default: []].append(tensors.count) }
        tensors.append(tensor)
      }
      try observed.update(places, threads: threads) { place, body in
        tensors[place].withUnsafeBytes { body($0.bindMemory(to: Float.self)) }
      }
    }
    #expect(try convert(observed).lines() == golden.converted.program(golden.name).lines())
  }
}

extension ExportedProgram {
  /// All nodes but dequantize, each operand that is dequantized spelled out: independent of how the copies of
  /// dequantize nodes are named and ordered.
  func lines() throws -> [String] {
    var texts: [ValueID: String] = [:]
    var lines: [String] = []
    func text(_ operand: Operand) -> String {
      switch operand {
      case .value(let id): texts[id] ?? graph[id].name
      case .values(let ids): "[" + ids.map { texts[$0] ?? graph[$0].name }.joined(separator: ", ") + "]"
      case .attribute(let attribute): attribute.description
      }
    }
    for node in graph.nodes {
      let arguments = node.arguments.map { "\($0.name)=\(text($0.operand))" }.joined(separator: ", ")
      if node.operatorName.contains(".dequantize_") {
        texts[node.output] = "\(node.operatorName)(\(arguments))"
      } else {
        lines.append("\(graph[node.output].name): \(graph.spec(node.output)) = \(node.operatorName)(\(arguments))")
      }
    }
    return lines + graph.outputs.map { "return " + (texts[$0] ?? graph[$0].name) }
  }
}
