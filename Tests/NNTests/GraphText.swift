import Foundation
import NN
import Swiftlet
import TestSupport

/// A graph as the golden files of the zoo have it; `Tests/Golden/zoo/generate.py` says how.
struct GraphText {
  private(set) var lines: [String] = []
  /// Numbers of values, in the order of their definition.
  private var numbers: [ValueID: Int] = [:]
  private let graph: Graph

  init(_ program: ExportedProgram) {
    graph = program.graph
    for (id, kind) in zip(graph.inputs, program.inputKinds) {
      define(id)
      let spec = graph.spec(id)
      let fields = [
        GraphText.name(of: kind), kind.target, GraphText.text(spec.shape),
        spec.dataType == .float32 ? nil : "\(spec.dataType)",
      ]
      lines.append(fields.compactMap { $0 }.joined(separator: " "))
    }
    for node in graph.nodes { add(node) }
    lines.append((["output"] + graph.outputs.map(value)).joined(separator: " "))
  }

  private static func name(of kind: InputKind) -> String {
    switch kind {
    case .parameter: "parameter"
    case .buffer: "buffer"
    case .constantTensor: "constant"
    case .userInput: "input"
    }
  }

  private mutating func define(_ id: ValueID) { numbers[id] = numbers.count }

  private func value(_ id: ValueID) -> String { "%\(numbers[id] ?? -1)" }

  private mutating func add(_ node: Node) {
    let schema = node.op.isKnown ? node.op.schema : nil
    var tensors: [String] = []
    var attributes: [String] = []
    for parameter in schema?.parameters ?? [] {
      switch node.operand(parameter.name) {
      case .value(let id): tensors.append(value(id))
      case .values(let ids): tensors.append("[" + ids.map(value).joined(separator: " ") + "]")
      case .attribute(let attribute):
        let text = GraphText.text(attribute, parameter.kind)
        if parameter.defaultValue.map({ GraphText.text($0, parameter.kind) }) != text {
          attributes.append("\(parameter.name)=\(text)")
        }
      case nil: break
      }
    }
    for output in node.outputs { define(output) }
    var name = node.operatorName.dropFirst("aten.".count)
    if name.hasSuffix(".default") { name.removeLast(".default".count) }
    let shapes = node.outputs.map { GraphText.text(graph.spec($0).shape) }
    let module = node.moduleStack.last
    let type = GraphText.className(module?.type ?? "")
    let fields = [String(name)] + tensors + attributes + [">"] + shapes + ["@" + (module?.path ?? "")]
    lines.append((fields + (type.isEmpty ? [] : [type])).joined(separator: " "))
  }

  private static func className(_ type: String) -> String {
    let prefix = "torch.nn.modules."
    if type.hasPrefix(prefix) { return String(type.dropFirst(prefix.count)) }
    return type.hasPrefix("torchvision.") ? type : ""
  }

  private static func text(_ shape: Shape) -> String {
    shape.rank == 0 ? "scalar" : shape.dimensions.map(String.init).joined(separator: "x")
  }

  /// ATen's `Scalar` is a float, whatever the exporter wrote.
  private static func text(_ attribute: Attribute, _ kind: Schema.Kind) -> String {
    switch (attribute, kind) {
    case (.int(let number), .float), (.int(let number), .optionalFloat): "\(Double(number))"
    case (.ints(let numbers), _): numbers.map(String.init).joined(separator: ",")
    case (.floats(let numbers), _): numbers.map { "\($0)" }.joined(separator: ",")
    case (.string(let text), _): text
    default: attribute.description
    }
  }
}

/// What PyTorch says of a model of the zoo.
struct ZooGolden {
  let seed: UInt32
  let gain: Double
  /// As `GraphText` has them.
  let lines: [String]

  init(_ name: String) throws {
    let text = try String(contentsOfFile: goldenPath("zoo", name + ".txt"), encoding: .utf8)
    let all = text.split(separator: "\n").map(String.init)
    let header = all[0].split(separator: " ")
    guard header.count == 4, let seed = UInt32(header[1]), let gain = Double(header[3]) else {
      throw UsageError("\(name).txt: not a golden graph")
    }
    (self.seed, self.gain, lines) = (seed, gain, Array(all.dropFirst()))
  }

  /// The output for the drawn input.
  static func output(_ name: String) throws -> [Float] {
    try NumPyArchive(path: goldenPath("zoo", "outputs.npz")).tensor(name).elements(as: Float.self)
  }

  /// The names of the state dict.
  var keys: Set<String> {
    Set(
      lines.compactMap { line in
        let fields = line.split(separator: " ")
        return fields[0] == "parameter" || fields[0] == "buffer" ? String(fields[1]) : nil
      })
  }
}

/// Where two graphs differ first, and by how many lines; nil where they are equal.
func firstDifference(_ captured: [String], _ golden: [String]) -> String? {
  for (index, (a, b)) in zip(captured, golden).enumerated() where a != b {
    return "line \(index + 2): captured \(a)\nPyTorch \(b)"
  }
  return captured.count == golden.count ? nil : "captured \(captured.count) lines, PyTorch has \(golden.count)"
}
