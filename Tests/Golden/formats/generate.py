"""Writes this folder's files: tiny models as torch.export archives, float and Q/DQ, and NumPy arrays.

tiny_float.pt2: a BatchNorm, an in-place ReLU, a channels-last weight, a tied weight, a constant, a buffer that is not
persistent, two inputs and two outputs. tiny_int8.pt2: what torchao makes of a convolution and a linear layer.
tiny_outputs.npz: inputs and outputs of both. arrays.npz: one array per element type; arrays_deflated.npz: the same,
compressed, with one that compresses well. The .npy files: a version 2 header, and what a reader must refuse.
Needs torch, torchao and executorch. Usage: python generate.py
"""

import pathlib
import sys
import warnings

import numpy as np
import torch
import torch.nn as nn
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
  XNNPACKQuantizer, get_symmetric_quantization_config)
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
FOLDER = pathlib.Path(__file__).parent


class Tiny(nn.Module):
  def __init__(self):
    super().__init__()
    self.conv, self.bn = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
    self.conv.weight.data = self.conv.weight.data.contiguous(memory_format=torch.channels_last)
    self.relu = nn.ReLU(inplace=True)
    self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
    self.second.weight = self.first.weight
    self.register_buffer("shift", torch.arange(4, dtype=torch.float32).reshape(1, 4, 1, 1), persistent=False)

  def forward(self, image, bias):
    x = self.relu(self.bn(self.conv(image))) + self.shift
    x = torch.cat([x, x * torch.tensor([[[[2.0]]]])], 1)
    x = torch.flatten(nn.functional.max_pool2d(x, 2), 1)[:, :16]
    y = self.first(x)
    return self.second(y) + bias, y


class Small(nn.Module):
  def __init__(self):
    super().__init__()
    self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(64, 5)

  def forward(self, image):
    return self.fc(torch.flatten(torch.relu(self.conv(image)), 1))


def strip(program):
  """Takes the machine's paths out of a program."""
  for node in program.graph.nodes:
    node.meta.pop("stack_trace", None)


def models():
  torch.manual_seed(7)
  model = Tiny()
  inputs = (torch.randn(1, 3, 4, 4), torch.randn(1, 16))
  model(*inputs)
  model.eval()
  exported = torch.export.export(model, inputs)
  strip(exported)
  torch.export.save(exported, FOLDER / "tiny_float.pt2", extra_files={"preprocess.json": '{"scale": 2}'})
  small = Small().eval()
  quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
  prepared = prepare_pt2e(torch.export.export(small, inputs[:1]).module(), quantizer)
  prepared(inputs[0])
  converted = torch.export.export(convert_pt2e(prepared), inputs[:1])
  strip(converted)
  torch.export.save(converted, FOLDER / "tiny_int8.pt2")
  y, z = exported.module()(*inputs)
  values = {"image": inputs[0], "bias": inputs[1], "float_0": y, "float_1": z, "int8": converted.module()(inputs[0])}
  np.savez(FOLDER / "tiny_outputs.npz", **{name: value.detach().numpy() for name, value in values.items()})


def arrays():
  values = {name: np.arange(6).reshape(2, 3).astype(name) for name in
    ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"]}
  values["bool"] = np.array([True, False, True])
  values["scalar"] = np.float32(-1.5)
  values["empty"] = np.zeros((0, 4), np.float32)
  np.savez(FOLDER / "arrays.npz", **values)
  values["zeros"] = np.zeros((50, 1000), np.float32)
  np.savez_compressed(FOLDER / "arrays_deflated.npz", **values)
  np.save(FOLDER / "fortran.npy", np.asfortranarray(np.ones((2, 3), np.float32)))
  np.save(FOLDER / "big_endian.npy", np.arange(3).astype(">f4"))
  np.save(FOLDER / "complex.npy", np.ones(2, np.complex64))
  with open(FOLDER / "version2.npy", "wb") as file:
    np.lib.format.write_array(file, np.arange(4, dtype=np.int32), version=(2, 0))
  with open(FOLDER / "fields.npy", "wb") as file:
    np.lib.format.write_array(file, np.zeros(2, [("a", "<f4"), ("b", "<i4")]))


if __name__ == "__main__":
  arrays()
  models()
  print("torch", torch.__version__, "numpy", np.__version__, file=sys.stderr)
