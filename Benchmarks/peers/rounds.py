"""Interleaved rounds: every engine once on each model with each number of threads, before any comes again."""

import json
import os
import random
import subprocess
import sys
import time

from . import convert, models

SECONDS = 0.08  # of timed inferences, for each measurement
PAUSE = 0.01  # between measurements: threads of the engine before may still spin


class Worker:
    """A peer with a number of threads."""

    def __init__(self, peer, threads):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "peers.worker", peer, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=environment)

    def measure(self, file, shape):
        request = {"file": str(file), "shape": shape, "seconds": SECONDS}
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        return json.loads(answer) if answer else {"error": "its process ended"}

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Swiftlet:
    """`swiftlet bench` in a process for each measurement."""

    def __init__(self, binary, threads):
        self.binary, self.threads, self.runs = binary, threads, {}

    def measure(self, file, shape):
        if file not in self.runs:
            first = self._bench(file, 5)
            if "error" in first:
                return first
            self.runs[file] = max(3, min(20_000, int(SECONDS * 1e3 / first["ms"])))
        return self._bench(file, self.runs[file])

    def _bench(self, file, runs):
        result = subprocess.run(
            [self.binary, "bench", str(file), "--threads", str(self.threads), "--runs", str(runs), "--warmup",
             str(max(2, runs // 3)), "--rounds", "1", "--json"], capture_output=True, text=True)
        if result.returncode != 0:
            return {"error": result.stderr.strip().splitlines()[-1]}
        return {"ms": json.loads(result.stdout)["p50_ms"], "runs": runs}

    def close(self):
        pass


def others_share(seconds=0.3):
    """Of the processors' time, what others use while this process sleeps."""

    def ticks():
        with open("/proc/stat") as file:
            fields = [int(field) for field in file.readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    (total, idle), _ = ticks(), time.sleep(seconds)
    end_total, end_idle = ticks()
    return 1 - (end_idle - idle) / max(1, end_total - total)


def run(options, files, progress):
    """Times by (type, threads, name, engine), in milliseconds, one for each round, or the reason why there is none; and the
    others' share of the processors before each round."""
    engines = {(peer, threads): Worker(peer, threads) for peer in models.PEERS for threads in options.threads}
    engines |= {("Swiftlet", threads): Swiftlet(options.swiftlet, threads) for threads in options.threads}
    shuffle = random.Random(options.seed).shuffle
    results, busy = {}, []
    start, longest = time.monotonic(), 0
    try:
        for number in range(options.rounds):
            began = time.monotonic()
            if number > 1 and began - start + longest > 60 * options.minutes:
                break
            busy.append(others_share())
            for name in options.models:
                shape = models.shape(options.data, name)
                for threads in options.threads:
                    turn = [(type, engine) for type in models.TYPES for engine in ("Swiftlet", *models.PEERS)]
                    shuffle(turn)
                    for type, engine in turn:
                        key, file = (type, threads, name, engine), files[type, name, engine]
                        if isinstance(file, str):
                            results[key] = file
                        elif not isinstance(results.get(key), str):
                            answer = engines[engine, threads].measure(file, shape)
                            if "error" in answer:
                                results[key] = answer["error"]
                            else:
                                results.setdefault(key, []).append(answer["ms"])
                            time.sleep(PAUSE)
            took = time.monotonic() - began
            longest = max(longest, took if number else 0)
            progress(f"round {number + 1}: {took:.0f} s")
    finally:
        for engine in engines.values():
            engine.close()
    return results, busy


def prepare(options):
    """The file of every engine's model, by (type, name, engine); a string says why there is none."""
    files = {}
    for name in options.models:
        for type in models.TYPES:
            files[type, name, "Swiftlet"] = _swiftlet(options, name, type)
            for peer, kind in models.PEERS.items():
                files[type, name, peer] = convert.file(options, name, type, kind)
    return files


def _swiftlet(options, name, type):
    path = options.data / "models" / f"{name}.pt2"
    if type == "f32":
        return path
    from interop import samples, tool

    output = options.cache / f"{name}_int8.pt2"
    try:
        tool.Swiftlet(options.swiftlet).quantize(path, output, samples.calibration(options.data, name)[:convert.SAMPLES])
    except tool.Refused as error:
        return str(error)
    return output
