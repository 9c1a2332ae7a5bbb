"""usage: python -m peers.fresh load FILE THREADS SHAPE
          python -m peers.fresh quantize MODEL SAMPLES OUT THREADS...

ExecuTorch and torchao in a process that does one thing and ends; prints JSON.
"""

import json
import os
import pathlib
import sys
import time

import numpy as np


def resident(key):
    """VmRSS or VmHWM in MiB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(key + ":"))


def load(file, threads, shape):
    """From before the file is opened to after the first inference; what imports the runtime does has been done."""
    import executorch.extension.pybindings._C as runtime
    import executorch.kernels.quantized  # noqa: F401  registers the quantized kernels
    import torch

    torch.set_num_threads(1)
    runtime._unsafe_reset_threadpool(threads)
    inputs = (torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)),)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins again at what is resident now
    before = resident("VmRSS")
    start = time.perf_counter()
    program = runtime._load_for_executorch(file)
    program.forward(inputs)
    end = time.perf_counter()
    return {"ms": 1e3 * (end - start), "mb": resident("VmHWM") - before}


def quantize(model, samples, out, threads):
    """prepare, calibrate with each number of threads, convert, lower and write; in milliseconds, and images a second."""
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer, get_symmetric_quantization_config)
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from interop import peers

    program, inputs = peers.load(model), [torch.from_numpy(sample[None].copy()) for sample in np.load(samples)]
    answer = {"calibration": {}}
    for count in threads:
        torch.set_num_threads(count)
        start = time.perf_counter()
        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        observed = prepare_pt2e(program.module(), quantizer)
        answer["prepare"] = 1e3 * (time.perf_counter() - start)
        start = time.perf_counter()
        with torch.no_grad():
            for x in inputs:
                observed(x)
        answer["calibration"][count] = len(inputs) / (time.perf_counter() - start)
    start = time.perf_counter()
    converted = convert_pt2e(observed)
    answer["convert"] = 1e3 * (time.perf_counter() - start)
    start = time.perf_counter()
    peers.lower(peers.export(converted, [inputs[0].numpy()]), pathlib.Path(out))
    answer["lower"] = 1e3 * (time.perf_counter() - start)
    return answer


def main():
    # What a runtime prints must not come between.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    what, *arguments = sys.argv[1:]
    if what == "load":
        file, threads, shape = arguments
        answer = load(file, int(threads), json.loads(shape))
    else:
        model, samples, out, *threads = arguments
        answer = quantize(model, samples, out, [int(count) for count in threads])
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
