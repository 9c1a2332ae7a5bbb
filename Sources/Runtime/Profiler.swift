/// Times the operations of a method one by one.
public struct Profiler {
  private let method: Method
  /// Seconds that each operation took, summed over `runs`.
  public private(set) var seconds: [Double]
  public private(set) var runs = 0
  /// Seconds of whole passes, summed over `runs`.
  public private(set) var totalSeconds = 0.0

  public init(_ method: Method) {
    self.method = method
    self.seconds = [Double](repeating: 0, count: method.operations.count)
  }

  /// One inference with a clock read between operations.
  public mutating func execute() throws(RuntimeError) {
    let clock = ContinuousClock()
    let start = clock.now
    var last = start
    for index in seconds.indices {
      try method.run(index)
      let now = clock.now
      seconds[index] += (now - last).seconds
      last = now
    }
    totalSeconds += (last - start).seconds
    runs += 1
  }
}

extension Duration {
  /// The duration as a number of seconds.
  public var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
