"""usage: python -m peers --swiftlet BINARY --data DATA --cache FOLDER --litert-converter FOLDER [options]"""

import argparse
import os
import pathlib
import sys
from importlib import metadata

from . import costs, models, report, rounds


def progress(text):
    print(text, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(prog="Benchmarks/run.sh DATA")
    for name in ("--swiftlet", "--data", "--cache", "--litert-converter"):
        parser.add_argument(name, required=True, type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--models", nargs="+", default=models.NAMES, choices=models.NAMES, metavar="NAME")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--minutes", type=float, default=5, help="no round begins that would end later (default: 5)")
    parser.add_argument("--starts", type=int, default=5, help="rounds of loading and quantizing, 0 for none (default: 5)")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the engines")
    parser.add_argument("--output", type=pathlib.Path, default="docs/benchmarks.md")
    parser.add_argument("--convert-only", action="store_true", help="make the peers' files, measure nothing")
    parser.add_argument("--busy", action="store_true", help="measure in spite of a load average above 0.5 per processor")
    options = parser.parse_args()
    options.swiftlet = options.swiftlet.resolve()
    versions = [metadata.version(package) for package in ("torch", "executorch")]
    options.cache = options.cache.resolve() / "-".join(versions)
    options.cache.mkdir(parents=True, exist_ok=True)

    files = rounds.prepare(options)
    if options.convert_only:
        return
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    if load > 0.5 and not options.busy:
        sys.exit(f"the load average is {load:.2f} per processor, above 0.5 (converting models counts too): wait, or pass --busy")
    results, busy = rounds.run(options, files, progress)
    loads = costs.loads(options, files, progress)
    preparations = costs.preparations(options, progress) if options.starts else {}
    options.output.write_text(report.page(options, results, busy, load, loads, preparations))
    progress(f"{options.output} written")


if __name__ == "__main__":
    main()
