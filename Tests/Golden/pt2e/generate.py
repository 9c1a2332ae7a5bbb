"""Writes pt2e.json: small models, what runs through them in calibration, and what torchao makes of them.

Each case holds the exported float graph, the values that torchao's observers saw, and the converted Q/DQ graph after a
second export. Tensors are float32 bit patterns or integers. Needs torch, torchao and executorch.
Usage: python generate.py [FILE]
"""

import json
import operator
import pathlib
import sys
import warnings

import torch
import torch.nn as nn
import torchao
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
  XNNPACKQuantizer, get_symmetric_quantization_config)
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

warnings.filterwarnings("ignore")
torch.set_num_threads(1)


class Residual(nn.Module):
  """BatchNorm without a bias before it, a shared input, a residual, a scalar factor, cat, and an operator in float."""

  def __init__(self):
    super().__init__()
    self.c1, self.b1 = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, eps=1e-3)
    self.c2, self.c3 = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Conv2d(6, 6, 1)
    self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 5)

  def forward(self, x):
    x = torch.relu(self.b1(self.c1(x)))
    y = (self.c2(x) + self.c3(x)) * 2.5
    y = torch.sigmoid(torch.cat([y, x], 1))
    return self.fc(torch.flatten(self.pool(y), 1))


class Chain(nn.Module):
  """Observers that see several values: ReLU, max pooling and flatten share; a reader in float beside one in int8."""

  def __init__(self):
    super().__init__()
    self.c1, self.c2 = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
    self.pool, self.average = nn.MaxPool2d(2), nn.AvgPool2d(2)
    self.l1, self.b1, self.l2 = nn.Linear(36, 7), nn.BatchNorm1d(7), nn.Linear(7, 3, bias=False)

  def forward(self, x):
    x = self.pool(torch.relu(self.c1(x)))
    y = torch.relu(self.c2(x) + x)
    y = torch.flatten(y, 1)
    z = torch.flatten(self.average(x), 1)
    return torch.relu(self.l2(torch.relu(self.b1(self.l1(y))))), z


class Operands(nn.Module):
  """One value as both operands, a product with ReLU, a multi-head output, cat of branches with observers of their own."""

  def __init__(self):
    super().__init__()
    self.c1, self.c2, self.c3 = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(8, 2, 1)
    self.register_buffer("offset", torch.randn(1, 3, 1, 1))

  def forward(self, x):
    a = self.c1(x)
    b = torch.relu(self.c2(a) * a)
    c = a + a
    d = torch.cat([b, c, x], 1)
    return self.c3(d), (b + self.offset) + 1


CASES = [
  ("residual_per_channel", Residual, (1, 3, 5, 5), True), ("residual_per_tensor", Residual, (1, 3, 5, 5), False),
  ("chain_per_channel", Chain, (1, 2, 8, 8), True), ("operands_per_channel", Operands, (1, 2, 4, 4), True),
]
NAMES = {
  torch.float32: "float32", torch.float64: "float64", torch.uint8: "uint8", torch.int8: "int8", torch.int16: "int16",
  torch.int32: "int32", torch.int64: "int64"}


def tensor(t):
  t = t.detach().contiguous()
  values = t.view(torch.int32) if t.dtype == torch.float32 else t
  return {"dtype": NAMES[t.dtype], "shape": list(t.shape), "values": values.flatten().tolist()}


def argument(a):
  if isinstance(a, torch.fx.Node):
    return {"value": a.name}
  if isinstance(a, (list, tuple)) and a and isinstance(a[0], torch.fx.Node):
    return {"values": [n.name for n in a]}
  if isinstance(a, torch.dtype):
    return {"dtype": NAMES[a]}
  if isinstance(a, bool):
    return {"bool": a}
  if isinstance(a, int):
    return {"int": a}
  if isinstance(a, float):
    return {"float": a}
  if isinstance(a, (list, tuple)):
    return {"ints": list(a)}
  if isinstance(a, str):
    return {"string": a}
  assert a is None, a
  return {"none": True}


def program(ep):
  state = {**ep.state_dict, **ep.constants}
  inputs, nodes = [], []
  for spec in ep.graph_signature.input_specs:
    entry = {"name": spec.arg.name, "kind": spec.kind.name.lower(), "target": spec.target}
    if spec.target is not None:
      entry["tensor"] = tensor(state[spec.target])
    inputs.append(entry)
  shapes = {n.name: n.meta["val"] for n in ep.graph.nodes if "val" in n.meta and hasattr(n.meta["val"], "shape")}
  for entry in inputs:
    entry["shape"] = list(shapes[entry["name"]].shape)
    entry["dtype"] = NAMES[shapes[entry["name"]].dtype]
  for n in ep.graph.nodes:
    if n.op != "call_function" or n.target is operator.getitem:
      continue
    schema = n.target._schema
    arguments = [{"name": p.name, **argument(a)} for p, a in zip(schema.arguments, n.args)]
    arguments += [{"name": k, **argument(a)} for k, a in n.kwargs.items()]
    name = schema.name.replace("::", ".") + "." + (schema.overload_name or "default")
    # The results of a node with several are named by the nodes that take them apart.
    results = [n] if hasattr(n.meta["val"], "shape") else sorted(n.users, key=lambda user: user.args[1])
    stack = ";".join(f"{key},{path},{kind}" for key, (path, kind) in n.meta.get("nn_module_stack", {}).items())
    nodes.append({
      "name": n.name, "op": name, "arguments": arguments, "stack": stack, "outputs": [
        {"name": r.name, "shape": list(r.meta["val"].shape), "dtype": NAMES[r.meta["val"].dtype]} for r in results]})
  return {"inputs": inputs, "nodes": nodes, "outputs": [s.arg.name for s in ep.graph_signature.output_specs]}


class Recorder(torch.fx.Interpreter):
  """The value of every observer's input, by the name of the node that computes it."""

  def __init__(self, module):
    super().__init__(module)
    self.seen = {}

  def run_node(self, n):
    result = super().run_node(n)
    if n.op == "call_module" and "activation_post_process" in str(n.target):
      source = n.args[0]
      while source.op == "call_module":
        source = source.args[0]
      if source.op != "get_attr":
        self.seen[source.name] = tensor(self.env[n.args[0]])
    return result


def case(name, model, shape, per_channel):
  torch.manual_seed(len(name))
  model = model()
  for m in model.modules():
    if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
      nn.init.uniform_(m.weight, 0.5, 2), nn.init.normal_(m.bias)
      nn.init.normal_(m.running_mean), nn.init.uniform_(m.running_var, 0.1, 3)
  samples = [torch.randn(shape) * (1 + i) for i in range(3)]
  ep = torch.export.export(model.eval(), (samples[0],))
  config = get_symmetric_quantization_config(is_per_channel=per_channel)
  prepared = prepare_pt2e(ep.module(), XNNPACKQuantizer().set_global(config))
  values = []
  with torch.no_grad():
    for sample in samples:
      recorder = Recorder(prepared)
      recorder.run(sample)
      values.append(recorder.seen)
  folded = {k: tensor(v) for k, v in prepared.state_dict().items() if "activation_post_process" not in k}
  converted = torch.export.export(convert_pt2e(prepared), (samples[0],))
  targets = {s.target for s in converted.graph_signature.input_specs}
  return {
    "name": name, "isPerChannel": per_channel, "float": program(ep), "samples": values,
    "folded": {k: v for k, v in folded.items() if v["shape"]}, "converted": program(converted)}


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "pt2e.json"
  document = {"torch": torch.__version__, "torchao": torchao.__version__, "cases": [case(*c) for c in CASES]}
  path.write_text(json.dumps(document, separators=(",", ":"), sort_keys=True) + "\n")
