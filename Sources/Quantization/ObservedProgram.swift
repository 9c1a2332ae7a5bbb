import GraphIR
import TensorCore

/// A program with observers, between `prepare` and `convert`.
///
/// `program` is the float graph with a `quantization.observe` node (input, observer index) at every observed place.
/// Calibration runs it, or `floatProgram`, on sample inputs and hands the observed values over: per sample and observer
/// all tensors that the observer watches, in execution order, samples in order. A value may be watched twice by the same
/// observer (before and after a dropout that was dropped); it then counts twice, as in PyTorch.
///
/// Observers are independent: calls for different observers may run at the same time, calls for one observer must not
/// overlap. Hence `@unchecked Sendable`.
public final class ObservedProgram: @unchecked Sendable {
  /// A value of `program`, computed by a float node or given as input, and the observers that watch it.
  public struct ObservedValue: Hashable, Sendable {
    /// Which value.
    public let value: ValueID
    /// Indices into `observers`, in the order of the observe nodes; an index may occur twice.
    public internal(set) var observers: [Int]
  }

  /// The float graph with its observe nodes.
  public let program: ExportedProgram
  /// The observers that nodes name by their position here.
  public let observers: [any Observer]
  /// How each observer's values are quantized; parallel to `observers`.
  public let specs: [QuantizationSpec]
  /// What the quantizer decided.
  public let annotations: Annotations
  /// What calibration has to observe, in execution order. Weights are not among it: they were observed by `prepare`.
  public let observedValues: [ObservedValue]
  /// Per observer, the values that it watches during calibration.
  private let watched: [[ValueID]]
  /// Constants that share an observer with activations, per observer; every sample counts them anew.
  let repeatedConstants: [Int: [Tensor]]
  /// The name of a value that each observer watches, for messages.
  let observedNames: [String]

  /// The operators that stay in float, each with its reason.
  public var notQuantized: [NotQuantized] { annotations.notQuantized }

  init(
    _ program: ExportedProgram, _ annotations: Annotations, _ assignment: ObserverAssignment
  ) throws(QuantizationError) {
    let specs = assignment.specs
    self.program = program
    self.annotations = annotations
    self.specs = specs
    let places = program.observedPlaces()
    var names = [String](repeating: "", count: specs.count)
    for place in places where names[place.observer].isEmpty { names[place.observer] = program.graph[place.value].name }
    observedNames = names
    var factory = ObserverFactory(assignment, program: program.name, names: names)
    let observers = try factory.makeAll()
    self.observers = observers
    let constants = program.constants()
    let calibrated = Set(places.filter { constants[$0.value] == nil }.map(\.observer))
    var values: [ObservedValue] = []
    var repeated: [Int: [Tensor]] = [:]
    for place in places where observers[place.observer].watchesValues {
      if let tensor = constants[place.value] {
        if calibrated.contains(place.observer) {
          repeated[place.observer, default: []].append(tensor)
        } else {
          do { try observers[place.observer].observe(tensor) } catch {
            throw .observer(program: program.name, value: program.graph[place.value].name, error)
          }
        }
      } else if values.last?.value == place.value {
        values[values.count - 1].observers.append(place.observer)
      } else {
        values.append(ObservedValue(value: place.value, observers: [place.observer]))
      }
    }
    observedValues = values
    var watched = [[ValueID]](repeating: [], count: specs.count)
    for entry in values { for observer in entry.observers { watched[observer].append(entry.value) } }
    self.watched = watched
    repeatedConstants = repeated
  }

  /// The values that one observer watches during calibration, in execution order; empty for weights.
  package func values(watchedBy observer: Int) -> [ValueID] { watched[observer] }

  /// The indices of the observers that calibration has to feed.
  package var calibratedObservers: [Int] { watched.indices.filter { !watched[$0].isEmpty } }

  /// Adds one sample to one observer: the tensors of `values(watchedBy:)`, in that order.
  ///
  /// - Throws: `wrongObservationCount`; `observer` with the name of the value when it is refused (NaN).
  package func record(_ tensors: [Tensor], observer: Int) throws(QuantizationError) {
    let expected = values(watchedBy: observer)
    guard tensors.count == expected.count else {
      throw .wrongObservationCount(
        program: program.name, observer: observer, expected: expected.count, actual: tensors.count)
    }
    for tensor in repeatedConstants[observer] ?? [] { try observe(observer, tensor, observedNames[observer]) }
    for (value, tensor) in zip(expected, tensors) { try observe(observer, tensor, program.graph[value].name) }
  }

  private func observe(_ index: Int, _ tensor: Tensor, _ name: String) throws(QuantizationError) {
    do { try observers[index].observe(tensor) } catch {
      throw .observer(program: program.name, value: name, error)
    }
  }

  /// Adds samples one after the other, from values that `run` computes: given a sample's inputs it returns the tensors
  /// of `observedValues`, in that order. Stops at the first error.
  public func calibrate(
    _ samples: some Sequence<[Tensor]>, run: ([Tensor]) throws -> [Tensor]
  ) throws {
    for inputs in samples {
      let tensors = try run(inputs)
      var tensorsOfObserver: [Int: [Tensor]] = [:]
      for (entry, tensor) in zip(observedValues, tensors) {
        for observer in entry.observers { tensorsOfObserver[observer, default: []].append(tensor) }
      }
      for observer in calibratedObservers {
        try record(tensorsOfObserver[observer] ?? [], observer: observer)
      }
    }
  }

  /// The program without observe nodes; its values have the same IDs.
  public var floatProgram: ExportedProgram {
    get throws(GraphError) {
      var result = program
      var replacements: [ValueID: ValueID] = [:]
      for node in program.graph.nodes where node.isObserver { replacements[node.output] = node.value("input") }
      try result.removeNodes(forwarding: replacements)
      return result
    }
  }
}

extension ExportedProgram {
  /// Each observe node's observer and the value that it sees, looking through other observe nodes.
  fileprivate func observedPlaces() -> [(observer: Int, value: ValueID)] {
    var sources: [ValueID: ValueID] = [:]
    var places: [(observer: Int, value: ValueID)] = []
    for node in graph.nodes {
      guard let observer = node.observerIndex, let input = node.value("input") else { continue }
      let source = sources[input] ?? input
      sources[node.output] = source
      places.append((observer, source))
    }
    return places
  }
}

/// Makes the observers of an assignment, those that others derive from before them.
private struct ObserverFactory {
  private let assignment: ObserverAssignment
  private let program: String
  private let names: [String]
  private var made: [Int: any Observer] = [:]
  private var pending: Set<Int> = []

  init(_ assignment: ObserverAssignment, program: String, names: [String]) {
    self.assignment = assignment
    self.program = program
    self.names = names
  }

  mutating func makeAll() throws(QuantizationError) -> [any Observer] {
    var observers: [any Observer] = []
    for index in assignment.specs.indices { observers.append(try make(index)) }
    return observers
  }

  private mutating func make(_ index: Int) throws(QuantizationError) -> any Observer {
    if let observer = made[index] { return observer }
    guard pending.insert(index).inserted else { throw error(index, "its parameters are derived in a cycle") }
    let spec = assignment.specs[index]
    var sources: [any Observer] = []
    for place in spec.derived?.derivedFrom ?? [] {
      guard let source = assignment[place] else {
        throw error(index, "its parameters are derived from a place that is not quantized")
      }
      sources.append(try make(source))
    }
    let observer: any Observer
    do { observer = try spec.makeObserver(from: sources) } catch {
      throw .observer(program: program, value: names[index], error)
    }
    made[index] = observer
    return observer
  }

  private func error(_ index: Int, _ reason: String) -> QuantizationError {
    .invalidAnnotation(program: program, node: names[index], operatorName: "", reason: reason)
  }
}
