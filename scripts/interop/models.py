"""Every model of the shared data, in every direction. Samples are run one by one, as batches of one."""

import pathlib
import tempfile

import numpy as np

from . import peers, samples
from .measure import Cell, attempt, identical, quanta, relative, worst_of
from .tool import Refused

COLUMNS = (
    ("PyTorch float .pt2 → Swiftlet", "pytorch_float"),
    ("Swiftlet float .pt2 → PyTorch", "swiftlet_float"),
    ("torchao Q/DQ .pt2 → Swiftlet", "torchao_qdq"),
    ("Swiftlet Q/DQ .pt2 → PyTorch", "swiftlet_qdq"),
    ("→ saved by PyTorch → Swiftlet", "resaved_qdq"),
    ("ExecuTorch float .pte → Swiftlet", "executorch_float"),
    ("ExecuTorch int8 .pte → Swiftlet", "executorch_int8"),
    ("Swiftlet float .pte → ExecuTorch", "float_program"),
    ("Swiftlet int8 .pte → ExecuTorch", "int8_program"),
)


def names(data):
    return sorted(path.name.removesuffix("_golden.npz") for path in (data / "models").glob("*_golden.npz"))


class Model:
    """The files of one model: the data's where it has them, else made here and kept in the cache."""

    def __init__(self, data, cache, work, name):
        self.data, self.name, self.folder = data, name, cache / "models" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.work = work
        self.float = data / "models" / f"{name}.pt2"
        with np.load(data / "models" / f"{name}_golden.npz") as golden:
            self.golden = {key: golden[key] for key in golden.files}
        self.inputs = [[self.golden["input"][i : i + 1]] for i in range(len(self.golden["input"]))]
        self._calibration = None

    @property
    def calibration(self):
        if self._calibration is None:
            self._calibration = samples.calibration(self.data, self.name)
        return self._calibration

    def _file(self, in_data, in_cache, make):
        path = self.data / "models" / f"{self.name}{in_data}" if in_data else None
        if path and path.exists():
            return path
        path = self.folder / in_cache
        if not path.exists():
            partial = path.with_suffix(".partial" + path.suffix)
            make(partial)
            partial.rename(path)
        return path

    @property
    def torchao(self):
        return self._file("_int8_torchao.pt2", "torchao.pt2", lambda path: peers.save(
            peers.quantize(peers.load(self.float), [[x[None]] for x in self.calibration]), path))

    @property
    def executorch_int8(self):
        return self._file("_int8_executorch.pte", "int8.pte", lambda path: peers.lower(peers.load(self.torchao), path))

    @property
    def executorch_float(self):
        return self._file(None, "float.pte", lambda path: peers.lower(peers.load(self.float), path))


class Directions:
    """One method for each column; each returns a cell."""

    def __init__(self, tool, executorch, model):
        self.tool, self.executorch, self.model = tool, executorch, model
        self._made = {}

    def _make(self, name, make):
        """A file that Swiftlet writes, once; a refusal is remembered too."""
        if name not in self._made:
            path = self.model.work / name
            try:
                make(path)
                self._made[name] = path
            except Refused as error:
                self._made[name] = error
        if isinstance(self._made[name], Refused):
            raise self._made[name]
        return self._made[name]

    def _quantized(self, name, config):
        return self._make(name, lambda path: self.tool.quantize(
            self.model.float, path, self.model.calibration, config))

    @property
    def qdq(self):
        return self._quantized("qdq.pt2", None)

    @property
    def pte_float(self):
        return self._make("float.pte", lambda path: self.tool.lower(self.model.float, path))

    @property
    def pte_int8(self):
        return self._make("int8.pte", lambda path: self.tool.lower(self.qdq, path))

    def _each(self, actual, expected, compare):
        """compare over the samples; actual and expected are functions of a sample's number and inputs."""
        return worst_of([compare(actual(i, x), expected(i, x)) for i, x in enumerate(self.model.inputs)])

    def _golden(self, key):
        return lambda i, _: [self.model.golden[key][i : i + 1]]

    def _swiftlet(self, path):
        return lambda _, x: self.tool.run(path, x)

    def _runtime(self, path):
        return lambda _, x: self.executorch.run(path, x)

    def pytorch_float(self):
        return self._each(self._swiftlet(self.model.float), self._golden("float_output"), relative)

    def swiftlet_float(self):
        path = self._quantized("float.pt2", {"global": None})
        program = peers.load(path)
        return self._each(lambda _, x: peers.run(program, x), self._golden("float_output"), relative)

    def torchao_qdq(self):
        path = self.model.torchao
        program = peers.load(path)
        in_data = path.parent == self.model.float.parent
        expected = self._golden("qdq_output") if in_data else lambda _, x: peers.run(program, x)
        return self._each(self._swiftlet(path), expected, self._in_quanta(program))

    def swiftlet_qdq(self):
        program = peers.load(self.qdq)
        return self._each(lambda _, x: peers.run(program, x), self._swiftlet(self.qdq), self._in_quanta(program))

    def resaved_qdq(self):
        path = self.model.work / "resaved.pt2"
        peers.save(peers.load(self.qdq), path)
        return self._each(self._swiftlet(path), self._swiftlet(self.qdq), identical)

    def executorch_float(self):
        path = self.model.executorch_float
        return self._each(self._swiftlet(path), self._runtime(path), relative)

    def executorch_int8(self):
        path = self.model.executorch_int8
        in_data = path.parent == self.model.float.parent
        expected = self._golden("executorch_output") if in_data else self._runtime(path)
        return self._each(self._swiftlet(path), expected, self._in_quanta(peers.load(self.model.torchao)))

    def float_program(self):
        return self._each(self._runtime(self.pte_float), self._swiftlet(self.pte_float), relative)

    def int8_program(self):
        compare = self._in_quanta(peers.load(self.qdq))
        return self._each(self._runtime(self.pte_int8), self._swiftlet(self.pte_int8), compare)

    @staticmethod
    def _in_quanta(program):
        scales = peers.output_scales(program)
        return lambda actual, expected: quanta(actual, expected, scales)

    def sizes(self):
        """Our int8 .pte against ExecuTorch's, our Q/DQ .pt2 against torchao's."""
        return [attempt(lambda: self._size(self.pte_int8, self.model.executorch_int8)),
                attempt(lambda: self._size(self.qdq, self.model.torchao))]

    @staticmethod
    def _size(ours, theirs):
        ours, theirs = ours.stat().st_size, theirs.stat().st_size
        return Cell(f"{ours:,} : {theirs:,}", ours <= theirs)


def rows(tool, executorch, data, cache, selected, progress):
    """For each model: its name, a cell for each column, two cells of sizes."""
    for name in selected or names(data):
        with tempfile.TemporaryDirectory() as work:
            directions = Directions(tool, executorch, Model(data, cache, pathlib.Path(work), name))
            cells = []
            for title, key in COLUMNS:
                progress(f"{name}: {title}")
                cells.append(attempt(getattr(directions, key)))
            yield name, cells + directions.sizes()
