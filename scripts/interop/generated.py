"""Generated models (Tests/GeneratedModelTests): how near int8 is to float, torchao's and Swiftlet's.

All are computed by PyTorch, on the samples that they were calibrated with. The worst output of a model counts. torchao's quantizer
finds adaptive pooling by the source that the exporter noted, which a drawn model has not: it leaves that in float.
"""

import pathlib
import statistics
import sys

import numpy as np

from . import peers

CALIBRATION = 3  # samples; what follows them is left out


def decibels(expected, actual):
    worst = 200.0
    for output in range(len(expected[0])):
        signal = sum(float((x[output].astype(np.float64) ** 2).sum()) for x in expected)
        noise = sum(float(((x[output].astype(np.float64) - y[output]) ** 2).sum()) for x, y in zip(expected, actual))
        if noise > signal * 1e-20:
            worst = min(worst, 10 * float(np.log10(signal / noise)) if signal > 0 else -100.0)
    return worst


def measure(folder, seed):
    samples = []
    program = peers.load(folder / f"{seed}.float.pt2")
    for index in range(CALIBRATION):
        with np.load(folder / f"{seed}.{index}.npz") as arrays:
            samples.append([arrays[name] for name in arrays.files])
    expected = [peers.run(program, sample) for sample in samples]
    row = {}
    makers = {"torchao": lambda: peers.quantize(program, samples),
              "Swiftlet, torchao's patterns": lambda: peers.load(folder / f"{seed}.torchao.pt2"),
              "Swiftlet": lambda: peers.load(folder / f"{seed}.all.pt2")}
    for name, make in makers.items():
        try:
            quantized = make()
            row[name] = decibels(expected, [peers.run(quantized, sample) for sample in samples])
        except Exception as error:  # a peer's refusal is a result
            row[name] = f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return row


def main():
    folder = pathlib.Path(sys.argv[1])
    seeds = sorted(int(path.name.split(".")[0]) for path in folder.glob("*.float.pt2"))
    rows = {}
    for seed in seeds:
        try:
            rows[seed] = measure(folder, seed)
        except Exception as error:
            print(f"seed {seed}: PyTorch cannot run the float model: {type(error).__name__}: {str(error).splitlines()[0][:160]}")
    names = ["torchao", "Swiftlet, torchao's patterns", "Swiftlet"]
    for name in names:
        refusals = [(seed, row[name]) for seed, row in rows.items() if isinstance(row[name], str)]
        for seed, text in refusals:
            print(f"seed {seed}, {name}: {text}")
    complete = {seed: row for seed, row in rows.items() if not any(isinstance(row[name], str) for name in names)}
    print(f"\n{len(complete)} of {len(seeds)} models\n\n| quantized by | 5 % below | median |\n| --- | --- | --- |")
    for name in names:
        values = sorted(row[name] for row in complete.values())
        print(f"| {name} | {values[len(values) // 20]:.1f} dB | {statistics.median(values):.1f} dB |")
    print("\nMore than 3 dB below torchao, where that quantizes anything:")
    for seed, row in complete.items():
        if min(row[name] for name in names[1:]) < row["torchao"] - 3 and row["torchao"] < 200:
            print(f"seed {seed}: " + ", ".join(f"{name} {row[name]:.1f}" for name in names))


if __name__ == "__main__":
    main()
