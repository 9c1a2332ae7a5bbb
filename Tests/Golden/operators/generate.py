"""Golden cases of the portable operators: what PyTorch answers.

Writes operators.json (the calls) and operators.bin (the tensors, little-endian). A tensor is [dtype, offset, sizes...].
Usage: python generate.py        (made with torch 2.15)
"""

import json
import pathlib

import torch
import torch.ao.quantization.fx._decomposed  # defines torch.ops.quantized_decomposed

HERE = pathlib.Path(__file__).parent
INT_MAX = 2**63 - 1
EXACT = (0.0, 0.0)
# Sums in another order, and products that PyTorch may fuse with the addition.
SUM = (1e-5, 1e-5)
# exp in single precision.
EXP = (1e-6, 2e-6)

torch.manual_seed(20)
cases, data, offsets = [], bytearray(), {}


def store(tensor):
    tensor = tensor.detach().contiguous()
    raw = bytes(tensor.flatten().view(torch.uint8).numpy().tobytes()) if tensor.dim() else tensor.numpy().tobytes()
    if raw not in offsets:
        data.extend(bytes(-len(data) % 8))
        offsets[raw] = len(data)
        data.extend(raw)
    return [str(tensor.dtype)[6:], offsets[raw], *tensor.shape]


def attribute(value):
    if value is None:
        return {"none": True}
    if isinstance(value, bool):
        return {"bool": value}
    if isinstance(value, int):
        return {"int": value}
    if isinstance(value, float):
        return {"float": value}
    if isinstance(value, str):
        return {"string": value}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value)[6:]}
    if value and isinstance(value[0], float):
        return {"floats": list(value)}
    return {"ints": list(value)}


def add(operator, tolerance, *positional, compute=None, **keywords):
    """Records one call. `compute` replaces PyTorch's operator for what is only ours."""
    if compute is None:
        function = torch.ops
        for part in operator.split("."):
            function = getattr(function, part)
        names = [argument.name for argument in function._schema.arguments]
        expected = function(*positional, **keywords)
        arguments = dict(zip(names, positional)) | keywords
    else:
        arguments = keywords
        expected = compute
    expected = expected if isinstance(expected, (list, tuple)) else [expected]
    inputs, recorded = [], {}
    for name, value in arguments.items():
        if isinstance(value, torch.Tensor):
            recorded[name] = {"tensor": len(inputs)}
            inputs.append(store(value))
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.Tensor):
            recorded[name] = {"tensors": list(range(len(inputs), len(inputs) + len(value)))}
            inputs += [store(each) for each in value]
        else:
            recorded[name] = attribute(value)
    case = {"operator": operator, "arguments": recorded, "inputs": inputs, "outputs": [store(each) for each in expected]}
    if tolerance != EXACT:
        case |= {"rtol": tolerance[0], "atol": tolerance[1]}
    cases.append(case)


def rand(*shape):
    return torch.randn(shape)


def count(*shape, dtype=torch.float32):
    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)


def convolutions():
    def conv(x, w, bias=True, *rest):
        add("aten.conv2d.default", SUM, x, w, rand(w.shape[0]) if bias else None, *rest)

    conv(rand(1, 3, 8, 8), rand(5, 3, 3, 3))
    conv(rand(2, 4, 9, 11), rand(6, 4, 3, 3), False, [1, 1], [1, 1])
    conv(rand(1, 3, 13, 10), rand(8, 3, 3, 3), True, [2, 2], [1, 1])
    conv(rand(1, 3, 12, 12), rand(4, 3, 5, 3), True, [2, 1], [2, 0], [1, 2])
    conv(rand(1, 8, 5, 7), rand(7, 8, 1, 1))
    conv(rand(2, 8, 6, 6), rand(4, 8, 1, 1), False, [2, 2])
    conv(rand(1, 6, 7, 9), rand(4, 3, 3, 3), True, [1, 1], [1, 1], [1, 1], 2)
    conv(rand(2, 8, 6, 6), rand(12, 2, 2, 2), True, [1, 1], [3, 3], [2, 2], 4)
    conv(rand(1, 5, 9, 8), rand(5, 1, 3, 3), True, [1, 1], [1, 1], [1, 1], 5)
    conv(rand(2, 4, 9, 10), rand(8, 1, 3, 5), False, [2, 2], [1, 2], [1, 1], 4)
    conv(rand(1, 3, 11, 11), rand(3, 1, 3, 3), True, [1, 2], [4, 4], [3, 3], 3)
    conv(rand(1, 1, 10, 4), rand(4, 1, 10, 4), True)
    conv(rand(1, 1, 3, 3), rand(2, 1, 2, 2), True, [1, 1], [4, 4])
    conv(rand(1, 2, 3, 3), rand(2, 2, 2, 2), True, [1, 1], [4, 4])
    conv(rand(3, 6, 20), rand(4, 3, 3, 3), True, [1, 1], [1, 1])
    add("aten.conv2d.default", SUM, rand(0, 3, 4, 4), rand(2, 3, 1, 1))
    for shape, weight in [((3, 7), (5, 7)), ((1, 16), (9, 16)), ((2, 3, 6), (4, 6)), ((10,), (3, 10)), ((6, 1), (8, 1))]:
        add("aten.linear.default", SUM, rand(*shape), rand(*weight), rand(weight[0]))
    add("aten.linear.default", SUM, rand(5, 7), rand(17, 7))
    add("aten.linear.default", SUM, rand(0, 7), rand(2, 7), None)


def moreConvolutions():
    for x, w, *rest in [
        (rand(2, 3, 9), rand(4, 3, 3)), (rand(1, 4, 11), rand(6, 2, 3), [2], [1], [1], 2), (rand(3, 8), rand(2, 3, 2), [1], [2], [3]),
        (rand(1, 3, 7), rand(3, 1, 3), [1], [1], [1], 3),
    ]:
        add("aten.conv1d.default", SUM, x, w, rand(w.shape[0]), *rest)
    for x, w, *rest in [(rand(1, 3, 8), rand(2, 3, 4), [1], "same"), (rand(1, 3, 8), rand(2, 3, 3), [2], "valid"), (rand(1, 2, 9), rand(2, 2, 4), [1], "same", [2])]:
        add("aten.conv1d.padding", SUM, x, w, rand(w.shape[0]), *rest)
    for x, w, *rest in [
        (rand(1, 3, 6, 7), rand(2, 3, 2, 4), [1, 1], "same"), (rand(2, 3, 8, 8), rand(2, 3, 3, 3), [2, 1], "valid"),
        (rand(1, 4, 9, 7), rand(4, 1, 2, 3), [1, 1], "same", [3, 2], 4), (rand(1, 2, 5, 5), rand(3, 2, 3, 3), [1, 1], "same"),
    ]:
        add("aten.conv2d.padding", SUM, x, w, rand(w.shape[0]), *rest)
    for x, w, o, *rest in [
        (rand(1, 3, 4, 5), rand(3, 2, 3, 3), 2), (rand(2, 4, 3, 3), rand(4, 3, 2, 2), 3, [2, 2]),
        (rand(1, 4, 5, 4), rand(4, 2, 3, 3), 4, [2, 2], [1, 1], [1, 1], 2), (rand(1, 2, 4, 4), rand(2, 3, 3, 2), 3, [2, 1], [1, 0], [1, 0], 1, [2, 1]),
        (rand(3, 5, 5), rand(3, 2, 2, 2), 2), (rand(1, 4, 4, 4), rand(4, 1, 3, 3), 4, [1, 1], [2, 2], [0, 0], 4),
    ]:
        add("aten.conv_transpose2d.input", SUM, x, w, rand(o), *rest)
    add("aten.conv_transpose2d.input", SUM, rand(1, 3, 4, 4), rand(3, 2, 2, 2))
    for a, b in [
        ((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)),
        ((2, 1, 3, 4), (5, 4, 2)), ((1, 3, 4), (2, 4, 1)), ((3, 0), (0, 2)), ((2, 3, 2, 4), (4,)),
    ]:
        add("aten.matmul.default", SUM, rand(*a), rand(*b))
    add("aten.bmm.default", SUM, rand(2, 3, 4), rand(2, 4, 5))
    add("aten.mm.default", SUM, rand(3, 4), rand(4, 2))


def normalization():
    def norm(x, weight=True, bias=True, eps=1e-5):
        c = x.shape[1]
        w, b = rand(c) if weight else None, rand(c) if bias else None
        add("aten.batch_norm.default", SUM, x, w, b, rand(c), rand(c).abs() + 0.1, False, 0.1, eps, True)

    norm(rand(2, 3, 4, 5))
    norm(rand(4, 6), eps=1e-3)
    norm(rand(1, 5, 7), weight=False)
    norm(rand(2, 2, 3, 3), weight=False, bias=False)
    for shape, dim in [((3, 5), 1), ((3, 5), 0), ((2, 3, 4), -2), ((7,), 0), ((2, 9, 3, 2), 1), ((), 0)]:
        add("aten.softmax.int", EXP, rand(*shape) * 4, dim)
    add("aten.softmax.int", EXP, torch.tensor([[1000.0, 999.0, -1000.0], [-200.0, -200.5, -300.0]]), -1, torch.float32)


def elementwise():
    special = torch.tensor([-0.0, 0.0, 1.0, -1.0, float("inf"), -float("inf"), float("nan"), 6.0, 6.5, 1e-40, -7.25])
    for x in [rand(3, 4, 2), special, rand(0, 3), rand()]:
        add("aten.relu.default", EXACT, x)
        add("aten.hardtanh.default", EXACT, x, 0.0, 6.0)
        add("aten.sigmoid.default", EXP, x)
    add("aten.hardtanh.default", EXACT, special)
    add("aten.sigmoid.default", EXP, torch.linspace(-110, 110, 45))
    add("aten.clamp.default", EXACT, special, -1.5, 2)
    add("aten.clamp.default", EXACT, special, 0.5)
    add("aten.clamp.default", EXACT, special, None, -0.25)
    add("aten.clamp.default", EXACT, rand(9), 2.0, 1.0)
    shapes = [
        ((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((4,), (2, 3, 4)), ((2, 3, 4), (3, 1)), ((2, 1, 4), (3, 1)),
        ((1,), (2, 2)), ((), (3,)), ((2, 5), ()), ((), ()), ((2, 3, 4, 5), (1, 3, 1, 1)), ((2, 3, 4, 5), (2, 1, 4, 1)),
        ((0, 3), (1, 3)), ((3, 1, 2, 1), (1, 4, 1, 5)),
    ]
    for a, b in shapes:
        for name in ["add", "sub", "mul"]:
            add(f"aten.{name}.Tensor", EXACT, rand(*a), rand(*b))
    add("aten.add.Tensor", SUM, rand(3, 4), rand(4), alpha=2.5)
    add("aten.sub.Tensor", SUM, rand(3, 4), rand(3, 1), alpha=-3)
    add("aten.add.Tensor", EXACT, rand(3, 4), 3)
    add("aten.mul.Tensor", EXACT, rand(3, 4), 0.1)
    add("aten.sub.Tensor", EXACT, rand(5), 1.5)


def activations():
    special = torch.tensor([-0.0, 0.0, 1.0, -1.0, float("inf"), -float("inf"), float("nan"), 6.0, 3.0, -3.0, 1e-40, -7.25])
    wide = torch.linspace(-9, 9, 73)
    for x in [rand(3, 4, 2) * 3, special, wide, rand(0, 3), rand()]:
        for name in ["relu6", "neg", "abs", "square"]:
            add(f"aten.{name}.default", EXACT, x)
        for name in ["tanh", "hardswish", "hardsigmoid", "silu", "elu", "leaky_relu", "exp", "sqrt", "rsqrt"]:
            add(f"aten.{name}.default", EXP, x)
        # PyTorch's vector form has NaN for infinity.
        add("aten.gelu.default", EXP, x.nan_to_num(0, 50, -50))
        add("aten.gelu.default", EXP, x.nan_to_num(0, 50, -50), approximate="tanh")
        add("aten.elu.default", EXP, x, 0.5, 2.0, 1.5)
        add("aten.leaky_relu.default", EXACT, x, 0.25)
        add("aten.clamp_min.default", EXACT, x, 0.5)
        for exponent in [2, 3, 0.5, -1.5]:
            add("aten.pow.Tensor_Scalar", EXP, x, exponent)
    for a, b in [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (3, 1))]:
        add("aten.div.Tensor", EXACT, rand(*a), rand(*b))
    add("aten.div.Tensor", EXACT, rand(3, 4), 0.3)


def layers():
    for shape, sizes in [((2, 3, 8), [8]), ((2, 3, 4, 5), [4, 5]), ((7,), [7]), ((0, 4), [4])]:
        add("aten.layer_norm.default", SUM, rand(*shape) * 3 + 1, sizes, rand(*sizes), rand(*sizes))
        add("aten.layer_norm.default", SUM, rand(*shape), sizes, None, None, 1e-3)
    for shape, groups in [((2, 6, 3, 3), 3), ((1, 4, 5), 1), ((2, 4), 2)]:
        add("aten.group_norm.default", SUM, rand(*shape), groups, rand(shape[1]), rand(shape[1]))
        add("aten.group_norm.default", SUM, rand(*shape), groups, None, None, 1e-2)
    image = rand(2, 3, 5, 7)
    for size in [[10, 14], [5, 7], [3, 4], [1, 1], [11, 6]]:
        add("aten.upsample_nearest2d.vec", EXACT, image, size, None)
        for aligned in [False, True]:
            add("aten.upsample_bilinear2d.vec", SUM, image, size, aligned, None)
    for factors in [[2.0, 2.0], [1.5, 0.7], [3.3, 1.0]]:
        add("aten.upsample_nearest2d.vec", EXACT, image, None, factors)
        for aligned in [False, True]:
            add("aten.upsample_bilinear2d.vec", SUM, image, None, aligned, factors)
    for dtype in [torch.int64, torch.int32]:
        add("aten.embedding.default", EXACT, rand(6, 4), torch.tensor([[0, 5, 2], [3, 3, 1]], dtype=dtype))
    add("aten.embedding.default", EXACT, rand(6, 4), torch.tensor(3))


def pooling():
    nan = rand(1, 1, 5, 5)
    nan[0, 0, 2, 2] = float("nan")
    low = -rand(1, 2, 4, 4).abs()
    for x, *rest in [
        (rand(1, 2, 8, 8), [2, 2]), (rand(2, 3, 7, 9), [3, 3], [2, 2], [1, 1]), (low, [3, 3], [1, 1], [1, 1]),
        (rand(1, 2, 7, 7), [2, 2], [2, 2], [0, 0], [1, 1], True), (rand(2, 9, 10), [3, 2], [2, 1], [1, 0], [2, 3], True),
        (nan, [3, 3], [1, 1]), (rand(1, 1, 2, 2), [3, 3], [2, 2], [1, 1], [1, 1], True), (rand(1, 1, 6, 6), [3, 3], [], [0, 0], [2, 2]),
        (rand(1, 1, 5, 2), [2, 3], [2, 2], [0, 0], [1, 1], True), (rand(1, 1, 1, 1), [2, 2], [1, 1], [1, 1], [2, 2]),
    ]:
        add("aten.max_pool2d.default", EXACT, x, *rest)
    for x, *rest in [
        (rand(1, 2, 8, 8), [2, 2]), (rand(2, 2, 9, 7), [3, 3], [2, 2], [1, 1]), (rand(2, 9, 7), [3, 2], [2, 1], [1, 1], False, False),
        (rand(1, 2, 7, 7), [3, 3], [2, 2], [1, 1], True, True), (rand(1, 2, 6, 8), [3, 3], [2, 3], [1, 1], True, False),
        (rand(1, 1, 6, 6), [2, 3], [], [0, 1], True, True, 5), (rand(1, 1, 4, 4), [2, 2], [1, 1], [1, 1], False, False, -3),
        (rand(1, 3, 25, 5), [25, 5]), (rand(1, 1, 5, 20), [1, 19], [1, 1]),
    ]:
        add("aten.avg_pool2d.default", SUM, x, *rest)
    for x, size in [
        (rand(2, 3, 7, 7), [1, 1]), (rand(1, 2, 8, 9), [4, 3]), (rand(1, 2, 7, 10), [3, 4]), (rand(3, 5, 6), [7, 2]),
        (rand(1, 1, 2, 3), [5, 7]),
    ]:
        add("aten.adaptive_avg_pool2d.default", SUM, x, size)
    for x, *rest in [
        (rand(2, 3, 4, 5), [2, 3], True), (rand(2, 3, 4, 5), [2, 3]), (rand(2, 3, 4, 5), [-1, -2]), (rand(2, 3, 4), [1]),
        (rand(2, 3, 4), [0, 2], True), (rand(3, 40), [0]), (rand(3, 40), [1], True), (rand(2, 3), None), (rand(2, 3), []),
        (rand(), [0]), (rand(0, 4), [1]), (rand(2, 3, 2, 3), [0, 2]),
    ]:
        add("aten.mean.dim", SUM, x, *rest)
    add("aten.mean.dim", SUM, rand(3, 3), [0], dtype=torch.float32)


TYPES = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64, torch.bool, torch.float16]


def movement():
    for dtype in TYPES:
        add("aten.permute.default", EXACT, count(2, 3, 4, dtype=dtype), [2, 0, 1])
        add("aten.slice.Tensor", EXACT, count(3, 5, dtype=dtype), 1, 1, 5, 2)
        add("aten.cat.default", EXACT, [count(2, 3, dtype=dtype), count(2, 1, dtype=dtype)], 1)
        add("aten.constant_pad_nd.default", EXACT, count(2, 3, dtype=dtype), [1, 2], 0 if dtype == torch.float16 else 1)
        add("aten.view.default", EXACT, count(2, 6, dtype=dtype), [3, -1])
        add("aten.clone.default", EXACT, count(2, 2, dtype=dtype))
        observed = count(3, dtype=dtype)
        add("quantization.observe", EXACT, compute=observed, input=observed, observer=3)
    for dims in [[0, 2, 3, 1], [0, 3, 1, 2], [3, 2, 1, 0], [0, 1, 2, 3], [-1, -3, 0, 2], [1, 0, 2, 3]]:
        add("aten.permute.default", EXACT, count(2, 3, 4, 5), dims)
    add("aten.permute.default", EXACT, rand(), [])
    add("aten.permute.default", EXACT, count(2, 0, 3), [2, 1, 0])
    for shape, a, b in [((2, 3), 0, 1), ((2, 3, 4), -1, 1), ((2, 3, 4), 1, 1), ((2, 3, 4, 5), 0, 3), ((), 0, -1)]:
        add("aten.transpose.int", EXACT, count(*shape), a, b)
    for bounds in [
        (0,), (0, 1), (0, 1, 3), (1, -3, -1), (1, 0, INT_MAX), (1, -100, 100), (1, 3, 2), (-1, 1, INT_MAX, 2),
        (1, 0, INT_MAX, 5), (0, None, None, 3), (1, 7), (1, None, -2), (0, -2, INT_MAX),
    ]:
        add("aten.slice.Tensor", EXACT, count(4, 6, 2), *bounds)
    add("aten.slice.Tensor", EXACT, count(2, 3, 8, 8), 2, 0, INT_MAX, 2)
    x = count(2, 3)
    add("aten.cat.default", EXACT, [x, x, x])
    add("aten.cat.default", EXACT, [count(2, 1, 4), count(2, 3, 4), count(2, 0, 4)], -2)
    add("aten.cat.default", EXACT, [count(2)], 0)
    add("aten.cat.default", EXACT, [count(1, 2, 2, 2), count(1, 3, 2, 2)], 1)
    image = count(1, 2, 3, 4)
    for pad in [[1, 2, 3, 0], [0, 0, 0, 0, 1, 1], [-1, 0, 0, -2], [-1, 2], [], [2, 1, 1, 2, 1, 0, 0, 1], [-4, 1], [0, -4]]:
        add("aten.pad.default", EXACT, image, pad)
        add("aten.constant_pad_nd.default", EXACT, image, pad, 0.75)
    add("aten.pad.default", EXACT, image, [1, 1], "constant", -2.5)
    add("aten.pad.default", EXACT, image, [0, 1, 0, 1], "constant", None)
    add("aten.constant_pad_nd.default", EXACT, count(3, dtype=torch.int8), [1, 1], -128)
    for size in [[24], [2, -1], [4, 3, 2], [-1], [1, 24, 1], [2, 3, 4]]:
        add("aten.view.default", EXACT, count(2, 3, 4), size)
        add("aten.reshape.default", EXACT, count(2, 3, 4), size)
    add("aten.view.default", EXACT, rand(1), [])
    add("aten.reshape.default", EXACT, rand(0, 3), [0, 5])
    for shape, *dims in [((2, 3, 4), 1), ((2, 3, 4),), ((2, 3, 4), 0, 1), ((2, 3, 4), -2, -2), ((),), ((2, 3, 1, 1), 1, -1)]:
        add("aten.flatten.using_ints", EXACT, count(*shape), *dims)
    for shape, dim in [((2, 1, 3), 1), ((2, 1, 3), 0), ((1, 1), -1), ((), 0)]:
        add("aten.squeeze.dim", EXACT, count(*shape), dim)
    for shape, dim in [((2, 3), 0), ((2, 3), 2), ((2, 3), -1), ((2, 3), -3), ((), 0)]:
        add("aten.unsqueeze.default", EXACT, count(*shape), dim)
    for shape, size in [((3, 1), [3, 4]), ((3, 1), [-1, 4]), ((1,), [2, 3]), ((2, 3), [2, 3]), ((1, 2, 1), [4, 2, 2, 5]), ((), [2])]:
        add("aten.expand.default", EXACT, count(*shape), size)
    add("aten.expand.default", EXACT, count(3, 1, dtype=torch.int8), [3, 2])
    for shape, *rest in [((3, 4), 0, 1), ((3, 4), 1, -1), ((2, 3, 4), -2, 0), ((5,), 0, 2)]:
        add("aten.select.int", EXACT, count(*shape), *rest)
    add("aten.alias.default", EXACT, rand(2, 3))
    add("aten.dropout.default", EXACT, rand(2, 3), 0.5, False)
    add("aten.contiguous.default", EXACT, rand(2, 3))
    add("aten.clone.default", EXACT, rand(2, 3))


def quantization():
    q = "quantized_decomposed.quantize_per_tensor.default"
    dq = "quantized_decomposed.dequantize_per_tensor.default"
    # Every half quantum and its neighbours, then far values.
    halves = torch.arange(-400, 401).to(torch.float32) / 2
    far = torch.tensor([1e9, -1e9, 3e38, -3e38, float("inf"), -float("inf"), 1e-45, -0.0, 8388609.0, 16777217.0, 4194305.5])
    for scale in [1.0, 0.1, 0.0235294122248888, 1.0 / 255, 3.0000001192092896, 1.1920928955078125e-07]:
        ties = halves * scale
        near = torch.cat([torch.nextafter(ties, ties + 1), torch.nextafter(ties, ties - 1)])[::9]
        x = torch.cat([ties[::2], ties[1::4], near, far, torch.randn(40) * scale * 90])
        for zero_point, low, high, dtype in [
            (0, -128, 127, torch.int8), (-128, -128, 127, torch.int8), (77, -128, 127, torch.int8),
            (0, -127, 127, torch.int8), (131, 0, 255, torch.uint8), (3, 0, 127, torch.uint8),
        ]:
            add(q, EXACT, x, scale, zero_point, low, high, dtype)
    every = torch.arange(-128, 128).to(torch.int8)
    for scale, zero_point in [(1.0, 0), (0.1, -128), (0.0235294122248888, 5), (3.7e-6, 127)]:
        add(dq, EXACT, every, scale, zero_point, -128, 127, torch.int8)
    add(dq, EXACT, every.view(torch.uint8), 0.1, 131, 0, 255, torch.uint8)
    add(dq, EXACT, torch.tensor([-40000, 70000, 2**31 - 1, -(2**31), 123456789], dtype=torch.int32), 1e-4, 0, -(2**31), 2**31 - 1, torch.int32)
    add(dq, EXACT, torch.tensor([-32768, 32767, 1], dtype=torch.int16), 0.25, -2, -32768, 32767, torch.int16, out_dtype=torch.float32)

    q = "quantized_decomposed.quantize_per_channel.default"
    dq = "quantized_decomposed.dequantize_per_channel.default"
    for axis, shape in [(0, (4, 3, 5)), (1, (3, 4, 6)), (2, (2, 3, 4)), (0, (4,)), (-1, (5, 4))]:
        for scale_type in [torch.float32, torch.float64]:
            scales = torch.tensor([0.1, 0.007, 1.0, 0.0392], dtype=scale_type)
            zeros = torch.tensor([0, -5, 127, 3])
            spread = [1] * len(shape)
            spread[axis] = 4
            x = torch.randn(shape) * 60 * scales.view(spread).to(torch.float32)
            x.flatten()[::3] = (torch.round(x / scales.view(spread).to(torch.float32)) + 0.5).mul(scales.view(spread)).flatten()[::3].to(torch.float32)
            for zero_type in [torch.int64, torch.int32]:
                add(q, EXACT, x, scales, zeros.to(zero_type), axis, -128, 127, torch.int8)
            add(q, EXACT, x, scales, zeros.abs(), axis, 0, 255, torch.uint8)
            quanta = torch.randint(-128, 128, shape).to(torch.int8)
            for zero_points in [zeros, zeros.to(torch.int32), None, torch.zeros(4, dtype=torch.int8)]:
                add(dq, EXACT, quanta, scales, zero_points, axis, -128, 127, torch.int8)
    for x in [rand(2, 3, 8) * 3, rand(1, 5) + 4, -rand(3, 4).abs(), torch.zeros(2, 3), rand(1, 1), torch.full((2, 2), 1e-9)]:
        for low, high in [(-128, 127), (-127, 127), (-100, 50)]:
            for name in ["choose_qparams", "choose_qparams_symmetric"]:
                add(f"quantized_decomposed.{name}.tensor", EXACT, x, low, high, 2.0**-12, torch.int8)
        scale, zero = torch.ops.quantized_decomposed.choose_qparams.tensor(x, -128, 127, 2.0**-12, torch.int8)
        add("quantized_decomposed.quantize_per_tensor.tensor", EXACT, x, scale, zero, -128, 127, torch.int8)
        q8 = torch.randint(-128, 128, x.shape).to(torch.int8)
        add("quantized_decomposed.dequantize_per_tensor.tensor", EXACT, q8, scale, zero, -128, 127, torch.int8)
        add("quantized_decomposed.choose_qparams_per_token_asymmetric.default", EXACT, x, torch.int8)
        scale, zero = torch.ops.quantized_decomposed.choose_qparams_per_token_asymmetric(x, torch.int8)
        add("quantized_decomposed.quantize_per_token.default", EXACT, x, scale, zero, -128, 127, torch.int8)
        ties = ((torch.arange(x.shape[-1]) - 2 + 0.5 - zero) * scale).to(torch.float32)
        add("quantized_decomposed.quantize_per_token.default", EXACT, ties, scale, zero, -128, 127, torch.int8)
        add("quantized_decomposed.dequantize_per_token.default", EXACT, q8, scale, zero, -128, 127, torch.int8, torch.float32)
    table = torch.rand(4, 6) * 5 - torch.tensor([[0.5], [9.0], [-3.0], [2.5]])
    scales = (table.amax(1) - table.amin(1)) / 255
    zeros = -table.amin(1) / scales
    add(q, EXACT, table, scales, zeros, 0, 0, 255, torch.uint8)
    add(dq, EXACT, torch.randint(0, 256, (4, 6)).to(torch.uint8), scales, zeros, 0, 0, 255, torch.uint8)
    add(dq, EXACT, torch.tensor([[100000, -5], [7, 2**31 - 1]], dtype=torch.int32), torch.tensor([0.5, 1e-3]), None, 0, -(2**31), 2**31 - 1, torch.int32)
    add(dq, EXACT, torch.tensor([[200, 5]], dtype=torch.uint8), torch.tensor([0.5, 1e-3]), torch.tensor([128, 3]), 1, 0, 255, torch.uint8)


def integers():
    """Integer operators, as the reference representation of a quantized graph uses them."""
    def quanta(*shape, dtype=torch.int32, low=-255, high=256):
        return torch.randint(low, high, shape).to(dtype)

    extreme = torch.tensor([0, 1, -1, 2**31 - 1, -(2**31), 2**30, -123456789, 65537], dtype=torch.int32)
    for x, w, bias, *rest in [
        (quanta(1, 3, 8, 9), quanta(5, 3, 3, 3), True), (quanta(2, 4, 7, 6), quanta(8, 4, 3, 3), False, [2, 2], [1, 1]),
        (quanta(1, 6, 5, 7), quanta(9, 6, 1, 1), True), (quanta(1, 6, 6, 6), quanta(4, 6, 1, 1), True, [2, 1]),
        (quanta(1, 5, 9, 8), quanta(5, 1, 3, 3), True, [1, 1], [1, 1], [1, 1], 5),
        (quanta(2, 4, 9, 10), quanta(8, 2, 3, 5), True, [1, 2], [2, 1], [1, 1], 2), (quanta(4, 6, 6), quanta(2, 2, 2, 2), False, [1, 1], [1, 1], [1, 1], 2),
        (extreme.view(1, 2, 2, 2), extreme.view(4, 2, 1, 1), True),
    ]:
        add("aten.conv2d.default", EXACT, x, w, quanta(w.shape[0], low=-(10**6), high=10**6) if bias else None, *rest)
    # PyTorch has no dilated convolution of int32, so it is computed exactly in float64.
    x, w, bias = quanta(2, 4, 9, 10), quanta(6, 2, 3, 3), quanta(6)
    wide = torch.ops.aten.conv2d.default(x.double(), w.double(), bias.double(), [1, 2], [2, 1], [2, 3], 2).to(torch.int32)
    add("aten.conv2d.default", EXACT, compute=wide, input=x, weight=w, bias=bias, stride=[1, 2], padding=[2, 1], dilation=[2, 3], groups=2)
    add("aten.linear.default", EXACT, quanta(3, 19), quanta(5, 19), quanta(5))
    add("aten.linear.default", EXACT, quanta(2, 3, 8), quanta(4, 8))
    add("aten.linear.default", EXACT, extreme.view(2, 4), extreme.view(2, 4), extreme[:2].contiguous())
    add("aten.conv1d.default", EXACT, quanta(2, 4, 9), quanta(6, 2, 3), quanta(6), [2], [1], [1], 2)
    add("aten.matmul.default", EXACT, quanta(2, 3, 5), quanta(5, 4))
    add("aten.mm.default", EXACT, extreme.view(2, 4), extreme.view(4, 2))
    add("aten.bmm.default", EXACT, quanta(2, 3, 5), quanta(2, 5, 4))
    for name in ["add", "sub", "mul"]:
        add(f"aten.{name}.Tensor", EXACT, quanta(2, 3, 4), quanta(3, 1))
        add(f"aten.{name}.Tensor", EXACT, extreme, extreme.flip(0))
        add(f"aten.{name}.Tensor", EXACT, extreme, 2**31 - 1)
        add(f"aten.{name}.Tensor", EXACT, quanta(4, 5), -128)
    add("aten.add.Tensor", EXACT, extreme, quanta(8), alpha=-3)
    add("aten.sub.Tensor", EXACT, extreme, quanta(8), alpha=2)
    for bits in [0, 1, 7, 30, 31]:
        add("aten.bitwise_right_shift.Tensor_Scalar", EXACT, extreme, bits)
    add("aten.bitwise_right_shift.Tensor_Scalar", EXACT, quanta(2, 3, 4), 3)
    for dtype in [torch.int8, torch.int32]:
        x = quanta(3, 7, dtype=dtype)
        add("aten.clamp.default", EXACT, x, -5, 100)
        add("aten.clamp.default", EXACT, x, 17)
        add("aten.clamp.default", EXACT, x, None, -128)
        add("aten.clamp.default", EXACT, x, 3, 1)
    for x, *rest in [
        (quanta(1, 2, 8, 8), [2, 2]), (quanta(2, 3, 7, 9), [3, 3], [2, 2], [1, 1]), (quanta(2, 9, 10), [3, 2], [2, 1], [1, 0], [2, 3], True),
        (torch.full((1, 1, 4, 4), -128), [3, 3], [1, 1], [1, 1]),
    ]:
        add("aten.max_pool2d.default", EXACT, x.to(torch.int8), *rest)
    for x, *rest in [
        (quanta(2, 3, 4, 5), [2, 3], True), (quanta(2, 3, 4, 5), [2, 3]), (quanta(2, 3, 4), [-2], True), (quanta(3, 40), [0]),
        (quanta(2, 3), None), (quanta(2, 3), []), (extreme, [0]), (quanta(0, 4), [0]), (quanta(2, 3, 2, 3), [0, 2]), (quanta(), [0]),
    ]:
        add("aten.sum.dim_IntList", EXACT, x, *rest, dtype=torch.int32)
    halves = torch.tensor([0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997, 3.3, -3.7, 4194303.5, 8388607.5, 8388609.0, 1e30, -1e30, float("inf"), -float("inf"), float("nan")])
    add("aten.round.default", EXACT, halves)
    add("aten.round.default", EXACT, rand(3, 4, 5) * 300)
    add("aten.round.default", EXACT, rand())
    numbers = torch.tensor([0, 1, 2, 3, 77, 100, 127], dtype=torch.int64)
    for source in [t for t in TYPES if t != torch.float16]:
        for target in [t for t in TYPES if t != torch.float16]:
            add("aten.to.dtype", EXACT, numbers.to(source), target)
    add("aten.to.dtype", EXACT, torch.tensor([0.0, 0.5, 1.7, -1.7, -0.9, 127.0, -128.0, 99.999]), torch.int8)
    add("aten.to.dtype", EXACT, torch.tensor([0.5, -1.7, 2147483520.0, -2147483648.0]), torch.int32)
    add("aten.to.dtype", EXACT, extreme, torch.float32)
    add("aten.to.dtype", EXACT, extreme, torch.int8)
    add("aten.to.dtype", EXACT, extreme, torch.int64)
    add("aten.to.dtype", EXACT, quanta(2, 3, dtype=torch.int8), torch.int32)
    add("aten.to.dtype", EXACT, quanta(0, 3, dtype=torch.int8), torch.float32)


def chosenParameters():
    # The symmetric zero point belongs to the type, not to the range.
    for x in [rand(2, 9) * 3, rand(17).abs(), torch.tensor([3e38, -1e38, 0.0]), torch.tensor([1e-38, -1e-38])]:
        for low, high, dtype in [(0, 127, torch.int8), (-128, 0, torch.int8), (0, 255, torch.uint8), (0, 127, torch.uint8)]:
            for name in ["choose_qparams", "choose_qparams_symmetric"]:
                add(f"quantized_decomposed.{name}.tensor", EXACT, x, low, high, 1e-6, dtype)
        add("quantized_decomposed.choose_qparams_per_token_asymmetric.default", EXACT, x, torch.int8)


def moreFunctions():
    special = torch.tensor([-0.0, 0.0, 1.0, -1.0, float("inf"), -float("inf"), float("nan"), 0.5, 2.5, -2.5, 1e-40, 1e9])
    for x in [rand(3, 4, 2) * 3, special, rand(0, 3), rand()]:
        for name in ["log", "sin", "cos"]:
            add(f"aten.{name}.default", EXP, x)
        for name in ["floor", "ceil"]:
            add(f"aten.{name}.default", EXACT, x)
    for name in ["minimum", "maximum"]:
        for a, b in [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (3, 1))]:
            add(f"aten.{name}.default", EXACT, rand(*a), rand(*b))
        add(f"aten.{name}.default", EXACT, special, special.flip(0))


def pieces():
    for dtype in TYPES:
        add("aten.chunk.default", EXACT, count(3, 4, dtype=dtype), 2, 1)
        add("aten.stack.default", EXACT, [count(2, 3, dtype=dtype), count(3, 2, dtype=dtype).T.contiguous()], 1)
    for shape, *rest in [((5, 3), 2), ((5, 3), 4, 0), ((5, 3), 9), ((2, 7, 2), 3, -2), ((0, 2), 3), ((2, 4, 3, 3), 2, 1), ((4,), 1)]:
        add("aten.chunk.default", EXACT, count(*shape), *rest)
    for shape, *rest in [((5, 3), 2), ((2, 6), 3, 1), ((2, 6), 10, -1), ((0, 2), 0), ((0, 2), 4), ((1, 5, 2, 2), 2, 1)]:
        add("aten.split.Tensor", EXACT, count(*shape), *rest)
    for shape, *rest in [((6, 2), [1, 5]), ((2, 6), [2, 0, 3, 1], 1), ((3,), [3]), ((2, 3, 4), [1, 3], -1), ((0, 2), [0, 0])]:
        add("aten.split_with_sizes.default", EXACT, count(*shape), *rest)
    for shape, *rest in [((3, 2),), ((3, 2), 1), ((2, 3, 4), -2), ((2,),), ((1, 2),), ((2, 0), 0), ((3, 2, 2, 2, 2), 0)]:
        add("aten.unbind.int", EXACT, count(*shape), *rest)
    for shape, n, *rest in [((2, 3), 2), ((2, 3), 3, 2), ((2, 3), 1, -1), ((), 2), ((2, 3), 2, -3), ((0, 2), 2, 1)]:
        add("aten.stack.default", EXACT, [rand(*shape) for _ in range(n)], *rest)
    for shape, *rest in [((2, 12), 1, [3, 4]), ((2, 12), -1, [-1, 6]), ((6, 2), 0, [2, 3, 1]), ((4,), 0, [-1]), ((2, 0), 1, [0, 3])]:
        add("aten.unflatten.int", EXACT, count(*shape), *rest)
    add("aten.unflatten.int", EXACT, count(2, 6, dtype=torch.int8), 1, [3, 2])


def creations():
    for name in ["zeros", "ones"]:
        for dtype in [None, torch.float32, torch.float64, torch.int8, torch.int64, torch.bool]:
            add(f"aten.{name}.default", EXACT, [2, 3], dtype=dtype)
        add(f"aten.{name}.default", EXACT, [])
        add(f"aten.{name}.default", EXACT, [0, 2], pin_memory=False)
    for size, value, dtype in [
        ([2, 3], 1.5, None), ([4], 7, None), ([2], True, None), ([3], -2.75, torch.int32), ([3], 2, torch.float32), ([], -1, torch.int8),
        ([2], 2**53 + 1, torch.int64), ([2], 1e300, torch.float64), ([3], 255, torch.uint8), ([2], 0.5, torch.bool), ([2], False, torch.int16),
    ]:
        add("aten.full.default", EXACT, size, value, dtype=dtype)


def attention():
    name = "aten.scaled_dot_product_attention.default"
    add(name, SUM, rand(2, 3, 5, 8), rand(2, 3, 7, 8), rand(2, 3, 7, 11))
    add(name, SUM, rand(5, 4), rand(5, 4), rand(5, 4), None, 0.0, True)
    add(name, SUM, rand(2, 37, 4), rand(2, 3, 4), rand(2, 3, 8), None, 0.0, True, scale=0.7)
    add(name, SUM, rand(1, 2, 3, 4), rand(1, 2, 6, 4), rand(1, 2, 6, 4), None, 0.0, True)
    for shape in [(5, 6), (2, 3, 5, 6), (2, 1, 1, 6), (3, 5, 1), (1, 1)]:
        add(name, SUM, rand(2, 3, 5, 4), rand(2, 3, 6, 4), rand(2, 3, 6, 9), rand(*shape))
        mask = torch.rand(shape) > 0.4
        add(name, SUM, rand(2, 3, 5, 4), rand(2, 3, 6, 4), rand(2, 3, 6, 9), mask)
    hidden = torch.tensor([[True, False, True], [False, False, False]])
    add(name, SUM, rand(1, 1, 2, 4), rand(1, 1, 3, 4), rand(1, 1, 3, 4), hidden)
    infinite = torch.zeros(2, 3).masked_fill(~hidden, float("-inf"))
    add(name, SUM, rand(1, 1, 2, 4), rand(1, 1, 3, 4), rand(1, 1, 3, 4), infinite, scale=-0.5)


def recurrent():
    for gates, name in [(4, "aten.lstm.input"), (3, "aten.gru.input")]:
        for shape, hidden, layers, biases, both, first in [
            ((5, 2, 3), 4, 1, True, False, False), ((2, 6, 3), 5, 2, True, True, True), ((3, 1, 2), 9, 3, False, False, False),
            ((4, 3, 2), 2, 1, False, True, False), ((1, 1, 1), 1, 2, True, False, True),
        ]:
            directions = 2 if both else 1
            params = []
            for cell in range(layers * directions):
                params += [rand(gates * hidden, shape[2] if cell < directions else hidden * directions), rand(gates * hidden, hidden)]
                params += [rand(gates * hidden), rand(gates * hidden)] if biases else []
            states = [rand(layers * directions, shape[0 if first else 1], hidden) for _ in range(2 if gates == 4 else 1)]
            hx = states if gates == 4 else states[0]
            add(name, SUM, rand(*shape), hx, params, biases, layers, 0.0, False, both, first)
    add("aten.gru.input", SUM, rand(2, 0, 3), rand(1, 0, 2), [rand(6, 3), rand(6, 2)], False, 1, 0.5, False, False, False)


def others():
    for dtype in TYPES:
        add("aten.index.Tensor", EXACT, count(4, 3, dtype=dtype), [torch.tensor([[0, -1], [2, 2]])])
        add("aten.roll.default", EXACT, count(3, 4, dtype=dtype), [1, -3], [0, 1])
    add("aten.index.Tensor", EXACT, rand(3), [torch.tensor([2, 0, -3], dtype=torch.int32)])
    add("aten.index.Tensor", EXACT, rand(3, 2, 2), [torch.tensor(1)])
    add("aten.index.Tensor", EXACT, rand(0, 2), [torch.zeros(0, 3, dtype=torch.int64)])
    for shape, *rest in [((2, 3, 4), [1], [-1]), ((2, 3), [2]), ((2, 3), [-7], []), ((4, 5), [9, -2], [1, 0]), ((4,), [1, 2], [0, 0]), ((0, 2), [1], [0]), ((2, 5, 5, 1), [-2, -3], [1, 2])]:
        add("aten.roll.default", EXACT, count(*shape), *rest)
    for a, b in [((2, 6), (3, 4)), ((4,), (2, 2)), ((1,), ()), ((0, 3), (5, 0))]:
        add("aten.reshape_as.default", EXACT, rand(*a), rand(*b))
        add("aten.view_as.default", EXACT, rand(*a), rand(*b))
    for a, b in [((3, 1), (3, 4)), ((1, 2), (5, 3, 2)), ((), (2,)), ((2, 3), (2, 3))]:
        add("aten.expand_as.default", EXACT, rand(*a), rand(*b))
    for shape in [(3, 4), (5,), (), (1, 3)]:
        add("aten.t.default", EXACT, rand(*shape))
    add("aten.t.default", EXACT, count(2, 3, dtype=torch.int8))
    for x, *rest in [(rand(2, 3), 1), (rand(5), 0.5, 2), (rand(), -3.0, -0.25), (rand(0, 2), 1.5)]:
        add("aten.rsub.Scalar", SUM, x, *rest)
    for shape, dim in [((3, 5), 1), ((3, 5), 0), ((2, 3, 4), -2), ((), 0)]:
        add("aten.log_softmax.int", EXP, rand(*shape) * 4, dim)
    add("aten.log_softmax.int", EXP, torch.tensor([[1000.0, 999.0, -1000.0], [-200.0, -200.5, -300.0]]), -1, torch.float32)
    for shape, channels in [((2, 3, 4), 3), ((2, 3), 3), ((2, 3, 2, 2), 1), ((5,), 1), ((0, 2), 2)]:
        add("aten.prelu.default", EXACT, rand(*shape), rand(channels))
    for bias, m, k, n, options in [((4,), 3, 5, 4, {}), ((3, 1), 3, 2, 4, {"alpha": 0.5}), ((2, 2), 2, 3, 2, {"beta": -2, "alpha": 3}), ((1, 3), 2, 1, 3, {"beta": 0})]:
        add("aten.addmm.default", SUM, rand(*bias), rand(m, k), rand(k, n), **options)
    for x, w, o, *rest in [(rand(1, 3, 5), rand(3, 2, 3), 2), (rand(2, 4, 3), rand(4, 1, 2), 2, [2], [1], [1], 2, [3]), (rand(3, 5), rand(3, 2, 2), 2, [3])]:
        add("aten.conv_transpose1d.default", SUM, x, w, rand(o), *rest)
    for x, *rest in [(rand(1, 2, 9), [2]), (rand(2, 9), [3], [2], [1], [2], True)]:
        add("aten.max_pool1d.default", EXACT, x, *rest)
    for x, *rest in [(rand(1, 2, 9), [2]), (rand(2, 9), [3], [2], [1], True, False), (rand(1, 1, 7), [3], [3], [1])]:
        add("aten.avg_pool1d.default", SUM, x, *rest)
    for x, size in [(rand(2, 3, 7), [1]), (rand(2, 9), [4]), (rand(1, 1, 3), [5])]:
        add("aten.adaptive_avg_pool1d.default", SUM, x, size)
    special = torch.tensor([-0.0, 0.0, float("inf"), -float("inf"), float("nan"), 1e-40, 9.0])
    for x in [rand(3, 4, 2) * 2, special, torch.linspace(-4, 4, 81), rand(0, 3), rand()]:
        add("aten.erf.default", EXP, x)


for make in [convolutions, moreConvolutions, normalization, elementwise, activations, layers, pooling, movement, quantization, integers, chosenParameters, moreFunctions, pieces, creations, attention, recurrent, others]:
    make()
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
(HERE / "operators.json").write_text(f'{{"torch":"{torch.__version__}","cases":[\n{lines}\n]}}\n')
(HERE / "operators.bin").write_bytes(data)
print(len(cases), "cases,", len(data), "bytes")
