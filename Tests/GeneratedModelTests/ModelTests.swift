import Dispatch
import Foundation
import Swiftlet
import Synchronization
import TestSupport
import Testing

/// Random small models, quantized and run in every way: the ways must agree, and int8 must be near float.
///
/// Which models: as many as fit into the time of `make test`, or those of the environment variable `SWIFTLET_SEEDS`
/// (`7`, `3,9`, `0-9999`), then with what is found of each printed.
@Suite struct ModelTests {
  static let seeds: [Int] = {
    guard let text = ProcessInfo.processInfo.environment["SWIFTLET_SEEDS"] else { return Array(0..<4000) }
    return text.split(separator: ",").flatMap { part -> [Int] in
      let ends = part.split(separator: "-").compactMap { Int($0) }
      return ends.count == 2 ? Array(ends[0]...ends[1]) : ends
    }
  }()
  private static let isChosen = ProcessInfo.processInfo.environment["SWIFTLET_SEEDS"] != nil

  /// A new operator must be drawn, or stand among those that no float graph has.
  @Test func everyOperatorIsDrawn() {
    let drawn = Set(OperatorDraw.all.map(\.name))
    for op in OperatorSet.standard.operators {
      let isAbsent = OperatorDraw.absent.keys.contains { op.name == $0 || ($0.hasSuffix(".") && op.name.hasPrefix($0)) }
      #expect(drawn.contains(op.name) != isAbsent, "\(op.name)")
    }
    #expect(drawn.count == OperatorDraw.all.count)
    #expect(drawn.allSatisfy { OperatorSet.standard[$0] != nil })
  }

  @Test func everyWayGivesTheSame() throws {
    let temporary = try TemporaryFolder()
    let keepsFiles = ProcessInfo.processInfo.environment["SWIFTLET_MODELS"] != nil
    let folder = ProcessInfo.processInfo.environment["SWIFTLET_MODELS"] ?? temporary.path("")
    let results = Mutex<(faults: [Fault], refusals: [String: Int], decibels: [Way: [(Double, Int)]])>(([], [:], [:]))
    let next = Mutex(0)
    let seeds = Self.seeds
    DispatchQueue.concurrentPerform(iterations: ProcessInfo.processInfo.activeProcessorCount) { _ in
      while true {
        let index = next.withLock { value in
          defer { value += 1 }
          return value
        }
        guard index < seeds.count else { return }
        let model = ModelGenerator.model(seeds[index])
        if Self.isChosen, seeds.count < 20 { print("\(model.program.printed())\n") }
        let check = ModelCheck(model, folder: folder)
        check.run()
        if keepsFiles { try? check.writeSamples() }
        let (faults, refusals, decibels) = (check.faults, check.refusals, check.decibels)
        results.withLock { results in
          results.faults += faults
          for refusal in refusals { results.refusals[refusal, default: 0] += 1 }
          for (way, value) in decibels { results.decibels[way, default: []].append((value, seeds[index])) }
        }
      }
    }
    let (faults, refusals, decibels) = results.withLock { $0 }
    for fault in faults.sorted(by: { $0.seed < $1.seed }) {
      Issue.record("\(fault)")
    }
    guard Self.isChosen else { return }
    for (reason, count) in refusals.sorted(by: { $0.value > $1.value }) { print("\(count) refused: \(reason)") }
    for (way, values) in decibels.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      let sorted = values.sorted { $0.0 < $1.0 }
      let quantiles = [0.0, 0.01, 0.1, 0.5].map { String(format: "%.1f", sorted[Int(Double(sorted.count - 1) * $0)].0) }
      print(
        "\(way): dB at 0, 1, 10, 50 %: \(quantiles); worst \(sorted.prefix(12).map { "\($0.1) (\(String(format: "%.1f", $0.0)))" })"
      )
    }
  }
}
