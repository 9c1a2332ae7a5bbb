import NN
import Swiftlet
import TestSupport

extension ModelZoo.Entry {
  /// A new model whose weights all lie in the same memory, with any numbers: for graphs, without the time to draw them.
  func makeWithoutWeights() throws -> Module {
    let model = make()
    let tensors = model.namedTensors()
    let storage = Storage(byteCount: tensors.map { 8 * shape($0.tensor).elementCount }.max() ?? 0)
    var weights = StateDict()
    for (name, tensor) in tensors {
      let spec = TensorSpec(name.hasSuffix("num_batches_tracked") ? .int64 : .float32, shape(tensor))
      weights[name] = Tensor(spec, storage: storage, byteOffset: 0)
    }
    try model.loadStateDict(weights)
    return model
  }

  /// An input in ±2; that of the golden output has the seed after the weights'.
  func drawnInput(seed: UInt32) -> Tensor {
    var generator = MersenneTwister(seed: seed)
    return Tensor(generator.uniform(inputShape.elementCount).map { ($0 - 0.5) * 4 }, shape: inputShape)
  }
}

/// The weights that `Tests/Golden/zoo/generate.py` draws with PyTorch: the same numbers from the same generator.
func drawnStateDict(of model: Module, seed: UInt32, gain: Double) -> StateDict {
  var generator = MersenneTwister(seed: seed)
  var result = StateDict()
  for (name, tensor) in model.namedTensors() {
    result[name] = draw(name, shape(tensor), gain, &generator)
  }
  return result
}

private func draw(_ name: String, _ shape: Shape, _ gain: Double, _ generator: inout MersenneTwister) -> Tensor {
  if name.hasSuffix("num_batches_tracked") { return Tensor([Int64(0)], shape: shape) }
  var (center, width): (Float, Float) = (0, 1)
  if name.hasSuffix("running_mean") || name.hasSuffix("bias") {
    width = 0.2
  } else if name.hasSuffix("running_var") || (name.hasSuffix("weight") && shape.rank == 1) {
    center = 1
  } else if name.hasSuffix("weight") {
    let fanIn = shape.dimensions.dropFirst().reduce(1, *)
    width = Float(2 * gain * (3 / Double(fanIn)).squareRoot())
  }
  var values = generator.uniform(shape.elementCount)
  for index in values.indices { values[index] = (values[index] - 0.5) * width + center }
  return Tensor(values, shape: shape)
}

private func shape(_ tensor: ModuleTensor) -> Shape {
  switch tensor {
  case .parameter(let parameter): parameter.shape
  case .buffer(let buffer): buffer.tensor.shape
  }
}

/// Samples without labels.
struct SampleDataset: Dataset {
  let inputs: [Tensor]

  var count: Int { inputs.count }
  func input(_ index: Int) -> Tensor { inputs[index] }
  func label(_ index: Int) -> Int? { nil }
}
