import ExecuTorchFormat
import Foundation
import Lowering
import Runtime
import TensorCore
import TorchFormats
import XNNPACKBackend

/// What `inspectFile` found.
public enum InspectedFile {
  /// A model, and the method that it was lowered and loaded as.
  case model(ModelInspection, Method)
  case tensors(TensorFileInspection)
}

/// Looks into a model or a file of tensors. A model is lowered for XNNPACK and loaded, so that the report says what runs
/// where.
///
/// - Parameter includingGraph: keep the graph's text in the report.
///
/// Throws the reader's, the verifier's or the runtime's error, each naming the file and the place.
public func inspectFile(_ path: String, includingGraph: Bool = false) throws -> InspectedFile {
  let format = try FileFormat(of: path)
  switch format {
  case .exportedProgram, .executorchProgram:
    let program = try readProgram(path)
    let method = try Method(lower(program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 1))
    var report = try ModelInspection(program, method, path: path, format: format)
    if includingGraph { report.graph = program.graph.printed() }
    return .model(report, method)
  case .numPyArray:
    return .tensors(
      try TensorFileInspection(path: path, format: format, names: [""]) { _ throws(FormatError) in
        try NumPyArchive.readArray(path)
      })
  case .numPyArchive:
    let archive = try NumPyArchive(path: path)
    return .tensors(try TensorFileInspection(path: path, format: format, names: archive.names, archive.tensor(_:)))
  case .stateDict, .safetensors:
    throw FormatError(path: path, reason: "is a \(format.rawValue) file, which cannot be read")
  }
}

/// Bytes of a file; 0 when there is none.
public func fileSize(_ path: String) -> Int {
  ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? NSNumber)?.intValue ?? 0
}
