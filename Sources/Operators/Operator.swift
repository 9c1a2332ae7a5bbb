import Synchronization
import TensorCore

/// An operator: a struct of functions. `infer` and `prepare` check everything; the kernel that `prepare` returns runs blind.
public struct Operator: Sendable {
  /// The qualified name with its overload, `aten.relu.default`.
  public let name: String
  /// The output specs for the given inputs; throws when the call is not valid. `call.outputs` is empty.
  public let infer: @Sendable (OperatorCall) throws(OperatorError) -> [TensorSpec]
  /// Validates the call against its outputs' specs, computes what does not depend on the data, and returns the kernel.
  public let prepare: @Sendable (OperatorCall) throws(OperatorError) -> PreparedKernel
  /// Whether the first output may lie at the address of the first input and is as large: elementwise
  /// kernels, and those that write beside what the first input has.
  public let isInPlace: Bool

  private let text: SchemaText

  public var schema: Schema { text.schema }

  public init(
    _ schema: String, isInPlace: Bool = false,
    infer: @escaping @Sendable (OperatorCall) throws(OperatorError) -> [TensorSpec],
    prepare: @escaping @Sendable (OperatorCall) throws(OperatorError) -> PreparedKernel
  ) {
    name = String(decoding: schema.utf8.prefix { $0 != UInt8(ascii: "(") }, as: UTF8.self)
    text = SchemaText(schema)
    self.infer = infer
    self.prepare = prepare
    self.isInPlace = isInPlace
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
  public let inputs: UnsafePointer<UnsafeRawPointer>
  public let outputs: UnsafePointer<UnsafeMutableRawPointer>
  /// `PreparedKernel.scratchByteCount` bytes, 64-byte aligned, of undefined content.
  public let scratch: UnsafeMutableRawPointer

  public init(
    inputs: UnsafePointer<UnsafeRawPointer>, outputs: UnsafePointer<UnsafeMutableRawPointer>,
    scratch: UnsafeMutableRawPointer
  ) {
    self.inputs = inputs
    self.outputs = outputs
    self.scratch = scratch
  }

  @inline(__always)
  public func input<T>(_ index: Int, as type: T.Type = T.self) -> UnsafePointer<T> {
    inputs[index].assumingMemoryBound(to: T.self)
  }

  @inline(__always)
  public func output<T>(_ index: Int = 0, as type: T.Type = T.self) -> UnsafeMutablePointer<T> {
    outputs[index].assumingMemoryBound(to: T.self)
  }
}

/// A validated call, ready to run any number of times. `run` allocates nothing.
public struct PreparedKernel: Sendable {
  public let run: @Sendable (KernelBuffers) -> Void
  public let scratchByteCount: Int

  public init(scratchByteCount: Int = 0, run: @escaping @Sendable (KernelBuffers) -> Void) {
    self.run = run
    self.scratchByteCount = scratchByteCount
  }
}

/// A call that an operator refuses: which, where, on what, and why.
public struct OperatorError: Error, Hashable, Sendable, CustomStringConvertible {
  public let operatorName: String
  public let node: String
  public let inputs: [TensorSpec]
  public let reason: String

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
