import ExecuTorchFormat
import Foundation
import GraphIR
import Lowering
import Runtime
import TorchFormats
import Vision
import XNNPACKBackend

/// Reads a model as a graph: a `torch.export` archive (`.pt2`), or an ExecuTorch program (`.pte`). The file's first bytes
/// tell which, not its name.
///
/// Throws the format's error, which names the file and the place.
public func readProgram(_ path: String) throws(FormatError) -> ExportedProgram {
  try PTEArchive.isPTE(path) ? PTEArchive.read(path) : PT2Archive.read(path)
}

/// Reads a `.pt2` or `.pte`, float or Q/DQ, and lowers it in memory.
///
/// Throws the reader's, the verifier's or the runtime's error, each naming the file and the place.
public func loadMethod(
  _ path: String, delegate: Bool = true, threads: Int, kernels: MethodOptions.Kernels = .auto,
  cache: WeightsCache? = nil
) throws -> Method {
  try loadMethod(readProgram(path), from: path, delegate: delegate, threads: threads, kernels: kernels, cache: cache)
}

/// Lowers and loads a program that was read from the file at `path`.
///
/// Throws the verifier's or the runtime's error, which names the program and the place.
public func loadMethod(
  _ exported: ExportedProgram, from path: String, delegate: Bool = true, threads: Int,
  kernels: MethodOptions.Kernels = .auto, cache: WeightsCache? = nil
) throws -> Method {
  let pool = try ThreadPool(threadCount: threads)
  return try loadMethod(exported, from: path, delegate: delegate, pool: pool, kernels: kernels, cache: cache)
}

/// Lowers and loads a program that was read from the file at `path`, on threads that it may share with others.
///
/// Throws the verifier's or the runtime's error, which names the program and the place.
package func loadMethod(
  _ exported: ExportedProgram, from path: String, delegate: Bool = true, pool: ThreadPool,
  kernels: MethodOptions.Kernels = .auto, cache: WeightsCache? = nil
) throws -> Method {
  let program = try lower(exported, partitioner: delegate ? XNNPACKPartitioner() : nil)
  if let cache { return try cache.method(program, from: path, threads: pool, kernels: kernels) }
  return try Method(program, threads: pool, options: MethodOptions(kernels: kernels))
}

/// The name of the preprocessing recipe in an archive's `extra/` folder.
package let preprocessFileName = "preprocess.json"

extension ExportedProgram {
  /// The program with the recipe of its inputs in the archive's `extra/` folder, where the commands look for it.
  public func storing(_ recipe: Preprocess) -> ExportedProgram {
    var copy = self
    copy.extraFiles[preprocessFileName] = [UInt8](recipe.jsonData)
    return copy
  }
}

extension CalibrationState {
  /// Reads a JSON file. Throws a `UsageError` that names the file and what is wrong.
  public init(path: String) throws {
    do {
      self = try JSONDecoder().decode(CalibrationState.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    } catch let error as DecodingError {
      throw UsageError("\(path): is not a saved calibration: \(error)")
    } catch {
      throw UsageError("\(path): cannot be read: \(error.localizedDescription)")
    }
  }

  /// Writes a JSON file, which takes the place of an old one when it is complete. Throws when it cannot be written.
  public func write(to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    do { try encoder.encode(self).write(to: URL(fileURLWithPath: path), options: .atomic) } catch {
      throw UsageError("\(path): cannot be written: \(error.localizedDescription)")
    }
  }
}

/// How inputs of a model are made: from a file the user names, else from the archive, else from
/// `NAME.preprocess.json` beside `NAME.pt2` or `NAME.pte`, else nothing is done.
public func findPreprocess(_ explicit: String?, model path: String, _ program: ExportedProgram) throws -> Preprocess {
  if let explicit { return try Preprocess(jsonPath: explicit) }
  if let stored = program.extraFiles[preprocessFileName] {
    return try Preprocess(json: Data(stored), name: "\(path): extra/\(preprocessFileName)")
  }
  let isNamedAfterModel = [".pt2", ".pte"].contains { path.hasSuffix($0) }
  let beside = (isNamedAfterModel ? String(path.dropLast(4)) : path) + ".preprocess.json"
  return FileManager.default.fileExists(atPath: beside) ? try Preprocess(jsonPath: beside) : Preprocess()
}
