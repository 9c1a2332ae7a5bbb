import Foundation
import Swiftlet
import TestSupport

/// How closely results agree.
package enum Agreement: Sendable {
  case bytes
  /// The signal is that many dB above the difference, over all elements.
  case decibels(Double)
  /// So many steps of the model's output scale in each element.
  case quanta(Float)
  /// In each element, likewise the next.
  case absolute(Float)
  /// Times the larger of 1 and the element's magnitude.
  case relative(Float)

  /// What is wrong with `actual`; nil when they agree.
  func problem(_ actual: [Tensor], _ expected: [Tensor], quantum: Float) -> String? {
    guard actual.map(\.spec.shape) == expected.map(\.spec.shape), actual.map(\.dataType) == expected.map(\.dataType)
    else { return "\(actual.map(\.spec)), not \(expected.map(\.spec))" }
    if case .bytes = self {
      let place = zip(actual, expected).enumerated().first { $1.0.bits != $1.1.bits }
      return place.map { "output \($0.offset) differs" }
    }
    guard actual.allSatisfy({ $0.dataType == .float32 }) else { return "only float32 outputs can be close" }
    let pairs = zip(actual.flatMap { $0.elements(as: Float.self) }, expected.flatMap { $0.elements(as: Float.self) })
    if case .decibels(let least) = self {
      let signal = pairs.reduce(0.0) { $0 + Double($1.1) * Double($1.1) }
      let noise = pairs.reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
      let ratio = noise == 0 ? .infinity : 10 * log10(signal / noise)
      return ratio >= least ? nil : "\(ratio) dB, not \(least)"
    }
    func tolerance(_ expected: Float) -> Float {
      switch self {
      // Sums of scaled numbers are rounded.
      case .quanta(let count): quantum * count * 1.001
      case .absolute(let tolerance): tolerance
      case .relative(let part): part * max(1, abs(expected))
      default: 0
      }
    }
    let place = pairs.enumerated().first {
      !(abs($1.0 - $1.1) <= tolerance($1.1)) && $1.0.bitPattern != $1.1.bitPattern
    }
    return place.map { "element \($0.offset) is \($0.element.0), not \($0.element.1)" }
  }
}
