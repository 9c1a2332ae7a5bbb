"""Calibration samples of the shared models, preprocessed as the data's README.md says."""

import json

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms


def calibration(data, name):
    """Array [N, …] of model inputs in the order in which the reference was calibrated."""
    recipe = json.loads((data / "models" / f"{name}.preprocess.json").read_text())
    if "mean" in recipe:
        folder = data / ("imagenette-sample" if name.endswith("imagenette") else "imagenet-sample") / "calibration"
        return np.stack([_photo(path, recipe) for path in sorted(folder.glob("*/*"))])
    with np.load(data / recipe["npz"]) as arrays:
        if "spectrograms" in arrays:
            spectrogram = arrays["spectrograms"][np.flatnonzero(arrays["labels"] == 0)[0]]
            return np.stack([spectrogram[i : i + 5].reshape(-1) for i in range(100)]).astype(np.float32)
        return (arrays["calibration"].astype(np.float32) * np.float32(recipe["scale"])).astype(np.float32)


def _photo(path, recipe):
    image = Image.open(path).convert("RGB")
    if "resize" in recipe:
        mode = InterpolationMode(recipe["interpolation"])
        image = transforms.center_crop(transforms.resize(image, recipe["resize"], mode, antialias=True), recipe["crop"])
    pixels = transforms.to_tensor(image)
    if recipe.get("channels") == "bgr":
        pixels = pixels.flip(0)
    mean, std = (torch.tensor(recipe[key]).view(3, 1, 1) for key in ("mean", "std"))
    return ((pixels - mean) / std).numpy()
