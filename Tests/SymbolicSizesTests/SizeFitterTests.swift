import SymbolicSizes
import Testing

extension SizeFitter {
  /// The rule, if it is the only one.
  fileprivate func fit(_ values: [Int]) -> SymbolicSize? {
    if case .rule(let rule) = rule(for: values) { rule } else { nil }
  }
}

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

  /// The rule of a size of `s0`, asked for at as many further samples as it takes.
  private func rule(
    _ range: ClosedRange<Int>, hint: Int, atom: SymbolicSize = .symbol("s0"), limit: Int = 64, _ size: (Int) -> Int
  ) -> (rule: SymbolicSize, asked: Int)? {
    let constraint = RangeConstraint(minimum: range.lowerBound, maximum: range.upperBound)
    var samples = RangeConstraint.samples(["s0": constraint], hints: ["s0": hint], limit: limit)
    for asked in 0..<64 {
      switch SizeFitter(atoms: [atom], samples: samples).rule(for: samples.map { size(atom.evaluated($0)!) }) {
      case .rule(let rule): return (rule, asked)
      case .ambiguous(_, let tests): samples.append(tests[0])
      case .none: return nil
      }
    }
    return nil
  }

  /// Kernels and strides of convolutions, ranges of their inputs.
  @Test(arguments: [
    (400, 160, 16000...48000), (10, 5, 16000...48000), (1024, 512, 3000...60000), (32, 32, 100...1000),
    (64, 64, 100...1000), (200, 150, 200...1000), (1, 256, 1...990), (1, 700, 1...990), (1, 20000, 16000...48000),
    (7, 10, 1000...2000), (3, 2, 3...3000),
  ])
  func stridesOfWideRangesAreExact(_ kernel: Int, _ stride: Int, _ range: ClosedRange<Int>) throws {
    for (atom, limit) in [("s0", 64), ("s0", 6), ("2*s0 + 1", 64), ("12*s0", 6)] {
      let atom = try #require(SymbolicSize(parsing: atom))
      func size(_ input: Int) -> Int { (input - kernel) / stride + 1 }
      let (rule, asked) = try #require(self.rule(range, hint: range.lowerBound + 1, atom: atom, limit: limit, size))
      let wrong = range.first { rule.evaluated(["s0": $0]) != size(atom.evaluated(["s0": $0])!) }
      #expect(wrong == nil, "\(rule)")
      #expect(asked <= 40)
    }
  }

  @Test func sizesThatAgreeAtAllSamplesAreAmbiguous() throws {
    let atoms = try ["(s0 + 3)//10", "(s0 + 2)//10"].map { try #require(SymbolicSize(parsing: $0)) }
    let range = ["s0": RangeConstraint(minimum: 1000, maximum: 2000)]
    var samples = RangeConstraint.samples(range, hints: ["s0": 1000], limit: 6)
    for factor in [1, 4] {
      let fitter = SizeFitter(atoms: atoms, samples: samples)
      let values = samples.map { factor * atoms[1].evaluated($0)! }
      guard case .ambiguous(let rule, let tests) = fitter.rule(for: values) else {
        Issue.record("not ambiguous")
        return
      }
      #expect(rule == atoms[0].times(factor))
      #expect(!tests.isEmpty && tests.allSatisfy { atoms[0].evaluated($0) != atoms[1].evaluated($0) })
    }
    samples.append(["s0": 1007])
    let fitter = SizeFitter(atoms: atoms, samples: samples)
    #expect(fitter.fit(samples.map { atoms[1].evaluated($0)! }) == atoms[1])
  }

  @Test func squaresAreProducts() throws {
    let samples = RangeConstraint.samples(Self.ranges, hints: ["s0": 4], limit: 64)
    let fitter = SizeFitter(atoms: [.symbol("s0"), .int(3)], samples: samples)
    #expect(fitter.fit(samples.map { $0["s0"]! * $0["s0"]! })?.description == "s0*s0")
    #expect(fitter.fit(samples.map { 6 * $0["s0"]! * $0["s0"]! * $0["s0"]! })?.evaluated(["s0": 5]) == 750)
  }

  @Test(arguments: [[Int.min, .max], [.max, .min], [0, .min], [.min, 0], [1, .min]])
  func extremesHaveNoRule(_ values: [Int]) {
    for samples in [[1, 2], [2, 1], [.min, .max], [.max, 0], [0, .max]] {
      let fitter = SizeFitter(atoms: [.symbol("s0")], samples: samples.map { ["s0": $0] })
      if let rule = fitter.fit(values) { #expect(samples.map { rule.evaluated(["s0": $0]) } == values) }
    }
  }

  @Test func absurdRangesAreSampledSparsely() {
    let range = RangeConstraint(minimum: 1, maximum: 1 << 62)
    #expect(range.samples(around: 8, limit: 40).count <= 60)
    #expect(range.samples(around: .max, limit: 40).allSatisfy(range.contains))
    #expect(RangeConstraint(minimum: nil, maximum: nil).samples(around: .max, limit: 40).allSatisfy { $0 >= 0 })
    #expect(RangeConstraint(minimum: 1, maximum: .max).samples(around: 8, limit: 40).allSatisfy { $0 <= 8 + 4096 })
    #expect(RangeConstraint(minimum: 9, maximum: 3).samples(around: 4, limit: 40) == [4])
  }
}
