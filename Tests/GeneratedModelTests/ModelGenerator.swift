import Swiftlet
import TensorCore
import TestSupport

/// A call that does not suit the model that is being drawn; another one is drawn in its place.
struct Unsuitable: Error {}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 0x1234_5678 }

  private mutating func bits() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func int(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound + Int(bits() >> 33) % (range.upperBound - range.lowerBound + 1)
  }
  mutating func float(_ range: ClosedRange<Float>) -> Float {
    range.lowerBound + (range.upperBound - range.lowerBound) * Float(bits() >> 40) * 0x1p-24
  }
  mutating func chance(_ share: Float) -> Bool { float(0...1) < share }
  mutating func pick<T>(_ choices: [T]) -> T { choices[int(0...choices.count - 1)] }
}

/// A float model that a seed made, with what its inputs are.
struct GeneratedModel {
  let seed: Int
  let program: ExportedProgram
  /// Of int64 inputs, how many indices there are.
  let indexBounds: [ValueID: Int]

  /// Inputs by number; the first was the generator's own.
  func sample(_ index: Int) -> [Tensor] {
    var random = Random(UInt64(seed) &* 1000 &+ UInt64(index))
    return program.userInputs.map { id in random.tensor(program.graph.spec(id), indexBound: indexBounds[id]) }
  }
}

extension Random {
  /// Sums of two uniform numbers in [−1.5, 1.5], or indices.
  fileprivate mutating func tensor(_ spec: TensorSpec, indexBound: Int?) -> Tensor {
    let count = spec.shape.elementCount
    if let indexBound { return Tensor((0..<count).map { _ in Int64(int(0...indexBound - 1)) }, shape: spec.shape) }
    return Tensor((0..<count).map { _ in float(-1.5...1.5) + float(-1.5...1.5) }, shape: spec.shape)
  }
}

/// Draws a model call by call, and computes each at once on one sample: what gives no numbers, or numbers that are too
/// large to be worth quantizing, is left out.
struct ModelGenerator {
  private(set) var program: ExportedProgram
  var random: Random
  /// float32 values that further calls may read, in order.
  private(set) var pool: [ValueID] = []
  private(set) var indexBounds: [ValueID: Int] = [:]
  private var tensors: [ValueID: Tensor] = [:]
  private var constants: [ValueID: Tensor] = [:]
  /// Values that PyTorch holds in other than row-major order, of which it makes no views.
  private var strided: Set<ValueID> = []
  private var readers: [ValueID: Int] = [:]
  /// Weights so far, to be shared.
  private var weights: [ValueID] = []

  private static let largestValue: Float = 40
  private static let elementLimit = 1500
  /// How small a result may be beside the largest operand.
  private static let leastShare: Float = 0.15

  init(_ seed: Int) {
    program = ExportedProgram(name: "seed \(seed)")
    random = Random(UInt64(seed))
  }

  /// The model of a seed, in which the operator whose turn it is comes first or soon.
  static func model(_ seed: Int) -> GeneratedModel {
    for attempt in 0..<100 {
      var generator = ModelGenerator(seed &+ attempt &* 1_000_003)
      generator.program.name = "seed \(seed)"
      if let program = generator.drawn(OperatorDraw.all[seed % OperatorDraw.all.count]) {
        return GeneratedModel(seed: seed, program: program, indexBounds: generator.indexBounds)
      }
    }
    fatalError("no model of seed \(seed) has \(OperatorDraw.all[seed % OperatorDraw.all.count].name)")
  }

  /// Nil when the operator could not be drawn.
  private mutating func drawn(_ star: OperatorDraw) -> ExportedProgram? {
    _ = addInput(random.shape())
    let count = random.int(2...9)
    let turn = random.int(0...count - 1)
    var (hasStar, step, tries) = (false, 0, 0)
    while step < count, tries < 60 {
      tries += 1
      let draw = step == turn ? star : random.pick(OperatorDraw.weighted)
      guard attempt(draw.draw) else { continue }
      if step == turn { hasStar = true }
      step += 1
      if random.chance(0.12) { _ = attempt(OperatorDraw.dropout.draw) }
    }
    return hasStar ? finished(containing: star.name) : nil
  }

  /// Draws a call; takes back what it added when it does not suit.
  private mutating func attempt(_ draw: (inout ModelGenerator) throws -> [ValueID]) -> Bool {
    var trial = self
    // Another stream, or a draw that failed would fail again.
    random.skip()
    do {
      for id in try draw(&trial) where !trial.pool.contains(id) { trial.pool.append(id) }
      self = trial
      return true
    } catch { return false }
  }

  private mutating func finished(containing star: String) -> ExportedProgram? {
    let inputs = Set(program.graph.inputs)
    var outputs = pool.filter { readers[$0] == nil && !inputs.contains($0) }.suffix(3)
    if outputs.isEmpty { return nil }
    if random.chance(0.12), let inner = pool.filter({ readers[$0] != nil && !inputs.contains($0) }).last {
      outputs.append(inner)
    }
    if random.chance(0.04) { outputs.append(outputs[outputs.startIndex]) }
    program.graph.outputs = Array(outputs)
    program.graph.removeDeadNodes()
    program.removeUnusedConstants()
    return program.graph.nodes.contains { $0.operatorName == star } ? program : nil
  }

  // MARK: Values

  func shape(_ id: ValueID) -> Shape { program.graph.spec(id).shape }
  func rank(_ id: ValueID) -> Int { shape(id).rank }
  func largest(_ id: ValueID) -> Float {
    tensors[id]?.elements(as: Float.self).map(abs).max() ?? 0
  }

  mutating func addInput(_ shape: Shape, indexBound: Int? = nil) -> ValueID {
    let spec = TensorSpec(indexBound == nil ? .float32 : .int64, shape)
    let id = program.graph.addValue("x\(program.userInputs.count)", spec)
    program.graph.inputs.append(id)
    program.inputKinds.append(.userInput)
    tensors[id] = random.tensor(spec, indexBound: indexBound)
    if let indexBound { indexBounds[id] = indexBound } else { pool.append(id) }
    return id
  }

  mutating func constant(_ shape: Shape, _ range: ClosedRange<Float> = -1...1) -> ValueID {
    constant(Tensor((0..<shape.elementCount).map { _ in random.float(range) }, shape: shape))
  }

  mutating func constant(_ tensor: Tensor) -> ValueID {
    let id = program.addBuffer("w\(program.stateDict.count)", tensor)
    (tensors[id], constants[id]) = (tensor, tensor)
    return id
  }

  /// A weight whose products with values around 1 stay around 1: one of its own, one that another layer has, or one that
  /// the model makes of a parameter of another shape.
  mutating func weight(_ shape: Shape, depth: Int) throws -> ValueID {
    if random.chance(0.15), let known = weights.last(where: { self.shape($0) == shape }) { return known }
    let scale = 1.7 / Float(max(depth, 1)).squareRoot()
    let id: ValueID
    if random.chance(0.08) {
      let line = constant([shape.elementCount], -scale...scale)
      id = try call("aten.view.default", [("self", .value(line)), ("size", .ints(shape.dimensions))])[0]
    } else if random.chance(0.05), shape.rank == 2 {
      let turned = constant([shape[1], shape[0]], -scale...scale)
      id = try call("aten.transpose.int", [("self", .value(turned)), ("dim0", .int(0)), ("dim1", .int(1))])[0]
    } else {
      id = constant(shape, -scale...scale)
    }
    weights.append(id)
    return id
  }

  /// A float value, more often a late one than an early one.
  mutating func value(where suits: (ModelGenerator, ValueID) -> Bool = { _, _ in true }) throws -> ValueID {
    let found = pool.filter { suits(self, $0) }
    guard !found.isEmpty else { throw Unsuitable() }
    return random.chance(0.6) ? random.pick(Array(found.suffix(2))) : random.pick(found)
  }

  /// A value of that rank: one that is there, an input, or one that is there in another shape.
  mutating func value(rank: Int) throws -> ValueID {
    if let found = try? value(where: { $0.rank($1) == rank }), random.chance(0.85) { return found }
    if program.userInputs.count < 3, random.chance(0.5) { return addInput(random.shape(rank: rank)) }
    var id = try value()
    while self.rank(id) < rank {
      let dim = random.int(0...self.rank(id))
      id = try call("aten.unsqueeze.default", [("self", .value(id)), ("dim", .int(dim))])[0]
    }
    while self.rank(id) > rank {
      let dim = random.int(0...self.rank(id) - 2)
      id = try call(
        "aten.flatten.using_ints", [("self", .value(id)), ("start_dim", .int(dim)), ("end_dim", .int(dim + 1))])[0]
    }
    return id
  }

  /// A value of that shape other than `id` where there is one; or made of `id`.
  mutating func partner(of id: ValueID) throws -> ValueID {
    let others = pool.filter { $0 != id && shape($0) == shape(id) }
    if !others.isEmpty, random.chance(0.7) { return random.pick(others) }
    if random.chance(0.2) { return id }
    if random.chance(0.4), rank(id) > 0, shape(id).dimensions.last! <= 24 {
      let size = shape(id).dimensions.last!
      return try call(
        "aten.linear.default", [("input", .value(id)), ("weight", .value(weight([size, size], depth: size)))])[0]
    }
    let function = random.pick(["aten.tanh.default", "aten.relu.default", "aten.sigmoid.default", "aten.neg.default"])
    return try call(function, [("self", .value(id))])[0]
  }

  /// The value brought into ±limit.
  mutating func bounded(_ id: ValueID, by limit: Float) throws -> ValueID {
    guard largest(id) > limit else { return id }
    return try call("aten.mul.Tensor", [("self", .value(id)), ("other", .float(Double(limit / largest(id))))])[0]
  }

  /// A value above about `least`.
  mutating func positive(_ least: Float = 0.5) throws -> ValueID {
    let squashed = try call(
      random.pick(["aten.sigmoid.default", "aten.abs.default", "aten.relu.default"]), [("self", .value(value()))])[0]
    return try call("aten.add.Tensor", [("self", .value(squashed)), ("other", .float(Double(least)))])[0]
  }

  /// The value as PyTorch can make views of it.
  mutating func rowMajor(_ id: ValueID) throws -> ValueID {
    guard strided.contains(id) else { return id }
    return try call("aten.contiguous.default", [("self", .value(id))])[0]
  }

  // MARK: Calls

  /// Adds a call, and computes it; throws where the operator refuses it or the result is of no use.
  mutating func call(_ name: String, _ arguments: [(String, Argument)]) throws -> [ValueID] {
    var node = Node(
      name: "", operatorName: name, arguments: arguments.map { Node.Argument($0.0, $0.1.operand) }, outputs: [])
    let (op, call) = try program.call(of: node, constants: constants)
    let specs = try op.infer(call)
    for spec in specs where spec.shape.elementCount > Self.elementLimit || spec.shape.elementCount == 0 {
      throw Unsuitable()
    }
    for spec in specs where spec.shape.rank > 5 { throw Unsuitable() }
    let results = try op.execute(call, inputs: node.callInputs.map { tensors[$0]! })
    // What nearly cancels, or is cut off, has no digits left that could be compared.
    let least = Self.leastShare * (node.inputs.map { rootMeanSquare(tensors[$0]!) }.max() ?? 0)
    for result in results where result.dataType == .float32 && !name.hasPrefix("aten.zeros") {
      guard result.elements(as: Float.self).allSatisfy({ abs($0) <= Self.largestValue }),
        rootMeanSquare(result) >= least
      else { throw Unsuitable() }
    }
    // As PyTorch names them: the parts of a list by the nodes that take it apart.
    let base = String(name.split(separator: ".")[1])
    let isList = Self.lists.contains(name)
    node.outputs = specs.map { program.graph.addValue(isList ? "getitem" : base, $0) }
    node.name = isList ? "\(base)_of_\(program.graph[node.outputs[0]].name)" : program.graph[node.outputs[0]].name
    program.graph.nodes.append(node)
    for (id, tensor) in zip(node.outputs, results) { tensors[id] = tensor }
    for id in node.inputs { readers[id, default: 0] += 1 }
    let isStrided =
      Self.moving.contains(name) || (!Self.ordering.contains(name) && node.inputs.contains { strided.contains($0) })
    if isStrided { strided.formUnion(node.outputs) }
    return node.outputs
  }

  /// Operators that give several results.
  private static let lists: Set<String> = [
    "aten.chunk.default", "aten.split.Tensor", "aten.split_with_sizes.default", "aten.unbind.int", "aten.lstm.input",
    "aten.gru.input",
  ]
  /// Operators whose results PyTorch may hold in another order.
  private static let moving: Set<String> = [
    "aten.permute.default", "aten.transpose.int", "aten.t.default", "aten.expand.default", "aten.expand_as.default",
    "aten.slice.Tensor", "aten.select.int", "aten.chunk.default", "aten.split.Tensor",
    "aten.split_with_sizes.default", "aten.unbind.int",
  ]
  /// Operators whose results are row-major whatever their inputs are.
  private static let ordering: Set<String> = [
    "aten.contiguous.default", "aten.linear.default", "aten.matmul.default", "aten.mm.default", "aten.bmm.default",
  ]
}

private func rootMeanSquare(_ tensor: Tensor) -> Float {
  guard tensor.dataType == .float32 else { return 0 }
  let elements = tensor.elements(as: Float.self)
  return (elements.reduce(0) { $0 + $1 * $1 } / Float(elements.count)).squareRoot()
}

/// What a drawn call's argument is: a value, values or an attribute.
enum Argument {
  case value(ValueID)
  case values([ValueID])
  case attribute(Attribute)

  static func int(_ value: Int) -> Argument { .attribute(.int(value)) }
  static func ints(_ values: [Int]) -> Argument { .attribute(.ints(values)) }
  static func float(_ value: Double) -> Argument { .attribute(.float(value)) }
  static func bool(_ value: Bool) -> Argument { .attribute(.bool(value)) }
  static func string(_ value: String) -> Argument { .attribute(.string(value)) }

  fileprivate var operand: Operand {
    switch self {
    case .value(let id): .value(id)
    case .values(let ids): .values(ids)
    case .attribute(let attribute): .attribute(attribute)
    }
  }
}

extension Random {
  mutating func skip() { _ = bits() }

  /// Small, and seldom of round sizes.
  fileprivate mutating func shape(rank: Int? = nil) -> Shape {
    switch rank ?? pick([1, 2, 2, 3, 3, 4, 4, 4, 4, 5]) {
    case 1: [int(2...19)]
    case 2: [int(1...4), int(2...17)]
    case 3: [int(1...3), int(1...7), int(2...11)]
    case 4: [int(1...2), int(1...9), int(1...8), int(1...8)]
    case 5: [int(1...2), int(1...3), int(1...3), int(2...5), int(1...5)]
    default: []
    }
  }
}
