import TensorCore

/// What an elementwise operator computes of two operands.
enum ElementwiseFunction: Sendable {
  /// a + alpha · b
  case sum(alpha: Float)
  case product
  case quotient
  case minimum
  case maximum
}

/// The second operand of an elementwise operator: `torch.export` writes `x + 1` with a number in a tensor's place.
private enum SecondOperand {
  case tensor(TensorArgument)
  case number(Float)

  init(_ call: OperatorCall, _ name: String) throws(OperatorError) {
    switch call.arguments[name] {
    case .attribute(.float(let value)): self = .number(Float(value))
    case .attribute(.int(let value)): self = .number(Float(value))
    default: self = .tensor(try call.floatTensor(name))
    }
  }

  var shape: Shape {
    switch self {
    case .tensor(let tensor): tensor.shape
    case .number: []
    }
  }
}

extension OperatorCall {
  /// An f32 or int32 function of `self` and `other`, broadcast against each other.
  func elementwise(_ function: ElementwiseFunction) throws(OperatorError) -> KernelPlan {
    if try spec("self").dataType == .int32 { return try integerElementwise(function) }
    let a = try floatTensor("self")
    let other = try SecondOperand(self, "other")
    let shape = try broadcast(a.shape, other.shape)
    return KernelPlan(TensorSpec(.float32, shape)) {
      let loops = broadcastLoops(shape, a.shape, other.shape)
      switch other {
      case .tensor(let b):
        return PreparedKernel { buffers in
          loops.map(buffers.input(a), buffers.input(b), buffers.output(), function)
        }
      case .number(let number):
        return PreparedKernel { buffers in
          withUnsafePointer(to: number) { loops.map(buffers.input(a), $0, buffers.output(), function) }
        }
      }
    }
  }

  /// The shape two operands have in common: aligned at the last dimension, sizes are equal or one of them is 1.
  func broadcast(_ a: Shape, _ b: Shape) throws(OperatorError) -> Shape {
    let rank = max(a.rank, b.rank)
    var sizes: [Int] = []
    for i in 0..<rank {
      let (x, y) = (a.size(i, ofRank: rank), b.size(i, ofRank: rank))
      try check(x == y || x == 1 || y == 1, "\(a) and \(b) cannot be broadcast together")
      sizes.append(x == 1 ? y : x)
    }
    return try checkedShape(sizes)
  }
}

/// Loops over an output (first) and its broadcast operands (second and third).
func broadcastLoops(_ output: Shape, _ a: Shape, _ b: Shape) -> StridedLoops {
  let (outputStrides, aStrides, bStrides) = (output.strides, a.strides, b.strides)
  let rank = output.rank
  return StridedLoops(
    (0..<rank).map { i in
      StridedLoops.Axis(
        size: output[i], first: outputStrides[i],
        second: a.size(i, ofRank: rank) == 1 ? 0 : aStrides[i - (rank - a.rank)],
        third: b.size(i, ofRank: rank) == 1 ? 0 : bStrides[i - (rank - b.rank)])
    })
}

extension Shape {
  /// The size of dimension `index` when the shape is seen with `rank` dimensions, the missing outer ones being 1.
  fileprivate func size(_ index: Int, ofRank rank: Int) -> Int {
    index < rank - self.rank ? 1 : dimensions[index - (rank - self.rank)]
  }
}

extension StridedLoops {
  /// Writes a function of two operands to the contiguous output.
  fileprivate func map(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ output: UnsafeMutablePointer<Float>,
    _ function: ElementwiseFunction
  ) {
    switch function {
    case .sum(1): map(a, b, output) { $0 + $1 }
    case .sum(-1): map(a, b, output) { $0 - $1 }
    case .sum(let alpha): map(a, b, output) { $0 + alpha * $1 }
    case .product: map(a, b, output) { $0 * $1 }
    case .quotient: map(a, b, output) { $0 / $1 }
    case .minimum: map(a, b, output) { $0.isNaN || $0 <= $1 ? $0 : $1 }
    case .maximum: map(a, b, output) { $0.isNaN || $0 >= $1 ? $0 : $1 }
    }
  }

  @inline(__always)
  func map<Element>(
    _ a: UnsafePointer<Element>, _ b: UnsafePointer<Element>, _ output: UnsafeMutablePointer<Element>,
    _ function: (Element, Element) -> Element
  ) {
    let (count, aStep, bStep) = (row.size, row.second, row.third)
    forEachRow { first, second, third in
      let (target, x, y) = (output + first, a + second, b + third)
      if aStep == 1 && bStep == 1 {
        for i in 0..<count { target[i] = function(x[i], y[i]) }
      } else if bStep == 0 {
        let value = y[0]
        for i in 0..<count { target[i] = function(x[i &* aStep], value) }
      } else {
        for i in 0..<count { target[i] = function(x[i &* aStep], y[i &* bStep]) }
      }
    }
  }
}
