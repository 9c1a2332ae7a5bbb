"""Dynamically quantized programs as torch.export writes them, and what PyTorch computes with them.

dynamic_tensor.pt2 is XNNPACKQuantizer's (torchao): parameters per tensor. dynamic_token.pt2 has the same layers with
parameters per token, as `choose_qparams_per_token_asymmetric` gives them. dynamic_outputs.npz: input and both results.
Usage: python generate_dynamic.py        (made with torch 2.15, torchao 0.18)
"""

import pathlib

import numpy
import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

HERE = pathlib.Path(__file__).parent
Q = torch.ops.quantized_decomposed
torch.manual_seed(3)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(24, 17)
        self.second = torch.nn.Linear(17, 5)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


class PerToken(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        for name in ["first", "second"]:
            layer = getattr(net, name)
            scales = layer.weight.detach().abs().amax(1) / 127
            quanta = torch.clamp(torch.round(layer.weight.detach() / scales[:, None]), -127, 127)
            self.register_buffer(name + "_weight", quanta.to(torch.int8))
            self.register_buffer(name + "_scales", scales)
            self.register_buffer(name + "_zeros", torch.zeros(len(scales), dtype=torch.int64))
            self.register_buffer(name + "_bias", layer.bias.detach())

    def layer(self, name, x):
        scales, zeros = Q.choose_qparams_per_token_asymmetric(x, torch.int8)
        quanta = Q.quantize_per_token(x, scales, zeros, -128, 127, torch.int8)
        x = Q.dequantize_per_token(quanta, scales, zeros, -128, 127, torch.int8, torch.float32)
        scales, zeros = getattr(self, name + "_scales"), getattr(self, name + "_zeros")
        weight = Q.dequantize_per_channel(getattr(self, name + "_weight"), scales, zeros, 0, -127, 127, torch.int8)
        return torch.nn.functional.linear(x, weight, getattr(self, name + "_bias"))

    def forward(self, x):
        return self.layer("second", torch.relu(self.layer("first", x)))


net, x = Net().eval(), torch.randn(3, 4, 24) * 2
quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
prepared = prepare_pt2e(torch.export.export(net, (x,)).module(), quantizer)
prepared(x)
results = {"x": x.numpy()}
for name, module in [("tensor", convert_pt2e(prepared)), ("token", PerToken(net).eval())]:
    program = torch.export.export(module, (x,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # this machine's paths
    torch.export.save(program, HERE / f"dynamic_{name}.pt2")
    results[name] = program.module()(x).detach().numpy()
numpy.savez(HERE / "dynamic_outputs.npz", **results)
