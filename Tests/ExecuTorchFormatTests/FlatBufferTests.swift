import TestSupport
import Testing

@testable import ExecuTorchFormat

/// The encoder against the reader; `make interop` checks both against `flatc`.
@Suite struct FlatBufferTests {
  private func read(_ bytes: [UInt8], _ body: (FlatTable) throws -> Void) throws {
    try bytes.withUnsafeBytes { pointer in
      try body(FlatBuffer(pointer, path: "test", name: "buffer").root(identifiers: ["TEST"]))
    }
  }

  @Test func everyKindOfFieldComesBack() throws {
    var builder = FlatBufferBuilder()
    let text = builder.string("café")
    let longs = builder.vector([Int64.min, 0, .max])
    let bytes = builder.vector([UInt8(1), 2, 3])
    let inner = builder.table([.int(1, Int32(-7))])
    let children = builder.vector([inner, builder.table([]), inner])
    let root = builder.table([
      .int(0, UInt8(200)), .int(1, Int16(-2)), .bool(2, true), .float(3, -.infinity), .double(4, 0.1),
      .int(5, UInt64(1) << 40), .reference(6, text), .reference(7, longs), .reference(8, bytes),
      .reference(9, children), .int(10, Int32(5), default: 5), .reference(11, nil),
    ])
    let buffer = builder.finish(root, identifier: "TEST")
    try read(buffer) { table throws in
      #expect(try table.integer(0, as: UInt8.self) == 200)
      #expect(try table.integer(1, as: Int16.self) == -2)
      #expect(try table.bool(2))
      #expect(try table.float(3) == -.infinity)
      #expect(try table.double(4) == 0.1)
      #expect(try table.length(5) == 1 << 40)
      #expect(try table.string(6) == "café")
      #expect(try table.integers(7, as: Int64.self) == [.min, 0, .max])
      #expect(try table.integers(8, as: UInt8.self) == [1, 2, 3])
      #expect(try table.tables(9).map { table in try table.int(1) } == [-7, 0, -7])
      #expect(try table.integer(10, as: Int32.self, default: 5) == 5)
      #expect(try table.table(11) == nil)
      #expect(try table.ints(40).isEmpty)
    }
  }

  /// 8-byte scalars and vectors of them lie at multiples of 8, as every FlatBuffer reader may assume.
  @Test func scalarsAreAligned() throws {
    for prefix in 0..<9 {
      var builder = FlatBufferBuilder()
      let odd = builder.string(String(repeating: "x", count: prefix))
      let longs = builder.vector([Int64(0x0102_0304_0506_0708)])
      let root = builder.table([.reference(0, odd), .reference(1, longs), .int(2, Int64(0x1112_1314_1516_1718))])
      let buffer = builder.finish(root, identifier: "TEST")
      #expect(buffer.count % 8 == 0)
      for pattern: [UInt8] in [[8, 7, 6, 5, 4, 3, 2, 1], [0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]] {
        let places = (0...buffer.count - 8).filter { Array(buffer[$0..<$0 + 8]) == pattern }
        #expect(places.count == 1 && places[0] % 8 == 0)
      }
    }
  }

  @Test func anotherIdentifierIsNamed() throws {
    var builder = FlatBufferBuilder()
    let root = builder.table([])
    let buffer = builder.finish(root, identifier: "NOPE")
    let error = #expect(throws: (any Error).self) { try read(buffer) { _ in } }
    #expect("\(error!)".contains("'NOPE'"))
  }

  /// Many references to one large object must not become many copies of it.
  @Test func sharedObjectsDoNotMultiply() throws {
    var builder = FlatBufferBuilder()
    let list = builder.vector([Int32](repeating: 1, count: 1000))
    let inner = builder.table([.reference(0, list)])
    let root = builder.table([
      .reference(0, builder.vector([FlatBufferBuilder.Reference](repeating: inner, count: 1000)))
    ])
    let buffer = builder.finish(root, identifier: "TEST")
    let error = #expect(throws: (any Error).self) {
      try read(buffer) { table in for child in try table.tables(0) { _ = try child.ints(0) } }
    }
    #expect("\(error!)".contains("more often"))
  }
}
