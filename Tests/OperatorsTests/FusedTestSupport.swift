import Operators
import TensorCore
import Testing

/// SplitMix64: the same numbers on every machine.
struct FusedRandom {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }

  mutating func bits() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func int(_ range: ClosedRange<Int>) -> Int { range.lowerBound + Int(bits() % UInt64(range.count)) }
  mutating func chance(_ oneIn: Int) -> Bool { int(1...oneIn) == 1 }
  mutating func float(_ range: ClosedRange<Float>) -> Float {
    range.lowerBound + (range.upperBound - range.lowerBound) * Float(bits() >> 40) / 16_777_216
  }
  mutating func pick<T>(_ values: [T]) -> T { values[int(0...values.count - 1)] }

  /// A scale near `magnitude`; every third is a power of two, so that results fall on ties.
  mutating func scale(_ magnitude: Float) -> Float {
    chance(3) ? Float(sign: .plus, exponent: magnitude.exponent, significand: 1) : magnitude * float(0.5...2)
  }

  mutating func zeroPoint() -> Int32 { Int32(pick([-128, 127, 0, int(-128...127), int(-128...127)])) }

  /// int8 elements, extremes more often than not in one of four tensors.
  mutating func int8Tensor(_ shape: Shape, _ order: DimOrder, _ quantization: QuantizationParameters) -> Tensor {
    let isExtreme = chance(4)
    let values = (0..<shape.elementCount).map { _ in
      Int8(isExtreme && !chance(3) ? pick([-128, 127]) : int(-128...127))
    }
    return Tensor(values, shape: shape, dimOrder: order)
      .reinterpreted(as: TensorSpec(.int8, shape, dimOrder: order, quantization: quantization))
  }

  mutating func floatTensor(_ shape: Shape, _ order: DimOrder = .contiguous) -> Tensor {
    Tensor((0..<shape.elementCount).map { _ in float(-2...2) }, shape: shape, dimOrder: order)
  }

  /// An activation of that type; int8 with random parameters.
  mutating func activation(_ type: DataType, _ shape: Shape, _ order: DimOrder) -> Tensor {
    if type == .float32 { return floatTensor(shape, order) }
    return int8Tensor(shape, order, QuantizationParameters(scale: scale(0.03), zeroPoint: zeroPoint()))
  }

  /// Bounds of an int8 output, and the attributes for them; half the time none.
  mutating func int8Bounds() -> (lower: Int, upper: Int, attributes: [String: Attribute]) {
    if chance(2) { return (-128, 127, [:]) }
    let (a, b) = (int(-128...127), int(-128...127))
    let (lower, upper) = (min(a, b), max(a, b))
    return (lower, upper, ["output_min": .float(Double(lower)), "output_max": .float(Double(upper))])
  }

  mutating func floatBounds() -> (lower: Double, upper: Double, attributes: [String: Attribute]) {
    if chance(2) { return (-.infinity, .infinity, [:]) }
    return (-0.5, 1.25, ["output_min": .float(-0.5), "output_max": .float(1.25)])
  }
}

/// A call of an operator with all of its tensors.
struct FusedCall {
  let op: Operator
  var tensors: [(name: String, tensor: Tensor)]
  var attributes: [String: Attribute]
  /// Names whose tensors are given at run time only.
  var computed: Set<String> = []
  /// The tensors of the argument 'tensors', after the others.
  var list: [Tensor] = []

  init(_ name: String, _ tensors: [(String, Tensor)], _ attributes: [String: Attribute] = [:], list: [Tensor] = [])
    throws
  {
    op = try #require(OperatorSet.standard[name], "no operator \(name)")
    self.tensors = tensors
    self.attributes = attributes
    self.list = list
  }

  func call(outputs: [TensorSpec] = []) -> OperatorCall {
    var arguments = CallArguments(attributes.mapValues { CallArgument.attribute($0) })
    for (index, entry) in tensors.enumerated() { arguments[entry.name] = .tensor(index) }
    if !list.isEmpty { arguments["tensors"] = .tensors(Array(tensors.count..<tensors.count + list.count)) }
    let all = tensors.map(\.tensor) + list
    // The first tensor is the activation.
    let constants = tensors.enumerated().map { $0 == 0 || computed.contains($1.name) ? nil : $1.tensor }
    return OperatorCall(
      op: op, node: "n", arguments: arguments, inputs: all.map(\.spec),
      constants: constants + list.map { _ in nil }, outputs: outputs)
  }

  /// Infers, fills in the output's quantization parameters, prepares, and runs on fresh buffers with guard bytes behind
  /// scratch memory and output; then, where the operator allows it, once more in place.
  func run(quantization: QuantizationParameters? = nil) throws -> Tensor {
    var output = try #require(try op.infer(call()).first)
    if output.quantization == nil { output.quantization = quantization }
    let kernel = try op.prepare(call(outputs: [output]))
    let inputs = (tensors.map(\.tensor) + list).map { $0.aligned() }
    let result = FusedCall.execute(kernel, inputs, output, aliasFirst: false)
    if op.has(.inPlace), tensors.first?.name == op.schema.parameters[0].name,
      inputs[0].spec.byteCount == output.byteCount
    {
      let again = FusedCall.execute(kernel, inputs, output, aliasFirst: true)
      #expect(FusedCall.bytes(again) == FusedCall.bytes(result), "in place differs")
    }
    return result
  }

  private static func execute(
    _ kernel: PreparedKernel, _ inputs: [Tensor], _ spec: TensorSpec, aliasFirst: Bool
  ) -> Tensor {
    let guardSize = 64
    let target = Storage(byteCount: spec.byteCount + guardSize)
    let scratch = Storage(byteCount: kernel.scratchByteCount + guardSize)
    for storage in [target, scratch] {
      storage.base.initializeMemory(as: UInt8.self, repeating: 0xA5, count: storage.byteCount)
    }
    var addresses = inputs.map { UnsafeRawPointer($0.storage.base + $0.byteOffset) }
    if aliasFirst {
      target.base.copyMemory(from: addresses[0], byteCount: inputs[0].spec.byteCount)
      addresses[0] = UnsafeRawPointer(target.base)
    }
    let outputs = [target.base]
    addresses.withUnsafeBufferPointer { inputs in
      outputs.withUnsafeBufferPointer { outputs in
        kernel.run(
          KernelBuffers(inputs: inputs.baseAddress!, outputs: outputs.baseAddress!, scratch: scratch.base))
      }
    }
    withExtendedLifetime(inputs) {}
    #expect(target.bytes[spec.byteCount...].allSatisfy { $0 == 0xA5 }, "wrote past the output")
    #expect(scratch.bytes[kernel.scratchByteCount...].allSatisfy { $0 == 0xA5 }, "wrote past the scratch memory")
    return Tensor(spec, storage: target, byteOffset: 0)
  }

  static func bytes(_ tensor: Tensor) -> [UInt8] { tensor.withUnsafeBytes { Array($0) } }
}

/// Element access by logical index, and reals, for references.
struct Logical {
  let spec: TensorSpec
  private let values: [Double]

  init(_ tensor: Tensor) {
    spec = tensor.spec
    switch tensor.dataType {
    case .int8: values = tensor.elements(as: Int8.self).map(Double.init)
    case .int32: values = tensor.elements(as: Int32.self).map(Double.init)
    default: values = tensor.elements(as: Float.self).map(Double.init)
    }
  }

  static func offset(_ spec: TensorSpec, _ index: [Int]) -> Int {
    let size = spec.shape.dimensions
    if spec.dimOrder == .channelsLast {
      return ((index[0] * size[2] + index[2]) * size[3] + index[3]) * size[1] + index[1]
    }
    return zip(index, size).reduce(0) { $0 * $1.1 + $1.0 }
  }

  /// The stored number.
  subscript(_ index: Int...) -> Double { values[Logical.offset(spec, index)] }
  func at(_ index: [Int]) -> Double { values[Logical.offset(spec, index)] }

  /// What the stored number stands for; per channel along dimension 0.
  func real(_ index: Int...) -> Double { real(at: index) }
  func real(at index: [Int]) -> Double {
    let stored = values[Logical.offset(spec, index)]
    guard let quantization = spec.quantization else { return stored }
    let scale = quantization.scales[quantization.isPerChannel ? index[0] : 0]
    return (stored - Double(quantization.zeroPoint)) * Double(scale)
  }

  /// All logical indices of a shape, outermost first.
  static func indices(_ shape: Shape) -> [[Int]] {
    var result: [[Int]] = [[]]
    for size in shape.dimensions { result = result.flatMap { prefix in (0..<size).map { prefix + [$0] } } }
    return result
  }
}

/// Round half to even, add the zero point, then clamp: the definition, in another order than the kernels'.
func referenceQuantum(_ scaled: Float, _ zeroPoint: Int32, _ lower: Int, _ upper: Int) -> Double {
  min(max(Double(scaled).rounded(.toNearestOrEven) + Double(zeroPoint), Double(lower)), Double(upper))
}

/// The quantum of a real, computed in Double.
func simulatedQuantum(_ real: Double, _ parameters: QuantizationParameters, _ lower: Int, _ upper: Int) -> Double {
  let quantum = (real / Double(parameters.scales[0])).rounded(.toNearestOrEven) + Double(parameters.zeroPoint)
  return min(max(quantum, Double(lower)), Double(upper))
}

/// Compares an int8 result, index by index, with the exact reference, and with the float simulation to one quantum.
func expectInt8(
  _ result: Tensor, _ lower: Int, _ upper: Int, _ comment: @autoclosure () -> String,
  exact: ([Int]) -> Double, simulated: ([Int]) -> Double
) {
  let logical = Logical(result)
  guard let parameters = result.spec.quantization else {
    Issue.record("the result has no quantization parameters")
    return
  }
  for index in Logical.indices(result.shape) {
    let (got, want) = (logical.at(index), exact(index))
    let simulation = simulatedQuantum(simulated(index), parameters, lower, upper)
    if got != want || abs(got - simulation) > 1 {
      Issue.record("\(comment()) at \(index): got \(got), reference \(want), simulation \(simulation)")
      return
    }
  }
}

func expectFloat(
  _ result: Tensor, tolerance: Double, _ comment: @autoclosure () -> String, reference: ([Int]) -> Double
) {
  let logical = Logical(result)
  for index in Logical.indices(result.shape) {
    let (got, want) = (logical.at(index), reference(index))
    if !(abs(got - want) <= tolerance * max(1, abs(want))) {
      Issue.record("\(comment()) at \(index): got \(got), reference \(want)")
      return
    }
  }
}
