import SymbolicSizes
import Testing

struct SymbolicSizeTests {
  @Test(arguments: [
    ("Symbol('s77', positive=True, integer=True)", 5),
    ("Mul(Integer(2), Symbol('s77', positive=True, integer=True))", 10),
    ("Add(Integer(-1), FloorDiv(Symbol('s77', integer=True), Integer(2)))", 1),
    ("Max(Integer(3), Symbol('s77'))", 5), ("Pow(Symbol('s77'), Integer(2))", 25),
    ("s77", 5), ("2*s77 + 1", 11), ("((s77 - 1)//2) + 1", 3), ("-s77 + 9", 4), ("s77**2 - s77 % 2", 24),
    ("2*s77**2", 50), ("-s77**2", -25), ("2**3**2 + s77 - s77", 512), ("(-s77)**2", 25), ("(-2)**3 + s77", -3),
    ("(2**3)**2 + 0*s77", 64), ("3*s77**2*2", 150),
  ])
  func expressionsAreReadAndComputed(_ text: String, _ expected: Int) throws {
    let size = try #require(SymbolicSize(parsing: text))
    #expect(size.evaluated(["s77": 5]) == expected && size.evaluated([:]) == nil)
    #expect(SymbolicSize(parsing: size.serialized) == size)
    #expect(SymbolicSize(parsing: size.description)?.evaluated(["s77": 5]) == expected)
  }

  @Test(arguments: [
    "", "s0 +", "os.system('x')", "Mul(s0)", "(s0", "s0)", "Symbol('s0", "99999999999999999999",
    String(repeating: "(", count: 4000), String(repeating: "-", count: 4000), "Integer(1, 2)", "s0 / 2",
    "s0**", "Pow(s0)", "Pow(s0, 2, 3)", "s0" + String(repeating: "**2", count: 400),
  ])
  func othersAreNot(_ text: String) {
    #expect(SymbolicSize(parsing: text) == nil)
  }

  @Test func extremesHaveNoValue() {
    for text in ["s0*s0*s0", "s0 // 0", "s0 % 0", "s0**64", "s0 + s0"] {
      #expect(SymbolicSize(parsing: text)?.evaluated(["s0": .max]) == nil, "\(text)")
    }
    for (text, value) in [("Mod(s0, 9223372036854775807)", 2), ("Mod(s0 - 4, 9223372036854775807)", Int.max - 2)] {
      #expect(SymbolicSize(parsing: text)?.evaluated(["s0": 2]) == value)
    }
    #expect(SymbolicSize(parsing: "(0 - 7)//2")?.evaluated([:]) == -4)
  }
}
