import Foundation
import Synchronization
import Testing
import Threads

/// How often each index was called.
private final class Calls: Sendable {
  private let counts: Mutex<[Int]>

  init(_ count: Int) { counts = Mutex(Array(repeating: 0, count: count)) }

  var all: [Int] { counts.withLock { $0 } }

  func run(on threads: OpaquePointer?) {
    let count = counts.withLock { $0.count }
    let task: @convention(c) (UnsafeMutableRawPointer?, Int) -> Void = { context, index in
      guard let context else { return }
      Unmanaged<Calls>.fromOpaque(context).takeUnretainedValue().counts.withLock { $0[index] += 1 }
    }
    thr_parallelize(threads, count, task, Unmanaged.passUnretained(self).toOpaque())
  }
}

/// Threads of the kernels; a pool ends with the last reference.
private final class Pool: @unchecked Sendable {
  let threads: OpaquePointer?
  init(_ count: Int) { threads = thr_pool_create(count) }
  deinit { thr_pool_delete(threads) }
}

@Suite struct ThreadsTests {
  @Test(arguments: [1, 2, 3, 8], [0, 1, 2, 7, 100])
  func callsEachIndexOnce(threads: Int, count: Int) {
    let pool = Pool(threads)
    #expect(pool.threads != nil)
    for repetition in 0..<200 {
      let calls = Calls(count)
      calls.run(on: pool.threads)
      #expect(calls.all == Array(repeating: 1, count: count))
      if repetition % 50 == 49 { usleep(1000) }  // the helpers go to sleep
    }
  }

  @Test func withoutThreads() {
    let calls = Calls(5)
    calls.run(on: nil)
    #expect(calls.all == [1, 1, 1, 1, 1])
  }

  /// Whoever finds the pool taken works alone.
  @Test func callersShareAPool() async {
    let pool = Pool(2)
    await withTaskGroup(of: [Int].self) { group in
      for _ in 0..<4 {
        group.addTask {
          let calls = Calls(64)
          for _ in 0..<100 { calls.run(on: pool.threads) }
          return calls.all
        }
      }
      for await counts in group { #expect(counts == Array(repeating: 100, count: 64)) }
    }
  }
}
