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

/// The greatest of `count` floats that are `step` apart, of those that are numbers; −∞ where there is none.
@inline(__always)
func greatest(_ values: UnsafePointer<Float>, count: Int, step: Int = 1) -> Float {
  func greater(_ a: Float, _ b: Float) -> Float { a > b ? a : b }
  // Four chains of comparisons: in one, each waits for the one before.
  var (m0, m1, m2, m3) = (-Float.infinity, -Float.infinity, -Float.infinity, -Float.infinity)
  var (next, left) = (values, count)
  while left >= 4 {
    m0 = greater(next[0], m0)
    m1 = greater(next[step], m1)
    m2 = greater(next[2 &* step], m2)
    m3 = greater(next[3 &* step], m3)
    next += 4 &* step
    left &-= 4
  }
  for i in 0..<left { m0 = greater(next[i &* step], m0) }
  return greater(greater(m0, m1), greater(m2, m3))
}
