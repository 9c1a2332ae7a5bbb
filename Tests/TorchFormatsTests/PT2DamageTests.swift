import Foundation
import GraphIR
import TensorCore
import TestSupport
import Testing
import TorchFormats

/// Damaged and hostile archives give an error or a valid program: never a trap, a hang, or memory out of proportion.
struct PT2DamageTests {
  /// Rewrites entries of a golden archive, checksums included, so that damage reaches the code behind them.
  private func rewrite(
    _ file: String, to path: String, _ edit: (String, [UInt8]) throws -> [UInt8]
  ) throws {
    let archive = try ZipArchive(path: goldenPath("formats", file))
    var writer = try ZipWriter(path: path)
    for entry in archive.entries { try writer.add(entry.name, edit(entry.name, archive.bytes(of: entry))) }
    try writer.finish()
  }

  /// The message for an archive in whose graph, or another entry, `old` is replaced by `new`.
  private func message(
    _ old: String, _ new: String, in entry: String = "models/model.json", of file: String = "tiny_float.pt2"
  ) throws -> String {
    let folder = try TemporaryFolder()
    try rewrite(file, to: folder.path("a.pt2")) { name, bytes in
      guard name.hasSuffix(entry) else { return bytes }
      let text = String(decoding: bytes, as: UTF8.self)
      #expect(text.contains(old))
      return [UInt8](text.replacingOccurrences(of: old, with: new).utf8)
    }
    do {
      _ = try PT2Archive.read(folder.path("a.pt2"))
      return "no error"
    } catch {
      #expect(error.path == folder.path("a.pt2"))
      return error.description.replacingOccurrences(of: folder.path(""), with: "")
    }
  }

  @Test(arguments: [
    (
      #"{"as_bool": false}"#, #"{"as_graph": {}}"#,
      "node 'batch_norm' (torch.ops.aten.batch_norm.default), argument 'training': has kind 'as_graph'"
    ),
    (
      #"{"as_int": 4}, {"as_int": 4}]"#, #"{"as_expr": {"expr_str": "s0"}}, {"as_int": 4}]"#,
      "sizes that depend on data"
    ),
    (#""dtype": 7"#, #""dtype": 9"#, "scalar type 9"),
    (#""layout": 7"#, #""layout": 1"#, "not a dense"),
    (#""as_int": 3"#, #""as_int": -3"#, "impossible sizes"),
    (#""major": 8"#, #""major": 9"#, "schema version 9"),
    (#""name": "relu_"}"#, #""name": "conv2d"}"#, "'conv2d' is defined twice"),
    (
      #"{"as_tensor": {"name": "image"}}, "kind""#, #"{"as_tensor": {"name": "linear"}}, "kind""#,
      "'linear' is read before"
    ),
    ("user_output", "buffer_mutation", "eval() mode"),
    (#""signature""#, #""signatures""#, "has no 'signature' at graph_module"),
    (#""as_ints": [1, 1]"#, #""as_ints": [1, "1"]"#, "graph_module.graph.nodes[0].inputs["),
    ("torch.ops.aten.cat", "_operator.cat", "is not a call of an operator"),
  ])
  func everyRefusalNamesThePlace(_ old: String, _ new: String, _ expected: String) throws {
    let message = try message(old, new)
    #expect(message.contains(expected), "\(message)")
  }

  @Test(arguments: [
    ("weight_3", "weight_33", "'tiny_float/data/weights/weight_33' are not in the archive"),
    (#""use_pickle": false"#, #""use_pickle": true"#, "pickled"),
    (#""storage_offset": {"as_int": 0}"#, #""storage_offset": {"as_int": 1}"#, "reaches outside"),
    (#""as_int": 16"#, #""as_int": 4611686018427387904"#, "tensor 'first."),
    (#""as_int": 27"#, #""as_int": 9223372036854775807"#, "reaches outside"),
  ])
  func everyBadTensorIsNamed(_ old: String, _ new: String, _ expected: String) throws {
    let message = try message(old, new, in: "weights_config.json")
    #expect(message.contains("tensor '") && message.contains(expected), "\(message)")
  }

  /// Stride 0 makes any size of a few bytes; the copies it asks for are bounded by the file's size.
  @Test func expandedTensorsAreBounded() throws {
    let size = #""sizes": [{"as_int": 16}]"#
    let message = try message(
      size + #", "requires_grad": true, "device": {"type": "cpu", "index": null}, "strides": [{"as_int": 1}]"#,
      #""sizes": [{"as_int": 99999999999}], "requires_grad": true, "device": {}, "strides": [{"as_int": 0}]"#,
      in: "weights_config.json")
    #expect(message.contains("out of proportion"), "\(message)")
  }

  @Test func deepNestingIsRefused() throws {
    let folder = try TemporaryFolder()
    try rewrite("tiny_float.pt2", to: folder.path("a.pt2")) { name, bytes in
      name.hasSuffix("model.json") ? [UInt8](repeating: UInt8(ascii: "["), count: 1_000_000) : bytes
    }
    #expect(throws: FormatError.self) { try PT2Archive.read(folder.path("a.pt2")) }
  }

  @Test func otherArchivesAreRecognized() throws {
    #expect { try PT2Archive.read(goldenPath("formats", "arrays.npz")) } throws: {
      "\($0)".contains("not a torch.export archive")
    }
  }

  @Test(arguments: [
    ("Symbol('s77', positive=True, integer=True)", "Symbol('u0', integer=True)", "unbacked symbol u0"),
    ("Symbol('s77', positive=True, integer=True)", "exec('s77')", "is not an expression that can be read"),
    (#""as_name": "sym_size_int_1"}, {"as_int": -1}"#, #""as_name": "other"}, {"as_int": -1}"#, "'other' is not"),
    (#""hint": {"as_int": 2}"#, #""hint": null"#, "depend on data"),
  ])
  func dynamicSizesThatCannotBeReadAreNamed(_ old: String, _ new: String, _ expected: String) throws {
    let message = try message(old, new, of: "dynamic_batch.pt2")
    #expect(message.contains(expected), "\(message)")
  }

  @Test(arguments: PT2Tests.tiny)
  func truncationIsAlwaysFound(_ file: String) throws {
    let folder = try TemporaryFolder()
    let whole = try Data(contentsOf: URL(fileURLWithPath: goldenPath("formats", file)))
    for count in stride(from: 0, to: whole.count, by: 97) {
      try whole.prefix(count).write(to: URL(fileURLWithPath: folder.path("a.pt2")))
      #expect(throws: FormatError.self) { try PT2Archive.read(folder.path("a.pt2")) }
    }
  }
}
