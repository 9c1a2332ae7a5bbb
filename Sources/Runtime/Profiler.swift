import ProgramFormat

/// Times the operations of a method one by one.
package struct Profiler {
  private let method: Method
  /// Seconds that each operation took, one entry a run.
  package private(set) var seconds: [[Double]]

  package init(_ method: Method) {
    self.method = method
    self.seconds = [[Double]](repeating: [], count: method.operations.count)
  }

  /// One inference with a clock read between operations.
  package mutating func execute() throws(ProgramError) {
    let clock = ContinuousClock()
    var last = clock.now
    for index in seconds.indices {
      try method.run(index)
      let now = clock.now
      seconds[index].append((now - last).seconds)
      last = now
    }
  }
}

extension Duration {
  /// The duration as a number of seconds.
  package var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
