import SymbolicSizes
import TensorCore
import Testing

@Suite struct InputSizesTests {
  private func sizes(_ texts: [[String]], _ ranges: [String: RangeConstraint] = [:]) throws -> InputSizes {
    let inputs = try texts.enumerated().map { index, sizes in
      ("x\(index)", DataType.float32, try sizes.map { try #require(SymbolicSize(parsing: $0)) })
    }
    return InputSizes(inputs, rangeConstraints: ranges, symbols: ["s0": 2, "s1": 7])
  }

  @Test func solvesExpressionsOfOneSymbol() throws {
    let sizes = try sizes([["2*s0 + 1", "3", "s1"], ["s0*4"], ["s0 + s1"], ["-1 + s0"]])
    #expect(try sizes.symbols(for: [0: [9, 3, 5]]) == ["s0": 4, "s1": 5])
    #expect(try sizes.symbols(for: [1: [12]]) == ["s0": 3, "s1": 7])
    #expect(try sizes.symbols(for: [0: [9, 3, 5], 1: [16], 2: [9], 3: [3]]) == ["s0": 4, "s1": 5])
    // A sum of two symbols tells neither; it must agree with what they are.
    #expect(try sizes.symbols(for: [2: [9]]) == ["s0": 2, "s1": 7])
    #expect(throws: InputSizes.Mismatch.self) { try sizes.symbols(for: [2: [10]]) }
  }

  @Test func refusalsNameTheInputAndWhatItMayBe() throws {
    let range = ["s0": RangeConstraint(minimum: 1, maximum: 32)]
    let sizes = try sizes([["s0", "3"], ["2*s0"]], range)
    func reason(_ shapes: [Int: Shape]) -> String {
      do {
        return "\(try sizes.symbols(for: shapes))"
      } catch {
        return "\(error.input): \(error.reason)"
      }
    }
    #expect(reason([0: [33, 3]]) == "0: is [33, 3]: s0 = 33 lies outside 1 ≤ s0 ≤ 32")
    #expect(reason([0: [0, 3]]) == "0: is [0, 3]: s0 = 0 lies outside 1 ≤ s0 ≤ 32")
    #expect(reason([0: [4, 2]]) == "0: must be float32[s0, 3], 1 ≤ s0 ≤ 32, not float32[4, 2]")
    #expect(reason([0: [4]]) == "0: must be float32[s0, 3], 1 ≤ s0 ≤ 32, not float32[4]")
    #expect(reason([0: [4, 3], 1: [9]]) == "1: must be float32[2*s0], 1 ≤ s0 ≤ 32, not float32[9]; s0 is 4 in 'x0'")
    #expect(reason([1: [7]]).hasPrefix("1: must be float32[2*s0]"))
  }

  @Test func extremesDoNotOverflow() throws {
    let sizes = try sizes([["s0 + 9223372036854775807"], ["-9223372036854775807*s0"], ["s0 + -9000000000000000000"]])
    #expect(try sizes.symbols(for: [0: [1]])["s0"] == 1 - Int.max)
    for input in 1...2 {
      #expect(throws: InputSizes.Mismatch.self) { try sizes.symbols(for: [input: [1 << 59]]) }
    }
  }
}
