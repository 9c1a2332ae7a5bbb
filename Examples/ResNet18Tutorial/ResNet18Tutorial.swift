import ArgumentParser
import Foundation
import Swiftlet
import SwiftletTools

/// PyTorch's tutorial on quantization after training ("PyTorch 2 Export Post Training Quantization") on ResNet-18, step for
/// step, from a model defined in Swift. What it prints on real data is in docs/tutorial.md.
@main
struct ResNet18Tutorial: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ResNet18Tutorial",
    abstract: "ResNet-18 from a .pth to int8 on XNNPACK: load, export, quantize, evaluate, save, lower, measure.",
    discussion: "Example: ResNet18Tutorial --weights resnet18.pth --data imagenette-sample")

  @Option(help: ArgumentHelp("State dict (.pth, .safetensors, .pt2); drawn if it is not given.", valueName: "file"))
  var weights: String?

  @Option(help: ArgumentHelp("Folder with the image folders calibration/ and val/.", valueName: "folder"))
  var data: String

  @Option(help: "Images to evaluate on (default: all).")
  var images = Int.max

  @Option(help: "Timed inferences of each model.")
  var runs = 30

  @Option(help: "Threads.")
  var threads = ThreadPool.physicalCoreCount

  func validate() throws {
    guard images > 0, (1...1_000_000).contains(runs), (1...1024).contains(threads) else {
      throw ValidationError("--images, --runs and --threads must be at least 1")
    }
  }

  func run() throws {
    let workspace = FileManager.default.temporaryDirectory.appendingPathComponent("tutorial-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: workspace, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: workspace) }
    func file(_ name: String) -> String { workspace.appendingPathComponent(name).path }
    let (calibration, validation) = try prepareDataLoaders()

    section("1. Load the model and its weights")
    let classCount = 1 + (try ImageFolder(path: data + "/val", classes: nil).samples.map(\.label).max() ?? 0)
    let model = try loadModel(classCount: classCount)

    section("2. Export it to an ATen graph, for any batch from 1 to 32")
    let batch = Dim("batch", min: 1, max: 32)
    let float = try export(model, [TensorSpec(.float32, [1, 3, 224, 224])], dynamicShapes: [[0: batch]])
    printGraph(float, around: "layer1.0.conv1")

    section("3. Prepare with XNNPACKQuantizer: fold BatchNorms, insert observers")
    let quantizer = XNNPACKQuantizer()
      .setGlobal(.symmetric(isPerChannel: true))
      .setObjectType("torch.nn.Linear", .symmetric(isPerChannel: false))
      .setModuleName("conv1", .symmetric().observing(.minMax))
    let observed = try prepare(float, quantizer: quantizer)
    print("\(observed.notQuantized.count) nodes stay in float")
    for node in observed.notQuantized { print("  \(node)") }

    section("4. Calibrate")
    try calibrate(observed, with: calibration, threads: threads)
    print("\(calibration.count) images")

    section("5. Convert to a Q/DQ graph")
    let int8 = try convert(observed)
    printGraph(int8, around: "layer1.0.conv1")

    section("6. Size and accuracy before and after")
    try PT2Archive.write(float, to: file("resnet18_float.pt2"))
    try PT2Archive.write(int8, to: file("resnet18_int8.pt2"))
    let floatMethod = try load(float)
    let int8Method = try load(int8)
    for (name, method) in [("float", floatMethod), ("int8", int8Method)] {
      let megabytes = Double(try Data(contentsOf: URL(fileURLWithPath: file("resnet18_\(name).pt2"))).count) / 1e6
      let (top1, top5) = try evaluate(method, on: validation)
      print(
        "\(name): \(number(megabytes)) MB, top-1 \(number(top1.avg)) %, top-5 \(number(top5.avg)) % of \(top1.count) images"
      )
    }

    section("7. Save and load: the same numbers")
    let reloaded = try load(try PT2Archive.read(file("resnet18_int8.pt2")))
    let difference = try largestDifference(int8Method, reloaded, validation)
    print("largest difference of a logit: \(difference)")

    section("8. Lower to the XNNPACK delegate")
    print(int8Method.delegationSummary)
    for operation in int8Method.fallback { print("  \(operation.node): \(operation.reason)") }

    section("9. Measure")
    for name in ["float", "int8"] {
      let report = try benchmark(
        file("resnet18_\(name).pt2"), threads: threads, runs: runs, warmup: 3, profile: false)
      print("\(name): p50 \(number(report.p50)) ms, p90 \(number(report.p90)) ms with \(report.threads) threads")
    }
  }
}

// MARK: - Helpers, as in PyTorch's tutorial

extension ResNet18Tutorial {
  private func loadModel(classCount: Int) throws -> ResNet {
    let model = ResNet.resnet18(numClasses: classCount)
    if let weights {
      try model.loadStateDict(StateDict.read(weights))
    } else {
      model.resetParameters(seed: 0)
      print("No weights are given: they are drawn, and accuracy below is chance.")
    }
    model.eval()
    print("ResNet-18, \(classCount) classes, \(model.stateDict().count) tensors, \(model.stateDict().byteCount) bytes")
    return model
  }

  private func prepareDataLoaders() throws -> (calibration: any Dataset, validation: any Dataset) {
    let transform = try Compose([
      .resize(.side(224)), .centerCrop(.side(224)), .toTensor,
      .normalize(mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]),
    ])
    let calibration = ImageDataset(try ImageFolder(path: data + "/calibration", classes: nil), transform: transform)
    let validation = ImageDataset(try ImageFolder(path: data + "/val", classes: nil), transform: transform)
    return (calibration, validation.limited(to: images))
  }

  private func evaluate(_ method: Method, on dataset: any Dataset) throws -> (top1: AverageMeter, top5: AverageMeter) {
    var (top1, top5) = (AverageMeter("Acc@1"), AverageMeter("Acc@5"))
    let batches = DataLoader(dataset, batchSize: 4).batches()
    while let batch = try batches.next() {
      let output = try method.run([batch.inputs])[0]
      let percent = accuracy(output, batch.labels.map { $0 ?? -1 }, topK: [1, 5])
      top1.update(percent[0], n: batch.indices.count)
      top5.update(percent[1], n: batch.indices.count)
    }
    return (top1, top5)
  }

  private func largestDifference(_ a: Method, _ b: Method, _ dataset: any Dataset) throws -> Float {
    var largest: Float = 0
    for index in 0..<min(8, dataset.count) {
      let input = try dataset.input(index)
      let (x, y) = (try a.run([input])[0].elements(as: Float.self), try b.run([input])[0].elements(as: Float.self))
      for (x, y) in zip(x, y) { largest = max(largest, abs(x - y)) }
    }
    return largest
  }

  private func load(_ program: ExportedProgram) throws -> Method {
    try Method(lower(program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: threads))
  }

  /// The nodes of one module and what leads to them.
  private func printGraph(_ program: ExportedProgram, around module: String) {
    let lines = program.printed().split(separator: "\n")
    let nodes = program.graph.nodes
    guard let index = nodes.firstIndex(where: { $0.modulePath == module && !$0.op.isAny(.quantizeDequantize) }) else {
      return
    }
    print("\(nodes.count) nodes; those around \(module):")
    for line in lines[max(0, index - 2)...min(nodes.count - 1, index + 3)] { print("  \(line)") }
  }

  private func section(_ title: String) { print("\n\(title)") }
  private func number(_ value: Double) -> String { String(format: "%.2f", value) }
}
