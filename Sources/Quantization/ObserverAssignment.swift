import GraphIR
import Operators

/// Which observer watches which annotated place: at first one observer for each group of places that share, by torchao's
/// union-find over explicit `SharedQuantizationSpec`s and over the implicit sharing among the readers and the producer
/// of one value. A quantizer may then change it (`Quantizer.assignObservers`).
public struct ObserverAssignment: Sendable {
  /// How each observer's values are quantized; an observer is an index into it.
  public private(set) var specs: [QuantizationSpec] = []
  /// All places that have or had an observer: per node in execution order, its inputs in annotation order, its outputs.
  public let places: [QuantizedPlace]
  private var observers: [QuantizedPlace: Int] = [:]

  /// The observer of a place, an index into `specs`. Nil for a place that is not observed: it stays float.
  public subscript(place: QuantizedPlace) -> Int? {
    get { observers[place] }
    set {
      precondition(newValue.map(specs.indices.contains) ?? true, "there is no observer \(newValue ?? -1)")
      observers[place] = newValue
    }
  }

  /// A new observer, which places can be given.
  public mutating func add(_ spec: QuantizationSpec) -> Int {
    specs.append(spec)
    return specs.count - 1
  }

  /// Makes an observer another one, at all its places.
  /// - Precondition: `observer` is an index into `specs`.
  public mutating func replace(_ observer: Int, with spec: QuantizationSpec) { specs[observer] = spec }

  /// Throws `invalidAnnotation` when a spec is shared with a place that has none, or its spec is shared in a cycle.
  init(_ program: ExportedProgram, _ annotations: Annotations) throws(QuantizationError) {
    var builder = SharingBuilder(program, annotations)
    try builder.unite()
    places = builder.places
    var groupOfRoot: [QuantizedPlace: Int] = [:]
    var specOfGroup: [QuantizationSpec?] = []
    for place in builder.places {
      let root = builder.root(of: place)
      let group = groupOfRoot[root] ?? specOfGroup.count
      if group == specOfGroup.count {
        groupOfRoot[root] = group
        specOfGroup.append(nil)
      }
      observers[place] = group
      if specOfGroup[group] == nil { specOfGroup[group] = builder.specs[place]?.ownSpec }
    }
    for place in builder.places {
      guard let group = observers[place], specOfGroup[group] == nil else { continue }
      throw builder.error(
        place, "all places of its sharing group refer to each other; one of them needs a spec of its own")
    }
    specs = specOfGroup.compactMap { $0 }
  }
}

extension AnnotatedSpec {
  /// The spec that does not depend on whose observer another place has; nil for a shared one.
  fileprivate var ownSpec: QuantizationSpec? {
    switch self {
    case .own(let spec): spec
    case .fixed(let spec): QuantizationSpec(spec)
    case .derived(let spec): QuantizationSpec(spec)
    case .shared: nil
    }
  }
}

private struct SharingBuilder {
  let program: ExportedProgram
  let annotations: Annotations
  /// All annotated places: per node in execution order, its inputs in annotation order, then its outputs.
  private(set) var places: [QuantizedPlace] = []
  private(set) var specs: [QuantizedPlace: AnnotatedSpec] = [:]
  private var parents: [QuantizedPlace: QuantizedPlace] = [:]
  /// The first outputs of the nodes that read each value, in execution order.
  private var readers: [ValueID: [ValueID]] = [:]
  /// The specs of a value's edges that were united with those like them; nil for a value with shared specs.
  private var united: [ValueID: [QuantizationSpec]?] = [:]

  init(_ program: ExportedProgram, _ annotations: Annotations) {
    self.program = program
    self.annotations = annotations
    for node in program.graph.nodes {
      guard let annotation = annotations[node.output] else { continue }
      for (value, spec) in annotation.inputs { add(.edge(from: value, to: node.output), spec) }
      if let spec = annotation.output { for id in node.outputs { add(.output(id), spec) } }
    }
    readers = program.graph.users().mapValues { indices in indices.map { program.graph.nodes[$0].output } }
  }

  private mutating func add(_ place: QuantizedPlace, _ spec: AnnotatedSpec) {
    places.append(place)
    specs[place] = spec
    parents[place] = place
  }

  func error(_ place: QuantizedPlace, _ reason: String) -> QuantizationError {
    let id =
      switch place {
      case .edge(_, let reader): reader
      case .output(let output): output
      }
    let node = program.graph.nodes.first { $0.outputs.contains(id) }
    return .invalidAnnotation(
      program: program.name, node: node?.name ?? "\(id)", operatorName: node?.op.name ?? "", reason: reason)
  }

  /// Shortens the path to it, so that long chains stay cheap.
  mutating func root(of place: QuantizedPlace) -> QuantizedPlace {
    var root = place
    while let parent = parents[root], parent != root { root = parent }
    var step = place
    while step != root, let next = parents.updateValue(root, forKey: step) { step = next }
    return root
  }

  /// Implicit sharing comes before what the place itself asks for: first with the other readers of the same value,
  /// then with its producer.
  mutating func unite() throws(QuantizationError) {
    for place in places {
      if case .edge(let value, let reader) = place, annotations[reader]?.allowImplicitSharing == true {
        let spec = try resolvedSpec(of: place)
        if !isUnited(value, spec) {
          for other in readers[value] ?? [] where other != reader {
            try unite(place, with: .edge(from: value, to: other), ifSpecIs: spec)
          }
        }
        try unite(place, with: .output(value), ifSpecIs: spec)
      }
      if case .shared(let shared)? = specs[place] {
        guard specs[shared.place] != nil else {
          throw error(place, "it shares the quantization parameters of a place that is not quantized")
        }
        union(parent: shared.place, child: place)
      }
    }
  }

  /// Whether the readers of a value whose edges have that spec are one group already, as they are once the first of them
  /// was united with all others. Edges that share another place's spec may get another one as groups grow: of a value that
  /// has such, no answer is kept.
  private mutating func isUnited(_ value: ValueID, _ spec: QuantizationSpec) -> Bool {
    if united[value] == nil {
      let edges = (readers[value] ?? []).map { QuantizedPlace.edge(from: value, to: $0) }
      let areFixed = edges.allSatisfy { if case .shared? = specs[$0] { false } else { true } }
      united[value] = areFixed ? .some([]) : .some(nil)
    }
    guard let known = united[value] ?? nil else { return false }
    if known.contains(where: { $0.matches(spec) }) { return true }
    united[value] = .some(known + [spec])
    return false
  }

  private mutating func unite(
    _ place: QuantizedPlace, with other: QuantizedPlace, ifSpecIs spec: QuantizationSpec
  ) throws(QuantizationError) {
    guard specs[other] != nil, try resolvedSpec(of: other).matches(spec) else { return }
    union(parent: other, child: place)
  }

  /// The spec at the end of the chain of shared ones.
  private mutating func resolvedSpec(of place: QuantizedPlace) throws(QuantizationError) -> QuantizationSpec {
    var current = place
    var visited: Set<QuantizedPlace> = []
    while true {
      switch specs[current] {
      case nil: throw error(place, "it shares the quantization parameters of a place that is not quantized")
      case .own(let spec): return spec
      case .fixed(let spec): return QuantizationSpec(spec)
      case .derived(let spec): return QuantizationSpec(spec)
      case .shared(let shared):
        guard visited.insert(current).inserted else { throw error(place, "its spec is shared in a cycle") }
        let next = specs[shared.place] == nil ? shared.place : root(of: shared.place)
        // The root may be what we came from, where an edge was turned round; then the target's own spec decides.
        current = visited.contains(next) ? shared.place : next
      }
    }
  }

  /// Joins two groups under the parent's root; the other way round where that root refers to the child's, which would
  /// be a cycle.
  private mutating func union(parent: QuantizedPlace, child: QuantizedPlace) {
    let (parentRoot, childRoot) = (root(of: parent), root(of: child))
    if case .shared(let shared)? = specs[parentRoot], shared.place == childRoot {
      parents[parentRoot] = childRoot
    } else {
      parents[childRoot] = parentRoot
    }
  }
}
