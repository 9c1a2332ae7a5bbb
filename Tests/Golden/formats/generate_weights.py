"""Writes this folder's weight files: one small state dict as torch.save and safetensors store it.

weights_zip.pth, weights_legacy.pth: torch.save in its zip and its older format. The state dict has every element type,
tied and overlapping tensors, a transposed, an expanded and a channels-last one, a scalar and an empty one.
weights_checkpoint.pth: the same as a part of a checkpoint, with an optimizer and plain values. weights_parameters.pth:
parameters in nested containers, pickle protocol 4. weights_protocol5.pth: the older format with protocol 5.
weights_uint16.pth: an element type without counterpart. weights.safetensors: the tensors made contiguous.
weights_values.npz: their values, as float32 where NumPy lacks the type.
Needs torch, safetensors. Usage: python generate_weights.py        (made with torch 2.15, safetensors 0.8)
"""

import collections
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent


def state_dict():
    torch.manual_seed(11)
    model = torch.nn.Sequential(
        collections.OrderedDict(conv=torch.nn.Conv2d(3, 4, 3), bn=torch.nn.BatchNorm2d(4), fc=torch.nn.Linear(6, 4)))
    values = model.state_dict()
    whole = torch.arange(24, dtype=torch.float32)
    values["tied"] = values["fc.weight"]
    values["view"] = whole[5:11].reshape(2, 3)
    values["transposed"] = whole.reshape(4, 6).t()
    values["step"] = whole[1::3]
    values["expanded"] = torch.tensor([1.5, -2.5]).reshape(2, 1).expand(2, 3)
    values["nhwc"] = torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)
    special = [0.0, -0.0, 1.0, -1.5, 6.0e-8, 65504.0, float("inf"), float("-inf")]
    values["half"] = torch.tensor(special, dtype=torch.float16)
    values["brain"] = torch.tensor(special, dtype=torch.bfloat16)
    values["double"] = torch.tensor([0.1, -1e300], dtype=torch.float64)
    values["bool"] = torch.tensor([True, False, True])
    for name in ["uint8", "int8", "int16", "int32", "int64"]:
        values[name] = torch.tensor([1, 2, 100], dtype=getattr(torch, name))
    values["scalar"] = torch.tensor(2.5)
    values["empty"] = torch.zeros(0, 3)
    return values


values = state_dict()
torch.save(values, FOLDER / "weights_zip.pth")
torch.save(values, FOLDER / "weights_legacy.pth", _use_new_zipfile_serialization=False)

model = torch.nn.Linear(2, 2)
optimizer = torch.optim.Adam(model.parameters())
model(torch.ones(1, 2)).sum().backward()
optimizer.step()
checkpoint = {
    "epoch": 3, "arch": "tiny", "best": 0.5, "big": 1 << 70, "none": None, "flag": True, "history": [1, 2.5, -70000],
    "raw": b"\x00\xff", "array": bytearray(b"ab"), "kinds": {"a"}, "dtype": torch.float16, "size": torch.Size([1, 2]),
    "device": torch.device("cuda:1"), "counter": collections.Counter("aab"), "state_dict": values,
    "optimizer": optimizer.state_dict()}
torch.save(checkpoint, FOLDER / "weights_checkpoint.pth")
torch.save({"layers": [torch.nn.Parameter(torch.ones(2)), {"w": torch.nn.Parameter(torch.zeros(1, 2))}], "n": 1},
           FOLDER / "weights_parameters.pth", pickle_protocol=4)
torch.save({"w": torch.arange(4.0)}, FOLDER / "weights_protocol5.pth", pickle_protocol=5,
           _use_new_zipfile_serialization=False)
torch.save({"ids": torch.arange(3).to(torch.uint16)}, FOLDER / "weights_uint16.pth")

save_file({name: value.clone().contiguous() for name, value in values.items()}, FOLDER / "weights.safetensors", {"format": "pt"})
arrays = {}
for name, value in values.items():
    arrays[name] = (value.float() if value.dtype in (torch.float16, torch.bfloat16) else value).contiguous().numpy()
np.savez(FOLDER / "weights_values.npz", **arrays)
