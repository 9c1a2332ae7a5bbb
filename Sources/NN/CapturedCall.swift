import GraphIR
import Operators
import SymbolicSizes
import TensorCore

/// One call of an operator while a model is captured: what it is in the example, and how its sizes vary.
struct CapturedCall {
  struct Refusal: Error {
    let reason: String
    /// The sizes that were refused; nil for those of the example.
    var sample: [String: Int]?
  }

  private let op: Operator
  /// In schema order; those that equal the schema's default are left out.
  private(set) var nodeArguments: [Node.Argument] = []
  private(set) var outputs: [TensorSpec] = []
  private(set) var outputSizes: [[SymbolicSize]] = []
  /// By parameter, integer arguments with symbols in them.
  private(set) var sizeArguments: [String: [SymbolicSize]] = [:]
  private var arguments = CallArguments()
  private var inputs: [SymbolicTensor] = []

  /// Throws when the operator has no such argument, or refuses the example's shapes.
  init(_ op: Operator, _ given: [(String, CaptureArgument)]) throws(Refusal) {
    self.op = op
    for (name, _) in given where op.schema.parameter(named: name) == nil {
      throw Refusal(reason: "has no argument '\(name)'")
    }
    for parameter in op.schema.parameters {
      guard let argument = given.first(where: { $0.0 == parameter.name })?.1 else { continue }
      let operand = add(argument, parameter)
      if case .attribute(let value) = operand, value == parameter.defaultValue { continue }
      nodeArguments.append(Node.Argument(parameter.name, operand))
    }
    outputs = try infer(inputs.map(\.spec), arguments)
    outputSizes = outputs.map { $0.shape.dimensions.map { .int($0) } }
  }

  private mutating func add(_ argument: CaptureArgument, _ parameter: Schema.Parameter) -> Operand {
    let name = parameter.name
    let attribute: Attribute
    switch argument {
    case .tensor(let tensor):
      arguments[name] = .tensor(inputs.count)
      inputs.append(tensor)
      return .value(tensor.id)
    case .tensors(let tensors):
      arguments[name] = .tensors(Array(inputs.count..<inputs.count + tensors.count))
      inputs += tensors
      return .values(tensors.map(\.id))
    case .int(let value): attribute = .int(value)
    case .float(let value): attribute = .float(value)
    case .bool(let value): attribute = .bool(value)
    case .string(let value): attribute = .string(value)
    case .ints(let values): attribute = .ints(values)
    case .floats(let values): attribute = .floats(values)
    case .dataType(let type): attribute = .dataType(type)
    case .none: attribute = .none
    case .size(let size):
      attribute = .int(size.hint)
      if !size.expression.isConstant { sizeArguments[name] = [size.expression] }
    case .sizes(let sizes):
      attribute = .ints(sizes.map(\.hint))
      if sizes.contains(where: { !$0.expression.isConstant }) { sizeArguments[name] = sizes.map(\.expression) }
    }
    arguments[name] = .attribute(attribute)
    return .attribute(attribute)
  }

  private func infer(
    _ specs: [TensorSpec], _ arguments: CallArguments
  ) throws(Refusal) -> [TensorSpec] {
    let call = OperatorCall(
      op: op, node: "", arguments: arguments, inputs: specs,
      constants: [Tensor?](repeating: nil, count: specs.count))
    do { return try op.infer(call) } catch {
      let shapes = error.inputs.map(\.description).joined(separator: ", ")
      throw Refusal(reason: shapes.isEmpty ? error.reason : "\(error.reason) (inputs: \(shapes))")
    }
  }

  /// The result's sizes with these symbols.
  private typealias Sample = (symbols: [String: Int], outputs: [TensorSpec])

  /// Further samples that an operator is asked for.
  private static let testLimit = 96

  /// Asks the operator for its sizes at every sample, and at further ones while several rules would do, and finds the
  /// rules.
  ///
  /// Throws when it refuses one of them, and when a size follows no rule.
  mutating func inferSizes(_ samples: [[String: Int]]) throws(Refusal) {
    let isVarying = !sizeArguments.isEmpty || inputs.contains { $0.sizes.contains { !$0.isConstant } }
    guard isVarying, !samples.isEmpty else { return }
    var known: [Sample] = []
    for symbols in samples {
      if let outputs = try outputs(at: symbols) { known.append((symbols, outputs)) }
    }
    for symbol in samples[0].keys.sorted() where Set(samples.map { $0[symbol] }).count > 1 {
      guard Set(known.map { $0.symbols[symbol] }).count > 1 else {
        throw Refusal(reason: "hardly any value in the range of \(symbol) is possible; give the size a smaller bound")
      }
    }
    for _ in 0..<CapturedCall.testLimit {
      // One of these: where none is possible, it makes no difference which of the rules is taken.
      guard let test = try firstPossible(try findRules(known)) else { return }
      known.append(test)
    }
    throw Refusal(
      reason: "the rules that its result's sizes may follow cannot be told apart; make the input's size fixed")
  }

  private func firstPossible(_ tests: [[String: Int]]) throws(Refusal) -> Sample? {
    for symbols in tests {
      if let outputs = try outputs(at: symbols) { return (symbols, outputs) }
    }
    return nil
  }

  /// Takes the simplest rules; returns where others that are right at all samples differ from them.
  private mutating func findRules(_ known: [Sample]) throws(Refusal) -> [[String: Int]] {
    let atoms = inputs.flatMap(\.sizes) + sizeArguments.keys.sorted().flatMap { sizeArguments[$0]! }
    let fitter = SizeFitter(atoms: atoms, samples: known.map(\.symbols))
    var tests: [[String: Int]] = []
    for output in outputs.indices {
      for dim in outputs[output].shape.dimensions.indices {
        switch fitter.rule(for: known.map { $0.outputs[output].shape[dim] }) {
        case .rule(let rule): outputSizes[output][dim] = rule
        case .ambiguous(let rule, let differing):
          outputSizes[output][dim] = rule
          tests += differing
        case .none:
          throw Refusal(
            reason: "dimension \(dim) of its result follows no rule of its inputs' sizes that can be written down "
              + "(\(inputs.prefix(4).map { "\($0.sizes)" }.joined(separator: ", "))); make the input's size fixed")
        }
      }
    }
    return tests
  }

  /// Nil where an input would have more elements than there are numbers.
  private func outputs(at sample: [String: Int]) throws(Refusal) -> [TensorSpec]? {
    let values = sample.sorted { $0.key < $1.key }.map { "\($0.key) = \($0.value)" }.joined(separator: ", ")
    var specs: [TensorSpec] = []
    for input in inputs {
      let dimensions = input.sizes.compactMap { $0.evaluated(sample) }
      guard dimensions.count == input.sizes.count, dimensions.allSatisfy({ $0 >= 0 }) else {
        throw Refusal(reason: "with \(values), an input of \(input.sizes) is impossible", sample: sample)
      }
      guard let shape = Shape(validating: dimensions) else { return nil }
      var spec = input.spec
      spec.shape = shape
      specs.append(spec)
    }
    var arguments = arguments
    for (name, sizes) in sizeArguments {
      let numbers = sizes.compactMap { $0.evaluated(sample) }
      guard numbers.count == sizes.count else {
        throw Refusal(reason: "with \(values), the argument '\(name)' of \(sizes) is impossible", sample: sample)
      }
      if case .attribute(.int) = arguments[name] {
        arguments[name] = .attribute(.int(numbers[0]))
      } else {
        arguments[name] = .attribute(.ints(numbers))
      }
    }
    let result: [TensorSpec]
    do { result = try infer(specs, arguments) } catch {
      throw Refusal(
        reason: "with \(values): \(error.reason). Give the size a range that leaves this out", sample: sample)
    }
    guard result.count == outputs.count, zip(result, outputs).allSatisfy({ $0.shape.rank == $1.shape.rank }) else {
      throw Refusal(reason: "with \(values), its results have another number of dimensions", sample: sample)
    }
    return result
  }
}
