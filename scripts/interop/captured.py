"""torchvision's models with weights that PyTorch drew: captured by `swiftlet export`, then run by PyTorch and by Swiftlet."""

import pathlib
import tempfile

import torch
import torchvision

from . import peers
from .measure import attempt, relative, worst_of

COLUMNS = ("Swiftlet export → PyTorch", "Swiftlet export → Swiftlet")
MODELS = """resnet18 resnet34 resnet50 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large squeezenet1_1 efficientnet_b0
shufflenet_v2_x1_0 vgg11_bn densenet121 mnasnet1_0 regnet_y_400mf regnet_x_400mf convnext_tiny vit_b_16""".split()
BATCHES = (1, 3)  # of a program that takes 1 to 4


def rows(tool, selected, progress):
    """For each model: its name, then a cell for each column."""
    for name in MODELS:
        if selected and name not in selected:
            continue
        progress(f"captured: {name}")
        torch.manual_seed(0)
        model = getattr(torchvision.models, name)(weights=None).eval()
        with torch.no_grad():  # what begins as zeros, ViT's head among them, would hide the rest
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.02)
        inputs = [torch.rand(batch, 3, 224, 224, generator=torch.Generator().manual_seed(batch)) for batch in BATCHES]
        with torch.no_grad():
            expected = [model(x).numpy() for x in inputs]
        with tempfile.TemporaryDirectory() as work:
            weights, program = pathlib.Path(work, "weights.pth"), pathlib.Path(work, "model.pt2")
            torch.save(model.state_dict(), weights)

            def through_pytorch():
                tool.export(name, weights, program, "1...4")
                module = peers.load(program).module()
                with torch.no_grad():
                    return worst_of([relative([module(x).numpy()], [y]) for x, y in zip(inputs, expected)])

            def through_swiftlet():
                return worst_of([relative(tool.run(program, [x.numpy()]), [y]) for x, y in zip(inputs, expected)])

            yield name, [attempt(through_pytorch), attempt(through_swiftlet)]
