"""The tables of costs.py: Swiftlet beside ExecuTorch and torchao."""

import statistics

from . import models

HEAD = ["| model | Swiftlet | {peer} | ratio |", "|---|---|---|---|"]


def tables(options, loads, preparations):
    return [
        "## Load and first inference", "",
        "Milliseconds from before the `.pte` is opened to after the first inference, in a fresh process for each measurement, "
        "its start excluded; the runtime's library is loaded, the file in the page cache. Swiftlet reads the program that "
        f"`swiftlet lower` writes. Median of {options.starts} rounds; in brackets, the smallest and the largest ratio of a "
        "round.", "",
        *_by_type(options, loads, "ms", 2),
        "## Memory", "",
        "What loading and the first inference add to the process's resident memory at most (`VmHWM`, begun anew before), in "
        "MiB, in the same processes.", "",
        *_by_type(options, loads, "mb", 1),
        "## From float model to lowered program", "",
        "Milliseconds to prepare, convert, lower and write the int8 program, without calibration; the float model is in "
        "memory. ExecuTorch: torchao's `prepare_pt2e` and `convert_pt2e`, `torch.export`, "
        "`to_edge_transform_and_lower`, once. Swiftlet: what `quantize` and `lower` report with `--json`, median.", "",
        *_table(options, "ExecuTorch", lambda name, engine: _costs(preparations, name, engine), 1),
        "",
        "## Calibration", "",
        "Images a second, batch 1, of samples that are decoded: prepared inputs in, observers updated. Swiftlet's include "
        "lowering the observed model.", "",
        *_calibration(options, preparations)]


def _by_type(options, loads, key, digits):
    lines = []
    for type in models.TYPES:
        for threads in options.threads:
            def values(name, engine):
                measured = loads.get((type, threads, name, engine))
                return [answer[key] for answer in measured] if isinstance(measured, list) else None

            lines += [f"{type}, {threads} thread{'s' if threads > 1 else ''}", ""]
            lines += [*_table(options, "ExecuTorch", values, digits), ""]
    return lines


def _costs(preparations, name, engine):
    measured = preparations.get((name, engine))
    if not isinstance(measured, list):
        return None
    return [answer["prepare"] + answer["convert"] + answer["lower"] for answer in measured]


def _calibration(options, preparations):
    lines = []
    for threads in options.threads:
        def values(name, engine):
            measured = preparations.get((name, engine))
            return [answer["calibration"][str(threads)] for answer in measured] if isinstance(measured, list) else None

        lines += [f"{threads} thread{'s' if threads > 1 else ''}", ""]
        lines += [*_table(options, "torchao", values, 1, peer="ExecuTorch"), ""]
    return lines


def _table(options, title, values, digits, peer=None):
    lines, ratios = [HEAD[0].format(peer=title), HEAD[1]], []
    for name in options.models:
        own, other = values(name, "Swiftlet"), values(name, peer or title)
        cells = [f"{statistics.median(value):.{digits}f}" if value else "–" for value in (own, other)]
        text = "–"
        if own and other:
            pairs = [a / b for a, b in zip(own, other * (len(own) if len(other) == 1 else 1))]
            ratio = statistics.median(own) / statistics.median(other)
            ratios.append(ratio)
            text = f"{ratio:.3f} ({min(pairs):.3f}–{max(pairs):.3f})"
        lines.append(f"| {name} | {' | '.join(cells)} | {text} |")
    if ratios:
        lines.append(f"| geometric mean | | | {statistics.geometric_mean(ratios):.3f} |")
    return lines
