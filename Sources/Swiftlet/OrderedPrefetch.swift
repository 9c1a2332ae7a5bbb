import Foundation

/// Results made ahead on other threads and given in order.
///
/// At most `capacity` results are made or being made that were not given yet. Everything mutable is guarded by
/// `condition`, hence `@unchecked Sendable`.
final class OrderedPrefetch<Element: Sendable>: @unchecked Sendable {
  let workerCount: Int
  private let count: Int
  private let capacity: Int
  private let make: @Sendable (Int) throws -> Element
  private let condition = NSCondition()
  private var ready: [Int: Result<Element, any Error>] = [:]
  /// The first element that no worker has taken on.
  private var started = 0
  /// The first element that was not given.
  private var given = 0
  private var runningWorkers: Int
  private var isStopped = false

  /// - Parameters:
  ///   - workerCount: 0 makes each element when it is asked for, on the caller's thread.
  ///   - make: gives element 0..<count; called on any thread, once for each.
  init(count: Int, workerCount: Int, capacity: Int, make: @escaping @Sendable (Int) throws -> Element) {
    self.count = count
    self.workerCount = workerCount
    self.capacity = capacity
    self.make = make
    self.runningWorkers = workerCount
    for _ in 0..<workerCount {
      Thread { self.work() }.start()
    }
  }

  /// How many elements were given.
  var position: Int {
    condition.lock()
    defer { condition.unlock() }
    return given
  }

  /// The next element; nil after the last one, and after an error, which ends the workers.
  func next() throws -> Element? {
    condition.lock()
    guard given < count, !isStopped else {
      condition.unlock()
      return nil
    }
    let index = given
    given += 1
    if workerCount == 0 {
      condition.unlock()
      return try stoppingOnError(Result { try make(index) })
    }
    condition.broadcast()
    while ready[index] == nil { condition.wait() }
    let result = ready.removeValue(forKey: index)
    condition.unlock()
    return try result.map(stoppingOnError)
  }

  /// Ends the workers, each after the element that it is making, and waits for that.
  func stop() {
    condition.lock()
    defer { condition.unlock() }
    isStopped = true
    condition.broadcast()
    while runningWorkers > 0 { condition.wait() }
    ready = [:]
  }

  private func stoppingOnError(_ result: Result<Element, any Error>) throws -> Element {
    if case .failure = result { stop() }
    return try result.get()
  }

  private func work() {
    while let index = take() {
      let result = Result { try make(index) }
      condition.lock()
      ready[index] = result
      condition.broadcast()
      condition.unlock()
    }
    condition.lock()
    runningWorkers -= 1
    condition.broadcast()
    condition.unlock()
  }

  /// The element to be made next, once there is room for it; nil when there is none.
  private func take() -> Int? {
    condition.lock()
    defer { condition.unlock() }
    while !isStopped, started < count, started - given >= capacity { condition.wait() }
    guard !isStopped, started < count else { return nil }
    started += 1
    return started - 1
  }
}
