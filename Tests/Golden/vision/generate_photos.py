"""Writes photos.json: what torchvision's transforms make of 20 of the shipped photos.

Made with Pillow 13.0.0 and torchvision 0.29 (torch 2.15). Of each result there are the CRC-32 of all bytes, the sum of
each channel, and sampled pixels; small ones are there whole. The photos are decoded by Pillow; the CRC-32 of the decoded
pixels lets the reader make sure that it resizes the same ones.

torchvision resizes a Pillow image by Pillow. (For tensors it has kernels of PyTorch's, whose bicubic results are up to
2/255 from Pillow's on these photos.)

torchvision's random transforms are given SplitMix64 for torch's generator, as the reader has it.
"""

import base64
import json
import pathlib
import zlib

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, transforms
from torchvision.transforms import functional as F

HERE = pathlib.Path(__file__).parent
MODELS = HERE.parents[2] / "models"
FILTERS = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
MASK = (1 << 64) - 1
torch.set_num_threads(1)


class SplitMix64:
    def __init__(self, seed):
        self.state = seed & MASK

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    @staticmethod
    def of_sample(seed, epoch, sample):
        state = seed
        for part in (epoch, sample):
            state = SplitMix64(state).next() ^ (part & MASK)
        return SplitMix64(SplitMix64(state).next())

    def fraction(self):
        return (self.next() >> 11) * 2.0**-53


class Torch:
    """The part of `torch` that the random transforms use, in double, on another generator."""

    def __init__(self, generator):
        self.generator = generator

    def __getattr__(self, name):
        return getattr(torch, name)

    def tensor(self, value):
        return torch.tensor(value, dtype=torch.float64)

    def empty(self, _):
        return self

    def uniform_(self, low, high):
        low, high = float(low), float(high)
        return self.tensor([low + self.generator.fraction() * (high - low)])

    def rand(self, _):
        return self.tensor([self.generator.fraction()])

    def randint(self, low, high, size):
        return torch.tensor([low + ((self.generator.next() * (high - low)) >> 64)])


def on(key, body):
    transforms.torch = Torch(SplitMix64.of_sample(*key))
    try:
        return body()
    finally:
        transforms.torch = torch


def text(data):
    return base64.b64encode(bytes(data)).decode()


def sampled(array, count):
    """Every pixel of a small picture, else pixels far apart."""
    flat = array.reshape(-1, 3)
    if len(flat) <= count:
        return text(flat.tobytes())
    return text(flat[(np.arange(count) * 7919 + 13) % len(flat)].tobytes())


def summary(image, count=24):
    array = np.asarray(image)
    return {"height": array.shape[0], "width": array.shape[1], "crc": zlib.crc32(array.tobytes()),
            "sums": array.reshape(-1, 3).sum(0, dtype=np.int64).tolist(), "samples": sampled(array, count)}


def photos():
    folders = sorted(path for path in (MODELS / "efficientnet-lite0/val").iterdir())[::5]
    return [sorted(folder.iterdir())[0] for folder in folders]


def region(index):
    """A part of the photo with odd sides and its own ratio: top, left, height, width."""
    height, width = 299 - 2 * ((index * 37) % 110), 299 - 2 * ((index * 53) % 120)
    return [(299 - height) // 2, (299 - width) // 3, height, width]


# height and width to: down, far down, up, far up in one axis, mixed.
SIZES = [(131, 97), (19, 15), (333, 401), (299, 511), (77, 613)]


def resize_cases(image, index):
    cases = []
    for height, width in [SIZES[1], SIZES[(index * 2) % 5], SIZES[(index * 2 + 3) % 5]]:
        for name, mode in FILTERS.items():
            made = F.resize(image, [height, width], mode)
            cases.append({"filter": name, "result": summary(made, 285 if height == 19 else 24)})
    return cases


def crop_cases(image, index):
    height, width = [(101, 98), (300, 77), (301, 306), (57, 299), (150, 151)][index % 5]
    return {"center": summary(F.center_crop(image, [height, width])), "horizontal": summary(F.hflip(image)),
            "vertical": summary(F.vflip(image))}


def random_case(image, index):
    """RandomResizedCrop and both flips, as Compose runs them."""
    key, name = (index * 977, index % 3, index * 31), ["bilinear", "bicubic"][index % 2]
    steps = transforms.Compose([
        transforms.RandomResizedCrop((61 + index, 83), interpolation=FILTERS[name]),
        transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip(0.3)])
    return {"key": key, "filter": name, "result": summary(on(key, lambda: steps(image)))}


def box_cases():
    """get_params for pictures of many shapes: height, width, scale, ratio, seed, then top, left, height, width."""
    cases = []
    shapes = [(299, 299), (1, 1), (9, 299), (299, 9), (480, 640), (37, 53), (2000, 31)]
    for index in range(140):
        height, width = shapes[index % len(shapes)]
        scale, ratio = [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.9, 1.0), (0.5, 2.0)), ((0.2, 0.4), (1.0, 1.0))][index % 3]
        image = Image.new("RGB", (width, height))
        box = on((index, 5, 2 * index), lambda: transforms.RandomResizedCrop.get_params(image, scale, ratio))
        cases.append([height, width, *scale, *ratio, index, *box])
    return cases


cases = []
for index, path in enumerate(photos()):
    whole = Image.open(path).convert("RGB")
    top, left, height, width = region(index)
    image = whole.crop((left, top, left + width, top + height))
    cases.append({"file": str(path.relative_to(MODELS)), "crc": zlib.crc32(np.asarray(whole).tobytes()),
                  "region": region(index), "resize": resize_cases(image, index), **crop_cases(image, index),
                  "random": random_case(image, index)})
assert len(cases) == 20
(HERE / "photos.json").write_text(json.dumps({"photos": cases, "boxes": box_cases()}, separators=(",", ":")) + "\n")
