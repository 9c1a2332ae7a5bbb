import TensorCore
import Testing

@testable import Operators

extension Refusal {
  /// Cutting and joining, tensors made of nothing, attention and recurrent layers.
  static let sequences: [Refusal] = [
    Refusal("aten.chunk.default", [f32(4, 2)], ["chunks": .int(0)], "chunks", "0"),
    Refusal("aten.chunk.default", [f32(4, 2)], ["chunks": .int(2), "dim": .int(2)], "dim"),
    Refusal("aten.chunk.default", [f32()], ["chunks": .int(2)], "scalar"),
    Refusal("aten.chunk.default", [f32(0, 2)], ["chunks": .int(.max)], "too many"),
    Refusal("aten.split.Tensor", [f32(4, 2)], ["split_size": .int(0)], "split_size", "dimension of 4"),
    Refusal("aten.split.Tensor", [f32(4, 2)], ["split_size": .int(-1)], "-1"),
    Refusal("aten.split.Tensor", [f32(1 << 20)], ["split_size": .int(1)], "1048576 outputs"),
    Refusal("aten.split_with_sizes.default", [f32(4, 2)], ["split_sizes": .ints([1, 2])], "add up to 4"),
    Refusal("aten.split_with_sizes.default", [f32(4, 2)], ["split_sizes": .ints([5, -1])], "negative"),
    Refusal("aten.split_with_sizes.default", [f32(4, 2)], ["split_sizes": .ints([.max, .max])], "negative"),
    Refusal("aten.split_with_sizes.default", [f32(0)], ["split_sizes": .ints([])], "add up"),
    Refusal("aten.unbind.int", [f32(0, 2)], [:], "empty"),
    Refusal("aten.unbind.int", [f32(1 << 20)], [:], "1048576 outputs"),
    Refusal("aten.stack.default", [f32(2, 3), f32(3, 2)], [:], "[3, 2]", "[2, 3]"),
    Refusal("aten.stack.default", [f32(2), spec(.int8, 2)], [:], "int8"),
    Refusal("aten.stack.default", [f32(2, 3), f32(2, 3)], ["dim": .int(3)], "dim"),
    Refusal("aten.stack.default", [], [:], "at least one"),
    Refusal("aten.unflatten.int", [f32(2, 6)], ["dim": .int(1), "sizes": .ints([4, 2])], "[4, 2]", "dimension 1"),
    Refusal("aten.unflatten.int", [f32(2, 6)], ["dim": .int(1), "sizes": .ints([-1, 4])], "-1"),
    Refusal("aten.unflatten.int", [f32(2, 6)], ["dim": .int(1), "sizes": .ints([])], "make up"),
    Refusal("aten.unflatten.int", [f32()], ["dim": .int(0), "sizes": .ints([1])], "scalar"),
    Refusal("aten.zeros.default", [], ["size": .ints([2, -1])], "negative"),
    Refusal("aten.ones.default", [], ["size": .ints([1 << 31, 2])], "too large"),
    Refusal("aten.zeros.default", [], ["size": .ints([2]), "dtype": .dataType(.float16)], "float16"),
    Refusal(
      "aten.full.default", [], ["size": .ints([2]), "fill_value": .int(300), "dtype": .dataType(.uint8)], "uint8",
      "300"),
    Refusal(
      "aten.full.default", [], ["size": .ints([2]), "fill_value": .float(.nan), "dtype": .dataType(.int32)], "int32"),
    Refusal("aten.full.default", [], ["size": .ints([2]), "fill_value": .string("x")], "fill_value"),
    Refusal("aten.index.Tensor", [f32(2, 3), f32(2)], [:], "one tensor"),
    Refusal("aten.roll.default", [f32(2, 3)], ["shifts": .ints([1, 2]), "dims": .ints([0])], "equally many"),
    Refusal("aten.roll.default", [f32(2, 3)], ["shifts": .ints([1]), "dims": .ints([2])], "dims"),
    Refusal(
      "aten.roll.default", [f32(2, 2, 2, 2, 2, 2, 2, 2, 2)],
      ["shifts": .ints([Int](repeating: 1, count: 9)), "dims": .ints(Array(0..<9))], "more than 8"),
    Refusal("aten.reshape_as.default", [f32(2, 3), f32(5)], [:], "[5]"),
    Refusal("aten.view_as.default", [f32(2, 3), f32(7)], [:], "[7]"),
    Refusal("aten.expand_as.default", [f32(2, 3), f32(4, 3)], [:], "[4, 3]"),
    Refusal("aten.t.default", [f32(2, 3, 4)], [:], "at most 2"),
    Refusal("aten.prelu.default", [f32(2, 3), f32(2)], [:], "[1] or [3]"),
    Refusal("aten.addmm.default", [f32(3), f32(2, 3), f32(3, 4)], [:], "broadcast"),
    Refusal("aten.addmm.default", [f32(5, 2, 4), f32(2, 3), f32(3, 4)], [:], "broadcast"),
    Refusal("aten.conv_transpose1d.default", [f32(1, 3, 8), f32(3, 3, 4, 4)], [:], "[C, O / groups, k]"),
    Refusal("aten.max_pool1d.default", [f32(1, 2, 3, 4)], ["kernel_size": .ints([2])], "[N, C, L]"),
    Refusal("aten.avg_pool1d.default", [f32(1, 2, 8)], ["kernel_size": .ints([2, 2])], "one integer"),
    attention([f32(2, 4), f32(3, 5), f32(3, 4)], [:], "query", "[3, 5]"),
    attention([f32(2, 4), f32(3, 4), f32(2, 4)], [:], "number of keys"),
    attention([f32(2, 2, 4), f32(1, 3, 4), f32(2, 3, 4)], [:], "all but the last two"),
    attention([f32(4), f32(4), f32(4)], [:], "ranks"),
    attention([f32(2, 4), f32(0, 4), f32(0, 4)], [:], "size is 0"),
    attention([f32(2, 4), f32(3, 4), f32(3, 4)], ["dropout_p": .float(0.5)], "dropout_p", "eval()"),
    attention([f32(2, 4), f32(3, 4), f32(3, 4)], ["enable_gqa": .bool(true)], "enable_gqa"),
    attention([f32(2, 4), f32(3, 4), f32(3, 4), f32(3, 3)], [:], "attn_mask", "[2, 3]"),
    attention([f32(2, 4), f32(3, 4), f32(3, 4), spec(.int64, 2, 3)], [:], "int64"),
    attention([f32(2, 4), f32(3, 4), f32(3, 4), f32(2, 3)], ["is_causal": .bool(true)], "is_causal"),
  ]

  private static func attention(_ inputs: [TensorSpec], _ attributes: [String: Attribute], _ words: String...)
    -> Refusal
  {
    Refusal("aten.scaled_dot_product_attention.default", inputs, attributes, words)
  }
}

/// Recurrent layers have two lists of tensors, which `Refusal` cannot tell apart.
@Suite struct RecurrentRefusalTests {
  private struct Case: Sendable, CustomTestStringConvertible {
    var input = f32(5, 2, 3)
    var states = [f32(1, 2, 4), f32(1, 2, 4)]
    var params = [f32(16, 3), f32(16, 4), f32(16), f32(16)]
    var attributes: [String: Attribute] = [:]
    let words: String
    var testDescription: String { words }
  }

  private static let cases: [Case] = [
    Case(input: f32(5, 3), words: "'input' must be [T, B, features]"),
    Case(input: f32(0, 2, 3), words: "no time steps"),
    Case(input: f32(5, 2, 4), words: "'params' 0 must be float32[16, 4]"),
    Case(states: [f32(1, 2, 4)], words: "two states h and c"),
    Case(states: [f32(1, 2, 4), f32(1, 3, 4)], words: "'hx' must be float32[1, 2, 4]"),
    Case(params: [f32(16, 3), f32(16, 4), f32(16), f32(16), f32(2, 4)], words: "proj_size"),
    Case(params: [f32(16, 3), f32(16, 4)], words: "1 times 4 tensors, not 2"),
    Case(params: [f32(16, 3), f32(16, 4), f32(15), f32(16)], words: "'params' 2 must be float32[16]"),
    Case(params: [f32(16, 3), spec(.int8, 16, 4), f32(16), f32(16)], words: "int8[16, 4]"),
    Case(params: [f32(16, 3), f32(), f32(16), f32(16)], words: "weights of the state"),
    Case(attributes: ["num_layers": .int(.max)], words: "num_layers"),
    Case(attributes: ["num_layers": .int(2)], words: "2 times 4 tensors"),
    Case(
      params: [f32(16, 3), f32(16, 4), f32(16, 4), f32(16, 4)],
      attributes: ["num_layers": .int(2), "has_biases": .bool(false), "train": .bool(true), "dropout": .float(0.5)],
      words: "eval()"),
  ]

  @Test(arguments: cases)
  private func isRefusedWithReason(_ refusal: Case) throws {
    let op = try #require(OperatorSet.standard["aten.lstm.input"])
    let (states, params) = (refusal.states.count, refusal.params.count)
    var arguments: CallArguments = [
      "input": .tensor(0), "hx": .tensors(Array(1..<1 + states)),
      "params": .tensors(Array(1 + states..<1 + states + params)), "has_biases": .attribute(.bool(true)),
      "num_layers": .attribute(.int(1)), "dropout": .attribute(.float(0)), "train": .attribute(.bool(false)),
      "bidirectional": .attribute(.bool(false)), "batch_first": .attribute(.bool(false)),
    ]
    for (name, value) in refusal.attributes { arguments[name] = .attribute(value) }
    let inputs = [refusal.input] + refusal.states + refusal.params
    let call = OperatorCall(
      op: op, node: "lstm", arguments: arguments, inputs: inputs,
      constants: [Tensor?](repeating: nil, count: inputs.count))
    let error = try #require(throws: OperatorError.self) { _ = try op.infer(call) }
    #expect(error.reason.contains(refusal.words), "\(error.reason)")
  }
}
