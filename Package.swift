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
    .library(name: "SwiftletTools", targets: ["SwiftletTools"]),
    .executable(name: "swiftlet", targets: ["swiftlet-cli"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
  ],
  targets: [
    // MARK: - The pipeline, in order
    stage("TensorCore"),
    stage("SymbolicSizes", imports: ["TensorCore"]),
    stage("Operators", imports: ["TensorCore"]),
    stage("GraphIR", imports: ["TensorCore", "SymbolicSizes", "Operators"]),
    stage("NN", imports: ["TensorCore", "SymbolicSizes", "Operators", "GraphIR"]),
    stage("TorchFormats", imports: ["TensorCore", "SymbolicSizes", "Operators", "GraphIR", "CZlib"]),
    stage("Quantization", imports: ["TensorCore", "Operators", "GraphIR"]),
    stage("ProgramFormat", imports: ["TensorCore", "SymbolicSizes", "Operators"]),
    stage("Lowering", imports: ["TensorCore", "SymbolicSizes", "Operators", "GraphIR", "ProgramFormat"]),
    stage(
      "ExecuTorchFormat",
      imports: ["TensorCore", "SymbolicSizes", "Operators", "GraphIR", "TorchFormats", "ProgramFormat", "Lowering"]),
    stage(
      "XNNPACKBackend",
      imports: [
        "TensorCore", "Operators", "GraphIR", "Quantization", "ProgramFormat", "Lowering", "DelegateSchema",
      ]),
    stage(
      "Runtime",
      imports: [
        "TensorCore", "SymbolicSizes", "Operators", "ProgramFormat", "DelegateSchema", "Processor", "XNNExecutor",
      ]),
    stage("Vision", imports: ["TensorCore", "CTurboJPEG", "CPNG"]),
    stage(
      "Swiftlet",
      imports: [
        "TensorCore", "SymbolicSizes", "Operators", "GraphIR", "NN", "TorchFormats", "Quantization", "ProgramFormat",
        "Lowering", "ExecuTorchFormat", "XNNPACKBackend", "Runtime", "Vision",
      ]),
    stage("SwiftletTools", imports: ["Swiftlet", "Peak", "Processor"]),
    .executableTarget(
      name: "swiftlet-cli",
      dependencies: ["Swiftlet", "SwiftletTools", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: swift),
    .executableTarget(
      name: "ResNet18Tutorial",
      dependencies: ["Swiftlet", "SwiftletTools", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      path: "Examples/ResNet18Tutorial", packageAccess: false, swiftSettings: swift),
    .executableTarget(
      name: "ScaleBenchmark", dependencies: ["Swiftlet"], path: "Benchmarks/Scale", swiftSettings: swift),

    // MARK: - C
    .target(name: "DelegateSchema", path: "CRuntime/DelegateSchema", cSettings: strictC),
    .target(name: "Processor", path: "CRuntime/Processor", cSettings: strictC),
    .target(name: "Threads", path: "CRuntime/Threads", cSettings: strictC),
    .target(
      name: "Int8Kernels", dependencies: ["DelegateSchema", "Processor", "Threads"], path: "CRuntime/Int8Kernels",
      cSettings: strictC),
    .target(
      name: "FloatKernels", dependencies: ["DelegateSchema", "Processor", "Threads"], path: "CRuntime/FloatKernels",
      cSettings: strictC),
    .target(
      name: "Peak", dependencies: ["Processor"], path: "CRuntime/Peak", cSettings: strictC,
      linkerSettings: [.linkedLibrary("pthreadpool")]),
    .target(
      name: "XNNExecutor", dependencies: ["DelegateSchema", "FloatKernels", "Int8Kernels", "Processor", "Threads"],
      path: "CRuntime/XNNExecutor",
      cSettings: strictC + [.headerSearchPath(".")],
      linkerSettings: [.linkedLibrary("XNNPACK"), .linkedLibrary("pthreadpool"), .linkedLibrary("m")]),
    .systemLibrary(name: "CZlib", path: "Sources/CSystem/zlib"),
    .systemLibrary(name: "CTurboJPEG", path: "Sources/CSystem/turbojpeg"),
    .systemLibrary(name: "CPNG", path: "Sources/CSystem/png"),

    // MARK: - Tests
    .target(
      name: "TestSupport",
      dependencies: ["DelegateSchema", "TensorCore", "Operators", "GraphIR", "ProgramFormat", "TorchFormats"],
      path: "Tests/TestSupport",
      swiftSettings: swift),
    .target(
      name: "PipelineTesting", dependencies: ["TestSupport", "NN", "Swiftlet"], path: "Tests/PipelineTesting",
      swiftSettings: swift),
    tests("TensorCoreTests", of: ["TensorCore"]),
    tests("SymbolicSizesTests", of: ["TensorCore", "SymbolicSizes"]),
    tests("OperatorsTests", of: ["TensorCore", "Operators"]),
    tests("GraphIRTests", of: ["TensorCore", "SymbolicSizes", "Operators", "GraphIR"]),
    tests("NNTests", of: ["NN", "Swiftlet"]),
    tests("TorchFormatsTests", of: ["TensorCore", "GraphIR", "TorchFormats"]),
    tests(
      "QuantizationTests",
      of: ["PipelineTesting", "TensorCore", "GraphIR", "Quantization", "XNNPACKBackend", "Swiftlet", "SwiftletTools"]),
    tests("ProgramFormatTests", of: ["TensorCore", "Operators", "ProgramFormat"]),
    tests("LoweringTests", of: ["PipelineTesting", "NN", "Swiftlet", "SwiftletTools"]),
    tests(
      "ExecuTorchFormatTests",
      of: [
        "TensorCore", "Operators", "GraphIR", "Lowering", "ExecuTorchFormat", "Quantization", "XNNPACKBackend",
        "Swiftlet",
      ]),
    tests(
      "XNNPACKBackendTests",
      of: ["PipelineTesting", "TensorCore", "FloatKernels", "Int8Kernels", "XNNPACKBackend", "Swiftlet"]),
    tests("RuntimeTests", of: ["PipelineTesting", "NN", "Runtime", "Swiftlet"]),
    tests("VisionTests", of: ["TensorCore", "Vision"]),
    tests("SwiftletTests", of: ["PipelineTesting", "Swiftlet", "SwiftletTools"]),
    tests("SwiftletToolsTests", of: ["PipelineTesting", "Swiftlet", "SwiftletTools"]),
    tests("GeneratedModelTests", of: ["TensorCore", "Swiftlet"]),
    tests("EndToEndTests", of: ["PipelineTesting", "NN", "Swiftlet", "SwiftletTools"]),
    // What users see: without `package` access.
    .testTarget(
      name: "PublicFaceTests", dependencies: ["Swiftlet", "SwiftletTools"], packageAccess: false, swiftSettings: swift),
    tests("ThreadsTests", of: ["Threads"]),
    tests("PeakTests", of: ["Peak", "Processor"]),
    tests("Int8KernelsTests", of: ["DelegateSchema", "Int8Kernels", "Processor", "Threads"]),
    tests("FloatKernelsTests", of: ["DelegateSchema", "FloatKernels", "Processor", "Threads"]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c11
)
