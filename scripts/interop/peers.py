"""What PyTorch, torchao and ExecuTorch make of a model, and how they run it."""

import concurrent.futures
import logging
import multiprocessing
import os
import pathlib
import tempfile
import warnings

import numpy as np
import torch
import torchao.quantization.pt2e  # registers the quantized_decomposed operators that saved Q/DQ graphs name
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)


def versions():
    from importlib.metadata import version

    return {name: version(package) for name, package in
            (("PyTorch", "torch"), ("torchao", "torchao"), ("ExecuTorch", "executorch"))}


def tensors(arrays):
    """Copies: a view such as x[None] has a stride of 0, which ExecuTorch's exporter refuses."""
    return tuple(torch.from_numpy(np.array(array, order="C")) for array in arrays)


def arrays(outputs):
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    return [np.array(output.detach().contiguous().numpy()) for output in outputs]


def export(module, inputs):
    with torch.no_grad():
        return torch.export.export(module, tensors(inputs))


def save(program, path):
    torch.export.save(program, str(path))


def load(path):
    return torch.export.load(str(path))


def run(program, inputs):
    with torch.no_grad():
        return arrays(program.module()(*tensors(inputs)))


def quantize(program, samples):
    """torchao's Q/DQ program of a float one: XNNPACKQuantizer, weights per channel. samples: lists of inputs."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer, get_symmetric_quantization_config)

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    observed = prepare_pt2e(program.module(), quantizer)
    with torch.no_grad():
        for sample in samples:
            observed(*tensors(sample))
    converted = convert_pt2e(observed)
    return export(converted, samples[0])


def output_scales(program):
    """The scale of each output's quantizer, looked for through operators that only move elements; None if it has none."""
    outputs = next(node for node in program.graph.nodes if node.op == "output").args[0]
    names = {spec.arg.name for spec in program.graph_signature.output_specs if spec.kind.name == "USER_OUTPUT"}
    return [_scale(node) for node in outputs if node.name in names]


_MOVES = ("view", "reshape", "flatten", "permute", "transpose", "squeeze", "unsqueeze", "slice", "select", "clone")


def _scale(node):
    if node.op != "call_function":
        return None
    name = str(node.target)
    if "dequantize_per_tensor" in name:
        return float(node.args[1])
    return _scale(node.args[0]) if any(word in name for word in _MOVES) else None


def is_quantized(program):
    return any("quantize_per" in str(node.target) for node in program.graph.nodes)


def lower(program, path):
    """Writes the .pte that ExecuTorch makes of a program with its XNNPACK partitioner."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    path.write_bytes(lowered.buffer)


class RuntimeRefused(Exception):
    """ExecuTorch's runtime refused a program that it should run, or ended the process that it ran in."""

    is_failure = True


def _execute(path, inputs):
    import executorch.kernels.quantized  # noqa: F401  registers the quantized kernels
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    return arrays(list(method.execute(list(tensors(inputs)))))


class ExecuTorch:
    """ExecuTorch's runtime, in a process of its own, which a bad program may end without harm to this one."""

    def __init__(self):
        self._pool, self._log = None, None

    def run(self, path, inputs):
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._log = tempfile.NamedTemporaryFile()
            self._pool = concurrent.futures.ProcessPoolExecutor(
                1, mp_context=context, initializer=_log_to, initargs=(self._log.name,))
        try:
            return self._pool.submit(_execute, str(path), inputs).result()
        except concurrent.futures.process.BrokenProcessPool:
            self._pool = None
            last = pathlib.Path(self._log.name).read_text().strip().splitlines()[-1:]
            raise RuntimeRefused(" ".join(["ExecuTorch's process ended:", *last])) from None
        except Exception as error:
            raise RuntimeRefused(f"ExecuTorch: {error}") from None


def _log_to(path):
    """The runtime logs to standard error, this processor's properties first: nothing for the user's terminal."""
    os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), 2)
