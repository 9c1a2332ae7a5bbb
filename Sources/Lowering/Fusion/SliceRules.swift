import GraphIR
import Operators
import TensorCore

extension Fuser {
  /// Operators that take tensors apart and put them together: int8 stays int8.
  static let sliceRules: [FusionRule] = [
    FusionRule([.slice]) { fuser, node throws(GraphError) in try fuser.fuseSlice(node) },
    FusionRule([.roll]) { fuser, node throws(GraphError) in try fuser.fuseRoll(node) },
    FusionRule([.select]) { fuser, node throws(GraphError) in try fuser.fuseSelection(node) },
    FusionRule([
      .chunk, .split, .splitWithSizes, .unbind,
    ]) { fuser, node throws(GraphError) in try fuser.fuseSplit(node) },
    FusionRule([.cat, .stack]) { fuser, node throws(GraphError) in
      try fuser.fuseConcatenation(node)
    },
  ]

  // MARK: Taking apart

  private mutating func fuseSlice(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("self"), constant(input) == nil else { return .refused("its input is a constant") }
    guard source.graph.spec(input).dataType == .float32 else { return .refused("it does not move floats") }
    let call = try call(node)
    let shape = source.graph.spec(input).shape
    let (dim, first, last, step) = try reading { () throws(OperatorError) in
      (try call.int("dim"), try call.optionalInt("start"), try call.optionalInt("end"), try call.int("step"))
    }
    guard let axis = shape.normalizedDimension(dim) else { return .refused("it has no dimension \(dim)") }
    func clamped(_ index: Int) -> Int { max(0, min(shape[axis], index < 0 ? index + shape[axis] : index)) }
    let start = clamped(first ?? 0)
    let end = max(start, clamped(last ?? .max))
    if start == 0, end == shape[axis], step == 1 {
      forms[node.output] = try form(input)
      return .fused
    }
    forms[node.output] = Form(emitSlice(node, try settled(input), axis, start..<end, step: step, name: node.name))
    return .fused
  }

  private mutating func fuseSelection(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("self"), constant(input) == nil else { return .refused("its input is a constant") }
    guard source.graph.spec(input).dataType == .float32 else { return .refused("it does not move floats") }
    let call = try call(node)
    let shape = source.graph.spec(input).shape
    let (dim, index) = try reading { () throws(OperatorError) in (try call.int("dim"), try call.int("index")) }
    guard let axis = shape.normalizedDimension(dim) else { return .refused("it has no dimension \(dim)") }
    let start = index < 0 ? index + shape[axis] : index
    let plain = convert(try settled(input), to: .contiguous)
    let piece = emitSlice(node, plain, axis, start..<start + 1, name: node.name + "_slice")
    forms[node.output] = Form(emitView(piece, name: node.name, source.graph.spec(node.output).shape, [node]))
    return .fused
  }

  /// Each output is a slice of the input.
  private mutating func fuseSplit(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("self"), constant(input) == nil else { return .refused("its input is a constant") }
    guard source.graph.spec(input).dataType == .float32 else { return .refused("it does not move floats") }
    let call = try call(node)
    let dim = try reading { () throws(OperatorError) in try call.int("dim") }
    let shape = source.graph.spec(input).shape
    guard let axis = shape.normalizedDimension(dim) else { return .refused("it has no dimension \(dim)") }
    let dropsDimension = node.op == .unbind
    var value = try settled(input)
    if dropsDimension { value = convert(value, to: .contiguous) }
    var start = 0
    for id in node.outputs {
      let (name, piece) = (source.graph[id].name, source.graph.spec(id).shape)
      let end = start + (dropsDimension ? 1 : piece[axis])
      if dropsDimension {
        let slice = emitSlice(node, value, axis, start..<end, name: name + "_slice")
        forms[id] = Form(emitView(slice, name: name, piece, [node]))
      } else {
        forms[id] = Form(piece == shape ? value : emitSlice(node, value, axis, start..<end, name: name))
      }
      start = end
    }
    return .fused
  }

  /// Two slices, put together the other way round, for each dimension that moves.
  private mutating func fuseRoll(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("self"), constant(input) == nil else { return .refused("its input is a constant") }
    guard source.graph.spec(input).dataType == .float32 else { return .refused("it does not move floats") }
    let call = try call(node)
    let (shifts, dims) = try reading { () throws(OperatorError) in (try call.ints("shifts"), try call.ints("dims")) }
    let shape = source.graph.spec(input).shape
    guard dims.count == shifts.count, shape.elementCount > 0 else { return .refused("it moves the tensor as one line") }
    var value = try settled(input)
    for (dim, shift) in zip(dims, shifts) {
      guard let axis = shape.normalizedDimension(dim) else { return .refused("it has no dimension \(dim)") }
      let size = shape[axis]
      let start = (size - shift % size) % size
      if start == 0 { continue }
      let tail = emitSlice(node, value, axis, start..<size, name: node.name + "_tail")
      let head = emitSlice(node, value, axis, 0..<start, name: node.name + "_head")
      value = emit(
        .fusedCat, name: node.name, [("tensors", .values([tail, head])), ("dim", .attribute(.int(axis)))],
        output: spec(value), sources: [node])
    }
    forms[node.output] = Form(value)
    return .fused
  }

  private mutating func emitSlice(
    _ node: Node, _ value: ValueID, _ axis: Int, _ range: Range<Int>, step: Int = 1, name: String
  ) -> ValueID {
    var output = spec(value)
    var sizes = output.shape.dimensions
    sizes[axis] = range.isEmpty ? 0 : (range.count - 1) / step + 1
    output.shape = Shape(sizes)
    return emit(
      .fusedSlice, name: name,
      [
        ("self", .value(value)), ("dim", .attribute(.int(axis))), ("start", .attribute(.int(range.lowerBound))),
        ("end", .attribute(.int(range.upperBound))), ("step", .attribute(.int(step))),
      ], output: output, sources: [node])
  }

  // MARK: Putting together

  /// `cat`, and `stack`, which is one of operands with a new dimension of size 1.
  private mutating func fuseConcatenation(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard case .values(let inputs) = node.operand("tensors"), inputs.allSatisfy({ constant($0) == nil }) else {
      return .refused("an operand is a constant")
    }
    let call = try call(node)
    let dim = try reading { () throws(OperatorError) in try call.int("dim") }
    let result = source.graph.spec(node.output)
    guard let axis = result.shape.normalizedDimension(dim) else { return .refused("it has no dimension \(dim)") }
    guard result.dataType == .float32 else { return .refused("it does not move floats") }
    let isStack = node.op == .stack
    guard isStack || inputs.allSatisfy({ source.graph.spec($0).shape.rank == result.shape.rank }) else {
      return .refused("its operands differ in rank")
    }
    let order: DimOrder = result.shape.rank == 4 ? .channelsLast : .contiguous
    var values: [ValueID] = []
    for input in inputs {
      var value: ValueID
      if let quanta = try int8Operand(input) { value = quanta } else { value = try settled(input) }
      if isStack {
        var sizes = result.shape.dimensions
        sizes[axis] = 1
        let name = source.graph[input].name + "_unsqueeze"
        value = emitView(convert(value, to: .contiguous), name: name, Shape(sizes), [node])
      }
      values.append(value)
    }
    let parameters = values.map { spec($0).quantization }
    var output = TensorSpec(result.dataType, result.shape, dimOrder: order)
    if let shared = Set(parameters).count == 1 ? parameters[0] : try quantization(of: node.output),
      !parameters.contains(nil)
    {
      output.dataType = .int8
      output.quantization = shared
      for (index, own) in parameters.enumerated() {
        if let own, own != shared { values[index] = requantized(values[index], from: own, to: shared, node) }
      }
    } else {
      for index in inputs.indices where parameters[index] != nil {
        values[index] = dequantized(values[index], of: inputs[index])
      }
    }
    forms[node.output] = Form(
      emit(
        .fusedCat, name: node.name,
        [("tensors", .values(values.map { convert($0, to: order) })), ("dim", .attribute(.int(axis)))], output: output,
        sources: [node]))
    return .fused
  }
}
