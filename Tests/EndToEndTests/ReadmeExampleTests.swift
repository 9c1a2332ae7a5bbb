import PipelineTesting
import Swiftlet
import TestSupport
import Testing

extension EndToEnd {
  /// The README's example, on the shipped model and photos.
  struct ReadmeExampleTests {
    @Test func tenLinesOfSwift() throws {
      let folder = try TemporaryFolder()
      let model = repositoryPath("models/efficientnet-lite0")
      let float = try PT2Archive.read("\(model)/efficientnet_lite0.pt2")
      let recipe = try Preprocess(jsonPath: "\(model)/efficientnet_lite0.preprocess.json")
      let photos = ImageDataset(
        try ImageFolder(path: "\(model)/calibration", classes: nil), preprocess: recipe)

      let observed = try prepare(float, quantizer: XNNPACKQuantizer())
      try calibrate(observed, with: LimitedDataset(photos, limit: 10))
      let int8 = try convert(observed)
      try PT2Archive.write(int8.storing(recipe), to: folder.path("efficientnet_lite0_int8.pt2"))

      let method = try Method(lower(int8, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 2))
      let logits = try method.run([photos.input(0)])[0].elements(as: Float.self)

      let reference = try Method(lower(float, partitioner: nil), threads: ThreadPool(threadCount: 1))
      let expected = try reference.run([photos.input(0)])[0].elements(as: Float.self)
      #expect(topK(logits, 1)[0].index == topK(expected, 1)[0].index)
    }

    @Test func perTensorWeightsRunInInt8Too() throws {
      let program = try PT2Archive.read(repositoryPath("models/resnet8/resnet8.pt2"))
      let noise = NoiseDataset(shape: [1, 3, 32, 32], count: 4, scale: 255)
      let quantizer = XNNPACKQuantizer(.symmetric(isPerChannel: false))
      let int8 = try quantize(program, noise, options: .init(quantizer: quantizer)).program
      let (delegated, portable) = (try load(int8), try load(int8, delegate: false))
      #expect(delegated.operations.count { $0.operatorName == "fused.dequantize" } == 1)
      let input = noise.input(9)
      #expect(
        try delegated.run([input])[0].elements(as: Float.self) == portable.run([input])[0].elements(as: Float.self))
    }
  }
}
