/// Where PyTorch defines the layers: names of its modules inside `torch.nn.modules`.
private let layersByTorchModule: [String: [Module.Type]] = [
  "activation": [
    ReLU.self, Hardswish.self, Hardsigmoid.self, SiLU.self, Sigmoid.self, Tanh.self, ReLU6.self, GELU.self,
    Softmax.self, MultiheadAttention.self,
  ],
  "container": [Sequential.self, ModuleList.self],
  "conv": [Conv2d.self, Conv1d.self, ConvTranspose2d.self],
  "linear": [Linear.self, Identity.self],
  "sparse": [Embedding.self],
  "flatten": [Flatten.self],
  "dropout": [Dropout.self],
  "batchnorm": [BatchNorm1d.self, BatchNorm2d.self],
  "normalization": [LayerNorm.self, GroupNorm.self],
  "pooling": [MaxPool2d.self, AvgPool2d.self, AdaptiveAvgPool2d.self],
  "rnn": [LSTM.self, GRU.self],
]

private let torchModules: [ObjectIdentifier: String] = Dictionary(
  uniqueKeysWithValues: layersByTorchModule.flatMap { name, layers in layers.map { (ObjectIdentifier($0), name) } })

extension Module {
  /// PyTorch's qualified name of a layer's class; nil for other classes, those that inherit from a layer among them.
  static var torchName: String? { torchModules[ObjectIdentifier(self)].map { "torch.nn.modules.\($0).\(self)" } }
}
