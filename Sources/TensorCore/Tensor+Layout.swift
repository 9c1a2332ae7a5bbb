extension Tensor {
  /// The same 4-D values with the second dimension innermost in memory (OIHW to OHWI): itself, or a copy.
  /// - Precondition: the tensor is 4-D.
  public func channelsLast() -> Tensor {
    precondition(shape.rank == 4)
    if spec.dimOrder == .channelsLast { return self }
    return transposed(to: .channelsLast, rows: shape[1], columns: shape[2] * shape[3])
  }

  /// The same values in row-major order: itself, or a copy of a channels-last tensor.
  public func rowMajor() -> Tensor {
    guard spec.dimOrder == .channelsLast, shape.rank == 4 else { return self }
    return transposed(to: .contiguous, rows: shape[2] * shape[3], columns: shape[1])
  }

  /// A copy whose memory, taken as [first dimension][rows][columns], is [first dimension][columns][rows].
  private func transposed(to order: DimOrder, rows: Int, columns: Int) -> Tensor {
    var target = spec
    target.dimOrder = order
    let source = aligned()
    return Tensor(unsafeUninitialized: target) { bytes in
      source.withUnsafeBytes { from in
        guard let input = from.baseAddress, let output = bytes.baseAddress else { return }
        func move<T>(_ type: T.Type) {
          transpose(
            input.assumingMemoryBound(to: T.self), output.assumingMemoryBound(to: T.self), count: shape[0], rows,
            columns)
        }
        switch dataType.size {
        case 1: move(UInt8.self)
        case 2: move(UInt16.self)
        case 4: move(UInt32.self)
        default: move(UInt64.self)
        }
      }
    }
  }
}

private func transpose<T>(
  _ input: UnsafePointer<T>, _ output: UnsafeMutablePointer<T>, count: Int, _ rows: Int, _ columns: Int
) {
  for index in 0..<count {
    let (from, to) = (input + index * rows * columns, output + index * rows * columns)
    for column in 0..<columns {
      for row in 0..<rows { to[column * rows + row] = from[row * columns + column] }
    }
  }
}
