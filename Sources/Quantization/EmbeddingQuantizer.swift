import GraphIR
import Operators
import TensorCore

/// Quantizes the tables of embeddings to uint8 with a scale and a real zero point per row (PT2E's `EmbeddingQuantizer`).
/// Looking a row up stays as it is: nothing is observed, and the result is real.
public struct EmbeddingQuantizer: Quantizer {
  /// How a table is quantized.
  public var weight = QuantizationSpec(
    .uint8, quantMin: 0, quantMax: 255, scheme: .perChannelAffineFloatQParams, channelAxis: 0,
    observer: .perChannelMinMax, eps: 0x1p-12)

  /// The quantizer with the spec above.
  public init() {}

  /// One: tables.
  public func quantizationCapabilities() -> [QuantizationCapability] {
    [
      QuantizationCapability(
        pattern: "embedding", operators: [Operator.embedding.name], configurations: ["weight only"], isTorchao: true)
    ]
  }

  /// Annotates the tables that are float32 constants; other embeddings stay in float.
  public func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) throws(QuantizationError) {
    let constants = program.constants()
    for node in program.graph.nodes where node.op == .embedding {
      guard annotations[node.output] == nil, let table = node.value("weight") else { continue }
      guard constants[table]?.dataType == .float32 else {
        annotations.keepInFloat(node, reason: "its table is not a float32 constant")
        continue
      }
      annotations[node.output] = QuantizationAnnotation(inputs: [(table, .own(weight))])
    }
  }
}
