import TensorCore

/// An f32 convolution of NCHW images as a matrix product, one group at a time: filters [O][K] times columns [K][pixels],
/// with K = (C / groups) · kh · kw.
///
/// Columns are made tile by tile, in panels of 8 output pixels: [panel][K][8]. Filters are packed in blocks of 4:
/// 4 biases, then [K][4]. Each sum runs over K in order, multiplied and added separately.
struct Convolution2d: Sendable {
  let window: Window2d
  let batch: Int
  let channelsPerGroup: Int
  let outputsPerGroup: Int

  private let depth: Int
  private let pixels: Int
  private let panelsPerTile: Int

  /// Bytes a tile of columns should not exceed by much: a share of the second-level cache.
  private static let tileByteCount = 393_216

  init(window: Window2d, batch: Int, channelsPerGroup: Int, outputsPerGroup: Int) {
    // One long row makes every panel a plain copy.
    let window = window.joiningPointwiseRows()
    (self.window, self.batch) = (window, batch)
    (self.channelsPerGroup, self.outputsPerGroup) = (channelsPerGroup, outputsPerGroup)
    depth = channelsPerGroup * window.area
    pixels = window.height.output * window.width.output
    panelsPerTile = max(1, min((pixels + 7) / 8, Convolution2d.tileByteCount / (depth * 32)))
  }

  private var blocks: Int { (outputsPerGroup + 3) / 4 }
  private var blockByteCount: Int { 16 + depth * 16 }
  var packedByteCount: Int { window.groups * blocks * blockByteCount }
  var columnsByteCount: Int { panelsPerTile * depth * 32 }

  /// Packs weights [O][K]; `bias` may be absent (0).
  func pack(_ weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?, into packed: UnsafeMutableRawPointer) {
    for group in 0..<window.groups {
      for block in 0..<blocks {
        let target = (packed + (group &* blocks &+ block) &* blockByteCount).assumingMemoryBound(to: Float.self)
        for lane in 0..<4 {
          let channel = block &* 4 &+ lane
          let isReal = channel < outputsPerGroup
          let output = group &* outputsPerGroup &+ channel
          target[lane] = isReal ? bias?[output] ?? 0 : 0
          for k in 0..<depth { target[4 &+ k &* 4 &+ lane] = isReal ? weights[output &* depth &+ k] : 0 }
        }
      }
    }
  }

  /// `columns` has room for `columnsByteCount` bytes and is aligned to 32.
  func run(
    input: UnsafePointer<Float>, packed: UnsafeRawPointer, columns: UnsafeMutablePointer<Float>,
    output: UnsafeMutablePointer<Float>
  ) {
    let plane = window.height.input &* window.width.input
    var (source, target) = (input, output)
    for _ in 0..<batch {
      for group in 0..<window.groups {
        var pixel = 0
        while pixel < pixels {
          let panels = min(panelsPerTile, (pixels &- pixel &+ 7) / 8)
          for panel in 0..<panels {
            fillPanel(columns + panel &* depth &* 8, firstPixel: pixel &+ panel &* 8, source)
          }
          multiply(
            packed + group &* blocks &* blockByteCount, columns, panels: panels, firstPixel: pixel, target)
          pixel &+= panels &* 8
        }
        source += channelsPerGroup &* plane
        target += outputsPerGroup &* pixels
      }
    }
  }

  /// All filters of a group against the panels of one tile. `output` is the group's first plane.
  private func multiply(
    _ packed: UnsafeRawPointer, _ columns: UnsafePointer<Float>, panels: Int, firstPixel: Int,
    _ output: UnsafeMutablePointer<Float>
  ) {
    for block in 0..<blocks {
      let weights = (packed + block &* blockByteCount).assumingMemoryBound(to: SIMD4<Float>.self)
      let rows = min(4, outputsPerGroup &- block &* 4)
      for panel in 0..<panels {
        let values = UnsafeRawPointer(columns + panel &* depth &* 8).assumingMemoryBound(to: SIMD8<Float>.self)
        let sums = Convolution2d.tile(weights, values, depth)
        let pixel = firstPixel &+ panel &* 8
        let count = min(8, pixels &- pixel)
        let target = output + (block &* 4 &* pixels &+ pixel)
        store(sums.0, target, count)
        if rows > 1 { store(sums.1, target + pixels, count) }
        if rows > 2 { store(sums.2, target + 2 &* pixels, count) }
        if rows > 3 { store(sums.3, target + 3 &* pixels, count) }
      }
    }
  }

  /// Four filters times eight pixels.
  @inline(__always)
  private static func tile(
    _ weights: UnsafePointer<SIMD4<Float>>, _ values: UnsafePointer<SIMD8<Float>>, _ depth: Int
  ) -> (SIMD8<Float>, SIMD8<Float>, SIMD8<Float>, SIMD8<Float>) {
    let bias = weights[0]
    var s0 = SIMD8<Float>(repeating: bias[0])
    var s1 = SIMD8<Float>(repeating: bias[1])
    var s2 = SIMD8<Float>(repeating: bias[2])
    var s3 = SIMD8<Float>(repeating: bias[3])
    for k in 0..<depth {
      let (w, x) = (weights[1 &+ k], values[k])
      s0 += x * w[0]
      s1 += x * w[1]
      s2 += x * w[2]
      s3 += x * w[3]
    }
    return (s0, s1, s2, s3)
  }

  @inline(__always)
  private func store(_ sums: SIMD8<Float>, _ target: UnsafeMutablePointer<Float>, _ count: Int) {
    if count == 8 {
      UnsafeMutableRawPointer(target).storeBytes(of: sums, as: SIMD8<Float>.self)
    } else {
      for lane in 0..<count { target[lane] = sums[lane] }
    }
  }
}
