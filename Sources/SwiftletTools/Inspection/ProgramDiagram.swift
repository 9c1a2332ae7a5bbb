import Foundation
import Swiftlet

/// A lowered program as boxes and edges: its inputs, its operations in execution order, its outputs.
struct ProgramDiagram {
  enum Kind: Hashable {
    case port
    case delegated(Int)
    case portable
  }

  struct Box {
    let kind: Kind
    /// The operation, and the type that it computes in.
    let title: String
    let name: String
    /// Type and shape of the result.
    let result: String
    let tooltip: String
  }

  struct Edge: Hashable {
    let from: Int
    let to: Int
    /// `int8 s=0.0123 zp=-4`, or `f32`.
    let label: String
  }

  private(set) var boxes: [Box] = []
  private(set) var edges: [Edge] = []
  /// How many boxes at the start are the program's inputs; the operations follow.
  let inputCount: Int
  let operationCount: Int
  private(set) var delegates: [(backend: String, nodes: Int)]

  init(_ method: Method) {
    let program = method.program
    inputCount = program.inputs.count
    operationCount = program.instructions.count
    delegates = program.delegates.map { ($0.backend, 0) }
    var writers = Writers(program)
    for index in program.inputs {
      let value = program.values[index]
      writers.note(index, writtenBy: boxes.count)
      boxes.append(ProgramDiagram.port("input", value))
    }
    let kinds = program.delegates.map(XNNPACKPartitioner.nodeKinds(of:))
    for (instruction, operation) in zip(program.instructions, method.operations) {
      connect(instruction.inputs, to: boxes.count, writers)
      for index in instruction.outputs { writers.note(index, writtenBy: boxes.count) }
      var (kind, title) = (Kind.portable, instruction.op.name)
      if operation.backend != .portable, let call = instruction.delegateCall, delegates.indices.contains(call.delegate)
      {
        kind = .delegated(call.delegate)
        delegates[call.delegate].nodes += 1
        if kinds[call.delegate].indices.contains(call.node) { title = kinds[call.delegate][call.node] }
      }
      boxes.append(ProgramDiagram.box(kind, title, instruction, operation, program))
    }
    for index in program.outputs {
      connect([index], to: boxes.count, writers)
      boxes.append(ProgramDiagram.port("output", program.values[index]))
    }
  }

  private mutating func connect(_ values: [Int], to box: Int, _ writers: Writers) {
    var seen: Set<Edge> = []
    for index in values {
      guard let writer = writers.writer(of: index) else { continue }
      let edge = Edge(from: writer, to: box, label: ProgramDiagram.label(writers.program.values[index].spec))
      if seen.insert(edge).inserted { edges.append(edge) }
    }
  }

  private static func port(_ title: String, _ value: Program.Value) -> Box {
    let shape = "\(shortName(value.spec.dataType)) \(value.spec.shape)"
    return Box(
      kind: .port, title: title, name: value.name, result: shape, tooltip: "\(title) \(value.name): \(value.spec)")
  }

  private static func box(
    _ kind: Kind, _ title: String, _ instruction: Program.Instruction, _ operation: Method.Operation, _ program: Program
  ) -> Box {
    let results = instruction.outputs.map { program.values[$0].spec }
    var lines = ["\(instruction.node) (\(instruction.op.name))"]
    lines += instruction.inputs.map { program.values[$0] }.map { value in
      "\(value.isConstant ? "constant" : "input") \(value.name): \(value.spec)"
    }
    lines += results.map { "result: \($0)" }
    if !instruction.sourceNodes.isEmpty {
      lines.append("stands for " + instruction.sourceNodes.joined(separator: ", "))
    }
    if kind == .portable { lines.append("portable: " + (operation.reason ?? "")) }
    let name = title.hasPrefix("fused.") ? String(title.dropFirst(6)) : title
    return Box(
      kind: kind, title: "\(name) \(instruction.kernelDataType(in: program))", name: instruction.node,
      result: results.map { "\(shortName($0.dataType)) \($0.shape)" }.joined(separator: ", "),
      tooltip: lines.joined(separator: "\n"))
  }

  /// A type and its quantization parameters, as edges are labelled.
  static func label(_ spec: TensorSpec) -> String {
    let type = shortName(spec.dataType)
    guard let quantization = spec.quantization else { return type }
    guard !quantization.isPerChannel else { return "\(type) per channel" }
    return type + String(format: " s=%.4g zp=%d", Double(quantization.scale), quantization.zeroPoint)
  }

  private static func shortName(_ type: DataType) -> String { type == .float32 ? "f32" : type.rawValue }
}

/// Which box wrote a value last. A view has no instruction: it lies in the memory of what it views, so that whoever wrote
/// there last is its source.
private struct Writers {
  let program: Program
  private var byValue: [Int: Int] = [:]
  private var byOffset: [Int: Int] = [:]

  init(_ program: Program) { self.program = program }

  mutating func note(_ value: Int, writtenBy box: Int) {
    byValue[value] = box
    if case .arena(let offset) = program.values[value].location { byOffset[offset] = box }
  }

  /// Nil for a constant.
  func writer(of value: Int) -> Int? {
    guard case .arena(let offset) = program.values[value].location else { return nil }
    return byValue[value] ?? byOffset[offset]
  }
}
