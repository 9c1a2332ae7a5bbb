"""usage: python -m peers.convert DATA CACHE LITERT_CONVERTER NAME TYPE KIND

Writes CACHE/NAME_TYPE.KIND: a model of the data as one peer reads it, float or quantized by that peer's own tool with the
same calibration samples. Conversion takes from seconds to a minute, and is done once.
"""

import pathlib
import subprocess
import sys

SAMPLES = 8  # speed does not depend on the ranges that calibration finds


def pte(program, inputs, quantized, path):
    from interop import peers

    peers.lower(peers.quantize(program, inputs) if quantized else program, path)


def onnx(program, inputs, quantized, path):
    """Float; or quantize-dequantize nodes with uint8 activations and int8 weights per channel, which both ONNX Runtime and
    OpenVINO run fastest on x86."""
    import tempfile

    import torch

    with tempfile.TemporaryDirectory() as folder:
        plain, simplified = (f"{folder}/{name}.onnx" for name in ("plain", "simplified"))
        x = torch.from_numpy(inputs[0][0])
        module = program.module()
        # The exporter switches modes, which an exported module refuses; it has one mode only.
        module.train = module.eval = lambda *_: module
        torch.onnx.export(module, (x,), plain if quantized else str(path), dynamo=False, opset_version=17)
        if not quantized:
            return
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        import onnx as format

        name = format.load(plain).graph.input[0].name

        class Reader(CalibrationDataReader):
            def __init__(self):
                self.samples = iter(inputs)

            def get_next(self):
                sample = next(self.samples, None)
                return sample and {name: sample[0]}

        quant_pre_process(plain, simplified)
        quantize_static(
            simplified, str(path), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def tflite(program, inputs, quantized, path):
    import litert_torch
    import torch

    module, options = program.module(), {}
    samples = [(torch.from_numpy(sample[0]),) for sample in inputs]
    if quantized:
        from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
        from litert_torch.quantize.quant_config import QuantConfig
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        configuration = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False)
        quantizer = PT2EQuantizer().set_global(configuration)
        module = prepare_pt2e(module, quantizer)
        with torch.no_grad():
            for sample in samples:
                module(*sample)
        module = convert_pt2e(module, fold_quantize=False)
        options["quant_config"] = QuantConfig(pt2e_quantizer=quantizer)
    litert_torch.convert(module, samples[0], strict_export=False, **options).export(str(path))


def main():
    data, cache, converter, name, type, kind = sys.argv[1:]
    if kind == "tflite":
        sys.path.append(converter)
    from interop import peers, samples

    data, path = pathlib.Path(data), pathlib.Path(cache, f"{name}_{type}.{kind}")
    inputs = [[sample[None].copy()] for sample in samples.calibration(data, name)[:SAMPLES]]
    unfinished = path.with_name("unfinished." + path.name)
    {"pte": pte, "onnx": onnx, "tflite": tflite}[kind](
        peers.load(data / "models" / f"{name}.pt2"), inputs, type == "int8", unfinished)
    unfinished.rename(path)


def file(options, name, type, kind):
    """The converted file, made when there is none yet; or the reason why there is none, as a string. A failure is not tried
    again while its .error file lies there."""
    path = options.cache / f"{name}_{type}.{kind}"
    failed = path.with_name(path.name + ".error")
    if path.exists():
        return path
    if not failed.exists():
        print(f"converting {path.name}", file=sys.stderr, flush=True)
        call = [options.data, options.cache, options.litert_converter, name, type, kind]
        result = subprocess.run(
            [sys.executable, "-m", "peers.convert", *map(str, call)], capture_output=True, text=True)
        if result.returncode == 0:
            return path
        lines = [line for line in result.stderr.strip().splitlines() if line.strip()]
        failed.write_text(lines[-1] if lines else f"ended with status {result.returncode}")
    return failed.read_text()


if __name__ == "__main__":
    main()
