import Foundation
import Swiftlet

/// What `inspectFile` found.
public enum InspectedFile {
  /// A model, and the method that it was lowered and loaded as.
  case model(ModelInspection, Method)
  /// A file of tensors.
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
    if includingGraph { report.graph = program.printed() }
    return .model(report, method)
  case .numPyArchive:
    // One array after the other, so that of a compressed file only one is in memory.
    let archive = try NumPyArchive(path: path)
    let tensors = try archive.names.map { TensorSummary(name: $0, try archive.tensor($0)) }
    return .tensors(TensorFileInspection(path: path, format: format, tensors: tensors))
  case .numPyArray, .stateDict, .safetensors:
    let dict = try StateDict.read(path)
    return .tensors(
      TensorFileInspection(
        path: path, format: format, tensors: dict.entries.map { TensorSummary(name: $0.name, $0.tensor) },
        container: dict.container, others: dict.others, metadata: dict.metadata))
  }
}

/// Bytes of a file; 0 when there is none.
package func fileSize(_ path: String) -> Int {
  ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? NSNumber)?.intValue ?? 0
}
