import TensorCore

// 1-D convolutions are 2-D ones on images of height 1.

extension Operator {
  /// Cross-correlation with zero padding, f32: input [N, C, L] or [C, L], weight [O, C / groups, k], bias [O].
  static let conv1d = Operator(
    "aten.conv1d.default(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, SymInt[1] padding=0, "
      + "SymInt[1] dilation=1, SymInt groups=1) -> Tensor", on: .conv2d)

  /// As `conv1d`, padding by name.
  static let conv1dPadding = Operator(
    "aten.conv1d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, str padding=\"valid\", "
      + "SymInt[1] dilation=1, SymInt groups=1) -> Tensor", on: .conv2dPadding)

  private init(_ schema: String, on image: Operator) {
    self.init(
      schema,
      infer: { call throws(OperatorError) in
        let images = try call.asImages(image)
        do throws(OperatorError) { return try image.infer(images).map { $0.withoutHeight() } } catch {
          throw call.error(error.reason)
        }
      },
      prepare: { call throws(OperatorError) in
        let images = try call.asImages(image)
        do throws(OperatorError) { return try image.prepare(images) } catch { throw call.error(error.reason) }
      })
  }
}

extension OperatorCall {
  /// The same call on images of height 1.
  fileprivate func asImages(_ target: Operator) throws(OperatorError) -> OperatorCall {
    let (input, weight) = (try index(of: "input"), try index(of: "weight"))
    let (image, kernel) = (try spec("input").shape, try spec("weight").shape)
    try check(image.rank == 2 || image.rank == 3, "'input' must be [N, C, L] or [C, L], not \(image)")
    try check(kernel.rank == 3, "'weight' must be [O, C / groups, k], not \(kernel)")
    func isImage(_ index: Int) -> Bool { index == input || index == weight }
    var arguments = arguments
    for (name, neutral) in [("stride", 1), ("padding", 0), ("dilation", 1)] {
      guard schema.parameter(named: name)?.kind != .string else { continue }
      let values = try ints(name)
      try check(values.count == 1, "'\(name)' must have one integer, not \(values)")
      arguments[name] = .attribute(.ints([neutral, values[0]]))
    }
    return OperatorCall(
      schema: target.schema, node: node, arguments: arguments,
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
