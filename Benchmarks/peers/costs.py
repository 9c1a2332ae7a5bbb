"""What running a model costs besides its latency: loading it, memory, and making it from the float model. Each measurement
is a process of its own; Swiftlet's and ExecuTorch's alternate."""

import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np

from . import models

CALIBRATION = 32  # samples


def _json(command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if result.returncode != 0:
        lines = [line for line in result.stderr.strip().splitlines() if line.strip()]
        return {"error": lines[-1] if lines else f"ended with status {result.returncode}"}
    return json.loads(result.stdout)


def _fresh(*arguments):
    return _json([sys.executable, "-m", "peers.fresh", *arguments])


def _load_swiftlet(options, file, threads, _):
    answer = _json([options.swiftlet, "bench", file, "--threads", threads, "--runs", 1, "--warmup", 0, "--rounds", 1, "--json"])
    return answer if "error" in answer else {
        "ms": answer["load_ms"] + answer["first_ms"], "mb": answer["memory_growth_mb"]}


def _load_executorch(_, file, threads, shape):
    return _fresh("load", file, threads, json.dumps(shape))


def loads(options, files, progress):
    """Lists of {"ms", "mb"} by (type, threads, name, engine), one for each round, or why there is none."""
    if not options.starts:
        return {}
    engines = {"Swiftlet": _load_swiftlet, "ExecuTorch": _load_executorch}
    shuffle = random.Random(options.seed).shuffle
    results = {}
    lowered = {(type, name, engine): file for (type, name, engine), file in files.items() if engine == "ExecuTorch"}
    for name in options.models:
        for type in models.TYPES:
            lowered[type, name, "Swiftlet"] = _lowered(options, files[type, name, "Swiftlet"], name, type)
    for number in range(options.starts):
        for name in options.models:
            shape = models.shape(options.data, name)
            turn = [(type, threads, engine) for type in models.TYPES for threads in options.threads for engine in engines]
            shuffle(turn)
            for type, threads, engine in turn:
                key, file = (type, threads, name, engine), lowered[type, name, engine]
                if isinstance(file, str):
                    results[key] = file
                elif not isinstance(results.get(key), str):
                    file.read_bytes()  # into the page cache
                    answer = engines[engine](options, file, threads, shape)
                    results[key] = answer["error"] if "error" in answer else [*results.get(key, []), answer]
        progress(f"loading, round {number + 1}")
    return results


def _lowered(options, model, name, type):
    """Swiftlet's .pte of a .pt2, made anew."""
    if isinstance(model, str):
        return model
    path = options.cache / f"{name}_{type}.swiftlet.pte"
    answer = _json([options.swiftlet, "lower", model, "-o", path, "--json"])
    return answer.get("error", path)


def preparations(options, progress):
    """By name: {engine: {"prepare", "convert", "lower": lists of milliseconds, "calibration": {threads: images a second}}},
    or why there is none."""
    from interop import samples

    results = {}
    for name in options.models:
        model = options.data / "models" / f"{name}.pt2"
        with tempfile.TemporaryDirectory() as folder:
            data = samples.calibration(options.data, name)[:CALIBRATION]
            array, npz, recipe = (pathlib.Path(folder, file) for file in ("samples.npy", "samples.npz", "recipe.json"))
            np.save(array, data)
            np.savez(npz, calibration=data)
            recipe.write_text(json.dumps({"scale": 1}))
            peer = _fresh("quantize", model, array, pathlib.Path(folder, "peer.pte"), *options.threads)
            own = [_prepare_swiftlet(options, model, npz, recipe, folder) for _ in range(options.starts)]
        failed = next((answer["error"] for answer in own if "error" in answer), None)
        results[name, "Swiftlet"] = failed or own
        results[name, "ExecuTorch"] = peer.get("error") or [peer]
        progress(f"from float model to program: {name}")
    return results


def _prepare_swiftlet(options, model, npz, recipe, folder):
    answer = {"calibration": {}}
    for threads in options.threads:
        quantized = pathlib.Path(folder, "own.pt2")
        report = _json([
            options.swiftlet, "quantize", model, "-o", quantized, "--calibrate", npz, "--preprocess", recipe, "--threads",
            threads, "--json"])
        if "error" in report:
            return report
        answer |= {"prepare": report["prepareMilliseconds"], "convert": report["convertMilliseconds"]}
        answer["calibration"][str(threads)] = report["samplesPerSecond"]
    report = _json([options.swiftlet, "lower", quantized, "-o", pathlib.Path(folder, "own.pte"), "--json"])
    return report if "error" in report else {**answer, "lower": report["lowerMilliseconds"]}
