import Testing

@testable import ProgramFormat

struct MemoryPlannerTests {
  @Test func buffersThatLiveTogetherDoNotOverlap() {
    var state: UInt64 = 1
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    for _ in 0..<50 {
      let buffers = (0..<40).map { _ in
        let start = random(30)
        return MemoryPlanner.Buffer(byteCount: random(5000), lifetime: start...start + random(8))
      }
      let plan = MemoryPlanner(buffers, padding: 64)
      for i in buffers.indices {
        #expect(plan.offsets[i] % MemoryPlanner.alignment == 0)
        #expect(plan.offsets[i] + buffers[i].byteCount + 64 <= plan.arenaByteCount)
        for j in 0..<i where buffers[i].lifetime.overlaps(buffers[j].lifetime) {
          let (a, b) = (plan.offsets[i], plan.offsets[j])
          #expect(a + buffers[i].byteCount + 64 <= b || b + buffers[j].byteCount + 64 <= a)
        }
      }
    }
  }

  @Test func memoryIsReusedAfterALifetimeEnds() {
    let plan = MemoryPlanner(
      [.init(byteCount: 1000, lifetime: 0...1), .init(byteCount: 1000, lifetime: 2...3)], padding: 0)
    #expect(plan.arenaByteCount == 1024)
  }
}
