"""Every case of ops.py in every direction, float and int8. What the peers make is kept in the cache."""

import hashlib
import inspect
import json
import pathlib
import tempfile

import numpy as np
from torch import nn

from . import ops, peers
from .measure import Cell, attempt, quanta, refusal, relative

COLUMNS = ("PyTorch .pt2 → Swiftlet", "ExecuTorch .pte → Swiftlet", "Swiftlet .pte → ExecuTorch")
SAMPLES = 4  # the first is the one that is run
NOT_QUANTIZED = Cell("not quantized")


class Case:
    """The peers' files of one case and kind, `float` or `int8`, and their results on the first sample."""

    def __init__(self, folder, name, kind):
        self.pt2, self.pte = folder / f"{kind}.pt2", folder / f"{kind}.pte"
        self.results = folder / f"{kind}.npz"
        self.inputs = ops.inputs(name, 0)
        self.facts = json.loads((folder / f"{kind}.json").read_text())
        with np.load(self.results) as arrays:
            self.pytorch = [arrays[key] for key in arrays.files if key.startswith("pytorch")]
            self.executorch = [arrays[key] for key in arrays.files if key.startswith("executorch")]

    @property
    def is_quantized(self):
        return any(scale is not None for scale in self.facts["scales"])


class Between(nn.Module):
    """A module between additions, whose quantizers are then its own: XNNPACKQuantizer annotates many operators only so."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *inputs):
        result = self.module(*(x + x for x in inputs))
        return result + result


def quantize(name, program, samples):
    """torchao's program of a case, which stands between additions if its output would not be quantized by itself."""
    quantized = peers.quantize(program, samples)
    if any(scale is not None for scale in peers.output_scales(quantized)) or samples[0][0].dtype.kind != "f":
        return quantized
    return peers.quantize(peers.export(Between(ops.module(name)), samples[0]), samples)


def prepare(folder, name, executorch):
    """Writes the peers' files of one case, float and int8."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [ops.inputs(name, seed) for seed in range(SAMPLES)]
    program = peers.export(ops.module(name), samples[0])
    for kind, program in (("float", program), ("int8", quantize(name, program, samples))):
        facts = {"scales": peers.output_scales(program)}
        peers.save(program, folder / f"{kind}.pt2")
        results = {f"pytorch_{i}": y for i, y in enumerate(peers.run(program, samples[0]))}
        try:
            peers.lower(program, folder / f"{kind}.pte")
            outputs = executorch.run(folder / f"{kind}.pte", samples[0])
            results |= {f"executorch_{i}": y for i, y in enumerate(outputs)}
        except Exception as error:  # whatever the exporter throws is the answer to this case
            facts["refusal"] = f"ExecuTorch: {error}"
        np.savez(folder / f"{kind}.npz", **results)
        (folder / f"{kind}.json").write_text(json.dumps(facts))
    (folder / "done").touch()


def cells(tool, executorch, case):
    """One cell for each column."""

    def compare(actual, expected):
        return quanta(actual, expected, case.facts["scales"]) if case.is_quantized else relative(actual, expected)

    def ours():
        with tempfile.TemporaryDirectory() as work:
            path = pathlib.Path(work, "model.pte")
            tool.lower(case.pt2, path)
            return compare(executorch.run(path, case.inputs), tool.run(path, case.inputs))

    from_pytorch = attempt(lambda: compare(tool.run(case.pt2, case.inputs), case.pytorch))
    if "refusal" in case.facts:
        from_executorch = refusal(case.facts["refusal"])
    else:
        from_executorch = attempt(lambda: compare(tool.run(case.pte, case.inputs), case.executorch))
    return [from_pytorch, from_executorch, attempt(ours)]


def rows(tool, executorch, cache, selected, progress):
    """For each case: its name, then a cell for each column, float and int8 in turn."""
    sources = "".join(inspect.getsource(part) for part in (ops, Between, quantize, prepare, peers.quantize))
    digest = hashlib.sha256(sources.encode()).hexdigest()[:12]
    for name in ops.CASES:
        if selected and name not in selected:
            continue
        folder = cache / f"operators-{digest}" / "".join(c if c.isalnum() else "_" for c in name)
        progress(f"operator: {name}")
        if not (folder / "done").exists():
            prepare(folder, name, executorch)
        kinds = []
        for kind in ("float", "int8"):
            case = Case(folder, name, kind)
            unquantized = kind == "int8" and not case.is_quantized
            kinds.append([NOT_QUANTIZED] * len(COLUMNS) if unquantized else cells(tool, executorch, case))
        yield name, [cell for pair in zip(*kinds) for cell in pair]
