"""State dicts that PyTorch and safetensors wrote, through `swiftlet weights`, read by Python: equal bytes, types, shapes."""

import pathlib
import tempfile

import numpy as np
import safetensors.torch
import torch

from . import peers
from .measure import Cell, attempt

COLUMNS = ("torch.save → .safetensors", "legacy torch.save → .safetensors", ".safetensors → .safetensors",
           "torch.save → .npz")


def _write(state, path, kind):
    if kind == "safetensors":
        safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in state.items()}, str(path))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")


def _compare(read, state):
    if set(read) != set(state):
        return Cell(f"{len(set(read) ^ set(state))} names differ", False)
    for name, tensor in state.items():
        other = read[name]
        if other.dtype != tensor.dtype or other.shape != tensor.shape:
            return Cell(f"{name}: {other.dtype} {list(other.shape)} instead of {tensor.dtype} {list(tensor.shape)}", False)
        if _bytes(other) != _bytes(tensor):
            return Cell(f"{name}: bytes differ", False)
    return Cell("identical", True)


def _bytes(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _through(tool, state, kind, suffix):
    with tempfile.TemporaryDirectory() as work:
        source, result = pathlib.Path(work, "source"), pathlib.Path(work, f"result{suffix}")
        _write(state, source, kind)
        tool.weights(source, result)
        if suffix == ".safetensors":
            return _compare(safetensors.torch.load_file(str(result)), state)
        with np.load(result) as arrays:
            return _compare({name: torch.from_numpy(arrays[name].copy()) for name in arrays.files}, state)


def every_type():
    """One tensor of each type that both formats have, among them views, a scalar and an empty one."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for dtype in (torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8,
                  torch.uint8, torch.bool):
        values = torch.randint(0, 100, (3, 4), generator=generator)
        state[str(dtype)] = (values > 50) if dtype is torch.bool else values.to(dtype) / 1 if dtype.is_floating_point \
            else values.to(dtype)
    base = torch.randn(6, 8, generator=generator)
    return state | {"transposed": base.t(), "part": base[1:4, ::2], "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}


def rows(tool, data, selected, progress):
    """For each state dict: its name, then a cell for each column."""
    dicts = {"every type": every_type,
             "every type, and bfloat16": lambda: every_type() | {"bfloat16": torch.randn(3, 2).to(torch.bfloat16)}}
    for path in sorted((data / "models").glob("*_golden.npz")):
        name = path.name.removesuffix("_golden.npz")
        dicts[f"`{name}`"] = lambda name=name: dict(peers.load(data / "models" / f"{name}.pt2").state_dict)
    for path in sorted((data / "models").glob("*.pth")):
        dicts[f"`{path.name}`"] = lambda path=path: torch.load(path, weights_only=True)
    for name, make in dicts.items():
        if selected and name.strip("`") not in selected:
            continue
        progress(f"state dict: {name}")
        state = make()
        kinds = (("zip", ".safetensors"), ("legacy", ".safetensors"), ("safetensors", ".safetensors"), ("zip", ".npz"))
        yield name, [attempt(lambda: _through(tool, state, kind, suffix)) for kind, suffix in kinds]
