import GraphIR
import Operators
import TensorCore

/// Joins neighbouring nodes of a fused graph into one operator each, where that saves a pass over memory. The results are
/// the same to the byte.
///
/// Graphs of the same program at other sizes are changed alike: whether nodes are joined never depends on sizes.
struct NodeFusion {
  private(set) var program: ExportedProgram
  private var users: [ValueID: [Int]]
  private var producers: [ValueID: Int]

  private let constants: Set<ValueID>
  private let outputs: Set<ValueID>
  /// Nodes that stay as they are.
  private let kept: Set<String>

  /// - Parameter kept: names of nodes that stay as they are: those with arguments that sizes decide.
  static func fuse(_ program: ExportedProgram, keeping kept: Set<String>) throws(GraphError) -> ExportedProgram {
    var fusion = NodeFusion(program, kept)
    fusion.fuseConversions()
    fusion.fuseSums()
    fusion.fuseConcatenations()
    fusion.program.graph.removeDeadNodes()
    try Verifier.verify(fusion.program, as: .lowered)
    return fusion.program
  }

  private init(_ program: ExportedProgram, _ kept: Set<String>) {
    self.program = program
    self.kept = kept
    constants = Set(program.storedConstants().keys)
    outputs = Set(program.graph.outputs)
    users = program.graph.users()
    producers = program.graph.producers()
  }

  /// The node that computes a value, when nothing else reads it.
  private func producer(ofOnlyUse id: ValueID) -> Node? {
    guard let index = producers[id], users[id]?.count == 1, !outputs.contains(id) else { return nil }
    return program.graph.nodes[index]
  }

  /// Quantizing and dequantizing with a transposition before or behind it.
  private mutating func fuseConversions() {
    let copy = Operator.toDimOrderCopy
    let orders: [Operator: DimOrder] = [.fusedQuantize: .channelsLast, .fusedDequantize: .contiguous]
    for (index, node) in program.graph.nodes.enumerated()
    where node.op == copy || orders[node.op] != nil {
      guard let input = node.value("self"), let first = producer(ofOnlyUse: input) else { continue }
      let pair = [first, node]
      guard let conversion = pair.first(where: { orders[$0.op] != nil }),
        pair.contains(where: { $0.op == copy }), let source = first.value("self"),
        let order = orders[conversion.op], program.graph.spec(node.output).dimOrder == order,
        program.graph.spec(source).dimOrder != order
      else { continue }
      var fused = conversion
      (fused.name, fused.outputs) = (node.name, node.outputs)
      fused.arguments = [
        Node.Argument("self", .value(source)), Node.Argument("dim_order", .attribute(.string(order.schemaName))),
      ]
      fused.metadata["source_nodes"] = sources(of: pair)
      program.graph.nodes[index] = fused
    }
  }

  /// Those that nodes stand for, which become one.
  private func sources(of nodes: [Node]) -> String {
    nodes.compactMap { $0.metadata["source_nodes"] }.filter { !$0.isEmpty }.joined(separator: ",")
  }

  /// Sums of a convolution's result and what is there before the convolution runs.
  private mutating func fuseSums() {
    for (index, node) in program.graph.nodes.enumerated() where node.op == .fusedAdd {
      guard let a = node.value("self"), let b = node.value("other"), a != b, !constants.contains(a),
        !constants.contains(b)
      else { continue }
      // What is computed last.
      let (product, other) = producers[a] ?? -1 > producers[b] ?? -1 ? (a, b) : (b, a)
      guard let convolution = producer(ofOnlyUse: product), canSum(convolution, with: other, in: node) else { continue }
      program.graph.nodes[index] = sum(of: convolution, and: other, in: node)
    }
  }

  private func canSum(_ convolution: Node, with other: ValueID, in node: Node) -> Bool {
    guard convolution.op == .fusedConv2d, !kept.contains(convolution.name), !kept.contains(node.name),
      let weight = convolution.value("weight"), constants.contains(weight),
      let input = convolution.value("input"),
      let scale = program.graph.spec(node.output).quantization?.scale,
      let product = program.graph.spec(convolution.output).quantization?.scale,
      let summand = program.graph.spec(other).quantization?.scale
    else { return false }
    // Not depthwise, and in fixed point: other sums are no faster so.
    let isDepthwise = program.graph.spec(weight).shape[1] == 1 && program.graph.spec(input).shape[1] > 1
    return !isDepthwise && [product / scale, summand / scale].allSatisfy { $0 >= 0x1p-10 && $0 < 0x1p8 }
  }

  private func sum(of convolution: Node, and other: ValueID, in node: Node) -> Node {
    var fused = node
    fused.op = .fusedAddConv2d
    fused.arguments = [Node.Argument("self", .value(other))]
    for argument in convolution.arguments {
      let bounds = ["output_min": "conv_min", "output_max": "conv_max"]
      fused.arguments.append(Node.Argument(bounds[argument.name] ?? argument.name, argument.operand))
    }
    let parameters = program.graph.spec(convolution.output).quantization!
    fused.arguments += [
      Node.Argument("conv_scale", .attribute(.float(Double(parameters.scale)))),
      Node.Argument("conv_zero_point", .attribute(.int(Int(parameters.zeroPoint)))),
    ]
    fused.arguments += node.arguments.filter { $0.name == "output_min" || $0.name == "output_max" }
    fused.metadata["source_nodes"] = sources(of: [convolution, node])
    return fused
  }

  /// Concatenations of channels that convolutions alone compute: each writes its channels, one after the other.
  private mutating func fuseConcatenations() {
    var removed: Set<Int> = []
    for (index, node) in program.graph.nodes.enumerated() where node.op == .fusedCat {
      let spec = program.graph.spec(node.output)
      guard case .values(let parts)? = node.operand("tensors"), parts.count > 1,
        Set(parts).count == parts.count, spec.dataType == .int8,
        spec.dimOrder == .channelsLast, case .attribute(.int(let dim))? = node.operand("dim"), dim == 1 || dim == -3,
        !kept.contains(node.name), parts.allSatisfy({ writesInto($0) })
      else { continue }
      var start = 0
      var starts: [ValueID: Int] = [:]
      for part in parts {
        starts[part] = start
        start += program.graph.spec(part).shape[1]
      }
      var other: ValueID?
      let ordered = parts.sorted { producers[$0]! < producers[$1]! }
      for part in ordered {
        let output = part == ordered.last ? node.output : part
        write(part, start: starts[part]!, channels: start, behind: other, into: output)
        program.graph.setSpec(spec, of: output)
        if let sizes = program.dynamicShapes?.symbolicSizes(of: program.graph[node.output].name) {
          program.dynamicShapes?.sizes[program.graph[output].name] = sizes
        }
        other = output
      }
      let last = producers[ordered.last!]!
      program.graph.nodes[last].metadata["source_nodes"] = sources(of: [program.graph.nodes[last], node])
      removed.insert(index)
    }
    program.graph.nodes = program.graph.nodes.enumerated().filter { !removed.contains($0.offset) }.map(\.element)
  }

  private func writesInto(_ part: ValueID) -> Bool {
    guard let convolution = producer(ofOnlyUse: part), convolution.op == .fusedConv2d,
      !kept.contains(convolution.name), let weight = convolution.value("weight"), constants.contains(weight),
      let input = convolution.value("input")
    else { return false }
    return program.graph.spec(weight).shape[1] > 1 || program.graph.spec(input).shape[1] == 1
  }

  private mutating func write(_ part: ValueID, start: Int, channels: Int, behind other: ValueID?, into output: ValueID)
  {
    let index = producers[part]!
    var arguments = program.graph.nodes[index].arguments
    if let other { arguments.insert(Node.Argument("self", .value(other)), at: 0) }
    arguments += [
      Node.Argument("start", .attribute(.int(start))), Node.Argument("channels", .attribute(.int(channels))),
    ]
    program.graph.nodes[index].op = .fusedCatConv2d
    program.graph.nodes[index].arguments = arguments
    program.graph.nodes[index].outputs = [output]
  }
}
