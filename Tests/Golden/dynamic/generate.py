"""Writes residual.pt2 and fully_convolutional.pt2, exported with dynamic shapes, and outputs.npz: for each, inputs and float
outputs at several sizes.

residual.pt2: a batch of 1 to 32 images; convolutions with batch normalization, a residual addition, a depthwise convolution,
max pooling, flattening, a linear layer. fully_convolutional.pt2: a batch of 1 to 8 images of any height and width from 8 to
64; stride 2, max pooling with padding, a concatenation, global pooling; and a map of features besides.
two_inputs.pt2: two inputs that share a batch. Needs torch. Usage: python generate.py
"""

import pathlib
import warnings

import numpy as np
import torch
import torch.nn as nn
import torch.utils._pytree as pytree

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.manual_seed(11)
FOLDER = pathlib.Path(__file__).parent


def block(inputs, outputs, stride=1, groups=1):
  return nn.Sequential(
      nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Module):
  def __init__(self):
    super().__init__()
    self.stem = block(3, 8, 2)
    self.first, self.second = block(8, 8), nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
    self.depthwise, self.pool = block(8, 8, groups=8), nn.MaxPool2d(2)
    self.classify = nn.Linear(8 * 3 * 3, 10)

  def forward(self, x):
    x = self.stem(x)
    x = torch.relu(x + self.second(self.first(x)))
    return self.classify(torch.flatten(self.pool(self.depthwise(x)), 1))


class FullyConvolutional(nn.Module):
  def __init__(self):
    super().__init__()
    self.stem, self.pool = block(3, 8, 2), nn.MaxPool2d(3, 2, 1)
    self.left, self.right = block(8, 8), block(8, 4)
    self.mix, self.classify = nn.Conv2d(12, 16, 1), nn.Linear(16, 5)

  def forward(self, x):
    x = self.pool(self.stem(x))
    x = self.mix(torch.cat([self.left(x), self.right(x)], 1))
    return self.classify(x.mean((2, 3), keepdim=True).flatten(1)), torch.sigmoid(x)


class TwoInputs(nn.Module):
  def __init__(self):
    super().__init__()
    self.a, self.b = nn.Linear(6, 4), nn.Linear(3, 4)

  def forward(self, x, y):
    return torch.relu(self.a(x)) + self.b(y)


def randomize(model, generator):
  for module in model.modules():
    if isinstance(module, nn.BatchNorm2d):
      module.running_mean = torch.randn(module.num_features, generator=generator) * 0.1
      module.running_var = torch.rand(module.num_features, generator=generator) + 0.5


def main():
  batch = torch.export.Dim("batch", min=1, max=32)
  few = torch.export.Dim("few", min=1, max=8)
  height, width = torch.export.Dim("height", min=8, max=64), torch.export.Dim("width", min=8, max=64)
  models = [
      ("residual", Residual(), lambda n: (torch.randn(n, 3, 12, 12),), (2,), ({0: batch},), [(1,), (3,)]),
      ("fully_convolutional", FullyConvolutional(), lambda n, h, w: (torch.randn(n, 3, h, w),), (2, 9, 12),
        ({0: few, 2: height, 3: width},), [(1, 8, 8), (3, 17, 12)]),
      ("two_inputs", TwoInputs(), lambda n: (torch.randn(n, 6), torch.randn(n, 3)), (4,), ({0: batch}, {0: batch}),
        [(1,), (5,)])]
  arrays = {}
  for name, model, inputs, example, shapes, sizes in models:
    model.eval()
    randomize(model, torch.Generator().manual_seed(5))
    program = torch.export.export(model, inputs(*example), dynamic_shapes=shapes)
    for node in program.graph.nodes:
      node.meta.pop("stack_trace", None)
    torch.export.save(program, FOLDER / f"{name}.pt2")
    for index, size in enumerate(sizes):
      x = inputs(*size)
      for kind, values in (("in", x), ("out", model(*x))):
        for position, value in enumerate(pytree.tree_leaves(values)):
          arrays[f"{name}_{index}_{kind}{position}"] = value.detach().numpy()
  np.savez_compressed(FOLDER / "outputs.npz", **arrays)


if __name__ == "__main__":
  main()
