"""Writes dynamic_batch.pt2 and dynamic_derived.pt2, exported with dynamic shapes, and dynamic_shapes.npz: for each, inputs and
outputs at several sizes.

dynamic_batch.pt2: the batch varies from 1 to 32, and a view reads it. dynamic_derived.pt2: a dictionary of tensors in and
out; the batch of one is twice that of the other, and sizes are computed. Needs torch. Usage: python generate_dynamic_shapes.py
"""

import pathlib
import warnings

import numpy as np
import torch
import torch.nn as nn
import torch.utils._pytree as pytree

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
FOLDER = pathlib.Path(__file__).parent


class Batch(nn.Module):
  def __init__(self):
    super().__init__()
    self.conv, self.bn, self.fc = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Linear(16, 5)

  def forward(self, x):
    x = nn.functional.max_pool2d(torch.relu(self.bn(self.conv(x))), 2)
    return self.fc(x.view(x.shape[0], -1))


class Derived(nn.Module):
  def __init__(self):
    super().__init__()
    self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(32, 5)

  def forward(self, tensors):
    x, y = tensors["image"], tensors["pair"][0]
    z = torch.relu(self.conv(x)).reshape(x.shape[0] * 2, -1)
    w = y.view(x.shape[0] * 2, 8)
    return {"a": self.fc(z), "b": (w + 1, z.view(x.shape[0], -1, 4))}


def main():
  torch.manual_seed(3)
  batch = torch.export.Dim("batch", min=1, max=32)
  models = [
    ("dynamic_batch", Batch(), lambda n: torch.randn(n, 3, 4, 4), 2, {0: batch}),
    ("dynamic_derived", Derived(),
      lambda n: {"image": torch.randn(n, 3, 4, 4), "pair": (torch.randn(2 * n, 2, 4), torch.randn(2))}, 3,
      {"image": {0: batch}, "pair": ({0: 2 * batch}, None)})]
  arrays = {}
  for name, model, inputs, size, shapes in models:
    model.eval()
    program = torch.export.export(model, (inputs(size),), dynamic_shapes=(shapes,))
    for node in program.graph.nodes:
      node.meta.pop("stack_trace", None)
    torch.export.save(program, FOLDER / f"{name}.pt2")
    for n in (1, 2, 3, 7):
      x = inputs(n)
      for kind, values in (("in", x), ("out", model(x))):
        for index, value in enumerate(pytree.tree_leaves(values)):
          arrays[f"{name}_{n}_{kind}{index}"] = value.detach().numpy()
  np.savez_compressed(FOLDER / "dynamic_shapes.npz", **arrays)


if __name__ == "__main__":
  main()
