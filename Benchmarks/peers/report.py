"""The measurements as Markdown."""

import os
import platform
import statistics
from importlib import metadata

from . import models, report_costs


def page(options, results, busy, load, loads, preparations):
    lines = ["# Benchmarks", "", *_setting(options, results, busy, load), ""]
    for type in models.TYPES:
        for threads in options.threads:
            lines += [f"## {type}, {threads} thread{'s' if threads > 1 else ''}", ""]
            lines += [*_table(options, results, type, threads), ""]
    if options.starts:
        lines += report_costs.tables(options, loads, preparations)
    reasons = {}
    for (type, threads, name, engine), value in results.items():
        if isinstance(value, str):
            reasons.setdefault((engine, name, type, value), []).append(threads)
    if reasons:
        lines += ["## Not measured", ""]
        for (engine, name, type, reason), threads in sorted(reasons.items()):
            lines.append(f"- {engine}, {name}, {type}, threads {', '.join(map(str, threads))}: {reason}")
        lines.append("")
    return "\n".join(lines)


def _setting(options, results, busy, load):
    cores = os.cpu_count() or 1
    rounds = max((len(value) for value in results.values() if not isinstance(value, str)), default=0)
    versions = ", ".join(f"{peer} {_version(package)}" for peer, package in models.PACKAGES.items())
    lines = [
        f"{_processor()}, {cores} processors, {_system()}. {versions}. `Benchmarks/run.sh DATA`; "
        "[Benchmarks/README.md](../Benchmarks/README.md) says how it measures.",
        "",
        f"Milliseconds for one inference, batch 1: median over {rounds} interleaved rounds of the median in each. "
        "Ratio: Swiftlet to the fastest peer; in brackets, the smallest and the largest of the rounds.",
        "",
        f"Load average before the first round: {load:.2f} per processor. Others used "
        f"{100 * statistics.median(busy):.0f} % of the processors before the rounds (median; at most "
        f"{100 * max(busy):.0f} %).",
    ]
    if load > 0.5 or max(busy) > 0.5:
        lines += ["", "**The machine was busy: these figures are not to be relied on.**"]
    return lines


def _table(options, results, type, threads):
    engines = ["Swiftlet", *models.PEERS]
    lines = ["| model | " + " | ".join(engines) + " | ratio |", "|---" * (len(engines) + 2) + "|"]
    ratios = []
    for name in options.models:
        times = {engine: results.get((type, threads, name, engine)) for engine in engines}
        cells = ["–" if isinstance(value, str) or not value else _number(statistics.median(value))
                 for value in times.values()]
        ratio = _ratio(times)
        ratios += [ratio[0]] if ratio else []
        text = f"{ratio[0]:.2f} ({ratio[1]:.2f}–{ratio[2]:.2f})" if ratio else "–"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {text} |")
    if ratios:
        lines.append("| geometric mean |" + " |" * len(engines) + f" {statistics.geometric_mean(ratios):.2f} |")
    return lines


def _ratio(times):
    """Of the medians, to the peer whose median is smallest; and that of single rounds, the smallest and the largest."""
    measured = {engine: value for engine, value in times.items() if value and not isinstance(value, str)}
    own = measured.pop("Swiftlet", None)
    if not own or not measured:
        return None
    best = min(measured.values(), key=statistics.median)
    rounds = [a / b for a, b in zip(own, best)]
    return statistics.median(own) / statistics.median(best), min(rounds), max(rounds)


def _number(value):
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _processor():
    with open("/proc/cpuinfo") as file:
        fields = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    best = "AVX-512-VNNI" if "avx512_vnni" in flags else "AVX2" if "avx2" in flags else platform.machine()
    family = f"family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"
    return f"{fields.get('model name', platform.machine())} ({family}, {best})"


def _system():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()
