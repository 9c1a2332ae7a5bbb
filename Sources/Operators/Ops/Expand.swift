import TensorCore

extension Operator {
  /// Dimensions of size 1 repeated, and new outer ones: any element type. −1 keeps a size.
  public static let expand = Operator(
    "aten.expand.default(Tensor self, SymInt[] size, *, bool implicit=False) -> Tensor",
    traits: [.movesElements, .mayAlias, .sharesQuantization]
  ) { call throws(OperatorError) in
    try call.expanded(to: call.ints("size"))
  }

  /// As `expand`, to the shape of `other`.
  public static let expandAs = Operator(
    "aten.expand_as.default(Tensor self, Tensor other) -> Tensor",
    traits: [.movesElements, .mayAlias, .sharesQuantization]
  ) {
    call throws(OperatorError) in try call.expanded(to: call.spec("other").shape.dimensions)
  }

  /// One index of a dimension, which goes: any element type.
  public static let select = Operator(
    "aten.select.int(Tensor self, int dim, SymInt index) -> Tensor",
    traits: [.movesElements, .mayAlias, .sharesQuantization]
  ) {
    call throws(OperatorError) in
    let input = try call.tensor("self")
    try call.check(input.shape.rank > 0, "a scalar has no dimension to select from")
    let dim = try call.dimension(call.int("dim"), of: input.shape)
    let (requested, size) = (try call.int("index"), input.shape[dim])
    try call.check((-size..<size).contains(requested), "'index' \(requested) is out of range for size \(size)")
    let index = requested < 0 ? requested + size : requested
    var sizes = input.shape.dimensions
    sizes.remove(at: dim)
    let shape = try call.checkedShape(sizes)
    return KernelPlan(TensorSpec(input.dataType, shape)) {
      let (outer, _, inner) = input.shape.split(at: dim)
      let byteCount = inner * input.dataType.size
      return PreparedKernel { buffers in
        for i in 0..<outer {
          (buffers.outputs[0] + i &* byteCount).copyMemory(
            from: buffers.inputs[input.index] + (i &* size &+ index) &* byteCount, byteCount: byteCount)
        }
      }
    }
  }
}

extension OperatorCall {
  fileprivate func expanded(to sizes: [Int]) throws(OperatorError) -> KernelPlan {
    let input = try tensor("self")
    let added = sizes.count - input.shape.rank
    try check(added >= 0, "\(input.shape) cannot be expanded to \(sizes)")
    var target: [Int] = []
    for (index, size) in sizes.enumerated() {
      let own = index < added ? 1 : input.shape[index - added]
      let wanted = size == -1 && index >= added ? own : size
      try check(own == wanted || own == 1, "\(input.shape) cannot be expanded to \(sizes)")
      target.append(wanted)
    }
    let shape = try checkedShape(target)
    return KernelPlan(TensorSpec(input.dataType, shape)) {
      let (from, to) = (input.shape.strides, shape.strides)
      let loops = StridedLoops(
        target.indices.map { i in
          let isRepeated = i < added || input.shape[i - added] == 1
          return StridedLoops.Axis(size: target[i], first: to[i], second: isRepeated ? 0 : from[i - added])
        })
      return PreparedKernel { buffers in
        loops.copy(elementSize: input.dataType.size, from: buffers.inputs[input.index], to: buffers.outputs[0])
      }
    }
  }
}
