import Foundation
import Swiftlet

extension ModelComparison {
  /// One HTML page that needs nothing else: summary, SQNR and size per layer, a table worst first, and each layer's
  /// weight and activation histograms with the quantized ranges drawn in.
  public func htmlPage() -> String {
    let ranked = worstFirst()
    return HTMLPage.page(
      title: "\(quantized): layers compared",
      """
      <header><h1>Layers compared</h1><p class="sub">\(escape(float)) <span>→</span> \(escape(quantized))</p></header>
      \(tiles(ranked))
      \(unmatchedNote)
      \(plots)
      <section><h2>Layers, worst first</h2>
      <p class="sub">Ranked by isolated SQNR: the error that the layer makes itself. Numbers (#) are positions in
      execution order.</p>\(table(ranked))</section>
      <section><h2>Distributions</h2>
      <p class="sub">Float values, counts on a logarithmic scale. Shaded: what int8 can represent; values outside
      saturate. Dashed: the channel with the smallest scale.</p>
      <div class="cards">\(ranked.map(card).joined(separator: "\n"))</div></section>
      """)
  }

  private func escape(_ text: String) -> String { SVGPlot.escape(text) }

  private func tiles(_ ranked: [LayerComparison]) -> String {
    let (floatBytes, bytes) = layers.reduce(into: (0, 0)) { $0 = ($0.0 + $1.floatWeightBytes, $0.1 + $1.weightBytes) }
    let worst = ranked.first
    let tiles: [(String, String, String)] = [
      ("Layers", "\(layers.count)", "\(layers.count(where: \.isQuantized)) quantized, \(samples) samples"),
      ("SQNR of the result", decibels(layers.last?.cumulative.sqnr), escape(layers.last?.name ?? "")),
      ("Worst layer by itself", decibels(worst?.isolated?.sqnr), escape(worst?.name ?? "")),
      (
        "Weights", ModelComparison.bytes(Double(bytes)),
        "\(ModelComparison.bytes(Double(floatBytes))) in float"
      ),
    ]
    return HTMLPage.tiles(tiles)
  }

  private var unmatchedNote: String {
    guard !unmatched.isEmpty else { return "" }
    return "<p class='note'>Not compared, since the float model has no operator in the same place"
      + " (\(unmatched.count)): \(escape(unmatched.joined(separator: ", ")))</p>"
  }

  private var plots: String {
    let names = layers.enumerated().map { "\($0 + 1) \($1.name)" }
    let sqnr = [
      SVGPlot.Series(name: "isolated", style: "a", values: layers.map { $0.isolated?.sqnr }),
      SVGPlot.Series(name: "cumulative", style: "b", values: layers.map { $0.cumulative.sqnr }),
    ]
    let sizes = [
      SVGPlot.Series(name: "float", style: "c", values: layers.map { Double($0.floatWeightBytes) }),
      SVGPlot.Series(name: "quantized", style: "a", values: layers.map { Double($0.weightBytes) }),
    ]
    return """
      <section><h2>SQNR per layer</h2><p class="legend"><i class="a"></i>isolated, this layer alone quantized
      <i class="b"></i>cumulative, as the whole int8 model computes it. Higher is better; a triangle has no error.</p>
      \(SVGPlot.lines(sqnr, names: names, unit: "dB"))</section>
      <section><h2>Weights per layer</h2><p class="legend"><i class="c"></i>float <i class="a"></i>quantized</p>
      \(SVGPlot.bars(sizes, names: names, label: ModelComparison.bytes))</section>
      """
  }

  private func table(_ ranked: [LayerComparison]) -> String {
    let positions = Dictionary(layers.enumerated().map { ($1.name, $0 + 1) }, uniquingKeysWith: { first, _ in first })
    let rows = ranked.map { layer in
      let cells = [
        "\(positions[layer.name] ?? 0)", "<a href='#\(anchor(layer))'>\(escape(layer.name))</a>",
        escape(layer.modulePath), escape(layer.shortOperator), decibels(layer.isolated?.sqnr),
        decibels(layer.cumulative.sqnr), SVGPlot.number(layer.cumulative.meanSquaredError),
        ModelComparison.bytes(Double(layer.weightBytes)),
      ]
      return cells
    }
    return HTMLPage.table(
      ["#", "layer", "module", "operators", "isolated", "cumulative", "MSE", "weights"], rows, leftAligned: 4)
  }

  private func card(_ layer: LayerComparison) -> String {
    func figure(_ title: String, _ distribution: ValueDistribution?) -> String {
      guard let distribution else { return "" }
      var caption = title
      if let range = distribution.range {
        caption += " · int8 \(SVGPlot.number(Double(range.lowerBound))) … \(SVGPlot.number(Double(range.upperBound)))"
      } else {
        caption += " · float"
      }
      return "<figure><figcaption>\(caption)</figcaption>"
        + SVGPlot.histogram(distribution, label: "\(layer.name): \(title)") + "</figure>"
    }
    return """
      <article id="\(anchor(layer))"><h3>\(escape(layer.name)) <small>\(escape(layer.shortOperator))</small></h3>
      <p class="sub">\(escape(layer.modulePath)) isolated \(decibels(layer.isolated?.sqnr)), cumulative \
      \(decibels(layer.cumulative.sqnr))</p>
      \(figure("activation", layer.activation))\(figure("weight", layer.weight))</article>
      """
  }

  private func anchor(_ layer: LayerComparison) -> String { "layer-" + escape(layer.name) }

  private func decibels(_ value: Double?) -> String {
    guard let value else { return "–" }
    if value == .infinity { return "no error" }
    return value.isFinite ? String(format: "%.1f dB", value) : "\(value)"
  }

  static func bytes(_ count: Double) -> String {
    if count < 1e3 { return String(format: "%.0f B", count) }
    return count < 1e6 ? String(format: "%.4g kB", count / 1e3) : String(format: "%.3g MB", count / 1e6)
  }
}
