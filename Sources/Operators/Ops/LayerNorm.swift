import TensorCore

extension Operator {
  /// (x − mean) / √(variance + eps) · weight + bias over the last dimensions, f32; mean and variance are added up in
  /// double, the variance divided by the count.
  public static let layerNorm = Operator(
    "aten.layer_norm.default(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? bias=None, "
      + "float eps=1e-05, bool cudnn_enable=True) -> Tensor", traits: .ownQuantization
  ) { call throws(OperatorError) in
    let input = try call.floatTensor("input")
    let sizes = try call.ints("normalized_shape")
    try call.check(
      !sizes.isEmpty && Array(input.shape.dimensions.suffix(sizes.count)) == sizes,
      "'normalized_shape' \(sizes) must be the last sizes of \(input.shape)")
    let count = try call.checkedShape(sizes).elementCount
    let weight = try call.normalizationTensor("weight", sizes)
    let bias = try call.normalizationTensor("bias", sizes)
    let eps = try call.float("eps")
    return KernelPlan(TensorSpec(.float32, input.shape)) {
      let rows = count == 0 ? 0 : input.shape.elementCount / count
      return PreparedKernel { buffers in
        let weight = weight.map { buffers.input($0, as: Float.self) }
        let bias = bias.map { buffers.input($0, as: Float.self) }
        for row in 0..<rows {
          normalize(
            buffers.input(input, as: Float.self) + row &* count, count, eps,
            buffers.output(as: Float.self) + row &* count
          ) { index, value in value * (weight?[index] ?? 1) + (bias?[index] ?? 0) }
        }
      }
    }
  }

  /// As `layer_norm`, over each of `num_groups` groups of channels and all positions, with weight and bias per channel.
  /// Input [N, C, ...].
  public static let groupNorm = Operator(
    "aten.group_norm.default(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, "
      + "bool cudnn_enabled=True) -> Tensor"
  ) { call throws(OperatorError) in
    let input = try call.floatTensor("input")
    let groups = try call.int("num_groups")
    try call.check(input.shape.rank >= 2, "'input' must be [N, C, ...], not \(input.shape)")
    let channels = input.shape[1]
    try call.check(
      groups >= 1 && channels % groups == 0, "\(channels) channels cannot be divided into \(groups) groups")
    let weight = try call.normalizationTensor("weight", [channels])
    let bias = try call.normalizationTensor("bias", [channels])
    let eps = try call.float("eps")
    let area = input.shape.dimensions[2...].reduce(1, *)
    return KernelPlan(TensorSpec(.float32, input.shape)) {
      let (batch, perGroup) = (input.shape[0], channels / groups)
      let count = perGroup * area
      return PreparedKernel { buffers in
        let weight = weight.map { buffers.input($0, as: Float.self) }
        let bias = bias.map { buffers.input($0, as: Float.self) }
        for row in 0..<(count == 0 ? 0 : batch &* groups) {
          let first = row % groups &* perGroup
          normalize(
            buffers.input(input, as: Float.self) + row &* count, count, eps,
            buffers.output(as: Float.self) + row &* count
          ) { index, value in
            let channel = first &+ index / area
            return value * (weight.map { $0[channel] } ?? 1) + (bias.map { $0[channel] } ?? 0)
          }
        }
      }
    }
  }
}

extension OperatorCall {
  /// A float32 tensor of those sizes, or nil when it is absent.
  fileprivate func normalizationTensor(_ name: String, _ sizes: [Int]) throws(OperatorError) -> TensorArgument? {
    guard try index(of: name) != nil else { return nil }
    let tensor = try floatTensor(name)
    try check(tensor.shape.dimensions == sizes, "'\(name)' must be \(sizes), not \(tensor.shape)")
    return tensor
  }
}

@inline(__always)
private func normalize(
  _ input: UnsafePointer<Float>, _ count: Int, _ eps: Double, _ output: UnsafeMutablePointer<Float>,
  _ scale: (Int, Float) -> Float
) {
  let mean = total(input, count) { $0 } / Double(count)
  let squares = total(input, count) { ($0 - mean) * ($0 - mean) }
  let inverse = 1 / (squares / Double(count) + eps).squareRoot()
  for i in 0..<count { output[i] = scale(i, Float((Double(input[i]) - mean) * inverse)) }
}

/// The sum of a function of each value: four interleaved partial sums, then those, then the rest.
@inline(__always)
private func total(_ values: UnsafePointer<Float>, _ count: Int, _ term: (Double) -> Double) -> Double {
  var (s0, s1, s2, s3) = (0.0, 0.0, 0.0, 0.0)
  var i = 0
  while i &+ 4 <= count {
    s0 += term(Double(values[i]))
    s1 += term(Double(values[i &+ 1]))
    s2 += term(Double(values[i &+ 2]))
    s3 += term(Double(values[i &+ 3]))
    i &+= 4
  }
  var sum = (s0 + s1) + (s2 + s3)
  while i < count {
    sum += term(Double(values[i]))
    i &+= 1
  }
  return sum
}
