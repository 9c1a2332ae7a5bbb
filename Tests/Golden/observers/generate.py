"""Writes observers.json: value streams and what torchao's observers make of them.

Short batches are stored as float32 bit patterns; long ones as a recipe (see `generated`) that the tests repeat.
Usage: python generate.py [FILE]
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import torch
import torchao
from torchao.quantization.pt2e import observer as ao

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
F = np.float32
INF = float("inf")


def uniforms(seed, count):
  """`count` floats k/2^24 from the high bits of a 64-bit linear congruential generator; closed form of its loop."""
  with np.errstate(over="ignore"):
    powers = np.full(count, 6364136223846793005, np.uint64)
    powers = np.multiply.accumulate(powers)
    sums = np.add.accumulate(np.concatenate([np.ones(1, np.uint64), powers[:-1]]))
    states = powers * np.uint64(seed) + sums * np.uint64(1442695040888963407)
  return (states >> np.uint64(40)).astype(F) * F(2.0**-24)


def generated(seed, count, kind, scale, offset):
  """Four draws make one value; every step rounds to float32."""
  u = uniforms(seed, count * 4).reshape(count, 4)
  bell = u[:, 0] + u[:, 1] + u[:, 2] + u[:, 3] - F(2)
  value = {
    "uniform": lambda: u[:, 0],
    "bell": lambda: bell,
    "relu": lambda: np.maximum(bell, F(0)),
    "relu6": lambda: np.minimum(np.maximum(bell * F(8), F(0)), F(6)),
    "cubed": lambda: bell * bell * bell,
    "steps": lambda: np.floor(u[:, 0] * F(8)),
    "sparse": lambda: np.where(u[:, 1] < F(0.01), u[:, 0], F(0)),
  }[kind]()
  return value.astype(F) * F(scale) + F(offset)


def gen(seed, count, kind, scale=1.0, offset=0.0):
  scale, offset = float(F(scale)), float(F(offset))
  batch = dict(seed=seed, count=count, kind=kind, scale=scale, offset=offset)
  return batch, generated(seed, count, kind, scale, offset)


def lit(*values, shape=None):
  array = np.array(values, F)
  batch = dict(bits=[int(b) for b in array.view(np.uint32)])
  return (dict(batch, shape=shape), array.reshape(shape)) if shape else (batch, array)


SCHEMES = {
  "perTensorAffine": torch.per_tensor_affine,
  "perTensorSymmetric": torch.per_tensor_symmetric,
  "perChannelAffine": torch.per_channel_affine,
  "perChannelSymmetric": torch.per_channel_symmetric,
}
CLASSES = {
  "histogram": ao.HistogramObserver, "minMax": ao.MinMaxObserver, "perChannel": ao.PerChannelMinMaxObserver,
  "movingAverage": ao.MovingAverageMinMaxObserver, "movingAveragePerChannel": ao.MovingAveragePerChannelMinMaxObserver,
}


def bits(tensor):
  return [int(b) for b in tensor.detach().reshape(-1).numpy().astype(F).view(np.uint32)]


def case(name, *batches, observer="histogram", scheme="perTensorAffine", qmin=-128, qmax=127, eps=2.0**-12, axis=None):
  kwargs = dict(dtype=torch.int8 if qmin < 0 else torch.uint8, qscheme=SCHEMES[scheme], eps=eps)
  if (qmin, qmax) != (0, 255):
    kwargs.update(quant_min=qmin, quant_max=qmax)
  if axis is not None:
    kwargs["ch_axis"] = axis
  reference = CLASSES[observer](**kwargs)
  for _, values in batches:
    reference(torch.from_numpy(np.ascontiguousarray(values)))
  scale, zero_point = reference.calculate_qparams()
  expected = dict(
    min=bits(reference.min_val), max=bits(reference.max_val), scales=bits(scale),
    zeroPoints=[int(z) for z in zero_point])
  if observer == "histogram":
    weights = (np.arange(2048) * 7919) % 101 + 1
    expected["checksum"] = float(sum(float(c) * int(w) for c, w in zip(reference.histogram.numpy(), weights)))
  return dict(
    name=name, observer=observer, scheme=scheme, quantMin=qmin, quantMax=qmax, eps=eps, axis=axis,
    batches=[recipe for recipe, _ in batches], expected=expected)


def histogram_cases():
  yield case("uniform", gen(1, 5000, "uniform"))
  yield case("bell", gen(2, 20000, "bell", 3))
  yield case("relu", gen(3, 20000, "relu", 2.5))
  yield case("relu6", gen(4, 20000, "relu6"))
  yield case("heavy tails", gen(5, 20000, "cubed", 10, 0.1))
  yield case("steps on bin edges", gen(6, 5000, "steps", 0.25, -1))
  yield case("sparse", gen(7, 20000, "sparse", 4))
  yield case("count not a multiple of 8", gen(8, 1003, "bell"))
  yield case("same range twice", gen(9, 3000, "relu6"), gen(10, 3000, "relu6"))
  yield case("growing upwards", *[gen(20 + i, 3000, "relu", 1 + 0.37 * i) for i in range(6)])
  yield case("growing both ways", *[gen(30 + i, 3000, "bell", 1.3**i) for i in range(8)])
  yield case("shrinking", *[gen(40 + i, 3000, "bell", 1.3**-i) for i in range(5)])
  yield case("drifting up", *[gen(50 + i, 2000, "bell", 1, 0.8 * i) for i in range(5)])
  yield case("drifting down", *[gen(60 + i, 2000, "bell", 1, -0.8 * i) for i in range(5)])
  yield case("range grows 1000-fold", gen(70, 4000, "bell", 0.01), gen(71, 4000, "bell", 10))
  yield case("range grows by a hair", gen(72, 4000, "bell"), gen(72, 4000, "bell", 1.000001))
  yield case("zeros", lit(*[0.0] * 50))
  yield case("constant", lit(*[3.5] * 9))
  yield case("negative constant", lit(*[-2.25] * 9))
  yield case("large constant", lit(1e10, 1e10))
  yield case("constant twice", lit(3.5, 3.5), lit(3.5))
  yield case("constant, then another", lit(1.5, 1.5, 1.5), lit(-4.0))
  yield case("zeros, then values", lit(*[0.0] * 40), gen(80, 4000, "bell", 2))
  yield case("values, then a constant within", gen(81, 4000, "bell", 2), lit(*[0.5] * 30))
  yield case("values, then a constant outside", gen(82, 4000, "bell", 2), lit(*[9.0] * 30))
  yield case("one element", lit(0.7))
  yield case("one negative element", lit(-1e-3))
  yield case("two elements", lit(-0.3, 0.9))
  yield case("elements one by one", *[lit(v) for v in (0.1, -0.2, 0.35, 7.0, -3.0, 0.1, 7.0, 12.5)])
  yield case("single outlier", gen(90, 20000, "bell"), lit(400.0))
  yield case("negative outlier in the batch", gen(91, 20000, "relu"), lit(-1000.0, 0.5))
  yield case("outliers on both sides", lit(-250.0, 900.0), gen(92, 20000, "bell", 1.5))
  yield case("outlier first", lit(1.0), *[gen(93 + i, 20000, "sparse", 0.001) for i in range(3)])
  yield case("infinities", lit(1.0, INF, -0.5, -INF, 0.25, 0.125, 3.0, 2.0, 1.0, -1.0))
  yield case("positive infinity later", gen(96, 3000, "bell"), lit(INF, 2.5, 0.0), gen(97, 3000, "bell", 1.1))
  yield case("only infinities, then values", lit(INF, INF), lit(-INF), gen(98, 3000, "bell"))
  yield case("empty batch", lit(), gen(99, 500, "bell"), lit())
  yield case("positive only", gen(100, 5000, "uniform", 0.5, 3))
  yield case("negative only", gen(101, 5000, "uniform", 0.5, -3))
  yield case("far from zero", gen(102, 5000, "bell", 0.01, 1000), gen(103, 5000, "bell", 0.03, 1000))
  yield case("below eps", gen(104, 5000, "bell", 1e-6), gen(105, 5000, "bell", 2e-6))
  yield case("below eps, small eps", gen(104, 5000, "bell", 1e-6), gen(105, 5000, "bell", 2e-6), eps=2.0**-60)
  yield case("tiny", gen(106, 3000, "bell", 1e-20), gen(107, 3000, "bell", 2e-20), eps=2.0**-126)
  yield case("huge", gen(108, 3000, "bell", 1e11), gen(109, 3000, "bell", 2e11))
  yield case("bin index overflows", lit(-1e37, 0.0, 1e30, 1e37), lit(-1e37, 0.0, 1e37))
  yield case("subnormal", lit(1e-42, 0.0, -3e-42, 5e-43), lit(2e-42, 1e-44), eps=2.0**-126)
  yield case("subnormal bin width", gen(116, 3000, "bell", 1e-38), gen(117, 3000, "bell", 2e-38), eps=2.0**-126)
  yield case("float32 epsilon", gen(110, 5000, "bell", 1e-4), eps=2.0**-23)
  yield case("unsigned", gen(111, 8000, "bell", 2, 0.5), qmin=0, qmax=255)
  yield case("unsigned 7 bits", gen(112, 8000, "bell", 2, 0.5), qmin=0, qmax=127)
  yield case("symmetric", gen(113, 8000, "bell", 2, 0.5), scheme="perTensorSymmetric")
  yield case("symmetric -127...127", gen(114, 8000, "bell", 2, -0.5), scheme="perTensorSymmetric", qmin=-127)
  yield case("symmetric unsigned", gen(115, 8000, "relu"), scheme="perTensorSymmetric", qmin=0, qmax=255)


def min_max_cases():
  for scheme in ("perTensorAffine", "perTensorSymmetric"):
    def of(name, *batches, **kwargs):
      return case(f"{name}, {scheme}", *batches, observer="minMax", scheme=scheme, **kwargs)
    yield of("bell", gen(200, 1003, "bell", 2, 0.3))
    yield of("growing", *[gen(201 + i, 517, "bell", 1.3**i, 0.2 * i) for i in range(5)])
    yield of("zeros", lit(0.0, 0.0))
    yield of("one element", lit(-7.25))
    yield of("positive only", gen(210, 100, "uniform", 1, 5))
    yield of("negative only", gen(211, 100, "uniform", 1, -5))
    yield of("negative zero", lit(-0.0, 0.0, 1.0))
    yield of("halves round to even", lit(-0.5, 254.5), eps=2.0**-23)
    yield of("below eps", lit(-1e-5, 1e-5))
    yield of("huge", lit(-1e38, 1e38))
    yield of("-127...127", gen(212, 1000, "bell"), qmin=-127)
    yield of("unsigned", gen(213, 1000, "bell"), qmin=0, qmax=255)
    yield of("unsigned 7 bits", gen(214, 1000, "bell"), qmin=0, qmax=127)


def per_channel_cases():
  weights = generated(300, 96, "bell", 0.2, 0.01)
  more = generated(301, 96, "bell", 0.3, -0.01)
  for scheme in ("perChannelSymmetric", "perChannelAffine"):
    qmin = -127 if scheme == "perChannelSymmetric" else -128
    for shape, axis in (([4, 6, 2, 2], 0), ([4, 6, 2, 2], 1), ([24, 4], 1), ([24, 4], -2), ([2, 48], 0)):
      batches = [lit(*weights, shape=shape), lit(*more, shape=shape)]
      yield case(
        f"{shape} axis {axis}, {scheme}", *batches, observer="perChannel", scheme=scheme, qmin=qmin, axis=axis)
  zero = lit(0, 0, 0, 1, -2, 3, -1e-7, 0, 0, shape=[3, 3])
  yield case("zero channel", zero, observer="perChannel", scheme="perChannelSymmetric", qmin=-127, axis=0)


def moving_average_cases():
  for scheme in ("perTensorAffine", "perTensorSymmetric"):
    def of(name, *batches, **kwargs):
      return case(f"{name}, {scheme}", *batches, observer="movingAverage", scheme=scheme, **kwargs)
    yield of("one batch", gen(400, 1003, "bell", 2, 0.3))
    yield of("growing", *[gen(401 + i, 517, "bell", 1.3**i, 0.2 * i) for i in range(9)])
    yield of("shrinking", *[gen(411 + i, 517, "bell", 1.3**-i) for i in range(9)])
    yield of("single outlier", gen(420, 500, "bell"), lit(1000.0, 0.0), *[gen(421 + i, 500, "bell") for i in range(5)])
    yield of("constants", lit(3.5, 3.5), lit(-2.0), lit(0.0, 0.0))
    yield of("one element", lit(0.7))
    yield of("many batches", *[gen(430 + i, 50, "relu", 1 + i % 7) for i in range(60)])
    yield of("huge and tiny", lit(-1e30, 1e-30), lit(1e30, -1e-30))
  weights = [lit(*generated(500 + i, 48, "bell", 1 + i, 0.1 * i), shape=[4, 12]) for i in range(5)]
  for scheme in ("perChannelSymmetric", "perChannelAffine"):
    for axis in (0, 1):
      yield case(
        f"moving axis {axis}, {scheme}", *weights, observer="movingAveragePerChannel", scheme=scheme, axis=axis)


def more_adversarial_cases():
  """Streams that the cases above do not have, for every observer of tensors."""
  for observer in ("histogram", "minMax", "movingAverage"):
    yield case(f"{observer}: alternating signs", lit(*[(-1) ** i * (i + 1.0) for i in range(50)]), observer=observer)
    yield case(f"{observer}: huge offset", gen(600, 4000, "bell", 1e-3, 1e6), observer=observer)
    yield case(f"{observer}: subnormals", lit(1e-42, -3e-43, 0.0), observer=observer)
    yield case(f"{observer}: one huge outlier", gen(601, 4000, "bell"), lit(1e20), gen(602, 4000, "bell"), observer=observer)
    yield case(f"{observer}: negative zeros", lit(-0.0, -0.0), observer=observer)
    yield case(f"{observer}: growing a hundred times", *[gen(610 + i, 64, "bell", 1.1**i) for i in range(100)], observer=observer)
  channels = lit(0, 0, 0, 5, 5, 5, -1, -1, -1, 1e-42, 0, 0, -1e30, 1e30, 2, shape=[5, 3])
  for scheme in ("perChannelSymmetric", "perChannelAffine"):
    yield case(f"adversarial channels, {scheme}", channels, observer="perChannel", scheme=scheme, axis=0)
    yield case(f"one element a channel, {scheme}", lit(3, -4, 0, shape=[3, 1]), observer="perChannel", scheme=scheme, axis=0)


def main():
  default = pathlib.Path(__file__).parent / "observers.json"
  path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
  cases = [*histogram_cases(), *min_max_cases(), *per_channel_cases(), *moving_average_cases(),
    *more_adversarial_cases()]
  lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in cases)
  head = json.dumps(dict(torch=torch.__version__, torchao=torchao.__version__))[:-1]
  path.write_text(f'{head}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
  main()
