"""What a cell of the table is: a difference with its bound, a size, or the reason why there is none."""

from dataclasses import dataclass

import numpy as np

from .tool import Refused

FLOAT_BOUND = 1e-5  # of the range of the expected output


@dataclass(frozen=True)
class Cell:
    """`passed` is None where nothing could be compared: the tool refused, or has no such command."""

    text: str
    passed: bool | None = None

    def __str__(self):
        return f"**{self.text}**" if self.passed is False else self.text


def _shortened(text):
    text = " ".join(str(text).split()).replace("|", "/")
    return text if len(text) <= 110 else text[:107] + "…"


def refusal(error):
    """A refusal in the tool's own words, shortened to fit the table. One with `is_failure` fails the run."""
    return Cell(_shortened(error), False if getattr(error, "is_failure", False) else None)


def attempt(make):
    """What `make` returns, or why there is nothing. Only a refusal of Swiftlet's is no failure."""
    try:
        return make()
    except Refused as error:
        return refusal(error)
    except Exception as error:  # a peer that cannot load, export or run what it should
        return Cell(_shortened(f"{type(error).__name__}: {error}"), False)


def _pairs(actual, expected):
    """Outputs side by side as arrays of float64; a wrong count or shape is a difference, not an exception."""
    if len(actual) != len(expected):
        return f"{len(actual)} outputs instead of {len(expected)}"
    for a, e in zip(actual, expected):
        if np.shape(a) != np.shape(e):
            return f"shape {list(np.shape(a))} instead of {list(np.shape(e))}"
    return [(np.asarray(a, np.float64), np.asarray(e, np.float64)) for a, e in zip(actual, expected)]


def relative(actual, expected, bound=FLOAT_BOUND):
    """Largest difference as a share of the range of the expected output."""
    pairs = _pairs(actual, expected)
    if isinstance(pairs, str):
        return Cell(pairs, False)
    worst = 0.0
    for a, e in pairs:
        finite = np.isfinite(e)
        if not np.array_equal(np.where(finite, 0, e), np.where(np.isfinite(a), 0, a), equal_nan=True):
            return Cell("infinities or NaN differ", False)
        if finite.any():
            spread = np.ptp(e[finite]) or np.abs(e[finite]).max() or 1.0
            worst = max(worst, float(np.abs(a - e)[finite].max() / spread))
    return Cell("0" if worst == 0 else f"{worst:.0e}", worst <= bound)


def quanta(actual, expected, scales, bound=1):
    """Largest difference in steps of the output quantizers, and how many elements differ.

    scales: one for each output; None where the output is not quantized, which is then compared as a float.
    """
    pairs = _pairs(actual, expected)
    if isinstance(pairs, str):
        return Cell(pairs, False)
    if all(scale is None for scale in scales):
        return relative(actual, expected)
    worst, differing, count = 0, 0, 0
    for (a, e), scale in zip(pairs, scales):
        if scale is None:
            continue
        steps = np.rint(np.abs(a - e) / scale)
        steps = np.where(np.isfinite(steps), steps, np.inf)
        worst, differing, count = max(worst, steps.max()), differing + int((steps > 0).sum()), count + steps.size
    text = "0 q" if worst == 0 else f"{worst:.0f} q ({differing} of {count})"
    return Cell(text, bool(worst <= bound))


def identical(actual, expected):
    """Equal bytes, type and shape included."""
    same = len(actual) == len(expected) and all(
        np.asarray(a).dtype == np.asarray(e).dtype and np.array_equal(a, e, equal_nan=np.asarray(a).dtype.kind == "f")
        for a, e in zip(actual, expected)
    )
    return Cell("identical", True) if same else relative(actual, expected, bound=0)


def worst_of(cells):
    """One cell for several samples: the first that failed, else the first refusal, else the largest difference."""
    for wanted in (False, None):
        for cell in cells:
            if cell.passed is wanted:
                return cell
    return max(cells, key=lambda cell: _magnitude(cell.text))


def _magnitude(text):
    try:
        return float(text.split()[0])
    except ValueError:
        return 0.0
