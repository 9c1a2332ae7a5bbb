import Synchronization
import TensorCore

/// An operator: its name and schema, its functions, and what passes may know of it. `infer` and `prepare` check everything;
/// the kernel that `prepare` returns runs blind.
///
/// Passes compare operators (`node.op == .relu`) and ask for their traits; a name is spelled where its operator is defined,
/// and in the tables of formats. Two operators of the same name are equal.
public final class Operator: Sendable {
  /// The qualified name with its overload, `aten.relu.default`.
  public let name: String
  /// What passes may know of the operator without knowing it.
  public let traits: Traits
  /// What it is if it is a layer with a weight.
  public let layer: Layer?
  /// Where all results lie, whatever the input: [0, 1] for sigmoid.
  public let resultRange: ClosedRange<Float>?
  /// Of an operator that clamps (`Traits.clamps`): the bounds of a call, as they are given.
  public let bounds: (@Sendable (OperatorCall) throws(OperatorError) -> (low: Double, high: Double))?
  /// Why quantizers leave it in float, where one might expect otherwise.
  public let reasonForFloat: String?
  /// The output specs for the given inputs; throws when the call is not valid. `call.outputs` is empty.
  public let infer: @Sendable (OperatorCall) throws(OperatorError) -> [TensorSpec]
  /// Validates the call against its outputs' specs, computes what does not depend on the data, and returns the kernel.
  public let prepare: @Sendable (OperatorCall) throws(OperatorError) -> PreparedKernel
  /// False for what stands in a graph for a name that no operator has.
  package let isKnown: Bool

  private let text: SchemaText
  private let hash: Int

  package var schema: Schema { text.schema }

  /// The name without namespace and overload, `relu`: what nodes are called after.
  package var functionName: String { name.split(separator: ".").dropFirst().first.map(String.init) ?? name }

  /// An operator with this schema (`aten.relu.default(Tensor self) -> Tensor`).
  public init(
    _ schema: String, traits: Traits = [], layer: Layer? = nil, resultRange: ClosedRange<Float>? = nil,
    bounds: (@Sendable (OperatorCall) throws(OperatorError) -> (low: Double, high: Double))? = nil,
    reasonForFloat: String? = nil,
    infer: @escaping @Sendable (OperatorCall) throws(OperatorError) -> [TensorSpec],
    prepare: @escaping @Sendable (OperatorCall) throws(OperatorError) -> PreparedKernel
  ) {
    name = String(decoding: schema.utf8.prefix { $0 != UInt8(ascii: "(") }, as: UTF8.self)
    hash = name.hashValue
    text = SchemaText(schema)
    isKnown = true
    self.traits = traits
    self.layer = layer
    self.resultRange = resultRange
    self.bounds = bounds
    self.reasonForFloat = reasonForFloat
    self.infer = infer
    self.prepare = prepare
  }

  /// What stands in a graph for a name that no operator has. Every call of it is refused.
  package init(unknown name: String) {
    self.name = name
    hash = name.hashValue
    text = SchemaText("unknown() -> Tensor")
    isKnown = false
    traits = []
    layer = nil
    resultRange = nil
    bounds = nil
    reasonForFloat = nil
    infer = { call throws(OperatorError) in throw call.error("unknown operator") }
    prepare = { call throws(OperatorError) in throw call.error("unknown operator") }
  }
}

extension Operator: Hashable {
  public static func == (a: Operator, b: Operator) -> Bool { a === b || (a.hash == b.hash && a.name == b.name) }
  public func hash(into hasher: inout Hasher) { hasher.combine(hash) }
}

extension Operator: CustomStringConvertible {
  public var description: String { name }
}

extension Operator {
  /// What passes may know of an operator without knowing it. Each says what holds for every call.
  public struct Traits: OptionSet, Hashable, Sendable {
    /// A bit for each trait.
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The first output may lie at the address of the first input and is as large: elementwise kernels, and those that
    /// write beside what the first input has.
    public static let inPlace = Traits(rawValue: 1 << 0)
    /// Each element of the result is a function of the element of the first tensor at its place, and of attributes: in
    /// int8, a table of 256 entries.
    public static let pointwise: Traits = [inPlace, Traits(rawValue: 1 << 1)]
    /// Brings each element between two bounds (`Operator.bounds`): what computes its input may do so instead.
    public static let clamps: Traits = [pointwise, Traits(rawValue: 1 << 2)]
    /// Outputs hold elements of the inputs, and constants, as they are: nothing is computed.
    public static let movesElements = Traits(rawValue: 1 << 3)
    /// Each result is one of the input's elements, chosen by an order that quantization keeps; less than all, where there is none.
    public static let choosesElements = Traits(rawValue: 1 << 4)
    /// The result may lie in the memory of the first input: what writes to one changes the other.
    public static let mayAlias = Traits(rawValue: 1 << 5)
    /// The elements of the first input in their order, under another shape.
    public static let reshapes: Traits = [movesElements, mayAlias, sharesQuantization, Traits(rawValue: 1 << 6)]
    /// The result is the first input, at least outside training.
    public static let passesThrough: Traits = [movesElements, sharesQuantization, Traits(rawValue: 1 << 7)]
    /// Makes a constant of its attributes alone.
    public static let createsConstant = Traits(rawValue: 1 << 8)
    /// Results lie in the range of the first input and are quantized with its parameters.
    public static let sharesQuantization = Traits(rawValue: 1 << 9)
    /// Quantizers give operands and result parameters of their own.
    public static let ownQuantization = Traits(rawValue: 1 << 10)
    /// Turns reals into integers by given parameters.
    public static let quantizes = Traits(rawValue: 1 << 11)
    /// Turns integers into reals by given parameters.
    public static let dequantizes = Traits(rawValue: 1 << 12)
    /// Chooses parameters of quantization by the data.
    public static let choosesParameters = Traits(rawValue: 1 << 13)
    /// Any operator that stands in Q/DQ graphs alone.
    public static let quantizeDequantize: Traits = [quantizes, dequantizes, choosesParameters]
    /// Shows a value to an observer and gives it unchanged.
    public static let observes = Traits(rawValue: 1 << 14)
    /// Stands in lowered graphs alone: what a backend runs as a unit, f32 or int8, with quantization parameters on its
    /// values.
    public static let fused = Traits(rawValue: 1 << 15)
    /// Where a channel of the first input is multiplied by a positive number, that channel of the result is too.
    public static let scalesWithChannels = Traits(rawValue: 1 << 17)
    /// Quantizes its input inside: the sums are of integers although the values around it are real.
    public static let dynamic = Traits(rawValue: 1 << 16)
  }

  /// Whether the operator has any of these traits.
  public func isAny(_ traits: Traits) -> Bool { !self.traits.isDisjoint(with: traits) }
  /// Whether the operator has all of these traits.
  public func has(_ traits: Traits) -> Bool { self.traits.isSuperset(of: traits) }

  /// A layer with a weight, and an optional bias, of one element for each channel of the result.
  public enum Layer: Hashable, Sendable {
    /// Over `spatial` dimensions, the last of input and result; channels are the dimension before them.
    case convolution(spatial: Int)
    /// Its gradient, with the same dimensions.
    case transposedConvolution(spatial: Int)
    /// Channels are the last dimension.
    case linear

    /// The dimension of the channels in a result of that rank.
    public func channelDimension(rank: Int) -> Int {
      switch self {
      case .convolution(let spatial), .transposedConvolution(let spatial): rank - spatial - 1
      case .linear: rank - 1
      }
    }
  }
}

/// A schema that is parsed when it is first asked for: a program needs few of all operators, and loading one is to be quick.
private final class SchemaText: Sendable {
  private let text: String
  private let parsed = Mutex<Schema?>(nil)

  init(_ text: String) { self.text = text }

  var schema: Schema {
    parsed.withLock { parsed in
      if let parsed { return parsed }
      let schema = Schema(text)
      parsed = schema
      return schema
    }
  }
}

/// The buffers of one kernel run. Inputs are in the order of `OperatorCall.inputs`, aligned to their element size and
/// readable 16 bytes past their end.
public struct KernelBuffers {
  /// The addresses of the inputs' first elements.
  public let inputs: UnsafePointer<UnsafeRawPointer>
  /// The addresses of the outputs' first elements.
  public let outputs: UnsafePointer<UnsafeMutableRawPointer>
  /// `PreparedKernel.scratchByteCount` bytes, 64-byte aligned, of undefined content.
  public let scratch: UnsafeMutableRawPointer

  /// Buffers that stay valid while the kernel runs.
  public init(
    inputs: UnsafePointer<UnsafeRawPointer>, outputs: UnsafePointer<UnsafeMutableRawPointer>,
    scratch: UnsafeMutableRawPointer
  ) {
    self.inputs = inputs
    self.outputs = outputs
    self.scratch = scratch
  }

  /// The elements of an input in memory order.
  @inline(__always)
  public func input<T>(_ index: Int, as type: T.Type = T.self) -> UnsafePointer<T> {
    inputs[index].assumingMemoryBound(to: T.self)
  }

  /// Where the elements of an output go, in memory order.
  @inline(__always)
  public func output<T>(_ index: Int = 0, as type: T.Type = T.self) -> UnsafeMutablePointer<T> {
    outputs[index].assumingMemoryBound(to: T.self)
  }
}

/// A validated call, ready to run any number of times. `run` allocates nothing.
public struct PreparedKernel: Sendable {
  /// Computes all outputs. Called from one thread at a time.
  public let run: @Sendable (KernelBuffers) -> Void
  /// Bytes of `KernelBuffers.scratch` that it needs.
  public let scratchByteCount: Int

  /// A kernel that runs as `run` says.
  public init(scratchByteCount: Int = 0, run: @escaping @Sendable (KernelBuffers) -> Void) {
    self.run = run
    self.scratchByteCount = scratchByteCount
  }
}

/// A call that an operator refuses: which, where, on what, and why.
public struct OperatorError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The qualified name, `aten.relu.default`.
  public let operatorName: String
  /// The node that calls it.
  public let node: String
  /// What it was called with.
  public let inputs: [TensorSpec]
  /// What is wrong, in words.
  public let reason: String

  /// A refusal; `OperatorCall.error` makes one with what the call knows.
  public init(operatorName: String, node: String, inputs: [TensorSpec], reason: String) {
    self.operatorName = operatorName
    self.node = node
    self.inputs = inputs
    self.reason = reason
  }

  public var description: String {
    let specs = inputs.map(\.description).joined(separator: ", ")
    return "\(operatorName) (node '\(node)'): \(reason); inputs: \(specs.isEmpty ? "none" : specs)"
  }
}
