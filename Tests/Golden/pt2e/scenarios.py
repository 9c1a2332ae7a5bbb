"""Writes scenarios.json: torchao's PT2E and XNNPACKQuantizer test scenarios on small models, with its Q/DQ graphs.

Each case is as in generate.py, and names the quantizer that the tests build in Swift. Needs torch, torchao, executorch.
Usage: python scenarios.py [FILE]
"""

import json
import pathlib
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchao
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
  XNNPACKQuantizer, get_symmetric_quantization_config)
from torchao.quantization.pt2e import MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import (
  ComposableQuantizer, DerivedQuantizationSpec, FixedQParamsQuantizationSpec, QuantizationAnnotation, QuantizationSpec,
  Quantizer, SharedQuantizationSpec)
from torchao.quantization.pt2e.quantizer.embedding_quantizer import EmbeddingQuantizer

from generate import Recorder, program, tensor

aten = torch.ops.aten
SYMMETRIC = get_symmetric_quantization_config(is_per_channel=True)
DYNAMIC = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)


class Net(nn.Module):
  """Modules under the given names, and a forward function over them."""

  def __init__(self, forward, **modules):
    super().__init__()
    for name, module in modules.items():
      setattr(self, name, module)
    self.function = forward

  def forward(self, *inputs):
    return self.function(self, *inputs)


class Annotating(Quantizer):
  """A quantizer made of one function over the nodes of the graph."""

  def __init__(self, function):
    self.function = function

  def annotate(self, model):
    for node in model.graph.nodes:
      if node.op == "call_function":
        self.function(node)
    return model

  def validate(self, model):
    pass


def xnnpack(config=SYMMETRIC):
  return XNNPACKQuantizer().set_global(config)


def act(**more):
  return QuantizationSpec(**{**dict(
    dtype=torch.int8, quant_min=-128, quant_max=127, qscheme=torch.per_tensor_affine,
    observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=2**-12)), **more})


def weight(per_channel=False):
  observer = PerChannelMinMaxObserver if per_channel else MinMaxObserver
  return QuantizationSpec(
    dtype=torch.int8, quant_min=-127, quant_max=127,
    qscheme=torch.per_channel_symmetric if per_channel else torch.per_tensor_symmetric,
    ch_axis=0 if per_channel else None, observer_or_fake_quant_ctr=observer.with_args(eps=2**-12))


def mark(node, inputs, output=None, sharing=True):
  node.meta["quantization_annotation"] = QuantizationAnnotation(
    input_qspec_map=inputs, output_qspec=output, _annotated=True, allow_implicit_sharing=sharing)


def convolutions(output=True):
  def annotate(node):
    if node.target is aten.conv2d.default:
      mark(node, {node.args[0]: act(), node.args[1]: weight()}, act() if output else None)
  return Annotating(annotate)


def convolutions_and_pools(node):
  if node.target is aten.conv2d.default:
    mark(node, {node.args[0]: act(), node.args[1]: weight()}, act())
  if node.target is aten.max_pool2d.default:
    mark(node, {node.args[0]: act()}, SharedQuantizationSpec((node.args[0], node)))


def derived_bias(per_channel):
  def scales(observers):
    (a, _), (w, _) = observers[0].calculate_qparams(), observers[1].calculate_qparams()
    scale = (a * w).to(torch.float32)
    return scale, torch.zeros_like(scale, dtype=torch.int64)

  def annotate(node):
    if node.target is aten.conv2d.default:
      x, w, b = node.args[:3]
      bias = DerivedQuantizationSpec(
        derived_from=[(x, node), (w, node)], derive_qparams_fn=scales, dtype=torch.int32, quant_min=-(2**31),
        quant_max=2**31 - 1,
        qscheme=torch.per_channel_symmetric if per_channel else torch.per_tensor_symmetric,
        ch_axis=0 if per_channel else None)
      mark(node, {x: act(), w: weight(per_channel), b: bias}, act())
  return Annotating(annotate)


FIXED = FixedQParamsQuantizationSpec(
  dtype=torch.int8, scale=1.0 / 256, zero_point=-128, quant_min=-128, quant_max=127,
  qscheme=torch.per_tensor_affine)


def fixed_sigmoid(node):
  if node.target is aten.sigmoid.default:
    mark(node, {node.args[0]: act()}, FIXED)


def shared_concatenation(node):
  if node.target is aten.conv2d.default:
    mark(node, {node.args[0]: act(), node.args[1]: weight()}, act())
  if node.target is aten.cat.default:
    first, second = node.args[0]
    shared = SharedQuantizationSpec((first, node))
    mark(node, {first: act(), second: shared}, shared)


def shared_operands(sharing):
  """Both operands of an addition share; without implicit sharing the readers of one value have observers of their own."""
  def annotate(node):
    if node.target is aten.add.Tensor:
      first, second = node.args[:2]
      shared = SharedQuantizationSpec((first, node))
      mark(node, {first: act(), second: shared} if first is not second else {first: act()}, shared, sharing)
  return annotate


def int16_activations(node):
  wide = act(dtype=torch.int16, quant_min=-(2**15), quant_max=2**15 - 1)
  if node.target is aten.conv2d.default:
    mark(node, {node.args[0]: wide, node.args[1]: weight()}, wide)


def conv(i=2, o=3, k=1, **more):
  return nn.Conv2d(i, o, k, **more)


X4 = (1, 2, 4, 4)
CASES = {
  # torchao's PT2E scenarios, with quantizers of the tests' own.
  "simple_quantizer": (Net(lambda m, x: m.a(x), a=conv()), [X4], convolutions),
  "wo_annotate_conv_output_quantizer": (Net(lambda m, x: m.a(x), a=conv()), [X4], lambda: convolutions(False)),
  "max_pool2d_quantizer": (
    Net(lambda m, x: F.max_pool2d(m.a(x), 2), a=conv()), [X4], lambda: Annotating(convolutions_and_pools)),
  "derived_qspec": (Net(lambda m, x: m.a(x), a=conv()), [X4], lambda: derived_bias(False)),
  "derived_qspec_per_channel": (Net(lambda m, x: m.a(x), a=conv()), [X4], lambda: derived_bias(True)),
  "fixed_qparams": (Net(lambda m, x: torch.sigmoid(x)), [X4], lambda: Annotating(fixed_sigmoid)),
  "fixed_qparams_dedup": (
    Net(lambda m, x: torch.sigmoid(torch.sigmoid(x))), [X4], lambda: Annotating(fixed_sigmoid)),
  "shared_qspec": (
    Net(lambda m, x: torch.cat([m.a(x), m.b(x)], 1), a=conv(), b=conv()), [X4],
    lambda: Annotating(shared_concatenation)),
  "shared_qspec_transitivity": (
    Net(lambda m, x, y: (torch.cat([x, y], 1), torch.cat([y, x], 0))), [X4, X4],
    lambda: Annotating(shared_concatenation)),
  "shared_qspec_transitivity_case_2": (
    Net(lambda m, x, y, z: (torch.cat([x, y], 1), torch.cat([y, z], 1))), [X4, X4, X4],
    lambda: Annotating(shared_concatenation)),
  "allow_implicit_sharing": (
    Net(lambda m, x, y, z: ((x + y), (y + z), (x + z))), [X4, X4, X4], lambda: Annotating(shared_operands(True))),
  "no_implicit_sharing": (
    Net(lambda m, x, y, z: ((x + y), (y + z), (x + z))), [X4, X4, X4], lambda: Annotating(shared_operands(False))),
  "quantization_dtype": (Net(lambda m, x: m.a(x), a=conv()), [X4], lambda: Annotating(int16_activations)),
  "multi_users_without_output_observer": (
    Net(lambda m, x: (m.a(x), m.a(x) + 1), a=conv()), [X4], lambda: convolutions(False)),
  "linear_bn_fusion": (
    Net(lambda m, x: m.b(m.a(x)), a=nn.Linear(4, 3), b=nn.BatchNorm1d(3)), [(2, 4)], xnnpack),
  "conv_transpose_bn_relu": (
    Net(lambda m, x: F.relu(m.b(m.a(x))), a=nn.ConvTranspose2d(2, 3, 2), b=nn.BatchNorm2d(3)), [X4], xnnpack),
  "conv_padding_bn_relu": (
    Net(lambda m, x: F.relu(m.b(m.a(x))), a=conv(k=3, padding="same"), b=nn.BatchNorm2d(3)), [X4], xnnpack),
  "embedding_quantizer": (Net(lambda m, x: m.a(x), a=nn.Embedding(6, 4)), ["indices"], EmbeddingQuantizer),
  "embedding_conv_linear": (
    Net(lambda m, x: m.c(m.b(m.a(x).permute(0, 2, 1).unsqueeze(-1)).flatten(1)), a=nn.Embedding(6, 2),
        b=conv(), c=nn.Linear(9, 2)), ["indices"],
    lambda: ComposableQuantizer([EmbeddingQuantizer(), xnnpack()])),
  # XNNPACKQuantizer's scenarios.
  "conv1d": (Net(lambda m, x: m.a(x), a=nn.Conv1d(2, 3, 3)), [(1, 2, 6)], xnnpack),
  "conv1d_with_conv2d": (
    Net(lambda m, x: m.b(m.a(x).squeeze(2)), a=conv(k=(4, 1)), b=nn.Conv1d(3, 2, 1)), [X4], xnnpack),
  "q_tconv_and_conv2d": (
    Net(lambda m, x: m.b(m.a(x)), a=nn.ConvTranspose2d(2, 3, 2), b=conv(3, 2)), [X4], xnnpack),
  "q_conv2d_and_tconv": (
    Net(lambda m, x: m.b(m.a(x)), a=conv(), b=nn.ConvTranspose2d(3, 2, 2)), [X4], xnnpack),
  "linear": (Net(lambda m, x: m.b(m.a(x)), a=nn.Linear(4, 3), b=nn.Linear(3, 2)), [(2, 5, 4)], xnnpack),
  "linear_relu": (Net(lambda m, x: m.b(F.relu(m.a(x))), a=nn.Linear(4, 3), b=nn.Linear(3, 2)), [(2, 4)], xnnpack),
  "conv_linear": (
    Net(lambda m, x: m.b(m.a(x).permute(0, 2, 3, 1)), a=conv(), b=nn.Linear(3, 2)), [X4], xnnpack),
  "conv_linear_no_permute": (
    Net(lambda m, x: m.b(m.a(x).flatten(1)), a=conv(), b=nn.Linear(48, 2)), [X4], xnnpack),
  "obs_sharing_ops": (
    Net(lambda m, x: F.max_pool2d(F.hardtanh(F.adaptive_avg_pool2d(m.a(x), (4, 4)).mean(-1, True)), 1), a=conv()),
    [X4], xnnpack),
  "set_filter_fn": (
    Net(lambda m, x: m.b(m.a(x)), a=conv(), b=conv(3, 2)), [X4],
    lambda: xnnpack().set_filter_function(lambda n: n.name != "conv2d")),
  "set_module_name": (
    Net(lambda m, x: m.b(m.a(x)), a=nn.Linear(4, 3), b=nn.Sequential(nn.Linear(3, 2))), [(2, 4)],
    lambda: XNNPACKQuantizer().set_module_name("b.0", SYMMETRIC)),
  "set_module_name_with_underscores": (
    Net(lambda m, x: m.b_c(m.a(x)), a=nn.Linear(4, 3), b_c=nn.Linear(3, 2)), [(2, 4)],
    lambda: XNNPACKQuantizer().set_module_name("b_c", SYMMETRIC)),
  "set_module_type": (
    Net(lambda m, x: m.b(m.a(x)), a=nn.Linear(4, 3), b=nn.Sequential(nn.Linear(3, 2))), [(2, 4)],
    lambda: XNNPACKQuantizer().set_module_type(nn.Sequential, SYMMETRIC)),
  "set_module_type_case_2": (
    Net(lambda m, x: m.b(m.a(x).flatten(1)), a=conv(), b=nn.Linear(48, 2)), [X4],
    lambda: XNNPACKQuantizer().set_module_type(nn.Linear, SYMMETRIC)),
  "propagate_annotation": (
    Net(lambda m, x: m.b(F.max_pool2d(F.hardtanh(m.a(x)), 2)), a=conv(), b=conv(3, 2)), [X4], xnnpack),
  "add_and_inplace_add": (
    Net(lambda m, x, y: (x + y).add_(m.a(y)), a=conv(2, 2)), [X4, X4], xnnpack),
  "mul_and_inplace_mul": (
    Net(lambda m, x, y: (x * y).mul_(m.a(y)), a=conv(2, 2)), [X4, X4], xnnpack),
  "add_mul_scalar": (Net(lambda m, x: ((x + 2.5) * 3 + 1.5)), [X4], xnnpack),
  "cat_same_node": (Net(lambda m, x: torch.cat([x, x], 1)), [X4], xnnpack),
  "dynamic_linear": (
    Net(lambda m, x: m.b(m.a(x)), a=nn.Linear(4, 3), b=nn.Linear(3, 2)), [(2, 4)], lambda: xnnpack(DYNAMIC)),
  "dynamic_linear_with_conv": (
    Net(lambda m, x: m.b(m.a(x).flatten(1)), a=conv(), b=nn.Linear(48, 2)), [X4], lambda: xnnpack(DYNAMIC)),
  # Duplicated dequantize nodes.
  "duplicate_dq_none_needed": (
    Net(lambda m, x: m.b(m.a(x)), a=conv(), b=conv(3, 2)), [X4], xnnpack),
  "duplicate_dq_simple": (
    Net(lambda m, x: (lambda y: (m.b(y), m.c(y) + 1))(m.a(x)), a=conv(), b=conv(3, 2), c=conv(3, 2)), [X4],
    xnnpack),
  "duplicate_dq_shared": (
    Net(lambda m, x: (lambda y: (m.b(y), m.c(y), torch.exp(y)))(m.a(x)), a=conv(), b=conv(3, 2), c=conv(3, 2)),
    [X4], xnnpack),
  "duplicate_dq_no_add_quant": (
    Net(lambda m, x: (lambda y: m.b(y) + m.c(y))(m.a(x)), a=conv(), b=conv(3, 2), c=conv(3, 2)), [X4],
    lambda: XNNPACKQuantizer().set_operator_type(aten.conv2d.default, SYMMETRIC)),
  "duplicate_dq_avgpool": (
    Net(lambda m, x: (lambda y: F.adaptive_avg_pool2d(y, 1) + F.avg_pool2d(y, 4))(m.a(x)), a=conv()), [X4], xnnpack),
}


def sample(shape, scale):
  return torch.randint(0, 6, (1, 3)) if shape == "indices" else torch.randn(shape) * scale


def case(name, model, shapes, quantizer, fold=True):
  torch.manual_seed(len(name))
  for m in model.modules():
    if hasattr(m, "reset_parameters"):
      m.reset_parameters()
    if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
      nn.init.uniform_(m.weight, 0.5, 2), nn.init.normal_(m.bias)
      nn.init.normal_(m.running_mean), nn.init.uniform_(m.running_var, 0.1, 3)
  samples = [tuple(sample(s, 1 + i) for s in shapes) for i in range(2)]
  ep = torch.export.export(model.eval(), samples[0])
  prepared = prepare_pt2e(ep.module(), quantizer())
  values = []
  with torch.no_grad():
    for inputs in samples:
      recorder = Recorder(prepared)
      recorder.run(*inputs)
      values.append(recorder.seen)
  converted = torch.export.export(convert_pt2e(prepared, fold_quantize=fold), samples[0])
  return {
    "name": name, "isPerChannel": True, "float": program(ep), "samples": values, "folded": {},
    "converted": program(converted)}


def unfolded(per_channel):
  config = get_symmetric_quantization_config(is_per_channel=per_channel)
  return Net(lambda m, x: m.a(x), a=conv()), [X4], lambda: xnnpack(config)


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "scenarios.json"
  cases = [case(name, *entry) for name, entry in CASES.items()]
  cases += [case("fold_quantize_false", *unfolded(False), fold=False)]
  cases += [case("fold_quantize_false_per_channel", *unfolded(True), fold=False)]
  document = {"torch": torch.__version__, "torchao": torchao.__version__, "cases": cases}
  path.write_text(json.dumps(document, separators=(",", ":"), sort_keys=True) + "\n")
