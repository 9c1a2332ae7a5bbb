import Foundation
import Swiftlet
import TestSupport
import Testing

/// A trained model of the shared data, with what PyTorch makes of it. Tests on it skip, visibly, when the data is absent.
package struct ZooModel: Sendable, CustomTestStringConvertible {
  package let name: String
  /// Data below the shared folder: an `.npz`, or a folder with `calibration` and `val`.
  private let data: String
  package var testDescription: String { name }

  package static let all: [ZooModel] = [
    .init(name: "efficientnet_lite0_imagenet", data: "imagenet-sample"),
    .init(name: "mobilenet_v2_imagenet", data: "imagenet-sample"),
    .init(name: "squeezenet1_1_imagenet", data: "imagenet-sample"),
    .init(name: "resnet18_imagenette", data: "imagenette-sample"),
    .init(name: "resnet20_cifar10", data: "mlperf-tiny/resnet20_cifar10.npz"),
    .init(name: "resnet8_cifar10", data: "mlperf-tiny/resnet8_cifar10.npz"),
    .init(name: "mobilenet_v1_vww", data: "mlperf-tiny/mobilenet_v1_vww.npz"),
    .init(name: "ds_cnn_kws", data: "mlperf-tiny/ds_cnn_kws.npz"),
    .init(name: "autoencoder_ad", data: "mlperf-tiny/autoencoder_ad.npz"),
  ]

  package static func named(_ name: String) -> ZooModel { all.first { $0.name == name }! }

  /// Whether the shared data is on this machine.
  package static let isAvailable = sharedData("models/resnet8_cifar10.pt2") != nil

  package func path(_ suffix: String) throws -> String {
    guard let path = sharedData("models/\(name)\(suffix)") else { throw UsageError("no data for \(name)\(suffix)") }
    return path
  }

  package func program() throws -> ExportedProgram { try PT2Archive.read(path(".pt2")) }

  package func preprocess() throws -> Preprocess { try Preprocess(jsonPath: path(".preprocess.json")) }

  package func dataset(_ role: DatasetRole) throws -> any Dataset {
    guard let path = sharedData(data) else { throw UsageError("no data at \(data)") }
    let folder = data.hasSuffix(".npz") ? path : path + (role == .calibration ? "/calibration" : "/val")
    return try openDataset(folder, role: role, preprocess: preprocess())
  }

  /// An array of the golden file; its first dimension is the samples.
  package func golden(_ array: String) throws -> Tensor { try NumPyArchive(path: path("_golden.npz")).tensor(array) }

  /// The samples of a golden array one by one, each with a batch dimension of 1.
  package func goldenSamples(_ array: String) throws -> [Tensor] {
    let tensor = try golden(array)
    let shape = Shape([1] + tensor.shape.dimensions.dropFirst())
    let values = tensor.elements(as: Float.self)
    let size = shape.elementCount
    return (0..<tensor.shape[0]).map { Tensor(Array(values[$0 * size..<($0 + 1) * size]), shape: shape) }
  }
}

/// Lowers and loads a program.
package func load(_ program: ExportedProgram, delegate: Bool = true, threads: Int = 2) throws -> Method {
  try Method(
    lower(program, partitioner: delegate ? XNNPACKPartitioner() : nil), threads: ThreadPool(threadCount: threads))
}

/// Quantizes each model once per test run.
package actor QuantizedZoo {
  package static let shared = QuantizedZoo()
  private var results: [String: ExportedProgram] = [:]
  private var torchaoResults: [String: ExportedProgram] = [:]

  /// With the patterns of ExecuTorch's quantizer.
  package func torchaoProgram(_ model: ZooModel) throws -> ExportedProgram {
    if let known = torchaoResults[model.name] { return known }
    let result = try quantize(
      model.program(), model.dataset(.calibration), options: .init(quantizer: XNNPACKQuantizer(patterns: .torchao))
    ).program
    torchaoResults[model.name] = result
    return result
  }

  package func program(_ model: ZooModel) throws -> ExportedProgram {
    if let known = results[model.name] { return known }
    let result = try quantize(model.program(), model.dataset(.calibration), recipe: model.preprocess()).program
    results[model.name] = result
    return result
  }
}
