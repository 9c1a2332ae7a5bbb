import GraphIR
import Operators

/// What an annotation says of one place (PT2E's four kinds of `QuantizationSpecBase`).
public enum AnnotatedSpec: Hashable, Sendable {
  /// A spec of its own, observed or dynamic.
  case own(QuantizationSpec)
  /// Parameters given from the start.
  case fixed(FixedQParamsQuantizationSpec)
  /// Parameters computed from those of other places.
  case derived(DerivedQuantizationSpec)
  /// The observer of another place.
  case shared(SharedQuantizationSpec)

  /// The same observer as that of a reader's edge or of a node's output.
  public static func shared(with place: QuantizedPlace) -> AnnotatedSpec { .shared(SharedQuantizationSpec(place)) }
}

/// How a quantizer wants one node quantized (PT2E's `QuantizationAnnotation`).
public struct QuantizationAnnotation: Hashable, Sendable {
  /// Specs of the values that the node reads, in the order they were set; values without an entry stay float.
  public private(set) var inputs: [(value: ValueID, spec: AnnotatedSpec)] = []
  /// The spec of what the node gives: of each of its outputs, if it has several.
  public var output: AnnotatedSpec?
  /// Whether the node's edges share observers with other readers of the same value, and with its producer, when
  /// their specs agree.
  public var allowImplicitSharing = true

  /// The specs of what the node reads and gives; of a value that occurs twice the last one counts.
  public init(
    inputs: [(ValueID, AnnotatedSpec)] = [], output: AnnotatedSpec? = nil, allowImplicitSharing: Bool = true
  ) {
    self.output = output
    self.allowImplicitSharing = allowImplicitSharing
    for (value, spec) in inputs { setInput(value, spec) }
  }

  /// The spec of a value that the node reads; nil leaves it in float.
  public func input(_ value: ValueID) -> AnnotatedSpec? { inputs.first { $0.value == value }?.spec }

  /// The spec of an input; an earlier one of the same value is replaced in its place.
  public mutating func setInput(_ value: ValueID, _ spec: AnnotatedSpec) {
    if let index = inputs.firstIndex(where: { $0.value == value }) {
      inputs[index].spec = spec
    } else {
      inputs.append((value, spec))
    }
  }

  /// Whether it quantizes anything. An empty annotation marks a node that is the inner part of a quantized unit.
  public var isQuantizing: Bool { !inputs.isEmpty || output != nil }

  public static func == (a: QuantizationAnnotation, b: QuantizationAnnotation) -> Bool {
    a.output == b.output && a.allowImplicitSharing == b.allowImplicitSharing
      && a.inputs.elementsEqual(b.inputs) { $0 == $1 }
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(output)
    hasher.combine(allowImplicitSharing)
    for input in inputs {
      hasher.combine(input.value)
      hasher.combine(input.spec)
    }
  }
}

/// An operator that stays in float, and why.
public struct NotQuantized: Hashable, Sendable, CustomStringConvertible {
  /// The node's name.
  public let node: String
  /// Its operator, `aten.add.Tensor`.
  public let operatorName: String
  /// The module that it stands in, `layer1.0`; empty where the graph names none.
  public let modulePath: String
  /// Why, in words.
  public let reason: String

  package init(_ node: Node, reason: String) {
    self.node = node.name
    self.operatorName = node.op.name
    self.modulePath = node.modulePath
    self.reason = reason
  }

  public var description: String {
    "\(node) (\(operatorName)\(modulePath.isEmpty ? "" : ", \(modulePath)")): \(reason)"
  }
}

/// A quantizer's decisions for one graph.
public struct Annotations: Hashable, Sendable {
  private var byNode: [ValueID: QuantizationAnnotation] = [:]
  /// The operators on real numbers that stay in float, in execution order, each with its reason.
  public var notQuantized: [NotQuantized] {
    get { reasons }
    set {
      reasons = newValue
      positions = Dictionary(newValue.enumerated().map { ($1.node, $0) }, uniquingKeysWith: { first, _ in first })
    }
  }
  private var reasons: [NotQuantized] = []
  /// Where each node stands in `reasons`.
  private var positions: [String: Int] = [:]

  /// Nothing is decided yet.
  public init() {}

  /// The annotation of the node with that first output.
  public subscript(node: ValueID) -> QuantizationAnnotation? {
    get { byNode[node] }
    set { byNode[node] = newValue }
  }

  /// Nodes that have an annotation, by their first output.
  public var nodes: some Collection<ValueID> { byNode.keys }

  /// Records that a node stays in float, and why; what another quantizer said of it before is kept.
  public mutating func keepInFloat(_ node: Node, reason: String) {
    if let index = positions[node.name] {
      guard reasons[index].reason != reason else { return }
      reasons[index] = NotQuantized(node, reason: "\(reasons[index].reason); \(reason)")
    } else {
      positions[node.name] = reasons.count
      reasons.append(NotQuantized(node, reason: reason))
    }
  }

  /// Drops the reasons of nodes that are quantized after all, and orders the others as the graph does.
  mutating func settleReasons(in program: ExportedProgram) {
    var position: [String: Int] = [:]
    for (index, node) in program.graph.nodes.enumerated() where byNode[node.output] == nil {
      position[node.name] = index
    }
    notQuantized = notQuantized.filter { position[$0.node] != nil }
      .sorted { (position[$0.node] ?? 0) < (position[$1.node] ?? 0) }
  }

  /// Whether the node with that first output is quantized on any side.
  public func isQuantized(_ node: ValueID) -> Bool { byNode[node]?.isQuantizing ?? false }
}
