import Synchronization
import Testing

/// Tests that use all cores themselves: no two of them run at the same time, whatever targets and suites they are in.
package struct OneAtATime: TestTrait, SuiteTrait, TestScoping {
  package let isRecursive = true
  @TaskLocal private static var hasTurn = false

  package func provideScope(
    for test: Test, testCase: Test.Case?, performing body: @Sendable () async throws -> Void
  ) async throws {
    guard testCase != nil, !OneAtATime.hasTurn else { return try await body() }
    await Turn.shared.take()
    defer { Turn.shared.pass() }
    try await OneAtATime.$hasTurn.withValue(true) { try await body() }
  }
}

extension Trait where Self == OneAtATime {
  package static var oneAtATime: OneAtATime { OneAtATime() }
}

/// One turn, handed on in the order in which it was asked for.
private final class Turn: Sendable {
  static let shared = Turn()
  private let state = Mutex<(isTaken: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))

  func take() async {
    await withCheckedContinuation { continuation in
      let isFree = state.withLock { state in
        if state.isTaken {
          state.waiting.append(continuation)
          return false
        }
        state.isTaken = true
        return true
      }
      if isFree { continuation.resume() }
    }
  }

  func pass() {
    let next = state.withLock { state in
      if state.waiting.isEmpty {
        state.isTaken = false
        return CheckedContinuation<Void, Never>?.none
      }
      return state.waiting.removeFirst()
    }
    next?.resume()
  }
}
