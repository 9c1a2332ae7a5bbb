import Foundation
import Swiftlet

/// Running sums over pairs of reference and actual values, of which SQNR and mean squared error are made.
struct ErrorSums {
  private(set) var count = 0
  /// Σ reference².
  private(set) var signal = 0.0
  /// Σ (reference − actual)².
  private(set) var noise = 0.0

  /// 20·log₁₀(‖reference‖ / ‖reference − actual‖) in decibels; +∞ where the two are equal, NaN before any value.
  var sqnr: Double {
    if count == 0 { return .nan }
    return noise == 0 ? .infinity : 10 * log10(signal / noise)
  }

  var meanSquaredError: Double { count == 0 ? .nan : noise / Double(count) }

  /// Adds values pair by pair. Sums of 4096 pairs are taken in float32, their total in double.
  mutating func add(reference: UnsafeBufferPointer<Float>, actual: UnsafeBufferPointer<Float>) {
    let count = min(reference.count, actual.count)
    guard count > 0, let r = UnsafeRawPointer(reference.baseAddress), let a = UnsafeRawPointer(actual.baseAddress)
    else { return }
    typealias Lanes = SIMD8<Float>
    var start = 0
    while start &+ 8 <= count {
      let end = min(start &+ 4096, count & ~7)
      var (signals, noises) = (Lanes.zero, Lanes.zero)
      while start < end {
        let x = r.loadUnaligned(fromByteOffset: start &* 4, as: Lanes.self)
        let difference = x - a.loadUnaligned(fromByteOffset: start &* 4, as: Lanes.self)
        signals += x * x
        noises += difference * difference
        start &+= 8
      }
      signal += Double(signals.sum())
      noise += Double(noises.sum())
    }
    for index in start..<count {
      let x = Double(reference[index])
      let difference = x - Double(actual[index])
      signal += x * x
      noise += difference * difference
    }
    self.count += count
  }
}
