import GraphIR
import Operators
import ProgramFormat
import SymbolicSizes
import TensorCore

/// The sizes of a program that is written which may be smaller at run time than the file says: ExecuTorch's
/// `DYNAMIC_BOUND`. Empty where all are fixed.
struct VaryingSizes {
  /// Dimensions that vary, in the order of the shape.
  private var dimensions: [ValueID: Set<Int>] = [:]

  init() {}

  /// Compares a program at the largest sizes in range with the same program at other sizes.
  ///
  /// Throws a `GraphError` for an operator whose arguments say sizes that ExecuTorch cannot leave open.
  init(of bound: ExportedProgram, at other: ExportedProgram) throws(GraphError) {
    for id in bound.graph.inputs + bound.graph.nodes.flatMap(\.outputs) {
      let (a, b) = (bound.graph.spec(id).shape.dimensions, other.graph.spec(id).shape.dimensions)
      let varying = Set(zip(a, b).enumerated().filter { $1.0 != $1.1 }.map(\.offset))
      if !varying.isEmpty { dimensions[id] = varying }
    }
    for (a, b) in zip(bound.graph.nodes, other.graph.nodes) where a.arguments != b.arguments {
      let isView = a.op == .fusedView && self[a.output].count == 1
      // A window as large as the image has no size of its own in the file.
      guard isView || a.op == .fusedAvgPool2d && isGlobal(a, bound) && isGlobal(b, other) else {
        throw GraphError(
          program: bound.name, node: a.name, operatorName: a.op.name,
          reason: "its arguments depend on sizes that vary, which an ExecuTorch program cannot express; remove"
            + " the program's dynamicShapes to write it for its example's sizes")
      }
    }
  }

  subscript(_ id: ValueID) -> Set<Int> { dimensions[id] ?? [] }

  private func isGlobal(_ node: Node, _ program: ExportedProgram) -> Bool {
    guard let input = node.value("self"), case .attribute(.ints(let kernel)) = node.operand("kernel_size") else {
      return false
    }
    return kernel == Array(program.graph.spec(input).shape.dimensions.suffix(2))
  }

  /// The program with −1 in the place of the size that varies in each view, which is what follows from the others.
  func opened(_ program: ExportedProgram) -> ExportedProgram {
    var result = program
    for index in program.graph.nodes.indices where program.graph.nodes[index].op == .fusedView {
      let arguments = program.graph.nodes[index].arguments
      guard let varying = self[program.graph.nodes[index].output].first,
        let position = arguments.firstIndex(where: { $0.name == "size" }),
        case .attribute(.ints(var sizes)) = arguments[position].operand
      else { continue }
      sizes[varying] = -1
      result.graph.nodes[index].arguments[position].operand = .attribute(.ints(sizes))
    }
    return result
  }
}

extension EdgeRewriter {
  /// A fused program in ExecuTorch's operators, and which of its sizes vary: it has the largest in range.
  ///
  /// Throws a `GraphError` for sizes without a bound, and such as ExecuTorch cannot leave open.
  static func rewriteAll(
    _ fused: ExportedProgram, source: ExportedProgram
  ) throws(GraphError) -> (program: ExportedProgram, varying: VaryingSizes) {
    guard let shapes = fused.dynamicShapes else { return (try rewrite(fused, source: source), VaryingSizes()) }
    var (largest, others) = (shapes.hints, shapes.hints)
    for symbol in shapes.hints.keys {
      guard let maximum = shapes.rangeConstraints[symbol]?.maximum else {
        throw GraphError(
          program: fused.name,
          reason: "the size \(symbol) has no bound; an ExecuTorch program has memory for the largest")
      }
      largest[symbol] = maximum
      let middle = RangeConstraint(minimum: shapes.rangeConstraints[symbol]?.minimum, maximum: maximum - 1)
      others[symbol] = middle.samples(around: maximum - 1, limit: 1).last ?? maximum
    }
    func rewritten(_ symbols: [String: Int]) throws(GraphError) -> ExportedProgram {
      let program = try fused.resized(symbols)
      if let large = program.graph.values.first(where: { $0.spec.byteCount > Int(Int32.max) }) {
        throw GraphError(program: fused.name, reason: "'\(large.name)' is up to \(large.spec), too large for a file")
      }
      return try rewrite(program, source: source.resized(symbols))
    }
    let (bound, other) = (try rewritten(largest), try rewritten(others))
    let varying = try VaryingSizes(of: bound, at: other)
    return (varying.opened(bound), varying)
  }
}
