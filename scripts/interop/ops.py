"""The cases of the operator matrix: one operator each, with weights of a fixed seed where it has some."""

import torch
from torch import nn
from torch.nn import functional as F

IMAGE = (1, 8, 12, 12)
MATRIX = (2, 5, 16)
HEADS = (1, 2, 6, 8)


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class Rows(nn.Module):
    """Some rows of a matrix."""

    def __init__(self, indices):
        super().__init__()
        self.register_buffer("indices", torch.tensor(indices))

    def forward(self, x):
        return x[self.indices]


def conv(*arguments, **options):
    return lambda: nn.Conv2d(*arguments, **options)


def call(function):
    return lambda: Call(function)


def between(function):
    """A function of the elements that a convolution gives, before another."""
    return lambda: nn.Sequential(nn.Conv2d(8, 8, 3), Call(function), nn.Conv2d(8, 4, 1))


def trained(norm):
    """A normalization whose statistics and factors are not those of its construction."""

    def make():
        module = norm()
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.data.uniform_(0.5, 1.5)
        return module

    return make


# name: (module, shapes of the inputs)
CASES = {
    "conv2d": (conv(8, 16, 3), [IMAGE]),
    "conv2d 1x1": (conv(8, 16, 1), [IMAGE]),
    "conv2d padded": (conv(8, 16, 3, padding=1), [IMAGE]),
    "conv2d padded unevenly": (conv(8, 16, 3, padding=(2, 0)), [IMAGE]),
    "conv2d same, even kernel": (conv(8, 16, 4, padding="same"), [IMAGE]),
    "conv2d even kernel": (conv(8, 16, (2, 4), padding=1), [IMAGE]),
    "conv2d stride 2": (conv(8, 16, 3, stride=2, padding=1), [IMAGE]),
    "conv2d stride 2, 1": (conv(8, 16, 3, stride=(2, 1)), [IMAGE]),
    "conv2d dilated": (conv(8, 16, 3, dilation=2, padding=2), [IMAGE]),
    "conv2d groups": (conv(8, 16, 3, groups=2), [IMAGE]),
    "conv2d depthwise": (conv(8, 8, 3, padding=1, groups=8), [IMAGE]),
    "conv2d depthwise, multiplier 2": (conv(8, 16, 3, groups=8), [IMAGE]),
    "conv2d depthwise dilated": (conv(8, 8, 3, dilation=2, groups=8), [IMAGE]),
    "conv2d without bias": (conv(8, 16, 3, bias=False), [IMAGE]),
    "conv2d + relu": (lambda: nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU()), [IMAGE]),
    "conv2d + hardtanh": (lambda: nn.Sequential(nn.Conv2d(8, 16, 3), nn.Hardtanh(-0.3, 0.4)), [IMAGE]),
    "conv2d + batch_norm": (lambda: nn.Sequential(nn.Conv2d(8, 16, 3), trained(lambda: nn.BatchNorm2d(16))()), [IMAGE]),
    "conv1d": (lambda: nn.Conv1d(8, 16, 3, padding=1), [(1, 8, 20)]),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(8, 4, 3), [IMAGE]),
    "conv_transpose2d stride 2": (lambda: nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1), [IMAGE]),
    "conv_transpose2d groups": (lambda: nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2), [IMAGE]),
    "conv_transpose1d": (lambda: nn.ConvTranspose1d(8, 4, 3, stride=2), [(1, 8, 20)]),
    "conv2d without batch": (conv(8, 16, 3), [IMAGE[1:]]),
    "conv2d with a computed weight": (call(lambda x, w: F.conv2d(x, w, padding=1)), [IMAGE, (4, 8, 3, 3)]),
    "conv1d same, computed weight": (call(lambda x, w: F.conv1d(x, w, padding="same")), [(1, 8, 20), (4, 8, 4)]),
    "conv_transpose2d with a computed weight": (
        call(lambda x, w: F.conv_transpose2d(x, w, stride=2, groups=2, output_padding=1)), [IMAGE, (8, 3, 3, 3)]),
    "linear": (lambda: nn.Linear(16, 12), [(3, 16)]),
    "linear of rank 3": (lambda: nn.Linear(16, 12), [MATRIX]),
    "linear without bias": (lambda: nn.Linear(16, 12, bias=False), [(3, 16)]),
    "linear + relu": (lambda: nn.Sequential(nn.Linear(16, 12), nn.ReLU()), [(3, 16)]),
    "add": (call(lambda x, y: x + y), [IMAGE, IMAGE]),
    "add broadcast": (call(lambda x, y: x + y), [IMAGE, (1, 8, 1, 1)]),
    "add + relu": (call(lambda x, y: F.relu(x + y)), [IMAGE, IMAGE]),
    "add to itself": (call(lambda x: x + x), [IMAGE]),
    "sub": (call(lambda x, y: x - y), [IMAGE, IMAGE]),
    "sub broadcast": (call(lambda x, y: x - y), [(4, 6), (6,)]),
    "sub of a number": (call(lambda x: 1 - x), [IMAGE]),
    "sub of a number, scaled": (call(lambda x: torch.rsub(x, 2.5, alpha=3)), [IMAGE]),
    "1 - sigmoid between convolutions": (between(lambda x: 1 - torch.sigmoid(x)), [IMAGE]),
    "numbers": (call(lambda x: (x + 2) * 3 - 1.5), [IMAGE]),
    "mul": (call(lambda x, y: x * y), [IMAGE, IMAGE]),
    "mul broadcast": (call(lambda x, y: x * y), [IMAGE, (1, 8, 1, 1)]),
    "div": (call(lambda x, y: x / (y.abs() + 1)), [IMAGE, IMAGE]),
    "minimum": (call(torch.minimum), [IMAGE, IMAGE]),
    "maximum": (call(torch.maximum), [IMAGE, IMAGE]),
    "relu": (nn.ReLU, [IMAGE]),
    "relu6": (nn.ReLU6, [IMAGE]),
    "hardtanh": (lambda: nn.Hardtanh(-0.7, 1.3), [IMAGE]),
    "clamp": (call(lambda x: x.clamp(-0.5, 1.5)), [IMAGE]),
    "clamp from below": (call(lambda x: x.clamp(min=-0.25)), [IMAGE]),
    "hardswish": (nn.Hardswish, [IMAGE]),
    "hardsigmoid": (nn.Hardsigmoid, [IMAGE]),
    "sigmoid": (nn.Sigmoid, [IMAGE]),
    "tanh": (nn.Tanh, [IMAGE]),
    "silu": (nn.SiLU, [IMAGE]),
    "gelu": (nn.GELU, [IMAGE]),
    "gelu tanh": (lambda: nn.GELU(approximate="tanh"), [IMAGE]),
    "gelu tanh between convolutions": (between(lambda x: F.gelu(x, approximate="tanh")), [IMAGE]),
    "leaky_relu": (lambda: nn.LeakyReLU(0.1), [IMAGE]),
    "elu": (nn.ELU, [IMAGE]),
    "prelu": (lambda: nn.PReLU(8), [IMAGE]),
    "prelu, one slope": (nn.PReLU, [MATRIX]),
    "prelu of a matrix": (lambda: nn.PReLU(16), [(3, 16)]),
    "prelu of rank 3": (lambda: nn.PReLU(5), [MATRIX]),
    "round": (call(lambda x: torch.round(x * 3)), [IMAGE]),
    "floor": (call(lambda x: torch.floor(x * 3)), [IMAGE]),
    "softmax": (lambda: nn.Softmax(dim=-1), [(3, 10)]),
    "log_softmax": (lambda: nn.LogSoftmax(dim=-1), [(3, 10)]),
    "log_softmax of channels": (lambda: nn.LogSoftmax(dim=1), [IMAGE]),
    "exp": (call(torch.exp), [IMAGE]),
    "log": (call(lambda x: torch.log(x.abs() + 1)), [IMAGE]),
    "sqrt": (call(lambda x: torch.sqrt(x.abs())), [IMAGE]),
    "rsqrt": (call(lambda x: torch.rsqrt(x.abs() + 1)), [IMAGE]),
    "abs": (call(torch.abs), [IMAGE]),
    "neg": (call(torch.neg), [IMAGE]),
    "pow": (call(lambda x: x**2), [IMAGE]),
    "pow of 3": (call(lambda x: x**3), [IMAGE]),
    "cubes between convolutions": (between(lambda x: x**3), [IMAGE]),
    "max_pool2d": (lambda: nn.MaxPool2d(2), [IMAGE]),
    "max_pool2d padded": (lambda: nn.MaxPool2d(3, 2, padding=1), [IMAGE]),
    "max_pool2d ceil_mode": (lambda: nn.MaxPool2d(3, 2, ceil_mode=True), [IMAGE]),
    "max_pool2d of one element": (lambda: nn.MaxPool2d(1, 2), [IMAGE]),
    "max_pool1d": (lambda: nn.MaxPool1d(3, 2), [(1, 8, 20)]),
    "max_pool1d without batch": (lambda: nn.MaxPool1d(3, 2), [(8, 20)]),
    "avg_pool1d": (lambda: nn.AvgPool1d(3, 2), [(1, 8, 20)]),
    "avg_pool2d": (lambda: nn.AvgPool2d(2), [IMAGE]),
    "avg_pool2d padded": (lambda: nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), [IMAGE]),
    "adaptive_avg_pool2d": (lambda: nn.AdaptiveAvgPool2d(1), [IMAGE]),
    "adaptive_avg_pool2d 3x3": (lambda: nn.AdaptiveAvgPool2d(3), [IMAGE]),
    "mean.dim": (call(lambda x: x.mean((2, 3))), [IMAGE]),
    "mean.dim keepdim": (call(lambda x: x.mean((2, 3), keepdim=True)), [IMAGE]),
    "mean of the last": (call(lambda x: x.mean(-1)), [MATRIX]),
    "cat": (call(lambda x, y: torch.cat([x, y], 1)), [IMAGE, IMAGE]),
    "cat of three": (call(lambda x, y, z: torch.cat([x, y, z], 2)), [IMAGE, IMAGE, IMAGE]),
    "cat of seven": (call(lambda x: torch.cat([x * i for i in range(1, 8)], 1)), [IMAGE]),
    "stack": (call(lambda x, y: torch.stack([x, y], 1)), [MATRIX, MATRIX]),
    "split": (call(lambda x: torch.add(*x.split(4, 1))), [IMAGE]),
    "unbind": (call(lambda x: torch.add(*x.unbind(0))), [MATRIX]),
    "roll": (call(lambda x: x.roll(2, 1)), [MATRIX]),
    "roll of all elements": (call(lambda x: x.roll(3)), [MATRIX]),
    "index": (lambda: Rows([2, 0, 4, -1]), [(6, 5)]),
    "slice with a step": (call(lambda x: x[:, :, ::2]), [IMAGE]),
    "slice": (call(lambda x: x[:, 2:6, :, 1:]), [IMAGE]),
    "pad": (call(lambda x: F.pad(x, (1, 2, 0, 1))), [IMAGE]),
    "permute": (call(lambda x: x.permute(0, 2, 3, 1)), [IMAGE]),
    "transpose": (call(lambda x: x.transpose(1, 2)), [MATRIX]),
    "view": (call(lambda x: x.view(1, 16, 72)), [IMAGE]),
    "flatten": (nn.Flatten, [IMAGE]),
    "squeeze": (call(lambda x: x.squeeze(1)), [(3, 1, 6)]),
    "unsqueeze": (call(lambda x: x.unsqueeze(1)), [MATRIX]),
    "batch_norm": (trained(lambda: nn.BatchNorm2d(8)), [IMAGE]),
    "layer_norm": (trained(lambda: nn.LayerNorm(16)), [MATRIX]),
    "group_norm": (trained(lambda: nn.GroupNorm(4, 8)), [IMAGE]),
    "addmm": (call(lambda x, a, b: torch.addmm(x, a, b, beta=2, alpha=0.5)), [(5,), (4, 6), (6, 5)]),
    "attention": (call(F.scaled_dot_product_attention), [HEADS, HEADS, HEADS]),
    "attention, causal": (call(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)), [HEADS] * 3),
    "attention, masked": (call(F.scaled_dot_product_attention), [HEADS, HEADS, HEADS, (6, 6)]),
    "bmm": (call(torch.bmm), [(2, 5, 16), (2, 16, 3)]),
    "matmul": (call(torch.matmul), [(5, 16), (16, 3)]),
    "matmul of rank 4": (call(torch.matmul), [HEADS, (1, 2, 8, 3)]),
    "matmul broadcast": (call(torch.matmul), [(3, 1, 5, 16), (2, 16, 3)]),
    "upsample bilinear": (lambda: nn.UpsamplingBilinear2d(scale_factor=2), [IMAGE]),
    "upsample bilinear, no aligned corners": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), [IMAGE]),
    "upsample nearest": (lambda: nn.Upsample(scale_factor=2, mode="nearest"), [IMAGE]),
    "embedding": (lambda: nn.Embedding(10, 6), [(4,)]),
}


def module(name):
    torch.manual_seed(0)
    return CASES[name][0]().eval()


def inputs(name, seed):
    """Inputs of a case; those of an embedding are indices."""
    generator = torch.Generator().manual_seed(seed)
    if name == "embedding":
        return [torch.randint(0, 10, shape, generator=generator).numpy() for shape in CASES[name][1]]
    return [torch.randn(shape, generator=generator).numpy() for shape in CASES[name][1]]
