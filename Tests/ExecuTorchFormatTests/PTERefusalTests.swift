import Foundation
import GraphIR
import Swiftlet
import TestSupport
import Testing

@testable import ExecuTorchFormat

/// What a program needs and is not there is named, all of it.
@Suite struct PTERefusalTests {
  private func program(
    operators: [(String, String)] = [], delegate: String? = nil, instruction: UInt8 = 1
  ) -> [UInt8] {
    var flat = FlatBufferBuilder()
    let none = flat.vector([Int32]())
    let tables = operators.map { name, overload in
      let (a, b) = (flat.string(name), flat.string(overload))
      return flat.table([.reference(0, a), .reference(1, b)])
    }
    var calls = operators.indices.map { index in
      let body = flat.table([.int(0, Int32(index)), .reference(1, none)])
      return flat.table([.int(0, instruction), .reference(1, body)])
    }
    var delegates: [FlatBufferBuilder.Reference] = []
    if let delegate {
      let (id, data) = (flat.string(delegate), flat.table([.int(0, Int8(1))]))
      delegates.append(flat.table([.reference(0, id), .reference(1, data)]))
      let body = flat.table([.reference(1, none)])
      calls.append(flat.table([.int(0, UInt8(2)), .reference(1, body)]))
    }
    let chain = flat.table([.reference(2, flat.vector(calls))])
    let name = flat.string("forward")
    let plan = flat.table([
      .reference(0, name), .reference(5, flat.vector([chain])), .reference(6, flat.vector(tables)),
      .reference(7, flat.vector(delegates)),
    ])
    let root = flat.table([.reference(1, flat.vector([plan]))])
    return PTEFile.inserting(header: flat.finish(root, identifier: "ET12"), segmentSize: 0, alignment: 16)
  }

  private func refusal(_ bytes: [UInt8], method: String? = nil) throws -> String {
    let folder = try TemporaryFolder()
    try Data(bytes).write(to: URL(fileURLWithPath: folder.path("x.pte")))
    let error = #expect(throws: FormatError.self) { try PTEArchive.read(folder.path("x.pte"), method: method) }
    return error.map { "\($0)" } ?? ""
  }

  @Test func missingOperatorsAreAllNamed() throws {
    let text = try refusal(program(operators: [("aten::topk", "values"), ("aten::add", "out"), ("mine::op", "")]))
    #expect(text.contains("aten::topk.values") && text.contains("mine::op") && !text.contains("aten::add"))
  }

  @Test func otherBackendsAreNamed() throws {
    #expect(try refusal(program(delegate: "VulkanBackend")).contains("VulkanBackend"))
  }

  @Test func controlFlowIsNamed() throws {
    #expect(try refusal(program(operators: [("aten::add", "out")], instruction: 4)).contains("JumpFalseCall"))
  }

  @Test func methodsAreListed() throws {
    #expect(try refusal(program(), method: "encode").contains("[\"forward\"]"))
  }

  @Test func aProgramWithoutOutputsIsRefused() throws {
    #expect(try refusal(program()).contains("outputs"))
  }

  @Test func otherFilesAreNotPrograms() throws {
    #expect(try !PTEArchive.isPTE(goldenPath("formats", "tiny_float.pt2")))
    #expect(try PTEArchive.isPTE(goldenPath("executorch", "images_int8.pte")))
  }
}
