import Swiftlet
import Testing

/// One fused operator as a program of its own, run by XNNPACK or by the portable kernel.
package struct SingleNode {
  package let operatorName: String
  private let arguments: [(String, CallArgument)]
  /// Activations and constants in the order that the arguments refer to.
  package let inputs: [Tensor]
  private let constantIndices: Set<Int>
  package var output: TensorSpec

  package init(
    operatorName: String, arguments: [(String, CallArgument)], inputs: [Tensor], constantIndices: Set<Int> = [],
    output: TensorSpec
  ) {
    (self.operatorName, self.arguments, self.inputs) = (operatorName, arguments, inputs)
    (self.constantIndices, self.output) = (constantIndices, output)
  }

  private func call() throws -> OperatorCall {
    let op = try #require(OperatorSet.standard[operatorName])
    return OperatorCall(
      op: op, node: "node", arguments: CallArguments(Dictionary(uniqueKeysWithValues: arguments)),
      inputs: inputs.map(\.spec), constants: inputs.indices.map { constantIndices.contains($0) ? inputs[$0] : nil },
      outputs: [output])
  }

  package func reasonAgainst() throws -> String? { try XNNPACKPartitioner().reasonAgainst(call()) }

  /// - Parameters:
  ///   - force: delegates even if the partitioner has a reason against it.
  ///   - inPlace: the output lies where the first input lies.
  package func method(
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

  package func run(_ method: Method) throws -> [UInt8] {
    let activations = inputs.indices.filter { !constantIndices.contains($0) }.map { inputs[$0] }
    return try method.run(activations)[0].withUnsafeBytes { [UInt8]($0) }
  }

  /// The delegate runs it, on kernels of its own and on the library's, with one thread and with two, and gives the
  /// portable kernel's bytes (f32: within `tolerance`).
  package func expectDelegateEqualsPortable(
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
