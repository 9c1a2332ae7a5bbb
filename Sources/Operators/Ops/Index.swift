import TensorCore

extension Operator {
  /// The entries of the first dimension at the indices of one tensor, int64 or int32: [rows, ...] and [...] to
  /// [..., ...]; any element type. Negative indices count from the end. An index that is none gives zeros, where PyTorch
  /// fails, if it is known only when the model runs.
  public static let index = Operator(
    "aten.index.Tensor(Tensor self, Tensor?[] indices) -> Tensor", traits: .movesElements
  ) {
    call throws(OperatorError) in
    let input = try call.tensor("self")
    guard case .tensors(let list) = call.arguments["indices"], list.count == 1,
      let spec = try call.specs("indices").first
    else { throw call.error("'indices' must be one tensor, for the first dimension; others are not supported") }
    try call.checkContiguous(spec, "indices")
    try call.check(
      spec.dataType == .int64 || spec.dataType == .int32, "'indices' must be int64 or int32, not \(spec.dataType)")
    try call.check(input.shape.rank > 0, "a scalar cannot be indexed")
    let rows = input.shape[0]
    let shape = try call.checkedShape(spec.shape.dimensions + input.shape.dimensions.dropFirst())
    let (position, isWide) = (list[0], spec.dataType == .int64)
    if let constant = call.constants[position], constant.spec == spec {
      let values =
        isWide ? constant.elements(as: Int64.self).map { Int($0) } : constant.elements(as: Int32.self).map(Int.init)
      if let wrong = values.first(where: { !(-rows..<rows).contains($0) }) {
        throw call.error("'indices' has \(wrong), which is out of range for size \(rows)")
      }
    }
    return KernelPlan(TensorSpec(input.dataType, shape)) {
      let count = spec.shape.elementCount
      let byteCount = input.shape.dimensions.dropFirst().reduce(1, *) * input.dataType.size
      return PreparedKernel { buffers in
        for i in 0..<count {
          let given =
            isWide ? Int(buffers.input(position, as: Int64.self)[i]) : Int(buffers.input(position, as: Int32.self)[i])
          let row = given < 0 ? given &+ rows : given
          let target = buffers.outputs[0] + i &* byteCount
          if row >= 0 && row < rows {
            target.copyMemory(from: buffers.inputs[input.index] + row &* byteCount, byteCount: byteCount)
          } else {
            target.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
          }
        }
      }
    }
  }

  /// Elements moved by `shifts` along `dims`, those that leave at one end coming back at the other; any element type.
  /// Without `dims` the tensor is moved as one line.
  public static let roll = Operator(
    "aten.roll.default(Tensor self, SymInt[1] shifts, int[1] dims=[]) -> Tensor",
    traits: [.movesElements, .sharesQuantization]
  ) {
    call throws(OperatorError) in
    let input = try call.tensor("self")
    let (shifts, dims) = (try call.ints("shifts"), try call.ints("dims"))
    let line = Shape([input.shape.elementCount])
    let shape = dims.isEmpty ? line : input.shape
    try call.check(
      !shifts.isEmpty && shifts.count == max(dims.count, 1),
      "'shifts' \(shifts) and 'dims' \(dims) must be equally many")
    var moved = [Int](repeating: 0, count: shape.rank)
    for (index, shift) in shifts.enumerated() {
      let dim = dims.isEmpty ? 0 : try call.dimension(dims[index], of: shape, "dims")
      if shape.rank == 0 || shape[dim] == 0 { continue }
      // Both terms are below the size, which leaves room for their sum.
      let rest = shift % shape[dim]
      moved[dim] = (moved[dim] + (rest < 0 ? rest + shape[dim] : rest)) % shape[dim]
    }
    // Each doubles the blocks to copy.
    try call.check(moved.count { $0 != 0 } <= 8, "it moves along more than 8 dimensions")
    return KernelPlan(TensorSpec(input.dataType, input.shape)) { [moved] in
      let (strides, size) = (shape.strides, input.dataType.size)
      // The blocks that stay together: up to two along each dimension, by their first index there and here.
      var blocks: [(source: Int, target: Int, sizes: [Int])] = [(0, 0, [])]
      for dim in 0..<shape.rank {
        let (length, shift) = (shape[dim], moved[dim])
        let parts = [(0, shift, length - shift), (length - shift, 0, shift)].filter { $0.2 > 0 }
        blocks = blocks.flatMap { block in
          parts.map { from, to, count in
            (block.source + from * strides[dim], block.target + to * strides[dim], block.sizes + [count])
          }
        }
      }
      let copies = blocks.map { block in
        let loops = StridedLoops(
          block.sizes.indices.map { .init(size: block.sizes[$0], first: strides[$0], second: strides[$0]) })
        return (loops: loops, source: block.source * size, target: block.target * size)
      }
      return PreparedKernel { buffers in
        for copy in copies {
          copy.loops.copy(
            elementSize: size, from: buffers.inputs[input.index] + copy.source, to: buffers.outputs[0] + copy.target)
        }
      }
    }
  }
}
