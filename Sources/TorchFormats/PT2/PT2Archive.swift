import Foundation
import GraphIR
import Operators
import TensorCore

/// Reads `torch.export` archives (`.pt2`) of PyTorch 2.5 and later, and writes them as 2.9 and later read them.
public enum PT2Archive {
  /// Reads a graph with its tensors, which are windows on the mapped file wherever they are stored row-major.
  ///
  /// In-place operators become functional ones. Operators are not checked: that is the verifier's task. Checksums of
  /// weights are compared only on request, those of everything else always. Throws a `FormatError` that names the
  /// entry, node or tensor: for damage, another format, sizes that depend on data, and what an inference graph has no use for.
  ///
  /// `operators` are those that a node may call: add your own to `.standard`.
  public static func read(
    _ path: String, verifyingWeights: Bool = false, operators: OperatorSet = .standard
  ) throws(FormatError) -> ExportedProgram {
    let files = try PT2Files(path: path)
    let serialized = try files.program()
    var loader = PT2TensorLoader(files: files, verify: verifyingWeights)
    try loader.load(files.weights)
    try loader.load(files.constants)
    var builder = PT2GraphBuilder(path: path, serialized: serialized, operators: operators)
    try builder.build()
    var program = ExportedProgram(
      name: path, graph: builder.graph, inputKinds: builder.inputKinds, stateDict: loader.tensors,
      extraFiles: try files.extraFiles(), dynamicShapes: builder.dynamicShapes, callSignature: builder.callSignature)
    let owned = zip(program.graph.inputs, program.inputKinds).filter { $1 != .userInput }.map(\.0)
    program.graph.functionalize(constants: Set(owned), operators: operators)
    return program
  }
}

/// The entries of a `.pt2`. From PyTorch 2.9: `ROOT/models/model.json`, `ROOT/data/weights/…`, `ROOT/data/constants/…` with
/// a list each, `ROOT/extra/…`. 2.8 has pickles in place of the lists; 2.5 to 2.7 have `serialized_exported_program.json`,
/// `serialized_state_dict.pt` and `serialized_constants.pt` at the top.
struct PT2Files {
  /// Where tensors are.
  enum Tensors {
    /// A folder, and the entry that lists what is in it.
    case listed(folder: String, config: String)
    /// An entry that `torch.save` wrote.
    case pickled(String)
  }

  let archive: ZipArchive
  /// The folder that holds everything, with its slash; empty before 2.8.
  let root: String
  /// The entry with the graph.
  let graph: String
  let weights: Tensors
  let constants: Tensors
  private var path: String { archive.path }

  init(path: String) throws(FormatError) {
    archive = try ZipArchive(path: path)
    if archive.entry(PT2Files.oldGraph) != nil {
      (root, graph) = ("", PT2Files.oldGraph)
      (weights, constants) = (.pickled("serialized_state_dict.pt"), .pickled("serialized_constants.pt"))
      return
    }
    guard let format = archive.entries.first(where: { ZipArchive.isAtRoot($0.name, "archive_format") }) else {
      throw PT2Files.foreign(archive)
    }
    root = String(format.name.dropLast("archive_format".count))
    let models = root + "models/"
    let names = archive.entries.compactMap { entry in
      entry.name.hasPrefix(models) && entry.name.hasSuffix(".json")
        ? String(entry.name.dropFirst(models.count).dropLast(5)) : nil
    }
    guard let name = names.count == 1 ? names.first : names.first(where: { $0 == "model" }) else {
      let reason = names.isEmpty ? "holds no graph (models/model.json)" : "holds several graphs: \(names)"
      throw FormatError(path: path, reason: reason)
    }
    graph = "\(models)\(name).json"
    weights = PT2Files.tensors(archive, root + "data/weights/", name, "weights")
    constants = PT2Files.tensors(archive, root + "data/constants/", name, "constants")
    try expect("archive_format", "pt2")
    try expect("archive_version", "0")
    if archive.entry(root + "byteorder") != nil { try expect("byteorder", "little") }
  }

  private static let oldGraph = "serialized_exported_program.json"

  private static func tensors(_ archive: ZipArchive, _ folder: String, _ model: String, _ kind: String) -> Tensors {
    let pickle = "\(folder)\(model).pt"
    let config = "\(folder)\(model)_\(kind)_config.json"
    return archive.entry(config) == nil && archive.entry(pickle) != nil
      ? .pickled(pickle) : .listed(folder: folder, config: config)
  }

  /// Says what a zip archive is that is not a `.pt2` of today.
  private static func foreign(_ archive: ZipArchive) -> FormatError {
    let names = archive.entries.map(\.name)
    var reason = "is not a torch.export archive: it has no 'archive_format'"
    if names.contains(where: { ZipArchive.isAtRoot($0, "data.pkl") }) {
      reason = "was written by torch.save, not by torch.export.save"
    }
    return FormatError(path: archive.path, reason: reason)
  }

  private func expect(_ name: String, _ content: String) throws(FormatError) {
    let text = String(decoding: try bytes(root + name, limit: 64), as: UTF8.self)
    guard text.filter({ $0 != "\n" }) == content else {
      throw FormatError(path: path, place: "entry '\(name)'", reason: "is '\(text)'; only '\(content)' can be read")
    }
  }

  func program() throws(FormatError) -> PT2Schema.Program {
    let program = try decode(PT2Schema.Program.self, graph)
    let version = program.schemaVersion
    guard PT2Schema.readable.contains(version.major) else {
      throw FormatError(
        path: path, place: "entry '\(graph)'",
        reason: "has schema version \(version.major).\(version.minor); versions 7 and 8 can be read")
    }
    return program
  }

  func extraFiles() throws(FormatError) -> [String: [UInt8]] {
    var result: [String: [UInt8]] = [:]
    // `extra_files/` before 2.8.
    let prefix = root + (root.isEmpty ? "extra_files/" : "extra/")
    for entry in archive.entries where entry.name.hasPrefix(prefix) && !entry.name.hasSuffix("/") {
      result[String(entry.name.dropFirst(prefix.count))] = try archive.bytes(of: entry)
    }
    return result
  }

  func decode<T: Decodable>(_ type: T.Type, _ name: String) throws(FormatError) -> T {
    let data = Data(try bytes(name))
    do { return try JSONDecoder().decode(type, from: data) } catch {
      throw FormatError(path: path, place: "entry '\(name)'", reason: FormatError.reason(decoding: error))
    }
  }

  private func bytes(_ name: String, limit: Int = 1 << 28) throws(FormatError) -> [UInt8] {
    guard let entry = archive.entry(name) else {
      throw FormatError(path: path, reason: "is damaged: it has no entry '\(name)'")
    }
    return try archive.bytes(of: entry, limit: limit)
  }
}
