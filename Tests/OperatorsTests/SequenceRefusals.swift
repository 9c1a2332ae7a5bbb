import TensorCore

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
  ]
}
