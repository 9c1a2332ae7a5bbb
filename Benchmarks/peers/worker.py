"""usage: python -m peers.worker PEER THREADS

One peer with one number of threads, in a process of its own that lives for all rounds: it sleeps until it is asked.
Reads lines of JSON, {"file", "shape", "seconds"}, and answers each with {"ms": median, "runs"} or {"error"}.
"""

import json
import os
import statistics
import sys
import time

import numpy as np


def executorch(threads):
    import executorch.extension.pybindings._C as runtime
    import executorch.kernels.quantized  # noqa: F401  registers the quantized kernels
    import torch

    torch.set_num_threads(1)
    runtime._unsafe_reset_threadpool(threads)

    def load(file, x):
        program, inputs = runtime._load_for_executorch(file), (torch.from_numpy(x),)
        return lambda: program.forward(inputs)

    return load


def onnx_runtime(threads):
    import onnxruntime

    def load(file, x):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        inputs = {session.get_inputs()[0].name: x}
        return lambda: session.run(None, inputs)

    return load


def openvino(threads):
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}

    def load(file, x):
        request = core.compile_model(core.read_model(file), "CPU", settings).create_infer_request()
        return lambda: request.infer([x])

    return load


def litert(threads):
    from ai_edge_litert.interpreter import Interpreter

    def load(file, x):
        interpreter = Interpreter(file, num_threads=threads)
        interpreter.allocate_tensors()
        entry = interpreter.get_input_details()[0]
        interpreter.set_tensor(entry["index"], x.reshape(entry["shape"]).astype(entry["dtype"]))
        return interpreter.invoke

    return load


def measure(run, seconds):
    """Median of the times within `seconds`, at least three, after a third as long of warm-up."""
    end = time.perf_counter() + seconds / 3
    while True:
        run()
        if time.perf_counter() >= end:
            break
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {"ms": 1e3 * statistics.median(times), "runs": len(times)}


def main():
    peer, threads = sys.argv[1], int(sys.argv[2])
    # What a runtime prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    loaders = {"ExecuTorch": executorch, "ONNX Runtime": onnx_runtime, "OpenVINO": openvino, "LiteRT": litert}
    load, loaded = None, {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            load = load or loaders[peer](threads)
            file = request["file"]
            if file not in loaded:
                x = np.random.default_rng(0).uniform(-1, 1, request["shape"]).astype(np.float32)
                loaded[file] = load(file, x)
            answer = measure(loaded[file], request["seconds"])
        except Exception as error:
            answer = {"error": " ".join(str(error).split())[:200] or type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
