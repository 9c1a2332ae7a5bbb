import Operators
import Testing

@testable import ExecuTorchFormat
@testable import Quantization
@testable import XNNPACKBackend

/// A part of the library that could take an operator: it has a row for it, or says why not. Never both, so that reasons go
/// when rows come.
struct OperatorPlace: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let hasRow: @Sendable (Operator) -> Bool
  let reasons: [(OperatorPattern, String)]

  static let all = [file, delegate, quantizer, reference]

  /// Everything can be written, but for what the format says.
  private static let file = OperatorPlace(
    testDescription: "a .pte", hasRow: RewriteRow.writes, reasons: RewriteRow.refused.map { ([$0.key], $0.value) })

  private static let delegate = OperatorPlace(
    testDescription: "our XNNPACK delegate", hasRow: { NodeTable.byOperator[$0] != nil },
    reasons: [
      (
        .condition { !$0.has(.fused) && $0 != .toDimOrderCopy },
        "it takes operators of lowered graphs; what is left of others runs on portable kernels"
      ),
      ([.fusedView], "it moves no bytes"),
      ([.fusedSlice, .fusedExpand], "XNNPACK of the oldest version that is supported has no such node"),
      (
        [.fusedMatmul, .fusedSoftmax, .fusedLayerNorm, .fusedUpsampleNearest2d, .fusedUpsampleBilinear2d],
        "XNNPACK of the oldest version that is supported has no such node on int8"
      ),
      ([.fusedDynamicConv2d, .fusedIm2col], "no kernel of ours computes it faster than the portable one"),
    ])

  private static let quantizer = OperatorPlace(
    testDescription: "the XNNPACK quantizer",
    hasRow: { op in
      !op.has(.fused)
        && (op.has(.sharesQuantization)
          || QuantizationPattern.all.contains { $0.operators.matches(op) || $0.activations.matches(op) })
    },
    reasons: [
      (.condition { $0.reasonForFloat != nil }, "the operator says why"),
      (.traits(.fused), "it stands in lowered graphs"), ([.toDimOrderCopy], "it stands in lowered graphs"),
      (.condition { $0.isAny([.quantizeDequantize, .observes]) }, "it is of quantization"),
      (.traits(.createsConstant), "it makes a constant"),
      ([.addmm], "PyTorch exports linear layers as such"),
      ([.groupNorm], "no kernel of ours computes it on int8"),
      ([.prelu], "no kernel of ours computes it on int8"), ([.logSoftmax], "no kernel of ours computes it on int8"),
      ([.minimum, .maximum], "no kernel of ours computes it on int8"),
      ([.sumDim], "a sum's range is a multiple of its input's"),
      (
        [.exp, .log, .sin, .cos, .floor, .ceil, .neg, .abs, .sqrt, .rsqrt, .square, .pow, .clampMin, .round],
        "it is quantized by choice only, between quantized neighbours"
      ),
      ([.index], "its indices are integers"), ([.toDtype, .bitwiseRightShift], "it computes integers"),
    ])

  private static let reference = OperatorPlace(
    testDescription: "the reference representation",
    hasRow: { op in ReferenceRewriter.rules.contains { $0.pattern.matches(op) } },
    reasons: [
      (.traits(.fused), "it stands in lowered graphs"), ([.toDimOrderCopy], "it stands in lowered graphs"),
      (.traits(.observes), "it is gone when a program is converted"),
      (
        [
          .chooseQParams, .chooseQParamsSymmetric, .chooseQParamsPerToken, .quantizePerTensorTensor,
          .dequantizePerTensorTensor, .quantizePerToken, .dequantizePerToken,
        ], "its parameters are computed at run time"
      ),
      (.traits(.createsConstant), "it makes a constant"),
      (.condition { $0.has(.pointwise) && !$0.has(.clamps) }, "a function of reals: no integer form"),
      (
        [
          .softmax, .logSoftmax, .layerNorm, .groupNorm, .batchNorm, .scaledDotProductAttention, .lstm, .gru, .prelu,
          .div, .upsampleNearest2d, .upsampleBilinear2d,
        ], "a function of reals: no integer form"
      ),
      (
        [.convTranspose1d, .convTranspose2d, .avgPool1d, .adaptiveAvgPool1d, .addmm],
        "PyTorch has no integer form of it"
      ),
      ([.minimum, .maximum, .sumDim], "it is not quantized"),
      ([.embedding, .index, .toDtype, .bitwiseRightShift], "it computes integers"),
    ])
}

@Suite struct OperatorPlaceTests {
  @Test(arguments: OperatorPlace.all)
  func hasARowOrAReason(_ place: OperatorPlace) {
    for op in OperatorSet.standard.operators {
      let reasons = place.reasons.filter { $0.0.matches(op) }.map(\.1)
      #expect(place.hasRow(op) == reasons.isEmpty, "\(op): has a row, and reasons against it: \(reasons)")
    }
  }

  @Test(arguments: XNNNodeKind.allCases)
  func kindsOfNodesHaveARowOrAReason(_ kind: XNNNodeKind) {
    #expect((DelegateRow.byKind[kind] == nil) == (DelegateRow.unread[kind] != nil))
  }

  /// What is written as a kernel's call can be read: the kernel's row has what the operator's schema asks for.
  @Test func kernelsHaveTheArgumentsOfTheirOperators() {
    for row in KernelRow.all {
      for case .named(let name) in row.parameters where row.adapt == nil {
        let isKnown = row.operators[0].schema.parameter(named: name) != nil
        #expect(isKnown || ["implicit", "out_dtype"].contains(name), "\(row.kernel.qualified): \(name)")
      }
    }
  }
}
