"""Makes version_X.Y.pt2, the archive of one model by the PyTorch that runs this, and version_outputs.npz with its input and
output. Run it in an environment for each of PyTorch 2.5 to 2.15, the newest last.

usage: python generate_versions.py
"""
import pathlib

import numpy as np
import torch
import torch.nn as nn

HERE = pathlib.Path(__file__).parent


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(16, 5)
        self.register_buffer("shift", torch.full((5,), 0.25), persistent=False)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        x = nn.functional.max_pool2d(x, 2)
        return self.fc(torch.flatten(x, 1)) + self.shift


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Model().eval()
    model.bn.running_mean.uniform_(-1, 1)
    model.bn.running_var.uniform_(0.5, 2)
    x = torch.randn(1, 3, 4, 4)
    program = torch.export.export(model, (x,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    version = ".".join(torch.__version__.split(".")[:2])
    torch.export.save(program, str(HERE / f"version_{version}.pt2"))
    np.savez(HERE / "version_outputs.npz", input=x.numpy(), output=model(x).detach().numpy())
    print(version, model(x))


main()
