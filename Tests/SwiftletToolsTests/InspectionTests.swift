import Foundation
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

@testable import SwiftletTools

#if canImport(FoundationXML)
  import FoundationXML
#endif

/// `swiftlet inspect`: what it reports, and that it adds up.
@Suite(.oneAtATime) struct InspectionTests {
  static func inspectModel(_ path: String) throws -> (report: ModelInspection, method: Method) {
    guard case .model(let report, let method) = try inspectFile(path) else {
      throw UsageError("\(path): is not a model")
    }
    return (report, method)
  }

  static func bytes(_ report: ModelInspection, _ kind: String) -> Int {
    report.sizes.first { $0.kind == kind }?.bytes ?? 0
  }

  private func expectSum(_ path: String) throws {
    let report = try Self.inspectModel(path).report
    #expect(report.sizes.reduce(0) { $0 + $1.bytes } == fileSize(path), "\(path): \(report.sizes)")
    #expect(report.sizes.allSatisfy { $0.bytes > 0 }, "\(path): \(report.sizes)")
    #expect(report.layers.reduce(0) { $0 + $1.bytes } <= report.fileBytes)
    #expect(report.layers.map(\.bytes) == report.layers.map(\.bytes).sorted(by: >))
    #expect(report.delegates.reduce(0) { $0 + $1.nodes.count } == report.delegated.nodes)
    #expect(report.fallback.reduce(0) { $0 + ($1.reason == nil ? 1 : 0) } == 0)
  }

  @Test func sizesByKindAddUpToTheShippedModel() throws {
    try expectSum(ResNet8.path)
    let report = try Self.inspectModel(ResNet8.path).report
    // 77360 weights of convolutions and the linear layer, and those of seven BatchNorms with 240 channels together;
    // MLPerf Tiny states 12.5 million multiply-adds.
    #expect(Self.bytes(report, "float weights") == 4 * (77_360 + 240))
    #expect(Self.bytes(report, "constants") == 4 * 2 * 240)
    #expect(report.multiplyAdds == 12_501_632)
    #expect(report.layers.first?.name == "layer3.conv2.conv")
    #expect(report.packedWeightBytes > 4 * 77_360)
  }

  @Test(
    .enabled(if: ZooModel.isAvailable, "needs the shared models"), arguments: ["resnet8_cifar10", "ds_cnn_kws"],
    [".pt2", "_int8_torchao.pt2", "_int8_executorch.pte"])
  func sizesByKindAddUpToTheFile(_ name: String, _ suffix: String) throws {
    try expectSum(ZooModel.named(name).path(suffix))
  }

  @Test(.enabled(if: ZooModel.isAvailable, "needs the shared models"))
  func theSameWeightsInEveryFormat() throws {
    let model = ZooModel.named("resnet8_cifar10")
    for suffix in ["_int8_torchao.pt2", "_int8_executorch.pte"] {
      let report = try Self.inspectModel(model.path(suffix)).report
      #expect(Self.bytes(report, "int8 weights") == 77_360)
      #expect(report.multiplyAdds == 12_501_632)
      #expect(report.dialect == "Q/DQ")
      let scale = try #require(report.inputs.first?.quantization?.scale)
      #expect(abs(scale - 0.9995) < 1e-4)
    }
  }

  /// torchvision states 1814073344 multiply-adds with 1000 classes.
  @Test(.enabled(if: ZooModel.isAvailable, "needs the shared models"))
  func multiplyAddsOfResNet18() throws {
    let program = try ZooModel.named("resnet18_imagenette").program()
    let total = program.graph.nodes.reduce(0) { $0 + program.multiplyAdds(of: $1) }
    #expect(total == 1_814_073_344 - 512 * 1000 + 512 * 10)
  }

  @Test func delegatesListTheirNodesAndPortableOperatorsTheirReasons() throws {
    let program = try ResNet8.quantized()
    let folder = try TemporaryFolder()
    try PT2Archive.write(program, to: folder.path("int8.pt2"))
    let report = try Self.inspectModel(folder.path("int8.pt2")).report
    let nodes = report.delegates.flatMap(\.nodes)
    #expect(nodes.count { $0.op == "convolution_2d" && $0.dataType == "qc8" } == 6)
    #expect(nodes.count { $0.op == "convolution_2d_add" && $0.dataType == "qc8" } == 3)
    #expect(nodes.first?.dataType == "f32-qs8")
    #expect(report.operatorsNeeded.values.reduce(0, +) == report.fallback.count)

    let dynamic = try quantize(
      PT2Archive.read(ResNet8.path), nil, options: .init(quantizer: XNNPACKQuantizer(.symmetric(isDynamic: true))))
    try PT2Archive.write(dynamic.program, to: folder.path("dynamic.pt2"))
    let (other, method) = try Self.inspectModel(folder.path("dynamic.pt2"))
    #expect(other.operatorsNeeded["fused.dynamic_conv2d"] == 9)
    #expect(other.fallback.allSatisfy { !($0.reason ?? "").isEmpty && $0.dataType == "qd8" })
    try DrawingTests.expectWellFormed(method)
    try DrawingTests.expectTidy(method)
  }

  @Test func tensorFilesAreSummarized() throws {
    let folder = try TemporaryFolder()
    let reals = Tensor([-1, 2, .nan, 3, .infinity, 0] as [Float], shape: [2, 3])
    try NumPyArchive.write(
      [("reals", reals), ("bytes", Tensor([1, 2] as [Int8], shape: [2]))], to: folder.path("a.npz"))
    guard case .tensors(let report) = try inspectFile(folder.path("a.npz")) else {
      Issue.record("no tensors")
      return
    }
    #expect(report.tensors.map(\.name) == ["reals", "bytes"])
    let summary = report.tensors[0]
    #expect((summary.minimum, summary.maximum, summary.mean, summary.nonFinite) == (-1, 3, 1, 2))
    #expect(report.tensors[1].minimum == nil)
    #expect(report.totals.map(\.bytes) == [24, 2])
  }

  @Test func stateDictsAreSummarized() throws {
    func report(_ file: String) throws -> TensorFileInspection {
      guard case .tensors(let report) = try inspectFile(goldenPath("formats", file)) else {
        throw UsageError("\(file): is not a file of tensors")
      }
      return report
    }
    for file in ["weights_zip.pth", "weights_legacy.pth", "weights.safetensors"] {
      let (read, summary) = (try StateDict.read(goldenPath("formats", file)), try report(file))
      #expect(summary.tensors.map(\.name) == read.names && !read.names.isEmpty)
      #expect(summary.totals.reduce(0) { $0 + $1.bytes } == read.byteCount)
      for tensor in summary.tensors where tensor.dataType.isFloatingPoint && tensor.dataType != .float64 {
        let all = try #require(read[tensor.name]).widened().elements(as: Float.self).map(Double.init)
        let values = all.filter(\.isFinite)
        #expect(tensor.minimum == values.min() && tensor.maximum == values.max(), "\(file): \(tensor)")
        #expect(tensor.nonFinite ?? 0 == all.count - values.count)
      }
    }
    #expect(try report("weights_checkpoint.pth").container != nil)
    #expect(try !report("weights_checkpoint.pth").others.isEmpty)
  }

  @Test func formatsAreToldByContent() throws {
    let folder = try TemporaryFolder()
    func format(_ bytes: [UInt8]) throws -> FileFormat {
      try Data(bytes).write(to: URL(fileURLWithPath: folder.path("x")))
      return try FileFormat(of: folder.path("x"))
    }
    #expect(try format(Array("PK".utf8) + [3, 4]) == .exportedProgram)
    #expect(try FileFormat(of: goldenPath("formats", "weights_zip.pth")) == .stateDict)
    #expect(try FileFormat(of: goldenPath("formats", "weights_legacy.pth")) == .stateDict)
    #expect(try FileFormat(of: goldenPath("formats", "weights.safetensors")) == .safetensors)
    #expect(try FileFormat(of: goldenPath("formats", "arrays_deflated.npz")) == .numPyArchive)
    #expect(try format([0x40, 0, 0, 0] + Array("ET12".utf8)) == .executorchProgram)
    #expect(try format([0x93] + Array("NUMPY".utf8)) == .numPyArray)
    #expect(try FileFormat(of: ResNet8.path) == .exportedProgram)
    #expect(throws: FormatError.self) { try FileFormat(of: folder.path("absent")) }
  }

  @Test func theCommandPrintsJSONThatDecodes() throws {
    let folder = try TemporaryFolder()
    let drawing = folder.path("model.svg")
    let result = try CLI.swiftlet(["inspect", ResNet8.path, "--json", "--graph", "--svg", drawing])
    #expect(result.status == 0, "\(result.errors)")
    let report = try JSONDecoder().decode(ModelInspection.self, from: Data(result.output.utf8))
    #expect(report.sizes.reduce(0) { $0 + $1.bytes } == fileSize(ResNet8.path))
    #expect(report.graph?.contains("aten.conv2d.default") == true)
    #expect(try String(contentsOfFile: drawing, encoding: .utf8).hasSuffix("</svg>\n"))

    try NumPyArchive.writeArray(Tensor([1, 2] as [Float], shape: [1, 2]), to: folder.path("x.npy"))
    let tensors = try CLI.swiftlet(["inspect", folder.path("x.npy"), "--json"])
    let decoded = try JSONDecoder().decode(TensorFileInspection.self, from: Data(tensors.output.utf8))
    #expect(decoded.tensors.first?.mean == 1.5)
    #expect(try CLI.swiftlet(["inspect", folder.path("x.npy"), "--svg", drawing]).status == 1)
    #expect(try CLI.swiftlet(["inspect"]).status == 64)

    let table = try CLI.swiftlet(["inspect", ResNet8.path, "--layers", "3"]).output
    #expect(table.contains("layer3.conv2.conv") && table.contains("… and 14 more"), "\(table)")
    let capabilities = try CLI.swiftlet(["inspect", "--capabilities"]).output
    for unit in XNNPACKQuantizer().quantizationCapabilities() { #expect(capabilities.contains(unit.pattern)) }
  }
}
