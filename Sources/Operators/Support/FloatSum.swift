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
