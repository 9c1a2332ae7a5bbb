"""Graphs that PyTorch exports for the models of the zoo, and what they compute with drawn weights.

    python generate.py [SHARED_DATA]

Writes NAME.txt for every model, and outputs.npz. Made with PyTorch 2.15 and torchvision 0.29. The MLPerf Tiny models,
ResNet-20 and EfficientNet-Lite0 are read from their exported programs: ../../../models and SHARED_DATA/models.

NAME.txt, one line each:
    seed S gain G                      of the drawn weights and the drawn input (see `draw`)
    KIND TARGET SHAPE DTYPE            a graph input: `parameter`, `buffer`, `input` (without a target); float32 is left
                                       out. Values are numbered in the order of definition, from %0
    OP %a %b key=value > SHAPE @PATH CLASS   tensors in the schema's order, then attributes that differ from the schema's
                                       defaults; one shape for each output; path and class of the innermost module.
                                       Operators are ATen's, functional; readers of a tensor changed in place read its new value.
    output %a
Classes lose the prefix `torch.nn.modules.`; those of neither torch nor torchvision are left out.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision

HERE = Path(__file__).parent
SHARED = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "../../../../shared/data"

TORCHVISION = """resnet18 resnet34 resnet50 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large squeezenet1_1
efficientnet_b0 shufflenet_v2_x1_0 vgg11_bn densenet121 mnasnet1_0 regnet_y_400mf regnet_x_400mf convnext_tiny
vit_b_16""".split()
EXPORTED = {
    "efficientnet_lite0": HERE / "../../../models/efficientnet-lite0/efficientnet_lite0.pt2",
    "resnet8": HERE / "../../../models/resnet8/resnet8.pt2",
    "resnet20": SHARED / "models/resnet20_cifar10.pt2",
    "mobilenet_v1_vww": SHARED / "models/mobilenet_v1_vww.pt2",
    "ds_cnn_kws": SHARED / "models/ds_cnn_kws.pt2",
    "autoencoder_ad": SHARED / "models/autoencoder_ad.pt2",
}
SEED = 1
# Factors that keep activations from vanishing or growing through the depth of each model.
GAIN = {
    "resnet18": 1.0, "resnet34": 1.0, "resnet50": 1.0, "mobilenet_v2": 1.4, "mobilenet_v3_small": 1.35,
    "mobilenet_v3_large": 1.3, "squeezenet1_1": 1.5, "efficientnet_b0": 1.4, "shufflenet_v2_x1_0": 1.25,
    "vgg11_bn": 1.3, "densenet121": 1.4, "mnasnet1_0": 1.15, "regnet_y_400mf": 1.2, "regnet_x_400mf": 1.0,
    "convnext_tiny": 1.2, "vit_b_16": 1.2, "efficientnet_lite0": 1.4, "resnet8": 1.4, "resnet20": 1.0,
    "mobilenet_v1_vww": 1.5, "ds_cnn_kws": 1.5, "autoencoder_ad": 1.3,
}


# MARK: Weights


def draw(name, shape, gain, generator):
    """A tensor of the state dict: center + (u - 0.5) * width in float32, u = torch.rand. Counters are 0 and draw nothing."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    u = torch.rand(shape, generator=generator)
    center, width = 0.0, 1.0
    if name.endswith("running_mean") or name.endswith("bias"):
        width = 0.2
    elif name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        center = 1.0
    elif name.endswith("weight"):
        width = 2 * gain * math.sqrt(3 / math.prod(shape[1:]))
    return (u - 0.5) * torch.tensor(width, dtype=torch.float32) + center


def drawn_state(state, gain):
    generator = torch.Generator().manual_seed(SEED)
    for name, tensor in state.items():
        state[name] = draw(name, list(tensor.shape), gain, generator)
    return state


def drawn_input(shape):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(SEED + 1)) - 0.5) * 4


# MARK: Graphs


def shape_text(shape):
    return "x".join(map(str, shape)) or "scalar"


def class_text(name):
    if name.startswith("torch.nn.modules."):
        return name.removeprefix("torch.nn.modules.")
    return name if name.startswith("torchvision.") else ""


def attribute_text(value, kind):
    """ATen's `Scalar` is written as a float, whatever Python had."""
    if isinstance(value, (list, tuple)):
        return ",".join(attribute_text(item, kind) for item in value)
    if isinstance(value, (bool, torch.dtype)) or value is None:
        return str(value)
    return repr(float(value)) if "Scalar" in kind or "float" in kind or "number" in kind else str(value)


def is_default(value, argument):
    if not argument.has_default_value():
        return False
    default = argument.default_value
    if isinstance(value, (list, tuple)) and isinstance(default, (int, float)):
        return all(item == default for item in value)
    return list(value) == list(default) if isinstance(value, (list, tuple)) and default is not None else value == default


class GraphText:
    def __init__(self, program):
        self.numbers = {}  # FX node (or node and index) -> number
        self.newest = {}  # FX node changed in place -> FX node with its new value
        self.lines = []
        signature = program.graph_signature
        kinds = {spec.arg.name: spec for spec in signature.input_specs}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                self.add_input(node, kinds[node.name])
            elif node.op == "call_function":
                self.add_call(node)
            else:
                self.lines.append("output " + " ".join(self.value(x) for x in node.args[0]))

    def number(self, key):
        self.numbers[key] = len(self.numbers)

    def value(self, node):
        while node in self.newest:
            node = self.newest[node]
        if node.op == "call_function" and node.target.__name__ == "getitem":
            return f"%{self.numbers[node.args[0], node.args[1]]}"
        return f"%{self.numbers[node]}"

    def add_input(self, node, spec):
        kind = {"PARAMETER": "parameter", "BUFFER": "buffer", "USER_INPUT": "input"}[spec.kind.name]
        value = node.meta["val"]
        self.number(node)
        dtype = str(value.dtype).removeprefix("torch.")
        fields = [kind, spec.target, shape_text(value.shape), dtype if dtype != "float32" else None]
        self.lines.append(" ".join(field for field in fields if field))

    def add_call(self, node):
        if node.target.__name__ == "getitem":
            return
        schema = node.target._schema
        namespace, name = schema.name.split("::")
        tensors, attributes = [], []
        for index, argument in enumerate(schema.arguments):
            value = node.args[index] if index < len(node.args) else node.kwargs.get(argument.name)
            if index >= len(node.args) and argument.name not in node.kwargs:
                continue
            if isinstance(value, torch.fx.Node):
                tensors.append(self.value(value))
            elif isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.fx.Node):
                tensors.append("[" + " ".join(self.value(x) for x in value) + "]")
            elif not is_default(value, argument) and argument.name not in ("device", "layout", "pin_memory"):
                attributes.append(f"{argument.name}={attribute_text(value, str(argument.real_type))}")
        result = node.meta["val"]
        results = list(result) if isinstance(result, (list, tuple)) else [result]
        if name.endswith("_"):
            self.newest[node.args[0]] = node
            name = name[:-1]
        if isinstance(result, (list, tuple)):
            for index in range(len(results)):
                self.number((node, index))
        else:
            self.number(node)
        path, cls = list(node.meta["nn_module_stack"].values())[-1]
        assert namespace == "aten"
        op = name + ("." + schema.overload_name if schema.overload_name else "")
        shapes = " ".join(shape_text(x.shape) for x in results)
        line = " ".join([op, *tensors, *attributes, ">", shapes, "@" + path, class_text(cls)])
        self.lines.append(line.rstrip())


# MARK: Main


def main():
    torch.set_num_threads(1)
    outputs = {}
    for name in TORCHVISION + list(EXPORTED):
        if name in EXPORTED:
            program = torch.export.load(EXPORTED[name])
        else:
            model = getattr(torchvision.models, name)(weights=None).eval()
            program = torch.export.export(model, (torch.zeros(1, 3, 224, 224),))
        gain = GAIN[name]
        text = GraphText(program)
        lines = [f"seed {SEED} gain {gain}"] + text.lines
        (HERE / f"{name}.txt").write_text("\n".join(lines) + "\n")
        if name in EXPORTED:
            model = program.module()
        state = drawn_state(model.state_dict(), gain)
        model.load_state_dict(state)
        user = next(s.arg.name for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT")
        shape = next(n.meta["val"].shape for n in program.graph.nodes if n.name == user)
        with torch.no_grad():
            outputs[name] = model(drawn_input(shape)).numpy().reshape(-1)
        y = outputs[name]
        print(f"{name:22} {len(lines):5} lines, {y.size} outputs, mean {y.mean():.3g}, std {y.std():.3g},"
              f" {np.unique(y).size} different values")
    np.savez_compressed(HERE / "outputs.npz", **outputs)


if __name__ == "__main__":
    main()
