import GraphIR
import Operators
import ProgramFormat
import SymbolicSizes
import TensorCore

/// Fuses a program whose sizes vary: at several sizes, which must give the same graph but for sizes and integer
/// arguments. How those follow from the symbols is then found from what they are at each of them.
///
/// Sizes of 1 are left out: there broadcasts, transpositions and the like are none, so that fewer nodes are needed. The
/// graph of other sizes is right for them too, and is verified at them.
struct DynamicFusion {
  /// Sizes tried per symbol, about.
  private static let sampleLimit = 6
  /// Symbols that may vary: the number of graphs grows with theirs.
  private static let symbolLimit = 8
  /// What symbols are at that are 1 in the example.
  private static let middle = 5
  /// What a symbol is tried at, beyond its range, that has but one value in it where no size is 1.
  private static let beyond = [3, 5]
  /// Sizes that rules refer to, the simplest first.
  private static let atomLimit = 48
  /// Graphs at further sizes, where several rules would do.
  private static let testLimit = 32

  let source: ExportedProgram
  private let shapes: DynamicShapes
  private let fusionRules: OperatorTable<FusionRule>
  /// The fused graph at each of `samples`.
  private var variants: [ExportedProgram] = []
  private var samples: [[String: Int]] = []

  /// - Parameter source: a verified float or Q/DQ graph with dynamic shapes, its constants and BatchNorms folded.
  static func fuse(
    _ source: ExportedProgram, _ shapes: DynamicShapes, _ rules: OperatorTable<FusionRule>
  ) throws(GraphError) -> (program: ExportedProgram, variants: [ExportedProgram]) {
    var fusion = DynamicFusion(source, shapes, rules)
    try fusion.sample()
    let program = try fusion.merged()
    return (program, fusion.variants)
  }

  private init(_ source: ExportedProgram, _ shapes: DynamicShapes, _ rules: OperatorTable<FusionRule>) {
    fusionRules = rules
    self.source = source
    self.shapes = shapes
  }

  /// The source with these values of its symbols; throws where it is not valid with them.
  private func sized(_ symbols: [String: Int], isInRange: Bool = true) throws(GraphError) -> ExportedProgram {
    var source = source
    if !isInRange { source.dynamicShapes?.rangeConstraints = [:] }
    let resized = try source.resized(symbols)
    if let large = resized.graph.values.first(where: { $0.spec.byteCount > Program.largestTensor }) {
      throw GraphError(program: source.name, reason: "'\(large.name)' is \(large.spec); too large")
    }
    try Verifier.verify(resized, as: source.isQuantized ? .quantizeDequantize : .float)
    return resized
  }

  private mutating func sample() throws(GraphError) {
    guard shapes.hints.count <= DynamicFusion.symbolLimit else {
      throw GraphError(
        program: source.name,
        reason: "has \(shapes.hints.count) sizes that vary by themselves; at most \(DynamicFusion.symbolLimit) can, or"
          + " none, when its dynamic shapes are taken away")
    }
    var edges: [ExportedProgram] = []
    var failure: GraphError?
    // An end that nobody reaches tells nothing.
    let ranges = shapes.rangeConstraints.mapValues { range in
      RangeConstraint(minimum: range.minimum, maximum: range.maximum.flatMap { $0 > 1 << 16 ? nil : $0 })
    }
    // Each symbol varies while the others are where no size is 1.
    let middle = Dictionary(
      uniqueKeysWithValues: shapes.hints.map { symbol, hint in
        (symbol, hint > 1 ? hint : max(hint, min(DynamicFusion.middle, ranges[symbol]?.maximum ?? .max)))
      })
    for symbols in RangeConstraint.samples(ranges, hints: middle, limit: DynamicFusion.sampleLimit) {
      let resized: ExportedProgram
      do throws(GraphError) { resized = try sized(symbols) } catch {
        failure = failure ?? error
        continue
      }
      if hasDegenerateSizes(resized) { edges.append(resized) } else { try add(resized, symbols) }
    }
    if variants.isEmpty {
      for edge in edges { try add(edge, edge.dynamicShapes?.hints ?? [:]) }
    }
    guard !variants.isEmpty else {
      throw failure ?? GraphError(program: source.name, reason: "has no sizes in range that it can be lowered at")
    }
    for symbol in middle.keys.sorted() where !isVaried(symbol) {
      try vary(symbol, around: middle, edges)
      if !isVaried(symbol), let failure { throw failure }
    }
  }

  /// Whether rules can tell the symbol from a number, or need not.
  private func isVaried(_ symbol: String) -> Bool {
    let range = shapes.rangeConstraints[symbol]
    return Set(samples.map { $0[symbol] }).count > 1 || (range?.minimum != nil && range?.minimum == range?.maximum)
  }

  /// Adds variants with other values of a symbol that has but one among the samples: beyond its range, if the graph
  /// is the same there, otherwise where sizes are 1.
  private mutating func vary(
    _ symbol: String, around middle: [String: Int], _ edges: [ExportedProgram]
  ) throws(GraphError) {
    for value in DynamicFusion.beyond where value != middle[symbol] {
      let symbols = middle.merging([symbol: value]) { $1 }
      guard let resized = try? sized(symbols, isInRange: false), !hasDegenerateSizes(resized) else { continue }
      try? add(resized, symbols)
    }
    guard !isVaried(symbol) else { return }
    for edge in edges {
      let symbols = edge.dynamicShapes?.hints ?? [:]
      if symbols[symbol] != samples[0][symbol] { try add(edge, symbols) }
    }
  }

  private func hasDegenerateSizes(_ program: ExportedProgram) -> Bool {
    let known = program.dynamicShapes ?? shapes
    return (program.graph.inputs + program.graph.nodes.flatMap(\.outputs)).contains { id in
      guard let sizes = known.symbolicSizes(of: program.graph[id].name) else { return false }
      return zip(sizes, program.graph.spec(id).shape.dimensions).contains { !$0.isConstant && $1 <= 1 }
    }
  }

  private mutating func add(_ resized: ExportedProgram, _ symbols: [String: Int]) throws(GraphError) {
    var fixed = resized
    fixed.dynamicShapes = nil
    var variant = try Fuser.fuse(fixed, fusionRules).program
    try Verifier.verify(variant, as: .lowered)
    if let first = variants.first {
      try check(variant, symbols, against: first)
      // The same constants: one copy is enough.
      variant.stateDict = first.stateDict
    }
    variants.append(variant)
    samples.append(symbols)
  }

  // MARK: The same graph at all sizes

  private func check(
    _ variant: ExportedProgram, _ symbols: [String: Int], against first: ExportedProgram
  ) throws(GraphError) {
    let sizes = "\(Program.described(samples[0])) and with \(Program.described(symbols))"
    func names(_ ids: [ValueID], _ program: ExportedProgram) -> [String] { ids.map { program.graph[$0].name } }
    for (a, b) in zip(first.graph.nodes, variant.graph.nodes) {
      let isSame =
        a.name == b.name && a.op == b.op && names(a.inputs, first) == names(b.inputs, variant)
        && names(a.outputs, first) == names(b.outputs, variant)
        && zip(a.outputs, b.outputs).allSatisfy { isAlike(first.graph.spec($0), variant.graph.spec($1)) }
        && isAlike(a.arguments, b.arguments)
      guard isSame else {
        let other = a.name == b.name && a.op == b.op ? "other arguments" : "'\(b.name)'"
        throw GraphError(
          program: source.name, node: a.name, operatorName: a.op.name,
          reason: "is lowered in different ways with \(sizes), where it is \(other)")
      }
    }
    guard first.graph.nodes.count == variant.graph.nodes.count,
      names(first.graph.outputs, first) == names(variant.graph.outputs, variant),
      names(first.graph.inputs, first) == names(variant.graph.inputs, variant),
      first.stateDict.count == variant.stateDict.count
    else { throw GraphError(program: source.name, reason: "is lowered in different ways with \(sizes)") }
    for (name, tensor) in first.stateDict {
      guard let other = variant.stateDict[name], tensor.spec == other.spec, hasSameBytes(tensor, other) else {
        throw GraphError(program: source.name, reason: "the constant '\(name)' differs with \(sizes)")
      }
    }
  }

  private func isAlike(_ a: TensorSpec, _ b: TensorSpec) -> Bool {
    a.dataType == b.dataType && a.shape.rank == b.shape.rank && a.dimOrder == b.dimOrder
      && a.quantization == b.quantization
  }

  /// Arguments that are equal or differ in integers only.
  private func isAlike(_ a: [Node.Argument], _ b: [Node.Argument]) -> Bool {
    a.count == b.count
      && zip(a, b).allSatisfy { a, b in
        guard a.name == b.name else { return false }
        switch (a.operand, b.operand) {
        case (.attribute(.int), .attribute(.int)): return true
        case (.attribute(.ints(let x)), .attribute(.ints(let y))): return x.count == y.count
        case (.attribute(let x), .attribute(let y)): return x == y
        case (.value, .value), (.values, .values): return true
        default: return false
        }
      }
  }

  private func hasSameBytes(_ a: Tensor, _ b: Tensor) -> Bool {
    if a.storage === b.storage, a.byteOffset == b.byteOffset { return true }
    return a.withUnsafeBytes { x in b.withUnsafeBytes { y in x.elementsEqual(y) } }
  }

  // MARK: Rules of sizes

  private mutating func merged() throws(GraphError) -> ExportedProgram {
    let last = variants.count + DynamicFusion.testLimit
    while true {
      var program = variants[0]
      let (shapes, tests) = try rules()
      guard try addTest(tests) else {
        program.dynamicShapes = shapes
        return try verified(program)
      }
      guard variants.count < last else {
        throw GraphError(program: source.name, reason: "the rules that its sizes may follow cannot be told apart")
      }
    }
  }

  /// Adds the graph at one of these sizes. False where none is possible: there it makes no difference which rule is taken.
  private mutating func addTest(_ tests: [[String: Int]]) throws(GraphError) -> Bool {
    for symbols in tests where !samples.contains(symbols) {
      guard let resized = try? sized(symbols), !hasDegenerateSizes(resized) else { continue }
      try add(resized, symbols)
      return true
    }
    return false
  }

  /// How all sizes and integer arguments follow from the symbols, and where other rules, which give the same at all
  /// samples, differ from those.
  ///
  /// What stands in the source too, by its name, follows the source's rule.
  private func rules() throws(GraphError) -> (DynamicShapes, tests: [[String: Int]]) {
    let fitter = SizeFitter(atoms: atoms(), samples: samples, limit: DynamicFusion.atomLimit)
    var known: [[Int]: SymbolicSize] = [:]
    var tests: [[String: Int]] = []
    func rule(_ values: [Int], _ own: SymbolicSize?, _ place: String) throws(GraphError) -> SymbolicSize {
      if let own, zip(samples, values).allSatisfy({ own.evaluated($0) == $1 }) { return own }
      if let size = known[values] { return size }
      switch fitter.rule(for: values) {
      case .rule(let size): known[values] = size
      case .ambiguous(let size, let differing):
        known[values] = size
        tests += differing
      case .none: throw noRule(values, place)
      }
      return known[values]!
    }
    let program = variants[0]
    var result = DynamicShapes(
      rangeConstraints: shapes.rangeConstraints, hints: samples[0], guards: shapes.guards)
    for id in program.graph.inputs + program.graph.nodes.flatMap(\.outputs) {
      let name = program.graph[id].name
      let dimensions = variants.map { $0.graph.spec(id).shape.dimensions }
      let own = shapes.sizes[name].flatMap { $0.count == dimensions[0].count ? $0 : nil }
      result.sizes[name] = try dimensions[0].indices.map { axis throws(GraphError) in
        try rule(dimensions.map { $0[axis] }, own?[axis], "dimension \(axis) of '\(name)'")
      }
    }
    for (index, node) in program.graph.nodes.enumerated() {
      for (position, argument) in node.arguments.enumerated() {
        let integers = variants.compactMap { $0.graph.nodes[index].arguments[position].operand.integers }
        guard let first = integers.first else { continue }
        let own = shapes.arguments[node.name]?[argument.name].flatMap { $0.count == first.count ? $0 : nil }
        guard own != nil || integers.contains(where: { $0 != first }) else { continue }
        let sizes = try first.indices.map { axis throws(GraphError) in
          try rule(integers.map { $0[axis] }, own?[axis], "'\(argument.name)' of '\(node.name)'")
        }
        if sizes.contains(where: { !$0.isConstant }) {
          result.arguments[node.name, default: [:]][argument.name] = sizes
        }
      }
    }
    return (result, tests)
  }

  private func noRule(_ values: [Int], _ place: String) -> GraphError {
    let changes = values.indices.filter { values[$0] != values[0] }.prefix(2)
    let shown = ([0] + changes).map { "\(values[$0]) with \(Program.described(samples[$0]))" }
    let rest = samples.count > shown.count ? "; …" : ""
    return GraphError(
      program: source.name, reason: "\(place) is \(shown.joined(separator: "; "))\(rest), which follows no known rule")
  }

  /// The program at the example's sizes, after a look at its symbols' ends and between them.
  private func verified(_ program: ExportedProgram) throws(GraphError) -> ExportedProgram {
    for (symbol, hint) in shapes.hints {
      guard let range = shapes.rangeConstraints[symbol] else { continue }
      var values = [range.minimum, range.maximum].compactMap { $0 }
      if values.count == 2, case (let span, let overflow) = values[1].subtractingReportingOverflow(values[0]), !overflow
      {
        values += [values[0] + span / 3, values[1] - span / 3]
      }
      for value in values where value != hint {
        let symbols = shapes.hints.merging([symbol: value]) { $1 }
        guard (try? sized(symbols)) != nil else { continue }
        do { try Verifier.verify(program.resized(symbols), as: .lowered) } catch {
          throw GraphError(
            program: error.program, node: error.node, operatorName: error.operatorName,
            reason: "with \(Program.described(symbols)): \(error.reason)")
        }
      }
    }
    let example = try program.resized(shapes.hints)
    try Verifier.verify(example, as: .lowered)
    return example
  }

  /// The source's symbolic sizes, simple ones first.
  private func atoms() -> [SymbolicSize] {
    var all = Set(shapes.hints.keys.map { SymbolicSize.symbol($0) })
    for sizes in shapes.sizes.values { all.formUnion(sizes) }
    for parameters in shapes.arguments.values { for sizes in parameters.values { all.formUnion(sizes) } }
    return all.filter { !$0.isConstant }.map { ($0, $0.description) }
      .sorted { ($0.1.utf8.count, $0.1) < ($1.1.utf8.count, $1.1) }.map(\.0)
  }
}

extension Operand {
  /// What an integer argument says.
  fileprivate var integers: [Int]? {
    switch self {
    case .attribute(.int(let value)): [value]
    case .attribute(.ints(let values)): values
    default: nil
    }
  }
}
