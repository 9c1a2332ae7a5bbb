"""Writes the picture files and vision.json: what Pillow and PyTorch make of small pictures.

Made with Pillow 13.0.0 and torch 2.15. torchvision's Resize, CenterCrop, ToTensor and Normalize are spelled out with
Pillow and torch below, since they are nothing more for a Pillow image.
"""

import base64
import json
import pathlib
import struct
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
FILTERS = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}
rng = np.random.default_rng(20)


def text(data):
    return base64.b64encode(data).decode()


def picture(array):
    return {"width": array.shape[1], "height": array.shape[0], "pixels": text(array.astype(np.uint8).tobytes())}


def waves(height, width, channels):
    """Smooth colours with a little noise, as a photo has."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 120 * np.sin(x / (3 + k) + y / (5 - 0.7 * k) + k) for k in range(channels)]
    return (np.stack(planes, -1) + rng.normal(0, 4, (height, width, channels))).clip(0, 255).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(name, samples, depth, color_type, extra=b""):
    """A PNG of a kind that Pillow does not write. `samples` is [height, width, channels]."""
    height, width, _ = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    data = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (HERE / name).write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def write_files():
    Image.fromarray(waves(13, 17, 1)[..., 0]).save(HERE / "gray.jpg", quality=85)
    Image.fromarray(waves(31, 33, 3)).save(HERE / "color420.jpg", quality=80, subsampling=2)
    Image.fromarray(waves(15, 22, 3)).save(HERE / "progressive422.jpg", quality=90, subsampling=1, progressive=True)
    Image.frombytes("CMYK", (19, 9), waves(9, 19, 4).tobytes()).save(HERE / "cmyk.jpg", quality=90)
    Image.fromarray(waves(11, 9, 4)).save(HERE / "alpha.png")
    Image.fromarray(waves(11, 9, 3)).quantize(12).save(HERE / "palette.png", transparency=3)
    Image.fromarray(waves(7, 13, 1)[..., 0] > 127).save(HERE / "bilevel.png")
    gray = rng.integers(0, 65536, (6, 5, 1))
    gray[:3] %= 300
    png("gray16.png", gray, 16, 0)
    png("color16.png", rng.integers(0, 65536, (6, 5, 3)), 16, 2)
    opaque = rng.integers(0, 65536, (6, 5, 4))
    opaque[..., 3] = 65535
    png("opaque16.png", opaque, 16, 6)
    png("grayalpha.png", rng.integers(0, 256, (6, 5, 2)), 8, 4)
    # A gamma and a transparent colour, both of which Pillow leaves aside.
    extra = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    png("gamma.png", rng.integers(0, 256, (6, 5, 3)), 8, 2, extra)


def decode_cases():
    paths = sorted(path for path in HERE.iterdir() if path.suffix in (".jpg", ".png"))
    return [{"file": path.name, **picture(np.array(Image.open(path).convert("RGB")))} for path in paths]


def resize_cases():
    cases = []
    # (width, height) from, to: down, up, mixed, one axis only, both orders of the passes, one pixel.
    sizes = [((13, 9), (5, 4)), ((13, 9), (29, 21)), ((13, 9), (13, 5)), ((13, 9), (7, 9)), ((13, 9), (13, 9)),
             ((7, 31), (11, 6)), ((31, 7), (6, 11)), ((16, 40), (12, 15)), ((10, 19), (7, 14)), ((1, 1), (3, 2)),
             ((24, 18), (1, 1))]
    for (width, height), (new_width, new_height) in sizes:
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        edges = (rng.integers(0, 2, (height, width, 3)) * 255).astype(np.uint8)  # bicubic overshoots
        for source in (noise, edges):
            for name, code in FILTERS.items():
                made = Image.fromarray(source).resize((new_width, new_height), code)
                cases.append({"source": picture(source), "filter": name, "result": picture(np.array(made))})
    return cases


def resize(image, side, name):
    width, height = image.size
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    return image if size == image.size else image.resize(size, FILTERS[name])


def center_crop(image, side):
    width, height = image.size
    if side > width or side > height:
        left, top = max(side - width, 0) // 2, max(side - height, 0) // 2
        right, bottom = (max(side - width, 0) + 1) // 2, (max(side - height, 0) + 1) // 2
        image = ImageOps.expand(image, (left, top, right, bottom))
        width, height = image.size
    top, left = int(round((height - side) / 2.0)), int(round((width - side) / 2.0))
    return image.crop((left, top, left + side, top + side))


def model_input(image, recipe):
    if "resize" in recipe:
        image = resize(image, recipe["resize"], recipe.get("interpolation", "bilinear"))
    if "crop" in recipe:
        image = center_crop(image, recipe["crop"])
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
    if recipe.get("channels") == "bgr":
        tensor = tensor.flip(0)
    if "mean" in recipe:
        tensor = tensor - torch.tensor(recipe["mean"], dtype=torch.float32)[:, None, None]
    if "std" in recipe:
        tensor = tensor / torch.tensor(recipe["std"], dtype=torch.float32)[:, None, None]
    return tensor[None].numpy()


def preprocess_cases():
    imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    recipes = [
        ((15, 11), {}),
        ((15, 11), imagenet),
        ((15, 11), {"resize": 8, "crop": 7, "interpolation": "bilinear", **imagenet}),
        ((11, 15), {"resize": 9, "crop": 6, "interpolation": "bicubic", **imagenet}),
        ((11, 30), {"resize": 9, "crop": 8, "channels": "bgr", "mean": [0.4, 0.45, 0.48], "std": [1 / 255] * 3}),
        ((11, 15), {"resize": 14, "interpolation": "nearest"}),
        ((14, 9), {"crop": 11}),
        ((6, 7), {"crop": 11, "std": [0.5, 0.25, 0.125]}),
        ((10, 13), {"crop": 7}),
        ((12, 14), {"crop": 7}),
    ]
    cases = []
    for (width, height), recipe in recipes:
        source = waves(height, width, 3)
        result = model_input(Image.fromarray(source), recipe)
        cases.append({"source": picture(source), "recipe": json.dumps(recipe), "shape": list(result.shape),
                      "result": text(result.astype("<f4").tobytes())})
    return cases


write_files()
cases = {"decode": decode_cases(), "resize": resize_cases(), "preprocess": preprocess_cases()}
(HERE / "vision.json").write_text(json.dumps(cases, indent=0) + "\n")
