import GraphIR
import TensorCore

/// Cross-layer equalization (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
/// Correction"), extended to residual connections and to ranges that were observed.
///
/// Channel i of the values between layers is divided by a factor sᵢ: the rows of the weights and biases that produce it
/// are divided, the columns of the weights that read it are multiplied. What lies between must be positively homogeneous
/// and keep channels apart: ReLU, addition, pooling, zero padding. The model computes the same; its values are spread
/// more evenly over channels, which share one scale when they are quantized.
///
/// A clamp with an upper bound (ReLU6) is not homogeneous, and a bound per channel cannot be expressed. A channel is
/// scaled through it only when maxima observed on data are known, and only up, so that values of up to twice the largest
/// observed are clamped neither before nor after; samples with greater ones may be clamped differently.
package struct CrossLayerEqualization {
  /// The program in which layers were found: the given one with BatchNorms folded and inference dropouts dropped.
  package private(set) var program: ExportedProgram
  /// The values between layers; observing the largest magnitude of each of their channels makes `run` exact through
  /// clamps and better elsewhere.
  package var values: [ValueID] { groups.flatMap(\.values) }
  private let groups: [EqualizationGroup]
  private let skipped: [EqualizationReport.Skipped]

  /// Throws when the program is no valid float graph.
  package init(_ program: ExportedProgram) throws(GraphError) {
    try Verifier.verify(program, as: .float)
    var folded = program
    try foldBatchNorms(in: &folded)
    try removeInferenceDropouts(in: &folded)
    self.program = folded
    (groups, skipped) = EqualizationGroup.find(in: folded)
  }

  /// Scales the weights.
  ///
  /// With r the largest magnitude of a row of the producers, or `maxima` where it is given, and c that of a column of
  /// the readers, sᵢ = √(rᵢ/cᵢ), which makes both proportional; before a depthwise convolution alone, whose columns are
  /// rows with scales of their own, sᵢ = rᵢ. Factors are divided by their median, or by that of the widest channel where a
  /// clamp allows scaling up only, and kept within a factor of 4: no weights become small as a whole.
  ///
  /// - Parameter maxima: for each of `values`, the largest magnitude observed in each channel; nil without data.
  package mutating func run(maxima: [ValueID: [Float]]? = nil) -> EqualizationReport {
    var report = EqualizationReport(skipped: skipped)
    for group in groups {
      let names = group.producers.map { program.graph.nodes[$0].name }
      if group.upperBound != nil, maxima == nil {
        report.skipped.append(
          .init(
            layers: names,
            reason: "a clamp with an upper bound follows, which can be scaled only where samples show the maxima"))
        continue
      }
      let factors = factors(group, maxima)
      scale(group, by: factors)
      report.equalized.append(
        .init(layers: names, readers: group.consumers.map { program.graph.nodes[$0].name }, factors: factors))
    }
    return report
  }

  /// Scales the weights by the factors of an earlier run on the same model; a group that is not in this program, or has
  /// another number of channels, stays as it is.
  package mutating func repeatRun(_ report: EqualizationReport) {
    let factors = Dictionary(report.equalized.map { ($0.layers, $0.factors) }, uniquingKeysWith: { first, _ in first })
    for group in groups {
      guard let factors = factors[group.producers.map { program.graph.nodes[$0].name }], factors.count == group.channels
      else { continue }
      scale(group, by: factors)
    }
  }

  private func factors(_ group: EqualizationGroup, _ maxima: [ValueID: [Float]]?) -> [Float] {
    var ranges = [Float](repeating: 0, count: group.channels)
    var columns = ranges
    for value in group.values {
      for (channel, maximum) in (maxima?[value] ?? []).prefix(group.channels).enumerated() {
        ranges[channel] = max(ranges[channel], maximum)
      }
    }
    if maxima == nil {
      for index in group.producers { mergeRanges(of: index, rows: true, into: &ranges) }
    }
    for index in group.consumers where !isDepthwise(index) { mergeRanges(of: index, rows: false, into: &columns) }
    let readsDepthwiseOnly = group.consumers.allSatisfy(isDepthwise)
    let raw = zip(ranges, columns).map { range, column -> Float? in
      let factor = readsDepthwiseOnly ? range : (range / column).squareRoot()
      return factor > 0 && factor.isFinite ? factor : nil
    }
    let found = raw.compactMap { $0 }.sorted()
    guard !found.isEmpty else { return ranges.map { _ in 1 } }
    let median = found[found.count / 2]
    let limits = 1 / CrossLayerEqualization.largestFactor...CrossLayerEqualization.largestFactor
    guard let bound = group.upperBound else {
      return raw.map { factor in factor.map { min(max($0 / median, limits.lowerBound), limits.upperBound) } ?? 1 }
    }
    let widest = ranges.indices.max { ranges[$0] < ranges[$1] }.flatMap { raw[$0] } ?? median
    return zip(raw, ranges).map { factor, range in
      // Scaled, a channel is cut off at bound · factor; one that may reach the bound is left alone.
      let reach = range * CrossLayerEqualization.headroom
      guard let factor, reach < bound else { return 1 }
      return max(reach / bound, limits.lowerBound, min(1, factor / widest))
    }
  }

  /// The largest factor, and the reciprocal of the smallest. Greater ones make weights so small that their scales meet
  /// the lower limit (2⁻¹² for XNNPACK), and let channels that hardly carry anything decide others' scales.
  private static let largestFactor: Float = 4

  /// Values of up to so many times the largest observed one pass a clamp as they did before.
  private static let headroom: Float = 2

  private func isDepthwise(_ index: Int) -> Bool { program.graph.nodes[index].groups > 1 }

  private func weight(_ index: Int) -> (target: String, tensor: Tensor)? {
    let id = program.graph.nodes[index].value("weight")
    guard let target = id.flatMap(program.target), let tensor = program.stateDict[target] else { return nil }
    return (target, tensor)
  }

  private func mergeRanges(of index: Int, rows: Bool, into ranges: inout [Float]) {
    guard let tensor = weight(index)?.tensor else { return }
    let (columnCount, area) = (tensor.shape[1], tensor.shape.dimensions[2...].reduce(1, *))
    for (position, value) in tensor.elements(as: Float.self).enumerated() {
      let channel = rows ? position / (columnCount * area) : position / area % columnCount
      ranges[channel] = max(ranges[channel], abs(value))
    }
  }

  private mutating func scale(_ group: EqualizationGroup, by factors: [Float]) {
    for index in group.producers {
      let divide = { (values: inout [Float], inner: Int) in
        for position in values.indices { values[position] /= factors[position / inner] }
      }
      if let (target, tensor) = weight(index) {
        var values: [Float] = tensor.elements()
        divide(&values, tensor.shape.elementCount / group.channels)
        program.stateDict[target] = Tensor(values, shape: tensor.shape)
      }
      if let target = program.graph.nodes[index].value("bias").flatMap(program.target),
        let bias = program.stateDict[target]
      {
        var values: [Float] = bias.elements()
        divide(&values, 1)
        program.stateDict[target] = Tensor(values, shape: bias.shape)
      }
    }
    for index in group.consumers {
      guard let (target, tensor) = weight(index) else { continue }
      var values: [Float] = tensor.elements()
      let inner =
        isDepthwise(index) ? tensor.shape.elementCount / group.channels : tensor.shape.dimensions[2...].reduce(1, *)
      for position in values.indices { values[position] *= factors[position / inner % group.channels] }
      program.stateDict[target] = Tensor(values, shape: tensor.shape)
    }
  }
}

/// What cross-layer equalization did.
public struct EqualizationReport: Hashable, Sendable, Codable {
  /// A group of layers that share their channels.
  public struct Equalized: Hashable, Sendable, Codable {
    /// The layers whose outputs were divided.
    public let layers: [String]
    /// The layers whose weights were multiplied.
    public let readers: [String]
    /// One per channel.
    public let factors: [Float]
  }

  /// A group that stayed as it was.
  public struct Skipped: Hashable, Sendable, Codable {
    /// The layers, by their nodes' names.
    public let layers: [String]
    /// Why, in words.
    public let reason: String
  }

  /// What was equalized, in execution order.
  public var equalized: [Equalized] = []
  /// What was not.
  public var skipped: [Skipped] = []
}

/// Equalizes a float program by its weights alone: between layers with ReLU, additions or nothing in between.
///
/// BatchNorms are folded first. Layers that a clamp with an upper bound follows are skipped, with that reason. Throws when
/// the program is no valid float graph.
@discardableResult
public func equalizeCrossLayer(_ program: inout ExportedProgram) throws(GraphError) -> EqualizationReport {
  var equalization = try CrossLayerEqualization(program)
  let report = equalization.run()
  program = equalization.program
  return report
}
