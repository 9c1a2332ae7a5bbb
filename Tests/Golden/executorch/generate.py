"""Makes the ExecuTorch programs of the tests: NAME.pte and NAME.npz (input0, …, output as ExecuTorch computes it).

usage: python generate.py        (needs torch, torchao and executorch)
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import to_edge_transform_and_lower
from executorch.extension.pybindings.portable_lib import _load_for_executorch
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

HERE = pathlib.Path(__file__).parent


class Images(torch.nn.Module):
    """What convolutional networks are made of."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.depthwise = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide = torch.nn.Conv2d(8, 16, 3, padding=2, dilation=2, groups=2)
        self.point = torch.nn.Conv2d(8, 16, 1, bias=False)
        self.head = torch.nn.Linear(32 * 4, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        a = F.hardtanh(self.depthwise(F.pad(x, (0, 1, 1, 0)))[:, :, :-1, :-1], 0, 6)
        x = torch.cat([F.relu(self.wide(a)), self.point(x)], dim=1)
        x = F.max_pool2d(x, 3, stride=2, padding=1) + F.avg_pool2d(x, 2)
        x = F.adaptive_avg_pool2d(x * 0.5, 1) * torch.sigmoid(x) - x
        return self.head(F.max_pool2d(x, 2).flatten(1))


class Functions(torch.nn.Module):
    """Functions of one element, normalization, products: f32, part of it on portable kernels."""

    def __init__(self):
        super().__init__()
        self.up = torch.nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1)
        self.norm = torch.nn.LayerNorm(8)
        self.table = torch.nn.Embedding(6, 8)

    def forward(self, x, indices):
        y = torch.tanh(x) + F.hardswish(x) - F.gelu(x) * F.leaky_relu(x, 0.1) + F.elu(x) + F.silu(x)
        y = y + x.abs().sqrt() + torch.rsqrt(x * x + 1) + torch.exp(-x.abs()) + F.hardsigmoid(x)
        y = y / (x * x + 2.0)
        z = F.interpolate(self.up(y), scale_factor=2, mode="bilinear")[:, :, ::4, 1::4]
        z = self.norm(z.reshape(-1, 3, 16)[:, :, :8]) + self.table(indices)
        return F.softmax(z @ z.transpose(1, 2), dim=-1).permute(0, 2, 1)


class Rows(torch.nn.Module):
    """Linear layers whose inputs are quantized at run time."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(12, 20)
        self.second = torch.nn.Linear(20, 6, bias=False)

    def forward(self, x):
        return self.second(F.relu(self.first(x)))


def quantized(model, inputs, **options):
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, **options))
    prepared = prepare_pt2e(torch.export.export(model, inputs).module(), quantizer)
    for _ in range(8):
        prepared(*[torch.randn_like(i) if i.is_floating_point() else i for i in inputs])
    return convert_pt2e(prepared)


def write(name, model, inputs):
    program = to_edge_transform_and_lower(
        torch.export.export(model, inputs), partitioner=[XnnpackPartitioner()]
    ).to_executorch()
    (HERE / f"{name}.pte").write_bytes(program.buffer)
    output = _load_for_executorch(str(HERE / f"{name}.pte")).forward(inputs)[0]
    arrays = {f"input{i}": tensor.numpy() for i, tensor in enumerate(inputs)}
    np.savez(HERE / f"{name}.npz", output=output.numpy(), **arrays)
    print(name, len(program.buffer), output.flatten()[:4])


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images = (torch.randn(1, 3, 16, 16),)
    functions = (torch.randn(1, 4, 8, 8), torch.tensor([[0, 3, 5]] ))
    rows = (torch.randn(7, 12),)
    write("images_float", Images().eval(), images)
    write("images_int8", quantized(Images().eval(), images), images)
    write("functions_float", Functions().eval(), functions)
    write("rows_dynamic", quantized(Rows().eval(), rows, is_dynamic=True), rows)


main()
