"""The `swiftlet` binary as functions on numpy arrays. What it refuses is raised as `Refused`."""

import json
import pathlib
import subprocess
import tempfile

import numpy as np


class Refused(Exception):
    """A command that ended with an error; the message is the tool's own. To be killed by a signal is a failure."""

    is_failure = False


class Swiftlet:
    def __init__(self, binary):
        self.binary = str(pathlib.Path(binary).resolve())
        self.commands = self._call("--help")

    def _call(self, *arguments):
        result = subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True, timeout=900)
        if result.returncode < 0:
            error = Refused(f"killed by signal {-result.returncode}")
            error.is_failure = True
            raise error
        if result.returncode != 0:
            lines = [line for line in result.stderr.strip().splitlines() if line.strip()]
            message = next((line for line in lines if "rror:" in line), lines[-1] if lines else "no message")
            message = message.split("rror: ", 1)[-1]
            for argument in arguments:
                message = message.replace(f"{argument}: ", "")
            raise Refused(message)
        return result.stdout

    def has(self, command):
        return any(line.split()[:1] == [command] for line in self.commands.splitlines())

    def run(self, model, inputs, simulate=False):
        """Outputs of a .pt2 or .pte on one list of inputs, in the model's order. No preprocessing. simulate: a Q/DQ graph
        in float, as PyTorch runs it."""
        with tempfile.TemporaryDirectory() as folder:
            recipe, x, y = (pathlib.Path(folder, name) for name in ("recipe.json", "x.npz", "y.npz"))
            recipe.write_text(json.dumps({"scale": 1}))
            np.savez(x, **{f"input_{i}": np.ascontiguousarray(value) for i, value in enumerate(inputs)})
            options = ["--simulate"] if simulate else []
            self._call("run", model, "--input", x, "-o", y, "--preprocess", recipe, *options)
            with np.load(y) as outputs:
                return [outputs[name] for name in outputs.files]

    def quantize(self, model, output, samples, config=None):
        """A Q/DQ .pt2. samples: array [N, …] of preprocessed inputs. config: of `--config`; {"global": None} is all float."""
        with tempfile.TemporaryDirectory() as folder:
            recipe, data, options = (pathlib.Path(folder, name) for name in ("recipe.json", "data.npz", "config.json"))
            recipe.write_text(json.dumps({"scale": 1}))
            np.savez(data, calibration=samples)
            options.write_text(json.dumps(config or {}))
            self._call(
                "quantize", model, "-o", output, "--calibrate", data, "--preprocess", recipe, "--config", options)

    def export(self, name, weights, output, batch):
        """A model that comes along, with the weights of a file, for batches of a range such as 1...4."""
        self._call("export", name, "--weights", weights, "--batch", batch, "-o", output)

    def lower(self, model, output):
        if not self.has("lower"):
            raise Refused("not available")
        self._call("lower", model, "-o", output)

    def weights(self, model, output):
        if not self.has("weights"):
            raise Refused("not available")
        self._call("weights", model, "-o", output)
