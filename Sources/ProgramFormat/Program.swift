import Operators
import TensorCore

/// A lowered method, ready to load: instructions over a table of values whose memory is planned. Immutable.
public struct Program: Sendable {
  /// Where a value's bytes are while the method runs.
  package enum Location: Sendable {
    case constant(Tensor)
    /// Byte offset in the method's arena, a multiple of 64.
    case arena(Int)
  }

  package struct Value: Sendable {
    package let name: String
    package internal(set) var spec: TensorSpec
    package var location: Location
    /// The value in whose memory it lies, where it is another view of the same elements. That one has no owner itself.
    package let owner: Int?

    package init(name: String, spec: TensorSpec, location: Location, owner: Int? = nil) {
      self.name = name
      self.spec = spec
      self.location = location
      self.owner = owner
    }
  }

  /// The place of an instruction in a delegate.
  package struct DelegateCall: Hashable, Sendable {
    package let delegate: Int
    package let node: Int

    package init(delegate: Int, node: Int) {
      self.delegate = delegate
      self.node = node
    }
  }

  /// One operator call. Also a delegated instruction names its portable operator, which runs if the delegate refuses it.
  package struct Instruction: Sendable {
    package let node: String
    package let op: Operator
    package internal(set) var arguments: CallArguments
    /// Indices into `values`, in the order that `arguments` refers to.
    package let inputs: [Int]
    package let outputs: [Int]
    package let delegateCall: DelegateCall?
    /// Why it is not delegated; nil when it is.
    package let reason: String?
    /// The nodes of the exported graph that this instruction stands for.
    package let sourceNodes: [String]
    /// Whether its first output may lie where its first input lies, where both have as many bytes.
    package let isInPlace: Bool

    package init(
      node: String, op: Operator, arguments: CallArguments, inputs: [Int], outputs: [Int],
      delegateCall: DelegateCall?, reason: String?, sourceNodes: [String], isInPlace: Bool = false
    ) {
      self.node = node
      self.op = op
      self.arguments = arguments
      self.inputs = inputs
      self.outputs = outputs
      self.delegateCall = delegateCall
      self.reason = reason
      self.sourceNodes = sourceNodes
      self.isInPlace = isInPlace
    }
  }

  /// A subgraph compiled for a backend: its nodes in the backend's own encoding, one per delegated instruction.
  package struct Delegate: Sendable {
    package let backend: String
    package let nodeCount: Int
    package let processed: [UInt8]

    package init(backend: String, nodeCount: Int, processed: [UInt8]) {
      self.backend = backend
      self.nodeCount = nodeCount
      self.processed = processed
    }
  }

  /// The model's name, for messages.
  public let name: String
  package internal(set) var values: [Value]
  package let inputs: [Int]
  package let outputs: [Int]
  package internal(set) var instructions: [Instruction]
  package let delegates: [Delegate]
  /// Bytes of memory for all activations, at the example's sizes where sizes vary.
  public internal(set) var arenaByteCount: Int
  /// The most bytes of activations alive at one instruction, padding included: no arena is smaller. 0 for a program that
  /// was not planned.
  package internal(set) var arenaLowerBound = 0
  /// Nil where all sizes are fixed.
  package internal(set) var dynamicSizes: DynamicSizes?

  package init(
    name: String, values: [Value], inputs: [Int], outputs: [Int], instructions: [Instruction], delegates: [Delegate],
    arenaByteCount: Int, dynamicSizes: DynamicSizes? = nil
  ) {
    self.name = name
    self.values = values
    self.inputs = inputs
    self.outputs = outputs
    self.instructions = instructions
    self.delegates = delegates
    self.arenaByteCount = arenaByteCount
    self.dynamicSizes = dynamicSizes
  }

  /// Instructions that run on portable kernels, with the reason.
  package var fallback: [Instruction] { instructions.filter { $0.delegateCall == nil } }

  /// Instructions that compute on real numbers: those with a float32 result, or a computed operand, that do more than
  /// convert or move it. A layer of dynamic quantization is none: its sums are of integers.
  package var floatInstructions: [Instruction] {
    instructions.filter { instruction in
      guard !instruction.op.isAny([.movesElements, .quantizes, .dequantizes, .dynamic]) else { return false }
      return (instruction.inputs + instruction.outputs).contains { index in
        guard values[index].spec.dataType == .float32, case .arena = values[index].location else { return false }
        return true
      }
    }
  }
}
