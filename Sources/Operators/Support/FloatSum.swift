/// The sum of `count` floats: eight interleaved partial sums, then those from the first to the last, then the rest.
@inline(__always)
func sum(_ values: UnsafePointer<Float>, count: Int) -> Float {
  var lanes = SIMD8<Float>()
  var i = 0
  while i &+ 8 <= count {
    lanes += UnsafeRawPointer(values + i).loadUnaligned(as: SIMD8<Float>.self)
    i &+= 8
  }
  var total: Float = 0
  for lane in 0..<8 { total += lanes[lane] }
  while i < count {
    total += values[i]
    i &+= 1
  }
  return total
}

/// The greatest of `count` floats, of those that are numbers; −∞ where there is none.
@inline(__always)
func greatest(_ values: UnsafePointer<Float>, count: Int) -> Float {
  // Four chains of comparisons: one waits for the last comparison before each.
  var lanes = SIMD4<Float>(repeating: -.infinity)
  var i = 0
  while i &+ 4 <= count {
    let next = UnsafeRawPointer(values + i).loadUnaligned(as: SIMD4<Float>.self)
    lanes = SIMD4(
      next[0] > lanes[0] ? next[0] : lanes[0], next[1] > lanes[1] ? next[1] : lanes[1],
      next[2] > lanes[2] ? next[2] : lanes[2], next[3] > lanes[3] ? next[3] : lanes[3])
    i &+= 4
  }
  var maximum = -Float.infinity
  for lane in 0..<4 { maximum = lanes[lane] > maximum ? lanes[lane] : maximum }
  while i < count {
    maximum = values[i] > maximum ? values[i] : maximum
    i &+= 1
  }
  return maximum
}
