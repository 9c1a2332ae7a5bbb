"""Writes models with operators that give several tensors or see a whole sequence, and sequences.npz: for each, inputs and
PyTorch's outputs.

lines.pt2: 1-D convolution and pooling. moves.pt2: roll, expand_as, reshape_as, view_as, t, a constant index, rsub and a transposed 1-D convolution. pieces.pt2: chunk, split, split_with_sizes, unbind, stack, unflatten and zeros between convolutions. attention.pt2:
nn.MultiheadAttention, as scaled_dot_product_attention. lstm.pt2: bidirectional, with its states as results. gru.pt2: two
layers, exported with a batch from 1 to 8. Needs torch. Usage: python generate_sequences.py
"""

import pathlib
import warnings

import numpy as np
import torch
import torch.nn as nn

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
FOLDER = pathlib.Path(__file__).parent


class Pieces(nn.Module):
  def __init__(self):
    super().__init__()
    self.first, self.second, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 12)

  def forward(self, image):
    a, b = self.first(image).relu().chunk(2, 1)
    c, d, e = torch.split(torch.cat([a, self.second(b)], 1), [2, 3, 3], 1)
    f, g = torch.stack([d, e], 1).unbind(1)
    h, i = (g + torch.zeros(1, 3, 4, 4)).split(2, 2)
    return self.fc(f.flatten(1, 2)).unflatten(-1, (3, 4)), h, i, c


class Lines(nn.Module):
  def __init__(self):
    super().__init__()
    self.first, self.second, self.fc = nn.Conv1d(3, 8, 5, padding=2), nn.Conv1d(8, 6, 3, groups=2), nn.Linear(18, 4)

  def forward(self, x):
    x = nn.functional.max_pool1d(torch.relu(self.first(x)), 3, 2, 1)
    x = torch.relu(self.second(nn.functional.avg_pool1d(x, 2)))
    return self.fc(nn.functional.adaptive_avg_pool1d(x, 3).flatten(1)), nn.functional.adaptive_avg_pool1d(x, 1)


class Moves(nn.Module):
  def __init__(self):
    super().__init__()
    self.up, self.fc = nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1), nn.Linear(9, 4)
    self.register_buffer("table", torch.randn(5, 4))
    self.register_buffer("rows", torch.tensor([[0, 3], [4, 1], [2, 2]]))

  def forward(self, x):
    x = torch.relu(self.up(x))
    y = self.fc(torch.roll(x, (2, -1), (1, 2)).reshape(6, 9))
    z = 1 - y.reshape_as(self.table[self.rows].flatten(0, 1))
    z = (z.reshape(24) + 1).view_as(z)
    return z.t(), y[:, :1].expand_as(y) * 2


class Attention(nn.Module):
  def __init__(self):
    super().__init__()
    self.embed, self.attention, self.fc = nn.Linear(8, 16), nn.MultiheadAttention(16, 4, batch_first=True), nn.Linear(16, 3)

  def forward(self, x):
    x = self.embed(x)
    return self.fc(self.attention(x, x, x, need_weights=False)[0])


class LSTM(nn.Module):
  def __init__(self):
    super().__init__()
    self.lstm, self.fc = nn.LSTM(6, 5, bidirectional=True), nn.Linear(10, 3)

  def forward(self, x):
    y, (h, c) = self.lstm(x)
    return self.fc(y), h, c


class GRU(nn.Module):
  def __init__(self):
    super().__init__()
    self.gru, self.fc = nn.GRU(6, 5, 2, batch_first=True), nn.Linear(5, 3)

  def forward(self, x):
    return self.fc(self.gru(x)[0][:, -1])


def main():
  torch.manual_seed(11)
  batch = torch.export.Dim("batch", min=1, max=8)
  arrays = {}
  for name, model, shape, dynamic in [
    ("lines", Lines(), (1, 3, 34), None), ("moves", Moves(), (1, 4, 5), None), ("pieces", Pieces(), (1, 3, 4, 4), None), ("attention", Attention(), (1, 5, 8), None), ("lstm", LSTM(), (7, 1, 6), None),
    ("gru", GRU(), (2, 4, 6), ({0: batch},)),
  ]:
    model.eval()
    x = torch.randn(shape)
    program = torch.export.export(model, (x,), dynamic_shapes=dynamic)
    for node in program.graph.nodes:
      node.meta.pop("stack_trace", None)
    torch.export.save(program, FOLDER / f"{name}.pt2")
    inputs = {name: x} if dynamic is None else {name: x, f"{name}_5": torch.randn(5, *shape[1:])}
    for key, value in inputs.items():
      arrays[f"{key}_in"] = value.numpy()
      outputs = model(value)
      for index, output in enumerate(outputs if isinstance(outputs, tuple) else [outputs]):
        arrays[f"{key}_out{index}"] = output.detach().contiguous().numpy()
  np.savez_compressed(FOLDER / "sequences.npz", **arrays)


if __name__ == "__main__":
  main()
