import GraphIR
import Quantization
import TensorCore

/// Which value of a float program each value of its quantized program stands for.
///
/// Both graphs are read as sequences of operators, quantize and dequantize nodes and inference dropouts aside, and
/// aligned so that as many as possible pair up in order; a pair has the same operator and output shape, and of two
/// candidates the one of the same name wins. So a program that was converted here matches by name, and one that was
/// exported anew, under new names, by its order.
package struct LayerMatching {
  /// Values of the quantized program → values of the float program, the user's inputs included.
  package private(set) var values: [ValueID: ValueID] = [:]
  /// Names of nodes that have no partner in the float program, in execution order.
  package private(set) var unmatched: [String] = []

  /// The largest number of pairs that are aligned; beyond it nodes match by name alone.
  private static let largestAlignment = 16_000_000

  init(float: Graph, floatInputs: [ValueID], quantized: Graph, quantizedInputs: [ValueID]) {
    for (a, b) in zip(quantizedInputs, floatInputs) where quantized.spec(a) == float.spec(b) { values[a] = b }
    let (actual, reference) = (LayerMatching.layers(quantized), LayerMatching.layers(float))
    var pairs: [Int: Int] = [:]
    if actual.count.multipliedReportingOverflow(by: reference.count).partialValue <= LayerMatching.largestAlignment {
      pairs = LayerMatching.align(actual, quantized, reference, float)
    } else {
      let byName = Dictionary(reference.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
      for (index, node) in actual.enumerated() {
        if let other = byName[node.name], LayerMatching.agree(node, quantized, reference[other], float) {
          pairs[index] = other
        }
      }
    }
    for (index, node) in actual.enumerated() {
      guard let other = pairs[index] else {
        unmatched.append(node.name)
        continue
      }
      for (a, b) in zip(node.outputs, reference[other].outputs) { values[a] = b }
    }
  }

  private static func layers(_ graph: Graph) -> [Node] {
    graph.nodes.filter { !$0.isQuantizeOrDequantize && !$0.isInferenceDropout && !$0.outputs.isEmpty }
  }

  private static func agree(_ a: Node, _ graphOfA: Graph, _ b: Node, _ graphOfB: Graph) -> Bool {
    a.op == b.op && graphOfA.spec(a.output).shape == graphOfB.spec(b.output).shape
  }

  /// The longest common subsequence, pairs of one name counting twice. Indices of `a` → indices of `b`.
  private static func align(_ a: [Node], _ graphOfA: Graph, _ b: [Node], _ graphOfB: Graph) -> [Int: Int] {
    let width = b.count + 1
    var best = [Int32](repeating: 0, count: (a.count + 1) * width)
    func gain(_ i: Int, _ j: Int) -> Int32 {
      agree(a[i], graphOfA, b[j], graphOfB) ? (a[i].name == b[j].name ? 2 : 1) : 0
    }
    for i in a.indices.reversed() {
      for j in b.indices.reversed() {
        let skipped = max(best[(i + 1) * width + j], best[i * width + j + 1])
        let gain = gain(i, j)
        best[i * width + j] = gain > 0 ? max(skipped, best[(i + 1) * width + j + 1] + gain) : skipped
      }
    }
    var pairs: [Int: Int] = [:]
    var (i, j) = (0, 0)
    while i < a.count, j < b.count {
      let gain = gain(i, j)
      if gain > 0, best[i * width + j] == best[(i + 1) * width + j + 1] + gain {
        pairs[i] = j
        (i, j) = (i + 1, j + 1)
      } else if best[i * width + j] == best[(i + 1) * width + j] {
        i += 1
      } else {
        j += 1
      }
    }
    return pairs
  }
}

extension Node {
  package var isQuantizeOrDequantize: Bool { op.isAny(.quantizeDequantize) }
  package var isQuantize: Bool { op.has(.quantizes) }
  package var isDequantize: Bool { op.has(.dequantizes) }

  /// Whether it is an activation that lowering makes part of the layer before it.
  package var isClamp: Bool { op.has(.clamps) }
}
