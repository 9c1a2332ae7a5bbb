import Foundation
import Swiftlet
import TensorCore
import TestSupport

/// A way in which a model is quantized.
enum Way: String, CaseIterable, Sendable {
  case all, torchao, dynamic

  var quantizer: XNNPACKQuantizer {
    switch self {
    case .all: XNNPACKQuantizer()
    case .torchao: XNNPACKQuantizer(patterns: .torchao)
    case .dynamic: XNNPACKQuantizer(.symmetric(isDynamic: true))
    }
  }
}

/// What is wrong with a model, and where it showed.
struct Fault: Sendable, CustomStringConvertible {
  let seed: Int
  /// `all.pte`, `float.portable`, …
  let place: String
  let text: String
  /// The model's operators.
  let operators: Set<String>

  var description: String { "seed \(seed), \(place): \(text); \(operators.sorted().joined(separator: " "))" }
}

/// Takes a model every way there is, and compares what comes out.
///
/// Bytes must be equal where all that computes is int8. Where reals are computed too, or where a file holds another
/// operator that gives the same but for a real's last bits (`EdgeRewriter`), such bits may tip a quantum: then the
/// difference must be smaller than what quantizing has cost.
final class ModelCheck {
  private let model: GeneratedModel
  private let folder: String
  private let samples: [[Tensor]]
  private let operators: Set<String>
  private(set) var faults: [Fault] = []
  /// What an output's root mean square is at least taken for: of one that is far below what it was computed of, int8 has
  /// few digits left.
  private var leastSignal = 0.0
  /// Why ExecuTorch has nothing for a model.
  private(set) var refusals: [String] = []
  /// What quantizing costs, per way, in dB; nil where it could not be run.
  private(set) var decibels: [Way: Double] = [:]

  private static let calibrationCount = 3
  /// Of the float ways of computing one model.
  private static let floatDecibels = 85.0
  /// Of int8 against float, each output by itself, with the rest of the float models that steps cut.
  static let leastDecibels: [Way: Double] = [.all: 14, .torchao: 14, .dynamic: 24]
  /// Functions with steps: a value beside one may fall on either side.
  private static let steps: Set<String> = ["aten.floor.default", "aten.ceil.default", "aten.round.default"]

  init(_ model: GeneratedModel, folder: String) {
    self.model = model
    self.folder = folder
    samples = (0..<Self.calibrationCount + 1).map { model.sample($0) }
    operators = Set(model.program.graph.nodes.map(\.operatorName))
  }

  private var hasSteps: Bool { !operators.isDisjoint(with: Self.steps) }

  private func report(_ place: String, _ text: String) {
    faults.append(Fault(seed: model.seed, place: place, text: text, operators: operators))
  }

  /// Runs `body`; what it throws is a fault.
  @discardableResult
  private func attempt<R>(_ place: String, _ body: () throws -> R) -> R? {
    do { return try body() } catch {
      report(place, "\(error)")
      return nil
    }
  }

  func run() {
    let (model, samples) = (model, samples)
    var peak: Float = 0
    guard
      let reference = attempt(
        "float.interpreter",
        {
          try Verifier.verify(model.program, as: .float)
          let interpreter = try Interpreter(model.program)
          return try samples.map { sample in
            try interpreter.run(sample) { _, tensor in
              guard tensor.dataType == .float32 else { return }
              peak = tensor.elements(as: Float.self).reduce(peak) { max($0, abs($1)) }
            }.map { $0.elements(as: Float.self) }
          }
        })
    else { return }
    leastSignal = Double(peak / 10)
    checkFloat(reference)
    checkEqualized(reference)
    for way in Way.allCases {
      guard let int8 = attempt("\(way).quantize", { try quantized(way) }) else { continue }
      check(int8, way, reference)
    }
  }

  /// Writes the samples beside the files: `7.0.npz` has input `x0`, ….
  func writeSamples() throws {
    for (index, sample) in samples.enumerated() {
      let names = model.program.userInputs.map { model.program.graph[$0].name }
      try NumPyArchive.write(zip(names, sample).map { ($0, $1) }, to: "\(folder)/\(model.seed).\(index).npz")
    }
  }

  // MARK: Float

  private func checkFloat(_ reference: [[[Float]]]) {
    let (program, samples) = (model.program, samples)
    for (name, partitioner) in [("delegate", XNNPACKPartitioner()), ("portable", nil)] {
      guard let actual = attempt("float.\(name)", { try results(method(program, partitioner), samples) }) else {
        continue
      }
      compareReals("float.\(name)", reference, actual)
    }
    if let again = attempt("float.pt2", { try results(Interpreter(writtenPT2(program, "float")), samples) }),
      again != reference
    {
      report("float.pt2", "differs after it was written and read")
    }
    guard let again = writtenPTE(program, "float.pte") else { return }
    if let actual = attempt("float.pte", { try results(method(again, XNNPACKPartitioner()), samples) }) {
      compareReals("float.pte", reference, actual)
    }
  }

  /// Equalized, it computes the same.
  private func checkEqualized(_ reference: [[[Float]]]) {
    let actual = attempt("float.equalized") {
      var program = model.program
      try equalizeCrossLayer(&program)
      return try results(Interpreter(program), samples)
    }
    if let actual { compareReals("float.equalized", reference, actual) }
  }

  /// With its biases corrected, it is still near the float model.
  private func checkCorrected(_ int8: ExportedProgram, _ reference: [[[Float]]], _ cost: Noise) {
    guard model.program.userInputs.count == 1, model.indexBounds.isEmpty else { return }
    let samples = Array(samples.prefix(Self.calibrationCount))
    let data = Samples(tensors: samples.map { $0[0] })
    let corrected = attempt("all.corrected") {
      var program = int8
      try correctBiases(of: &program, float: model.program, data: data, method: .isolated, threads: 1)
      return try results(Interpreter(program), samples)
    }
    // It takes the mean error of each layer away; what a model of a few elements makes of the rest may be worse.
    if let corrected { compare("all.corrected", reference.dropLast(), corrected, isExact: false, cost, margin: 12) }
  }

  private struct Samples: Dataset {
    let tensors: [Tensor]
    var count: Int { tensors.count }
    func input(_ index: Int) -> Tensor { tensors[index] }
    func label(_ index: Int) -> Int? { nil }
  }

  private func compareReals(_ place: String, _ reference: [[[Float]]], _ actual: [[[Float]]]) {
    let decibels = Self.decibels(reference, actual)
    if decibels < (hasSteps ? 20 : Self.floatDecibels) { report(place, "\(decibels) dB of the interpreter's") }
  }

  // MARK: Quantized

  private func quantized(_ way: Way) throws -> ExportedProgram {
    let observed = try prepare(model.program, quantizer: way.quantizer)
    if !observed.calibratedObservers.isEmpty {
      let lowering = try lowerObserved(observed.program, partitioner: XNNPACKPartitioner())
      let method = try Method(
        lowering.program, threads: ThreadPool(threadCount: 1), options: MethodOptions(kernels: .xnnpack))
      let places = Dictionary(grouping: lowering.observed, by: \.observer).mapValues { $0.map(\.output) }
      for sample in samples.prefix(Self.calibrationCount) {
        let outputs = try method.run(sample)
        for observer in observed.calibratedObservers {
          try observed.record((places[observer] ?? []).map { outputs[$0] }, observer: observer)
        }
      }
    }
    return try convert(observed)
  }

  private func check(_ int8: ExportedProgram, _ way: Way, _ reference: [[[Float]]]) {
    let samples = samples
    guard let simulated = attempt("\(way).simulate", { try results(Interpreter(int8), samples) }),
      let fast = attempt("\(way).lower", { try method(int8, XNNPACKPartitioner()) }),
      let delegated = attempt("\(way).delegate", { try results(fast, samples) })
    else { return }
    let isExact = fast.program.floatInstructions.isEmpty
    let cost = Noise(reference, simulated)
    // Beyond the samples that it was calibrated with, a range may be too small.
    let inRange = Noise(reference.dropLast(), delegated.dropLast()).decibels(of: leastSignal)
    if !hasSteps { decibels[way] = inRange }
    let bound = Self.leastDecibels[way]!
    if !hasSteps, inRange < bound { report("\(way).float", "\(inRange) dB of the float model's") }
    compare("\(way).delegate", simulated, delegated, isExact: false, cost)
    if let portable = attempt("\(way).portable", { try results(method(int8, nil), samples) }) {
      compare("\(way).portable", portable, delegated, isExact: isExact, cost)
    }
    if let again = attempt(
      "\(way).pt2", { try results(method(writtenPT2(int8, way.rawValue), XNNPACKPartitioner()), samples) }),
      again != delegated
    {
      report("\(way).pt2", "differs after it was written and read")
    }
    if way == .all, isExact {
      let integers = attempt("all.reference") {
        try results(Interpreter(referenceRepresentation(of: int8).program), samples)
      }
      if let integers {
        let isSame = operators.isDisjoint(with: Self.realInReference)
        compare("all.reference", integers, delegated, isExact: isSame, cost)
      }
    }
    if way == .all { checkCorrected(int8, reference, Noise(reference.dropLast(), simulated.dropLast())) }
    guard let again = writtenPTE(int8, "\(way).pte") else { return }
    if let actual = attempt("\(way).pte", { try results(method(again, XNNPACKPartitioner()), samples) }) {
      let isSame = way != .dynamic && operators.isDisjoint(with: Self.otherInFiles)
      compare("\(way).pte", delegated, actual, isExact: isExact && isSame, cost)
    }
  }

  /// Operators that a `.pte` has in another form, of the same value but for the last bits of a real; so has it dynamic
  /// layers.
  private static let otherInFiles: Set<String> = [
    "aten.silu.default", "aten.hardsigmoid.default", "aten.avg_pool2d.default",
  ]

  /// Products and averages along one dimension, which the reference representation computes as reals.
  private static let realInReference: Set<String> = [
    "aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.matmul.default", "aten.bmm.default",
    "aten.mm.default", "aten.avg_pool1d.default", "aten.adaptive_avg_pool1d.default",
  ]

  private func compare(
    _ place: String, _ expected: [[[Float]]], _ actual: [[[Float]]], isExact: Bool, _ cost: Noise, margin: Double = 6
  ) {
    guard expected != actual else { return }
    let noise = Noise(expected, actual)
    if isExact { return report(place, "\(noise.decibels) dB where bytes should be equal") }
    if hasSteps || noise.isWithin(margin, of: cost) { return }
    report(place, "\(noise.decibels) dB, where quantizing costs \(cost.decibels)")
  }

  // MARK: Running and files

  private func method(_ program: ExportedProgram, _ partitioner: XNNPACKPartitioner?) throws -> Method {
    try Method(lower(program, partitioner: partitioner), threads: ThreadPool(threadCount: 1))
  }

  private func writtenPT2(_ program: ExportedProgram, _ name: String) throws -> ExportedProgram {
    let path = "\(folder)/\(model.seed).\(name).pt2"
    try PT2Archive.write(program, to: path)
    return try PT2Archive.read(path)
  }

  /// Nil, and counted, when ExecuTorch has nothing for a node.
  private func writtenPTE(_ program: ExportedProgram, _ place: String) -> ExportedProgram? {
    let path = "\(folder)/\(model.seed).\(place)"
    do {
      try PTEArchive.write(program, to: path)
    } catch let error as GraphError {
      refusals.append("\(error.operatorName): \(error.reason)")
      return nil
    } catch {
      report(place, "\(error)")
      return nil
    }
    return attempt(place) { try PTEArchive.read(path) }
  }

  private static func decibels(_ expected: [[[Float]]], _ actual: [[[Float]]]) -> Double {
    Noise(expected, actual).decibels
  }
}

private func results(_ interpreter: Interpreter, _ samples: [[Tensor]]) throws -> [[[Float]]] {
  try samples.map { try interpreter.run($0).map { $0.elements(as: Float.self) } }
}

private func results(_ method: Method, _ samples: [[Tensor]]) throws -> [[[Float]]] {
  try samples.map { try method.run($0).map { $0.elements(as: Float.self) } }
}

/// The difference of two ways of computing a model, by output, over all samples.
struct Noise {
  /// Sums of squares, by output.
  private var signal: [Double] = []
  private var noise: [Double] = []
  private var counts: [Int] = []
  /// The noise of two quanta of the output's range at each element.
  private var quanta: [Double] = []

  /// Both by sample, output and element.
  init(_ expected: some Collection<[[Float]]>, _ actual: some Collection<[[Float]]>) {
    for output in expected.first?.indices ?? 0..<0 {
      var (signal, noise, count, low, high) = (0.0, 0.0, 0, 0.0, 0.0)
      for (a, b) in zip(expected, actual) {
        if a[output].count != b[output].count { noise = .infinity }
        for (x, y) in zip(a[output], b[output]) where x.bitPattern != y.bitPattern || x == x {
          signal += Double(x) * Double(x)
          noise += Double(x - y) * Double(x - y)
          (low, high, count) = (min(low, Double(x)), max(high, Double(x)), count + 1)
        }
      }
      self.signal.append(signal)
      self.noise.append(noise)
      counts.append(count)
      quanta.append(Double(count) * (high - low) * (high - low) * 4 / (255 * 255))
    }
  }

  var decibels: Double { decibels(of: 0) }

  /// Of the output where it is worst; 200 at most. A root mean square below `least` counts as that.
  func decibels(of least: Double) -> Double {
    var worst = 200.0
    for index in signal.indices {
      let (signal, noise) = (max(signal[index], Double(counts[index]) * least * least), noise[index])
      if noise <= signal * 1e-20 { continue }
      worst = min(worst, noise.isFinite ? max(-100, 10 * log10(signal / noise)) : -100)
    }
    return worst
  }

  /// Whether no output's noise is more than the other's and so many dB, or than two quanta of the output's range.
  func isWithin(_ margin: Double, of other: Noise) -> Bool {
    signal.indices.allSatisfy { noise[$0] <= max(pow(10, margin / 10) * other.noise[$0], quanta[$0]) }
  }
}
