import Operators
import TensorCore
import Testing

@testable import ProgramFormat

@Suite struct MemoryPlannerTests {
  private struct Random {
    var state: UInt64

    mutating func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
  }

  private func buffers(_ seed: Int, count: Int, steps: Int, longest: Int) -> [MemoryPlanner.Buffer] {
    var random = Random(state: UInt64(seed))
    return (0..<count).map { _ in
      let start = random.next(steps)
      return .init(byteCount: random.next(5000), lifetime: start...start + random.next(longest))
    }
  }

  @Test(arguments: 1...60)
  func buffersThatLiveTogetherDoNotOverlap(_ seed: Int) {
    let buffers = buffers(seed, count: 1 + seed, steps: 5 + seed % 30, longest: 1 + seed % 9)
    let padding = seed % 2 * 64
    let plan = MemoryPlanner(buffers, padding: padding)
    for i in buffers.indices {
      #expect(plan.offsets[i] >= 0 && plan.offsets[i] % MemoryPlanner.alignment == 0)
      #expect(plan.offsets[i] + buffers[i].byteCount + padding <= plan.arenaByteCount)
      for j in 0..<i where buffers[i].lifetime.overlaps(buffers[j].lifetime) {
        let (a, b) = (plan.offsets[i], plan.offsets[j])
        #expect(a + buffers[i].byteCount + padding <= b || b + buffers[j].byteCount + padding <= a)
      }
    }
  }

  @Test(arguments: 1...60)
  func lowerBoundIsTheMostThatIsAliveAtAStep(_ seed: Int) {
    let buffers = buffers(seed, count: 1 + seed, steps: 5 + seed % 30, longest: 1 + seed % 9)
    let plan = MemoryPlanner(buffers, padding: 64)
    let most = (0..<50).map { step in
      buffers.filter { $0.lifetime.contains(step) }.reduce(0) { $0 + ($1.byteCount + 64 + 63) / 64 * 64 }
    }.max()
    #expect(plan.lowerBound == most)
    #expect(plan.arenaByteCount >= plan.lowerBound)
    #expect(MemoryPlanner(buffers, padding: 64).offsets == plan.offsets)
  }

  @Test func memoryIsReusedAfterALifetimeEnds() {
    let plan = MemoryPlanner(
      [.init(byteCount: 1000, lifetime: 0...1), .init(byteCount: 1000, lifetime: 2...3)], padding: 0)
    #expect(plan.arenaByteCount == 1024 && plan.lowerBound == 1024)
  }

  @Test func nothingNeedsNothing() {
    let plan = MemoryPlanner([], padding: 64)
    #expect(plan.arenaByteCount == 0 && plan.lowerBound == 0 && plan.offsets.isEmpty)
  }

  /// By size, those of 4 and 3 units lie at 0 and the first of 2 above the other; the second of 2 is then beside both, and
  /// on top of 7 units.
  @Test func anotherOrderIsTakenWhereSizeIsNotBest() {
    func buffer(_ units: Int, _ lifetime: ClosedRange<Int>) -> MemoryPlanner.Buffer {
      .init(byteCount: units * 64, lifetime: lifetime)
    }
    let plan = MemoryPlanner(
      [buffer(2, 3...5), buffer(2, 1...3), buffer(4, 0...1), buffer(3, 4...6)], padding: 0)
    #expect(plan.arenaByteCount == 6 * 64 && plan.lowerBound == 6 * 64)
  }

  /// Buffers that outlive others, each overlapping the next, beside two of 3 units at a time: from the bottom alone, the
  /// second would leave no gap of 3 under it.
  @Test func buffersThatLastGoToBothEnds() {
    var buffers: [MemoryPlanner.Buffer] = [.init(byteCount: 64, lifetime: 0...100)]
    for layer in 0..<10 {
      let start = 10 * layer
      buffers.append(.init(byteCount: 64, lifetime: start...start + 10))
      buffers.append(.init(byteCount: 3 * 64, lifetime: start + 2...start + 3))
      buffers.append(.init(byteCount: 3 * 64, lifetime: start + 3...start + 5))
      for slice in 0..<3 { buffers.append(.init(byteCount: 64, lifetime: start + 4 + slice / 2...start + 7)) }
    }
    let plan = MemoryPlanner(buffers, padding: 0)
    #expect(plan.arenaByteCount == 8 * 64 && plan.lowerBound == 8 * 64)
  }

  /// No order finds it from either end: the second of 6 units has to go on top of a gap of 2.
  @Test func aBufferMovesToTheOtherEndWhereNoOrderFits() {
    let units = [(6, 0...9), (4, 2...3), (4, 3...4), (2, 4...5), (6, 5...6)]
    let plan = MemoryPlanner(units.map { .init(byteCount: $0.0 * 64, lifetime: $0.1) }, padding: 0)
    #expect(plan.arenaByteCount == 14 * 64 && plan.lowerBound == 14 * 64)
  }

  // MARK: In place

  /// x -> a = relu(x) -> b = relu(a) -> c = add(b, a) -> out = relu(c), all of 100 floats.
  private func program(inPlace: Bool, secondSize: Int = 100) -> Program {
    let sizes = [100, 100, secondSize, 100, 100]
    func instruction(_ inputs: [Int], _ output: Int) -> Program.Instruction {
      .init(
        node: "n\(output)", op: Operator(unknown: "op"), arguments: [:], inputs: inputs, outputs: [output],
        delegateCall: nil,
        reason: nil, sourceNodes: [], isInPlace: inPlace)
    }
    return Program(
      name: "p",
      values: sizes.enumerated().map {
        .init(name: "v\($0)", spec: TensorSpec(.float32, [$1]), location: .arena(0))
      }, inputs: [0], outputs: [4],
      instructions: [instruction([0], 1), instruction([1], 2), instruction([2, 1], 3), instruction([3], 4)],
      delegates: [], arenaByteCount: 0)
  }

  private func offsets(_ program: Program) -> [Int] {
    program.values.compactMap { if case .arena(let offset) = $0.location { offset } else { nil } }
  }

  /// The input stays, and a is read once more after b was made of it: neither is written over.
  @Test func outputsTakeThePlaceOfInputsThatAreNotReadAgain() {
    let plan = program(inPlace: true).planned()
    let offsets = offsets(plan)
    #expect(Set(offsets[..<3]).count == 3)
    #expect(offsets[3] == offsets[2] && offsets[4] == offsets[2])
    #expect(plan.arenaByteCount == 3 * 512 && plan.arenaLowerBound == 3 * 512)
  }

  @Test func nothingIsInPlaceWhereItIsNotAllowed() {
    for plan in [program(inPlace: false).planned(), program(inPlace: true).planned(inPlace: false)] {
      let offsets = offsets(plan)
      for instruction in plan.instructions {
        for input in instruction.inputs { #expect(offsets[input] != offsets[instruction.outputs[0]]) }
      }
      #expect(plan.arenaLowerBound == 4 * 512)
    }
  }

  @Test func sizesThatDifferAreNotInPlace() {
    let offsets = offsets(program(inPlace: true, secondSize: 101).planned())
    #expect(offsets[3] != offsets[2] && offsets[4] == offsets[3])
  }

  /// A plan for larger sizes that has an output in place is no plan for sizes at which it differs from its input.
  @Test func aPlanForOtherSizesIsTakenOnlyWhereSizesAreEqual() {
    let large = program(inPlace: true).planned()
    #expect(program(inPlace: true).placed(as: large) != nil)
    #expect(program(inPlace: true, secondSize: 99).placed(as: large) == nil)
  }
}
