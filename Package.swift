// swift-tools-version: 6.2
import PackageDescription

/// Warnings that keep the C half honest; errors, so that none is left standing.
let strictC: [CSetting] =
  ["all", "extra", "conversion", "switch-enum"].map { .enableWarning($0) } + [.treatAllWarnings(as: .error)]

let swift: [SwiftSetting] = [.enableUpcomingFeature("MemberImportVisibility")]

/// One pipeline stage: a Swift target under Sources/ and what it may import (README.md, "Import table").
func stage(_ name: String, imports: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: imports, swiftSettings: swift)
}

func tests(_ name: String, of imports: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: ["TestSupport"] + imports, swiftSettings: swift)
}

let package = Package(
  name: "swiftlet",
  products: [
    .library(name: "Swiftlet", targets: ["Swiftlet"]),
    .executable(name: "swiftlet", targets: ["swiftlet-cli"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
  ],
  targets: [
    // MARK: - The pipeline, in order
    stage("TensorCore"),
    stage("Operators", imports: ["TensorCore"]),
    stage("GraphIR", imports: ["TensorCore", "Operators"]),
    stage("NN", imports: ["TensorCore", "Operators", "GraphIR"]),
    stage("TorchFormats", imports: ["TensorCore", "Operators", "GraphIR", "CZlib"]),
    stage("Quantization", imports: ["TensorCore", "Operators", "GraphIR"]),
    stage("ProgramFormat", imports: ["TensorCore"]),
    stage("Lowering", imports: ["TensorCore", "Operators", "GraphIR", "ProgramFormat"]),
    stage(
      "ExecuTorchFormat",
      imports: ["TensorCore", "Operators", "GraphIR", "TorchFormats", "ProgramFormat", "Lowering"]),
    stage(
      "XNNPACKBackend",
      imports: [
        "TensorCore", "Operators", "GraphIR", "Quantization", "ProgramFormat", "Lowering", "DelegateSchema",
      ]),
    stage("Runtime", imports: ["TensorCore", "Operators", "ProgramFormat", "DelegateSchema", "XNNExecutor"]),
    stage("Vision", imports: ["TensorCore", "CTurboJPEG", "CPNG"]),
    stage(
      "Swiftlet",
      imports: [
        "TensorCore", "Operators", "GraphIR", "NN", "TorchFormats", "Quantization", "ProgramFormat", "Lowering",
        "ExecuTorchFormat", "XNNPACKBackend", "Runtime", "Vision",
      ]),
    .executableTarget(
      name: "swiftlet-cli",
      dependencies: ["Swiftlet", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: swift),
    .executableTarget(
      name: "ResNet18Tutorial",
      dependencies: ["Swiftlet", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      path: "Examples/ResNet18Tutorial", swiftSettings: swift),

    // MARK: - C
    .target(name: "DelegateSchema", path: "CRuntime/DelegateSchema", cSettings: strictC),
    .target(
      name: "Int8Kernels", path: "CRuntime/Int8Kernels", cSettings: strictC),
    .target(
      name: "FloatKernels", dependencies: ["Int8Kernels"], path: "CRuntime/FloatKernels", cSettings: strictC),
    .target(
      name: "XNNExecutor", dependencies: ["DelegateSchema", "FloatKernels", "Int8Kernels"],
      path: "CRuntime/XNNExecutor",
      cSettings: strictC,
      linkerSettings: [.linkedLibrary("XNNPACK"), .linkedLibrary("pthreadpool"), .linkedLibrary("m")]),
    .systemLibrary(name: "CZlib", path: "Sources/CSystem/zlib"),
    .systemLibrary(name: "CTurboJPEG", path: "Sources/CSystem/turbojpeg"),
    .systemLibrary(name: "CPNG", path: "Sources/CSystem/png"),

    // MARK: - Tests
    .target(
      name: "TestSupport", dependencies: ["TensorCore", "TorchFormats"], path: "Tests/TestSupport",
      swiftSettings: swift),
    tests("TensorCoreTests", of: ["TensorCore"]),
    tests("OperatorsTests", of: ["TensorCore", "Operators"]),
    tests("GraphIRTests", of: ["TensorCore", "Operators", "GraphIR"]),
    tests("NNTests", of: ["NN", "Swiftlet"]),
    tests("TorchFormatsTests", of: ["TensorCore", "GraphIR", "TorchFormats"]),
    tests(
      "ExecuTorchFormatTests", of: ["TensorCore", "Operators", "GraphIR", "Lowering", "ExecuTorchFormat", "Swiftlet"]),
    tests("LoweringTests", of: ["TensorCore", "ProgramFormat"]),
    tests("QuantizationTests", of: ["TensorCore", "GraphIR", "Quantization", "XNNPACKBackend", "Swiftlet"]),
    tests("Int8KernelsTests", of: ["Int8Kernels"]),
    tests("FloatKernelsTests", of: ["FloatKernels", "Int8Kernels"]),
    tests("XNNPACKBackendTests", of: ["Swiftlet", "XNNPACKBackend"]),
    tests("VisionTests", of: ["TensorCore", "Vision"]),
    tests("GeneratedModelTests", of: ["TensorCore", "Swiftlet"]),
    tests("EndToEndTests", of: ["NN", "Runtime", "Swiftlet"]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c11
)
