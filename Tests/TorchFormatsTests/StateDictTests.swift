import Foundation
import GraphIR
import TensorCore
import TestSupport
import Testing

@testable import TorchFormats

struct StateDictTests {
  static let names = [
    "conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked",
    "fc.weight", "fc.bias", "tied", "view", "transposed", "step", "expanded", "nhwc", "half", "brain", "double", "bool",
    "uint8", "int8", "int16", "int32", "int64", "scalar", "empty",
  ]

  static func golden(_ file: String) throws -> StateDict {
    try StateDict.read(goldenPath("formats", file), verifyingChecksums: true)
  }

  /// The tensors are those of `weights_values.npz`, where 16-bit floats are stored as float32.
  private func expectGoldenValues(_ dict: StateDict) throws {
    let values = try NumPyArchive(path: goldenPath("formats", "weights_values.npz"))
    #expect(Set(dict.names) == Set(Self.names))
    for (name, tensor) in dict.entries {
      let expected = try values.tensor(name)
      let actual = tensor.dataType == expected.dataType ? tensor : tensor.widened()
      #expect(actual.spec == expected.spec, "\(name)")
      #expect(actual.withUnsafeBytes { a in expected.withUnsafeBytes { b in a.elementsEqual(b) } }, "\(name)")
    }
    #expect(dict["half"]?.dataType == .float16 && dict["brain"]?.dataType == .bfloat16)
  }

  // MARK: torch.save

  @Test(arguments: ["weights_zip.pth", "weights_legacy.pth"])
  func torchSaveIsRead(_ file: String) throws {
    let dict = try Self.golden(file)
    #expect(dict.names == Self.names && dict.container == nil && dict.others.isEmpty)
    try expectGoldenValues(dict)
    let (tied, weight) = try (#require(dict["tied"]), #require(dict["fc.weight"]))
    #expect(tied.storage === weight.storage && tied.byteOffset == weight.byteOffset && tied.storage.isMapped)
    #expect(dict["view"]?.storage === weight.storage, "a row-major view is a window too")
    for name in ["transposed", "step", "expanded", "nhwc"] { #expect(dict[name]?.storage.isMapped == false) }
  }

  @Test func aCheckpointsOtherValuesAreListed() throws {
    let dict = try Self.golden("weights_checkpoint.pth")
    #expect(dict.names == Self.names && dict.container == "state_dict")
    try expectGoldenValues(dict)
    let others = Dictionary(uniqueKeysWithValues: dict.others.map { ($0.name, $0.text) })
    let expected = [
      "epoch": "3", "arch": "'tiny'", "best": "0.5", "none": "None", "flag": "True", "history": "[1, 2.5, -70000]",
      "raw": "2 bytes", "array": "2 bytes", "kinds": "{'a'}", "dtype": "float16", "size": "torch.Size([1, 2])",
      "device": "cuda:1", "counter.a": "2", "big": "an integer of 9 bytes",
      "optimizer.state.0.exp_avg": "float32[2, 2]", "optimizer.param_groups.0.betas": "(0.9, 0.999)",
    ]
    for (name, text) in expected { #expect(others[name] == text, "\(name)") }
  }

  @Test func aStateDictElsewhereIsReadByItsKey() throws {
    let path = goldenPath("formats", "weights_checkpoint.pth")
    let dict = try StateDict.read(path, key: "optimizer.state.0")
    #expect(dict.names == ["step", "exp_avg", "exp_avg_sq"] && dict.container == "optimizer.state.0")
    #expect(dict["exp_avg"]?.shape == [2, 2])
    #expect(dict.others.contains { $0.name == "state_dict.tied" && $0.text == "float32[4, 6]" })
    #expect { try StateDict.read(path, key: "optimizer.nothing") } throws: {
      "\($0)".contains("has no 'optimizer.nothing'")
    }
  }

  @Test func parametersInNestedContainersAreNamedByTheirPlaces() throws {
    let dict = try Self.golden("weights_parameters.pth")
    #expect(dict.names == ["layers.0", "layers.1.w"] && dict.others.map(\.name) == ["n"])
    #expect(dict["layers.0"]?.elements(as: Float.self) == [1, 1])
  }

  /// Archives of PyTorch before 2.8 hold files of torch.save as entries.
  @Test(arguments: ["weights_zip.pth", "weights_legacy.pth"])
  func aFileInsideAnArchiveIsReadInPlace(_ file: String) throws {
    let folder = try TemporaryFolder()
    var writer = try ZipWriter(path: folder.path("a.zip"))
    try writer.add("before", [1, 2, 3])
    try writer.add("inner", [UInt8](try Data(contentsOf: URL(fileURLWithPath: goldenPath("formats", file)))))
    try writer.finish()
    let archive = try ZipArchive(path: folder.path("a.zip"))
    let window = try archive.window(of: #require(archive.entry("inner")))
    let dict = try StateDict(TorchFile(window, path: "a.zip/inner", verify: true), key: nil)
    #expect(dict.names == Self.names && dict["fc.weight"]?.storage === window.storage)
    try expectGoldenValues(dict)
  }

  /// From protocol 4 on, the older format's pickles lie in frames.
  @Test func theOlderFormatIsReadWithEveryProtocol() throws {
    #expect(try Self.golden("weights_protocol5.pth")["w"]?.elements(as: Float.self) == [0, 1, 2, 3])
  }

  @Test func elementTypesWithoutCounterpartAreNamed() {
    #expect { try Self.golden("weights_uint16.pth") } throws: {
      "\($0)".contains("tensor 'ids'") && "\($0)".contains("torch.uint16")
    }
  }

  @Test(.enabled(if: sharedData("models/resnet20_cifar10.pth") != nil, "needs the shared models"))
  func aTrainedModelsWeightsEqualThoseOfItsExport() throws {
    let dict = try StateDict.read(#require(sharedData("models/resnet20_cifar10.pth")), verifyingChecksums: true)
    let program = try PT2Archive.read(#require(sharedData("models/resnet20_cifar10.pt2")))
    let targets = program.inputKinds.compactMap(\.target)
    #expect(targets.count > 60 && Set(targets).isSubset(of: dict.names))
    for target in targets {
      let (a, b) = try (#require(dict[target]), #require(program.stateDict[target]).rowMajor())
      #expect(a.spec == b.spec && a.withUnsafeBytes { x in b.withUnsafeBytes { x.elementsEqual($0) } }, "\(target)")
    }
    var loaded = program
    loaded.stateDict = program.stateDict.mapValues { Tensor(zeros: $0.spec) }
    try loaded.loadStateDict(dict)
    let weight = try #require(loaded.stateDict["conv1.weight"])
    #expect(weight.elements(as: Float.self) == program.stateDict["conv1.weight"]?.elements(as: Float.self))
  }

  // MARK: safetensors and NumPy

  @Test func safetensorsIsRead() throws {
    let dict = try Self.golden("weights.safetensors")
    try expectGoldenValues(dict)
    #expect(dict.metadata == ["format": "pt"])
    #expect(dict.entries.allSatisfy { $0.tensor.storage.isMapped })
  }

  @Test func writingSafetensorsGivesTheReferenceImplementationsBytes() throws {
    let folder = try TemporaryFolder()
    var dict = try Self.golden("weights_zip.pth")
    dict.metadata = ["format": "pt"]
    try dict.write(to: folder.path("a.safetensors"))
    let expected = try Data(contentsOf: URL(fileURLWithPath: goldenPath("formats", "weights.safetensors")))
    #expect(try Data(contentsOf: URL(fileURLWithPath: folder.path("a.safetensors"))) == expected)
  }

  @Test func awkwardNamesAndMetadataSurvive() throws {
    let folder = try TemporaryFolder()
    var dict = StateDict()
    dict["q\"\\\n\u{1}é/😀"] = Tensor([1, 2, 3] as [Int8], shape: [3])
    dict[""] = Tensor([0.5] as [Float], shape: [])
    dict["image"] = Tensor([0, 10, 1, 11] as [Float], shape: [1, 2, 1, 2], dimOrder: .channelsLast)
    dict.metadata = ["b": "2", "a": "\u{7f}\"", "": ""]
    try dict.write(to: folder.path("a.safetensors"))
    let read = try StateDict.read(folder.path("a.safetensors"))
    #expect(Set(read.names) == Set(dict.names) && read.metadata == dict.metadata)
    #expect(read["image"]?.spec == TensorSpec(.float32, [1, 2, 1, 2]))
    #expect(read["image"]?.elements(as: Float.self) == [0, 1, 10, 11])
    dict["__metadata__"] = dict[""]
    #expect(throws: FormatError.self) { try dict.write(to: folder.path("b.safetensors")) }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("")) == ["a.safetensors"])
  }

  @Test func npzIsWrittenAndRead() throws {
    let folder = try TemporaryFolder()
    var dict = try Self.golden("weights_zip.pth")
    #expect { try dict.write(to: folder.path("a.npz")) } throws: {
      "\($0)".contains("tensor 'brain'") && "\($0)".contains(".safetensors")
    }
    dict["brain"] = dict["brain"]?.widened()
    try dict.write(to: folder.path("a.npz"))
    // The name says nothing: the content does.
    try FileManager.default.moveItem(atPath: folder.path("a.npz"), toPath: folder.path("a.pth"))
    let read = try StateDict.read(folder.path("a.pth"))
    #expect(read.names == dict.names && read["half"]?.spec == dict["half"]?.spec)
    #expect { try dict.write(to: folder.path("a.pth")) } throws: {
      "\($0)".contains("must end in .safetensors or .npz")
    }
  }

  @Test func everyFormatIsRecognized() throws {
    for (file, format) in [
      ("weights_zip.pth", StateDict.FileFormat.torchSave), ("weights_legacy.pth", .torchSave), ("arrays.npz", .npz),
      ("weights.safetensors", .safetensors), ("version2.npy", .npy), ("tiny_float.pt2", .exportedProgram),
    ] {
      #expect(try StateDict.format(of: goldenPath("formats", file)) == format, "\(file)")
      #expect(try Self.golden(file).count > 0, "\(file)")
    }
    #expect { try StateDict.read(goldenPath("formats", "generate.py")) } throws: {
      "\($0)".contains("not a file of tensors")
    }
  }

  @Test(arguments: [
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
      "overlap"
    ),
    (
      #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[3],"data_offsets":[5,8]}}"#,
      "gap"
    ),
    (#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, "has 8 bytes of data; its tensors take 4"),
    (#"{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}"#, "or the file"),
    (#"{"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}"#, "dtype 'F8_E4M3'"),
    (#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, "does not fit"),
    (#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, "impossible sizes"),
    (#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#, "impossible sizes"),
    (#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8]}}"#, "gap"),
    (#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[8,0]}}"#, "gap"),
    (#"{"a":{"shape":[8],"data_offsets":[0,8]}}"#, "has no 'dtype' at a"),
    (#"{"__metadata__":{"x":1},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#, "__metadata__.x"),
    (#"{"a":"#, "header"),
  ])
  func damagedSafetensorsHeadersAreExplained(_ header: String, _ expected: String) throws {
    let folder = try TemporaryFolder()
    let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { [UInt8]($0) }
    try Data(length + header.utf8 + [UInt8](repeating: 0, count: 8)).write(
      to: URL(fileURLWithPath: folder.path("a.safetensors")))
    #expect { try StateDict.read(folder.path("a.safetensors")) } throws: {
      "\($0)".contains(expected) && "\($0)".contains(folder.path("a.safetensors"))
    }
  }
}
