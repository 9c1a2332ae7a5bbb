import GraphIR
import TensorCore

@testable import Quantization

extension ObservedProgram {
  /// The values that observers watch, by name, with the observers.
  var watchedNames: [String] {
    observedValues.map { "\(program.graph[$0.value].name):\($0.observers)" }
  }

  /// One sample in which every observed value is the ramp from `low` to `high`.
  func calibrateWithRamps(low: Float = -1, high: Float = 1) throws {
    for observer in calibratedObservers {
      let tensors = values(watchedBy: observer).map { value in
        let shape = program.graph.spec(value).shape
        let count = shape.elementCount
        let values = (0..<count).map { low + (high - low) * Float($0) / Float(max(count - 1, 1)) }
        return Tensor(values, shape: shape)
      }
      try record(tensors, observer: observer)
    }
  }
}
