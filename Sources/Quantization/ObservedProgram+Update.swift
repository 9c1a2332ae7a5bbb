import Dispatch
import GraphIR
import Synchronization
import TensorCore

extension ObservedProgram {
  /// Adds one sample to many observers at once, on up to `threads` threads.
  ///
  /// `places` maps each observer to what it watches, in execution order, by whatever index `withValues` understands.
  /// `withValues` hands the values of one such index, in any order, to its second argument, and may be called by
  /// several threads at the same time. The result does not depend on the number of threads.
  ///
  /// - Throws: `wrongObservationCount`; `observer` with the name of the value when it is refused (NaN), of the observer
  ///   with the lowest index; the other observers have then taken the sample.
  package func update(
    _ places: [Int: [Int]], threads: Int,
    withValues: (_ place: Int, _ body: (UnsafeBufferPointer<Float>) -> Void) -> Void
  ) throws(QuantizationError) {
    let indices = calibratedObservers
    for index in indices where (places[index]?.count ?? 0) != values(watchedBy: index).count {
      throw .wrongObservationCount(
        program: program.name, observer: index, expected: values(watchedBy: index).count,
        actual: places[index]?.count ?? 0)
    }
    let next = Mutex(0)
    let failures = Mutex<[Int: QuantizationError]>([:])
    withoutActuallyEscaping(withValues) { withValues in
      // Called by several threads by contract, and not after this call.
      nonisolated(unsafe) let withValues = withValues
      DispatchQueue.concurrentPerform(iterations: max(1, min(threads, indices.count))) { _ in
        while true {
          let position = next.withLock { position in
            defer { position += 1 }
            return position
          }
          guard position < indices.count else { return }
          let index = indices[position]
          let error = update(index, places[index] ?? [], withValues)
          if let error { failures.withLock { $0[index] = error } }
        }
      }
    }
    let failed = failures.withLock { $0 }
    if let first = failed.keys.min(), let error = failed[first] { throw error }
  }

  private func update(
    _ index: Int, _ places: [Int], _ withValues: (Int, (UnsafeBufferPointer<Float>) -> Void) -> Void
  ) -> QuantizationError? {
    guard let observer = observers[index] as? any PerTensorObserver else {
      return .invalidConfiguration(reason: "activations are observed per tensor, not \(specs[index].scheme)")
    }
    for tensor in repeatedConstants[index] ?? [] {
      if let error = refusal({ () throws(ObserverError) in try observer.observe(tensor) }) {
        return .observer(program: program.name, value: observedNames[index], error)
      }
    }
    for (value, place) in zip(values(watchedBy: index), places) {
      var failure: ObserverError?
      withValues(place) { values in
        failure = refusal { () throws(ObserverError) in try observer.observe(values) }
      }
      if let failure { return .observer(program: program.name, value: program.graph[value].name, failure) }
    }
    return nil
  }
}

private func refusal(_ body: () throws(ObserverError) -> Void) -> ObserverError? {
  do { try body() } catch { return error }
  return nil
}
