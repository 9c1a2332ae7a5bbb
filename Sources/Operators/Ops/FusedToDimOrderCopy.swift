import TensorCore

extension Operator {
  /// Copies a 4-D tensor into another memory order: "channels_last" or "contiguous". Any element type; the logical
  /// shape and the quantization parameters stay.
  package static let toDimOrderCopy = Operator(
    "dim_order_ops._to_dim_order_copy.default(Tensor self, str dim_order) -> Tensor", traits: .movesElements,
    infer: { call throws(OperatorError) in [try reorderedOutput(call)] },
    prepare: { call throws(OperatorError) in
      let input = try call.spec("self")
      let output = try call.checkedOutput([try reorderedOutput(call)])
      let index = try call.position("self")
      let byteCount = output.byteCount
      if input.dimOrder == output.dimOrder {
        return PreparedKernel { $0.outputs[0].copyMemory(from: $0.inputs[index], byteCount: byteCount) }
      }
      let (batch, channels) = (input.shape[0], input.shape[1])
      let pixels = input.shape[2] &* input.shape[3]
      let (rows, columns) = output.dimOrder == .channelsLast ? (channels, pixels) : (pixels, channels)
      let elementSize = input.dataType.size
      return PreparedKernel { buffers in
        let (source, target) = (buffers.inputs[index], buffers.outputs[0])
        switch elementSize {
        case 1: transpose(source, target, batch, rows, columns, UInt8.self)
        case 2: transpose(source, target, batch, rows, columns, UInt16.self)
        case 4: transpose(source, target, batch, rows, columns, UInt32.self)
        default: transpose(source, target, batch, rows, columns, UInt64.self)
        }
      }
    })
}

private func reorderedOutput(_ call: OperatorCall) throws(OperatorError) -> TensorSpec {
  var spec = try call.spec("self")
  try call.check(spec.shape.rank == 4, "'self' must be 4-D, not \(spec.shape)")
  spec.dimOrder = try call.convertedOrder(spec)
  return spec
}

/// `batch` matrices (rows, columns) become (columns, rows), in squares of 32 that stay in the cache.
@inline(__always)
private func transpose<Element: BitwiseCopyable>(
  _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ batch: Int, _ rows: Int, _ columns: Int,
  _ type: Element.Type
) {
  if rows == 0 || columns == 0 { return }
  for matrix in 0..<batch {
    let from = source.assumingMemoryBound(to: Element.self) + matrix &* rows &* columns
    let to = target.assumingMemoryBound(to: Element.self) + matrix &* rows &* columns
    for top in stride(from: 0, to: rows, by: 32) {
      let bottom = min(top &+ 32, rows)
      for left in stride(from: 0, to: columns, by: 32) {
        for column in left..<min(left &+ 32, columns) {
          for row in top..<bottom { to[column &* rows &+ row] = from[row &* columns &+ column] }
        }
      }
    }
  }
}
