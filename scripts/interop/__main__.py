"""usage: python -m interop --swiftlet BINARY --data DATA --cache FOLDER [models|captured|operators|files]..."""

import argparse
import pathlib
import sys

from . import captured, files, matrix, models, peers, report, state_dicts
from .tool import Swiftlet

PARTS = ("models", "captured", "operators", "files")


def progress(text):
    print(text, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(prog="scripts/interop.sh")
    parser.add_argument("--swiftlet", required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--only", action="append", help="a model or an operator's case; can be repeated")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_args()
    versions = peers.versions()
    cache = options.cache / "-".join(versions.values())
    tool, executorch = Swiftlet(options.swiftlet), peers.ExecuTorch()
    print("With " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    failed = []
    if "models" in (options.parts or PARTS):
        rows = [[f"`{name}`", *cells] for name, cells in
                models.rows(tool, executorch, options.data, cache, options.only, progress)]
        sizes = [[row[0], *row[-2:]] for row in rows]
        print("\n## Models\n")
        print(report.table(["model", *[title for title, _ in models.COLUMNS]], [row[:-2] for row in rows]))
        print("\n## File sizes in bytes, Swiftlet : ExecuTorch or torchao\n")
        print(report.table(["model", "int8 .pte", "Q/DQ .pt2"], sizes))
        failed += report.failures(rows)
    if "captured" in (options.parts or PARTS):
        rows = [[f"`{name}`", *cells] for name, cells in captured.rows(tool, options.only, progress)]
        print("\n## Models captured in Swift\n")
        print(report.table(["model", *captured.COLUMNS], rows))
        failed += report.failures(rows)
    if "operators" in (options.parts or PARTS):
        rows = [[name, *cells] for name, cells in matrix.rows(tool, executorch, cache, options.only, progress)]
        print("\n## Operators\n")
        print(report.table(["operator", *report.headers(matrix.COLUMNS)], rows))
        failed += report.failures(rows)
    if "files" in (options.parts or PARTS):
        rows = [[f"`{name}`", *cells] for name, cells in
                files.rows(tool, executorch, options.data, cache, options.only, progress)]
        print("\n## Programs re-encoded with flatc\n")
        print(report.table(["model", *[title for title, _ in files.COLUMNS]], rows))
        failed += report.failures(rows)
        rows = [[name, *cells] for name, cells in state_dicts.rows(tool, options.data, options.only, progress)]
        print("\n## State dicts\n")
        print(report.table(["state dict", *state_dicts.COLUMNS], rows))
        failed += report.failures(rows)
    for line in failed:
        progress(f"over its bound: {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
