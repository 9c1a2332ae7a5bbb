"""Programs of both writers through `flatc`: stable under decoding and encoding, and the re-encoded file runs the same."""

import pathlib
import tempfile

from .measure import Cell, attempt, identical
from .models import Directions, Model, names
from .reencode import Schemas, Unstable

COLUMNS = (
    ("Swiftlet float .pte", lambda directions: directions.pte_float),
    ("Swiftlet int8 .pte", lambda directions: directions.pte_int8),
    ("ExecuTorch float .pte", lambda directions: directions.model.executorch_float),
    ("ExecuTorch int8 .pte", lambda directions: directions.model.executorch_int8),
)


def check(tool, executorch, schemas, path, inputs, work):
    """Whether a re-encoded program gives the bytes that the program gives, in both runtimes."""
    try:
        data, delegates = schemas.reencode(path.read_bytes())
    except Unstable as error:
        return Cell(str(error), False)
    again = work / f"again_{path.name}"
    again.write_bytes(data)
    same = [attempt(lambda: identical(runtime.run(again, inputs), runtime.run(path, inputs)))
            for runtime in (tool, executorch)]
    worst = next((cell for cell in same if not cell.passed), None)
    return Cell(worst.text, False) if worst else Cell(f"identical ({delegates} XNNGraph)", True)


def rows(tool, executorch, data, cache, selected, progress):
    """For each model: its name, then a cell for each program."""
    with tempfile.TemporaryDirectory() as folder:
        schemas = Schemas(folder)
        for name in names(data):
            if selected and name not in selected:
                continue
            progress(f"flatc: {name}")
            with tempfile.TemporaryDirectory() as work:
                directions = Directions(tool, executorch, Model(data, cache, pathlib.Path(work), name))
                yield name, [
                    attempt(lambda: check(tool, executorch, schemas, path(directions), directions.model.inputs[0],
                                          directions.model.work))
                    for _, path in COLUMNS]
