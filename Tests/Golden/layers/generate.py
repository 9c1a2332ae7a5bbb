"""Graphs that PyTorch exports for single layers, and what they compute with drawn weights.

    python generate.py

Writes layers.txt, with a line `== NAME` before each graph in the format of ../zoo/generate.py, and layers.npz. Made with
PyTorch 2.15. Weights are drawn as there, with gain 1; the inputs of a layer one after the other from the next seed.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "../zoo"))
from generate import SEED, GraphText, drawn_state  # noqa: E402


class Attention(nn.Module):
    """Calls attention as a part of a model: self, or with one or two other tensors."""

    def __init__(self, inputs, batch_first, need_weights, bias=True):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, bias=bias, batch_first=batch_first)
        self.inputs, self.need_weights = inputs, need_weights

    def forward(self, *x):
        output, weights = self.attention(*(x[i] for i in self.inputs), need_weights=self.need_weights)
        return (output, weights) if self.need_weights else output


CASES = {
    "linear": (nn.Linear(6, 4), [(2, 3, 6)]),
    "linear_no_bias": (nn.Linear(6, 4, bias=False), [(2, 6)]),
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), [(2, 4, 9)]),
    "conv2d": (nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=1), [(2, 4, 9, 8)]),
    "conv2d_dilated": (nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4, bias=False), [(1, 4, 9, 8)]),
    "conv_transpose2d": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), [(2, 4, 5, 4)]),
    "batch_norm1d": (nn.BatchNorm1d(4), [(3, 4)]),
    "batch_norm1d_length": (nn.BatchNorm1d(4, eps=1e-3), [(3, 4, 5)]),
    "batch_norm2d": (nn.BatchNorm2d(4, affine=False), [(2, 4, 3, 3)]),
    "layer_norm": (nn.LayerNorm((3, 4)), [(2, 3, 4)]),
    "layer_norm_plain": (nn.LayerNorm(4, eps=1e-6, elementwise_affine=False), [(2, 3, 4)]),
    "group_norm": (nn.GroupNorm(2, 4), [(2, 4, 3, 3)]),
    "embedding": (nn.Embedding(10, 4), [(2, 3)]),
    "relu": (nn.ReLU(), [(2, 5)]),
    "relu6": (nn.ReLU6(inplace=True), [(2, 5)]),
    "hardswish": (nn.Hardswish(inplace=True), [(2, 5)]),
    "hardsigmoid": (nn.Hardsigmoid(), [(2, 5)]),
    "silu": (nn.SiLU(inplace=True), [(2, 5)]),
    "gelu": (nn.GELU(), [(2, 5)]),
    "gelu_tanh": (nn.GELU(approximate="tanh"), [(2, 5)]),
    "sigmoid": (nn.Sigmoid(), [(2, 5)]),
    "tanh": (nn.Tanh(), [(2, 5)]),
    "softmax": (nn.Softmax(dim=1), [(2, 5, 3)]),
    "max_pool2d": (nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), [(1, 2, 9, 8)]),
    "avg_pool2d": (nn.AvgPool2d((3, 2), padding=(1, 0), count_include_pad=False), [(1, 2, 9, 8)]),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d((3, 2)), [(1, 2, 9, 8)]),
    "dropout": (nn.Dropout(0.2), [(2, 5)]),
    "flatten": (nn.Flatten(), [(2, 3, 4)]),
    "sequential": (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), [(2, 5)]),
    "attention_self": (Attention((0, 0, 0), True, True), [(2, 5, 12)]),
    "attention_fast": (Attention((0, 0, 0), True, False), [(2, 5, 12)]),
    "attention_memory": (Attention((0, 1, 1), False, True), [(5, 2, 12), (7, 2, 12)]),
    "attention_three": (Attention((0, 1, 2), True, True, bias=False), [(2, 5, 12), (2, 7, 12), (2, 7, 12)]),
    "lstm": (nn.LSTM(4, 6, num_layers=2), [(5, 2, 4)]),
    "lstm_bidirectional": (nn.LSTM(4, 6, batch_first=True, bidirectional=True), [(2, 5, 4)]),
    "gru": (nn.GRU(4, 6, bias=False), [(5, 2, 4)]),
    "gru_bidirectional": (nn.GRU(4, 6, num_layers=2, bidirectional=True), [(5, 2, 4)]),
}


def main():
    lines, outputs = [], {}
    for name, (model, shapes) in CASES.items():
        model = model.eval()
        generator = torch.Generator().manual_seed(SEED + 1)
        inputs = [(torch.rand(shape, generator=generator) - 0.5) * 4 for shape in shapes]
        if name == "embedding":
            inputs = [torch.arange(6).reshape(shapes[0])]
        model.load_state_dict(drawn_state(model.state_dict(), 1.0))
        with torch.no_grad():
            # Before export, which some layers do not outlive.
            result = model(*[x.clone() for x in inputs])
        while isinstance(result, tuple):
            result = torch.cat([torch.cat([y.reshape(-1) for y in x]) if isinstance(x, tuple) else x.reshape(-1) for x in result])
        outputs[name] = result.detach().numpy().reshape(-1)
        lines += [f"== {name}"] + GraphText(torch.export.export(model, tuple(inputs))).lines
    (HERE / "layers.txt").write_text("\n".join(lines) + "\n")
    np.savez_compressed(HERE / "layers.npz", **outputs)


if __name__ == "__main__":
    main()
