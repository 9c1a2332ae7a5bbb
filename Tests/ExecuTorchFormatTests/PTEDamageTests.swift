import Foundation
import Swiftlet
import TestSupport
import Testing

/// Damaged programs give an error, or a program that runs; see `DamagedFile`.
struct PTEDamageTests {
  private static func record(_ problems: [String]) {
    for problem in problems { Issue.record("\(problem)") }
  }

  /// Reads, verifies, lowers, loads and runs.
  private static func run(_ path: String) throws {
    let program = try lower(PTEArchive.read(path), partitioner: XNNPACKPartitioner())
    let method = try Method(program, threads: ThreadPool(threadCount: 1))
    try method.execute()
  }

  @Test(arguments: GoldenProgram.all.map(\.name))
  func programs(_ name: String) async {
    await #expect(processExitsWith: .success) { [name] in
      Self.record(
        try DamagedFile.problems(
          [DamagedFile(goldenPath("executorch", name + ".pte"))], flips: 2500, read: Self.run))
    }
  }
}
