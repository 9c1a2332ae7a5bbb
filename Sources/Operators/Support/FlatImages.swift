import TensorCore

// 1-D convolution and pooling are 2-D ones on images of height 1.

extension Operator {
  /// The 1-D form of an operator on images: [N, C, L] as [N, C, 1, L]. Tensors named `input`, `self` and `weight` get a
  /// dimension, lists of one integer a neutral element. `weight` says what the weight's dimensions are.
  convenience init(
    _ schema: String, traits: Traits = [], layer: Layer? = nil, on image: Operator, weight: String = ""
  ) {
    self.init(
      schema, traits: traits, layer: layer,
      infer: { call throws(OperatorError) in
        let images = try call.asImages(image, weight)
        do throws(OperatorError) { return try image.infer(images).map { $0.withoutHeight() } } catch {
          throw call.error(error.reason)
        }
      },
      prepare: { call throws(OperatorError) in
        let images = try call.asImages(image, weight)
        do throws(OperatorError) { return try image.prepare(images) } catch { throw call.error(error.reason) }
      })
  }
}

extension OperatorCall {
  /// The same call on images of height 1.
  fileprivate func asImages(_ target: Operator, _ dimensions: String) throws(OperatorError) -> OperatorCall {
    let name = schema.parameter(named: "input") == nil ? "self" : "input"
    let input = try index(of: name)
    let weight = schema.parameter(named: "weight") == nil ? nil : try index(of: "weight")
    let image = try spec(name).shape
    try check(image.rank == 2 || image.rank == 3, "'\(name)' must be [N, C, L] or [C, L], not \(image)")
    if weight != nil {
      let kernel = try spec("weight").shape
      try check(kernel.rank == 3, "'weight' must be \(dimensions), not \(kernel)")
    }
    func isImage(_ index: Int) -> Bool { index == input || index == weight }
    var arguments = arguments
    for parameter in schema.parameters where parameter.kind == .ints(count: 1) {
      let values = try ints(parameter.name)
      // A pooling's stride may be left out: it is the window's size then.
      let isLeftOut = values.isEmpty && parameter.defaultValue == .ints([])
      try check(values.count == 1 || isLeftOut, "'\(parameter.name)' must have one integer, not \(values)")
      let neutral = parameter.name.hasSuffix("padding") ? 0 : 1
      arguments[parameter.name] = .attribute(.ints(isLeftOut ? [] : [neutral, values[0]]))
    }
    return OperatorCall(
      op: target, node: node, arguments: arguments,
      inputs: inputs.enumerated().map { isImage($0) ? $1.withHeight() : $1 },
      constants: constants.enumerated().map { index, tensor in
        tensor.map { isImage(index) ? $0.reinterpreted(as: $0.spec.withHeight()) : $0 }
      },
      outputs: outputs.map { $0.withHeight() })
  }
}

extension TensorSpec {
  /// With a dimension of size 1 before the last one.
  fileprivate func withHeight() -> TensorSpec {
    var copy = self
    var sizes = shape.dimensions
    sizes.insert(1, at: max(0, sizes.count - 1))
    copy.shape = Shape(sizes)
    return copy
  }

  /// Without the dimension before the last one.
  fileprivate func withoutHeight() -> TensorSpec {
    var copy = self
    var sizes = shape.dimensions
    sizes.remove(at: sizes.count - 2)
    copy.shape = Shape(sizes)
    return copy
  }
}
