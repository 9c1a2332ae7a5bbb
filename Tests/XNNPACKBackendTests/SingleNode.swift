import Swiftlet
import Testing

/// One fused operator as a program of its own, run by XNNPACK or by the portable kernel.
struct SingleNode {
  let operatorName: String
  var arguments: [(String, CallArgument)]
  /// Activations and constants in the order that the arguments refer to.
  var inputs: [Tensor]
  var constantIndices: Set<Int> = []
  var output: TensorSpec

  private func call() throws -> OperatorCall {
    let op = try #require(OperatorSet.standard[operatorName])
    return OperatorCall(
      op: op, node: "node", arguments: CallArguments(Dictionary(uniqueKeysWithValues: arguments)),
      inputs: inputs.map(\.spec), constants: inputs.indices.map { constantIndices.contains($0) ? inputs[$0] : nil },
      outputs: [output])
  }

  func reasonAgainst() throws -> String? { try XNNPACKPartitioner().reasonAgainst(call()) }

  /// - Parameters:
  ///   - force: delegates even if the partitioner has a reason against it.
  ///   - inPlace: the output lies where the first input lies.
  func method(
    delegate: Bool, threads: Int = 1, force: Bool = false, inPlace: Bool = false, kernels: MethodOptions.Kernels = .auto
  ) throws -> Method {
    let call = try call()
    let partitioner = XNNPACKPartitioner()
    let outputIndex = inputs.count
    let isDelegated = delegate && (force || partitioner.reasonAgainst(call) == nil)
    var offset = 0
    var values: [Program.Value] = []
    for (index, tensor) in inputs.enumerated() {
      let location: Program.Location = constantIndices.contains(index) ? .constant(tensor) : .arena(offset)
      values.append(.init(name: "input\(index)", spec: tensor.spec, location: location))
      offset += (tensor.spec.byteCount + 2 * Storage.padding - 1) / 64 * 64
    }
    values.append(.init(name: "output", spec: output, location: .arena(inPlace ? 0 : offset)))
    offset += (output.byteCount + 2 * Storage.padding - 1) / 64 * 64
    let bytes = isDelegated ? try partitioner.encode(call, inputs: Array(inputs.indices), outputs: [outputIndex]) : []
    let program = Program(
      name: operatorName, values: values, inputs: inputs.indices.filter { !constantIndices.contains($0) },
      outputs: [outputIndex],
      instructions: [
        .init(
          node: "node", op: call.op, arguments: call.arguments, inputs: Array(inputs.indices),
          outputs: [outputIndex], delegateCall: isDelegated ? .init(delegate: 0, node: 0) : nil,
          reason: isDelegated ? nil : "not delegated", sourceNodes: [])
      ],
      delegates: isDelegated ? [.init(backend: partitioner.backend, nodeCount: 1, processed: bytes)] : [],
      arenaByteCount: offset)
    return try Method(
      program, threads: ThreadPool(threadCount: threads), options: MethodOptions(kernels: kernels))
  }

  func run(_ method: Method) throws -> [UInt8] {
    let activations = inputs.indices.filter { !constantIndices.contains($0) }.map { inputs[$0] }
    return try method.run(activations)[0].withUnsafeBytes { [UInt8]($0) }
  }

  /// The delegate runs it, on kernels of its own and on the library's, with one thread and with two, and gives the
  /// portable kernel's bytes (f32: within `tolerance`).
  func expectDelegateEqualsPortable(
    tolerance: Float = 1e-5, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let portable = try run(method(delegate: false))
    for (kernels, threads) in [(MethodOptions.Kernels.auto, 1), (.auto, 2), (.xnnpack, 1), (.xnnpack, 2)] {
      let method = try method(delegate: true, threads: threads, kernels: kernels)
      let reason = try reasonAgainst() ?? method.operations[0].reason ?? ""
      #expect(
        method.operations[0].backend != .portable, "\(operatorName) \(inputs.map(\.spec)): \(reason)",
        sourceLocation: sourceLocation)
      let delegated = try run(method)
      if output.dataType == .float32 {
        let a = delegated.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        let b = portable.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        let scale = b.map(abs).max() ?? 1
        #expect(
          zip(a, b).allSatisfy { abs($0 - $1) <= tolerance * max(scale, 1) }, "\(operatorName) \(inputs.map(\.spec))",
          sourceLocation: sourceLocation)
      } else {
        #expect(
          delegated == portable, "\(operatorName) \(inputs.map(\.spec)) -> \(output)", sourceLocation: sourceLocation)
      }
    }
  }
}

/// A seeded source of shapes, scales and elements.
struct Random {
  private var state: UInt64

  init(_ seed: Int) { state = UInt64(truncatingIfNeeded: seed) &* 2 &+ 1 }

  mutating func next(_ range: ClosedRange<Int>) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return range.lowerBound + Int(state >> 33) % (range.upperBound - range.lowerBound + 1)
  }

  mutating func unit() -> Float { Float(next(0...(1 << 24) - 1)) / Float(1 << 24) }

  mutating func float(_ low: Float, _ high: Float) -> Float { low + (high - low) * unit() }

  /// Activations of the given shape: uniform int8 with random parameters, or uniform floats in [-2, 2].
  mutating func activation(_ shape: Shape, _ type: DataType, _ quantization: QuantizationParameters? = nil) -> Tensor {
    let order: DimOrder = shape.rank == 4 ? .channelsLast : .contiguous
    if type == .float32 {
      let values = (0..<shape.elementCount).map { _ in float(-2, 2) }
      return Tensor(values, shape: shape, dimOrder: order)
    }
    let values = (0..<shape.elementCount).map { _ in Int8(next(-128...127)) }
    return Tensor(values, shape: shape, dimOrder: order).reinterpreted(
      as: TensorSpec(.int8, shape, dimOrder: order, quantization: quantization ?? parameters()))
  }

  mutating func parameters() -> QuantizationParameters {
    QuantizationParameters(scale: float(0.005, 0.05), zeroPoint: Int32(next(-128...127)))
  }

  /// Symmetric weights in [-127, 127], or floats in [-0.5, 0.5].
  mutating func weight(_ shape: Shape, _ type: DataType, perChannel: Bool) -> Tensor {
    let order: DimOrder = shape.rank == 4 ? .channelsLast : .contiguous
    if type == .float32 {
      return Tensor((0..<shape.elementCount).map { _ in float(-0.5, 0.5) }, shape: shape, dimOrder: order)
    }
    let quantization =
      perChannel
      ? QuantizationParameters(perChannel: (0..<shape[0]).map { _ in float(0.001, 0.02) }, axis: 0)
      : QuantizationParameters(scale: float(0.001, 0.02), zeroPoint: 0)
    let values = (0..<shape.elementCount).map { _ in Int8(next(-127...127)) }
    return Tensor(values, shape: shape, dimOrder: order).reinterpreted(
      as: TensorSpec(.int8, shape, dimOrder: order, quantization: quantization))
  }

  mutating func bias(_ count: Int, _ type: DataType) -> Tensor {
    type == .float32
      ? Tensor((0..<count).map { _ in float(-1, 1) }, shape: [count])
      : Tensor((0..<count).map { _ in Int32(next(-20_000...20_000)) }, shape: [count])
  }

  /// The output's spec: int8 with parameters that random sums of `terms` products mostly fit.
  mutating func output(_ shape: Shape, _ type: DataType, scale: Float) -> TensorSpec {
    TensorSpec(
      type, shape, dimOrder: shape.rank == 4 ? .channelsLast : .contiguous,
      quantization: type == .int8 ? QuantizationParameters(scale: scale, zeroPoint: Int32(next(-128...127))) : nil)
  }
}
