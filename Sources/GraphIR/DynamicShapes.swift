import Operators
import SymbolicSizes
import TensorCore

/// Which sizes of a program depend on its inputs' sizes. The graph itself has the sizes of the example that the program was
/// exported with, and every stage works on them; this says how they vary.
///
/// Values and nodes are known by their names, so that passes may rebuild the graph. PyTorch's nodes that compute sizes
/// (`aten.sym_size.int`, `_operator.mul`) are no part of the graph: what they compute stands in `arguments`.
package struct DynamicShapes: Hashable, Sendable {
  /// By symbol (`s0`), or by an expression of symbols (`2*s0`).
  package var rangeConstraints: [String: RangeConstraint]
  /// The value of each symbol in the example.
  package var hints: [String: Int]
  /// The sizes of each value, one per dimension.
  package var sizes: [String: [SymbolicSize]]
  /// By node and parameter, integer arguments with symbols in them: one element for an integer, else one per element.
  package var arguments: [String: [String: [SymbolicSize]]]
  /// Conditions on the inputs' sizes, in Python, as the exporter recorded them.
  package var guards: [String]

  package init(
    rangeConstraints: [String: RangeConstraint] = [:], hints: [String: Int] = [:],
    sizes: [String: [SymbolicSize]] = [:], arguments: [String: [String: [SymbolicSize]]] = [:], guards: [String] = []
  ) {
    self.rangeConstraints = rangeConstraints
    self.hints = hints
    self.sizes = sizes
    self.arguments = arguments
    self.guards = guards
  }

  /// A value's symbolic sizes; nil when they are all constant or not known.
  package func symbolicSizes(of name: String) -> [SymbolicSize]? {
    guard let sizes = sizes[name], sizes.contains(where: { !$0.isConstant }) else { return nil }
    return sizes
  }

  /// Gives the values sizes that passes have put into the graph since: observers, quantize and dequantize nodes keep
  /// their input's sizes, what depends on constants alone has constant sizes.
  ///
  /// Throws for another operator whose inputs' sizes vary and whose own sizes are not known, and for sizes that in the
  /// example are not those of the graph.
  package mutating func complete(for program: ExportedProgram) throws(GraphError) {
    let graph = program.graph
    for id in graph.inputs where sizes[graph[id].name] == nil {
      sizes[graph[id].name] = graph.spec(id).shape.dimensions.map { .int($0) }
    }
    for node in graph.nodes {
      let varying = node.inputs.compactMap { symbolicSizes(of: graph[$0].name) }
      for id in node.outputs where sizes[graph[id].name] == nil {
        let dimensions = graph.spec(id).shape.dimensions
        let keepsSizes = node.op.isAny([.quantizeDequantize, .observes])
        guard keepsSizes || varying.isEmpty else {
          throw GraphError(
            program: program.name, node: node.name, operatorName: node.op.name,
            reason: "its inputs' sizes vary, and how its own do is not known")
        }
        // Parameters per token have the sizes of what they belong to but for the last dimension.
        let source = varying.first { $0.count == dimensions.count }
        sizes[graph[id].name] = dimensions.enumerated().map { index, size in
          guard let source, source[index].evaluated(hints) == size else { return .int(size) }
          return source[index]
        }
      }
    }
    try verify(program)
  }

  /// Throws unless all sizes and arguments are, in the example, those of the graph.
  func verify(_ program: ExportedProgram) throws(GraphError) {
    let graph = program.graph
    for id in graph.inputs + graph.nodes.flatMap(\.outputs) {
      guard let sizes = sizes[graph[id].name] else { continue }
      guard sizes.map({ $0.evaluated(hints) }) == graph.spec(id).shape.dimensions else {
        throw GraphError(
          program: program.name,
          reason: "'\(graph[id].name)' is \(graph.spec(id)), but its symbolic sizes are \(sizes) with \(hints)")
      }
    }
    for node in graph.nodes {
      for (name, sizes) in arguments[node.name] ?? [:] {
        let actual: [Int]? =
          switch node.operand(name) {
          case .attribute(.ints(let values)): values
          case .attribute(.int(let value)): [value]
          default: nil
          }
        guard let actual, sizes.map({ $0.evaluated(hints) }) == actual else {
          throw GraphError(
            program: program.name, node: node.name, operatorName: node.op.name,
            reason: "its argument '\(name)' is not what its symbolic form \(sizes) gives with \(hints)")
        }
      }
    }
  }
}

extension ExportedProgram {
  /// A value's type and sizes, symbolic ones by name and with their range: `float32[s0, 3], 1 ≤ s0 ≤ 32`.
  package func describe(_ id: ValueID) -> String {
    guard let shapes = dynamicShapes, let sizes = shapes.symbolicSizes(of: graph[id].name) else {
      return "\(graph.spec(id))"
    }
    return RangeConstraint.describe(graph.spec(id).dataType, sizes, shapes.rangeConstraints)
  }

  /// The program at the sizes that follow from its inputs' shapes, in the inputs' order.
  ///
  /// Throws, naming the input, for shapes that it may not have; for a program of fixed sizes, other shapes than its
  /// own.
  package func resized(inputShapes shapes: [Shape]) throws(GraphError) -> ExportedProgram {
    guard shapes.count == userInputs.count else {
      throw GraphError(program: name, reason: "takes \(userInputs.count) inputs, not \(shapes.count)")
    }
    let sizes = InputSizes(
      userInputs.map { id in
        let fixed = graph.spec(id).shape.dimensions.map { SymbolicSize.int($0) }
        return (graph[id].name, graph.spec(id).dataType, dynamicShapes?.symbolicSizes(of: graph[id].name) ?? fixed)
      }, rangeConstraints: dynamicShapes?.rangeConstraints ?? [:], symbols: dynamicShapes?.hints ?? [:])
    let symbols: [String: Int]
    do {
      symbols = try sizes.symbols(for: Dictionary(uniqueKeysWithValues: shapes.enumerated().map { ($0, $1) }))
    } catch {
      throw GraphError(program: name, reason: "input '\(graph[userInputs[error.input]].name)': \(error.reason)")
    }
    return symbols == dynamicShapes?.hints || symbols.isEmpty ? self : try resized(symbols)
  }

  /// The program at other sizes of its inputs: the graph's example sizes become those that the symbols' new values give.
  ///
  /// Throws for a symbol that the program does not have, a value outside its range, and sizes that then are impossible.
  package func resized(_ values: [String: Int]) throws(GraphError) -> ExportedProgram {
    guard var shapes = dynamicShapes else { throw GraphError(program: name, reason: "all its sizes are fixed") }
    try shapes.complete(for: self)
    for (symbol, value) in values {
      guard shapes.hints[symbol] != nil else { throw GraphError(program: name, reason: "has no size '\(symbol)'") }
      shapes.hints[symbol] = value
    }
    for (text, range) in shapes.rangeConstraints {
      guard let value = SymbolicSize(parsing: text)?.evaluated(shapes.hints) else { continue }
      guard range.contains(value) else {
        let (low, high) = (range.minimum.map(String.init) ?? "-∞", range.maximum.map(String.init) ?? "∞")
        throw GraphError(program: name, reason: "\(text) = \(value) lies outside [\(low), \(high)]")
      }
    }
    var result = self
    for id in graph.inputs + graph.nodes.flatMap(\.outputs) {
      guard let sizes = shapes.symbolicSizes(of: graph[id].name) else { continue }
      let dimensions = sizes.compactMap { $0.evaluated(shapes.hints) }
      guard dimensions.count == sizes.count, let shape = Shape(validating: dimensions) else {
        throw GraphError(program: name, reason: "'\(graph[id].name)' of \(sizes) is impossible with \(shapes.hints)")
      }
      var spec = graph.spec(id)
      spec.shape = shape
      result.graph.setSpec(spec, of: id)
    }
    for index in graph.nodes.indices {
      for (parameter, sizes) in shapes.arguments[graph.nodes[index].name] ?? [:] {
        let values = sizes.compactMap { $0.evaluated(shapes.hints) }
        guard values.count == sizes.count,
          let position = graph.nodes[index].arguments.firstIndex(where: { $0.name == parameter })
        else { continue }
        let isList = if case .attribute(.ints) = graph.nodes[index].arguments[position].operand { true } else { false }
        result.graph.nodes[index].arguments[position].operand = .attribute(isList ? .ints(values) : .int(values[0]))
      }
    }
    result.dynamicShapes = shapes
    return result
  }
}
