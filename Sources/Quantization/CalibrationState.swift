import GraphIR

/// What the observers of a prepared model have seen: calibration can be stopped and taken up again, or split over several
/// processes and put together.
///
/// Put together, observers of minimum and maximum are as after one calibration over all samples, exactly. A histogram has
/// exactly the same range, and every quantile of it lies within as many bins (of 2048) of the one calibration's as the
/// ranges grew in the one and in the parts, and one more. What a search makes of that has no such bound: it may stop
/// elsewhere. Moving averages can be resumed but not put together.
public struct CalibrationState: Hashable, Sendable, Codable {
  /// What one observer has seen, and which observer it is.
  public struct Entry: Hashable, Sendable, Codable {
    /// The name of the value that the observer watches first.
    public var value: String
    /// The observer, as `ObserverConstructor.name` has it.
    public var observer: String
    /// Ranges, and counts of a histogram.
    public var state: ObserverState
  }

  /// One for each observer that calibration feeds, in order.
  public var observers: [Entry]
}

extension ObservedProgram {
  /// What the observers have seen.
  public var calibrationState: CalibrationState {
    CalibrationState(
      observers: calibratedObservers.map { index in
        .init(
          value: observedNames[index], observer: specs[index].observer.name, state: observers[index].state)
      })
  }

  /// Adds what another calibration of the same prepared model has seen.
  ///
  /// - Throws: `calibrationMismatch` when the state is of another model or configuration, before anything is changed;
  ///   `observer` when the state of one observer cannot be used; those before it have then taken theirs.
  public func merge(_ state: CalibrationState) throws(QuantizationError) {
    let indices = calibratedObservers
    guard indices.count == state.observers.count else {
      throw .calibrationMismatch(
        program: program.name, reason: "it has \(state.observers.count) observers; the model has \(indices.count)")
    }
    for (index, entry) in zip(indices, state.observers) {
      let (value, observer) = (observedNames[index], specs[index].observer.name)
      guard entry.value == value, entry.observer == observer else {
        throw .calibrationMismatch(
          program: program.name,
          reason: "it has a \(entry.observer) at '\(entry.value)' where the model has a \(observer) at '\(value)'")
      }
    }
    for (index, entry) in zip(indices, state.observers) {
      do { try observers[index].merge(entry.state) } catch {
        throw .observer(program: program.name, value: observedNames[index], error)
      }
    }
  }
}
