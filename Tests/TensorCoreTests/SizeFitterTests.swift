import TensorCore
import Testing

struct SizeFitterTests {
  private static let ranges = ["s0": RangeConstraint(minimum: 1, maximum: 32)]
  private static let wide = [
    "s0": RangeConstraint(minimum: 7, maximum: nil), "s1": RangeConstraint(minimum: 1, maximum: 5000),
  ]

  @Test(arguments: [
    ("2*s0 + 3", "2*s0 + 3"), ("s0", "s0"), ("7 + s0 - s0", "7"), ("((s0 - 1)//2) + 1", "(s0 + 1)//2"),
    ("(((s0 - 1)//2 + 1) - 1)//2 + 1", "(s0 + 3)//4"), ("s0*s0*3", "3*s0*s0"),
  ])
  func rulesOfOneSymbol(_ rule: String, _ found: String) throws {
    let samples = RangeConstraint.samples(Self.ranges, hints: ["s0": 4], limit: 64)
    #expect(samples.count == 32)
    let source = try #require(SymbolicSize(parsing: rule))
    let fitter = SizeFitter(
      atoms: [.symbol("s0"), .call(.multiply, [.symbol("s0"), .symbol("s0")])], samples: samples)
    let result = try #require(fitter.fit(samples.compactMap { source.evaluated($0) }))
    let expected = try #require(SymbolicSize(parsing: found))
    for value in 1...32 { #expect(result.evaluated(["s0": value]) == expected.evaluated(["s0": value])) }
    if found != "3*s0*s0" { #expect(result.description == found) }
  }

  @Test(arguments: ["s0 + s1", "s0 + s1 + 5", "12*s0*s1", "s0*s1//1", "s1//16", "(s1 + 15)//16 - 1", "3*s1 + 9"])
  func rulesOfTwoSymbolsHoldElsewhere(_ rule: String) throws {
    let samples = RangeConstraint.samples(Self.wide, hints: ["s0": 224, "s1": 8], limit: 48)
    let source = try #require(SymbolicSize(parsing: rule))
    let fitter = SizeFitter(atoms: [.symbol("s0"), .symbol("s1")], samples: samples)
    let result = try #require(fitter.fit(samples.compactMap { source.evaluated($0) }))
    for (a, b) in [(7, 1), (8, 4999), (333, 17), (1000, 1000), (4095, 3)] {
      #expect(result.evaluated(["s0": a, "s1": b]) == source.evaluated(["s0": a, "s1": b]), "\(result)")
    }
  }

  @Test func sizesWithoutRuleAreRefused() {
    let samples = RangeConstraint.samples(Self.ranges, hints: ["s0": 4], limit: 64)
    let fitter = SizeFitter(atoms: [.symbol("s0")], samples: samples)
    #expect(fitter.fit(samples.map { $0["s0"]! % 7 == 3 ? 1 : 100 + $0["s0"]! }) == nil)
    #expect(SizeFitter(atoms: [], samples: samples).fit(samples.map { $0["s0"]! }) == nil)
  }

  @Test func absurdRangesAreSampledSparsely() {
    let range = RangeConstraint(minimum: 1, maximum: 1 << 62)
    #expect(range.samples(around: 8, limit: 40).count <= 60)
    #expect(range.samples(around: .max, limit: 40).allSatisfy(range.contains))
    #expect(RangeConstraint(minimum: nil, maximum: nil).samples(around: .max, limit: 40).allSatisfy { $0 >= 0 })
    #expect(RangeConstraint(minimum: 9, maximum: 3).samples(around: 4, limit: 40) == [4])
  }
}
