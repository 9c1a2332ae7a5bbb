import Foundation

extension ModelComparison {
  /// One HTML page that needs nothing else: summary, SQNR and size per layer, a table worst first, and each layer's
  /// weight and activation histograms with the quantized ranges drawn in.
  public func htmlPage() -> String {
    let ranked = worstFirst()
    return """
      <!DOCTYPE html>
      <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
      <title>\(escape(quantized)): layers compared</title><style>\(ModelComparison.style)</style></head><body><main>
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
      </main></body></html>

      """
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
    return "<div class='tiles'>"
      + tiles.map { "<div class='tile'><span>\($0.0)</span><b>\($0.1)</b><small>\($0.2)</small></div>" }.joined()
      + "</div>"
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
      return "<tr>" + cells.map { "<td>\($0)</td>" }.joined() + "</tr>"
    }
    let titles = ["#", "layer", "module", "operators", "isolated", "cumulative", "MSE", "weights"]
    return "<div class='scroll'><table><thead><tr>" + titles.map { "<th>\($0)</th>" }.joined() + "</tr></thead><tbody>"
      + rows.joined(separator: "\n") + "</tbody></table></div>"
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

  private static let style = """
    :root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f27;--soft:#667085;--line:#e4e7ec;
    --a:#2f6fde;--b:#d9682b;--c:#b4bcc9;--range:rgba(47,111,222,.11)}
    @media(prefers-color-scheme:dark){:root{--page:#12151b;--card:#1a1f27;--ink:#e8eaee;--soft:#98a2b3;--line:#2c333e;
    --a:#6ea2ff;--b:#f0935b;--c:#5a6575;--range:rgba(110,162,255,.15)}}
    *{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);
    font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
    main{max-width:1060px;margin:0 auto;padding:32px 20px 64px}h1{font-size:26px;margin:0;letter-spacing:-.01em}
    h2{font-size:18px;margin:0 0 4px}h3{font-size:15px;margin:0}h3 small{color:var(--soft);font-weight:400}
    .sub,.legend{color:var(--soft);margin:0 0 12px;font-size:13.5px;overflow-wrap:anywhere}
    section,article,.tile{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px}
    section{margin-top:18px}.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px;
    margin-top:20px}.tile span,.tile small{display:block;color:var(--soft);font-size:13px;overflow-wrap:anywhere}
    .tile b{font-size:24px;font-weight:650;font-variant-numeric:tabular-nums}
    .note{background:var(--card);border-left:3px solid var(--b);padding:10px 14px;margin:18px 0 0;overflow-wrap:anywhere}
    .legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin:0 6px 0 12px}
    .legend i:first-child{margin-left:0}i.a{background:var(--a)}i.b{background:var(--b)}i.c{background:var(--c)}
    svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font-size:11px}
    .grid,.axis{stroke:var(--line);fill:none}.line{fill:none;stroke-width:1.6;opacity:.55}
    .a{fill:var(--a)}.b{fill:var(--b)}.c{fill:var(--c)}.a .line{stroke:var(--a);fill:none}
    .b .line{stroke:var(--b);fill:none}.range{fill:var(--range)}.edge{stroke:var(--a);stroke-width:1.5}
    .dashed{stroke-dasharray:3 3;opacity:.8}.bars{fill:var(--soft)}
    .scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
    th,td{text-align:right;padding:5px 10px;border-bottom:1px solid var(--line);white-space:nowrap}
    th{color:var(--soft);font-weight:500}th:nth-child(-n+4),td:nth-child(-n+4){text-align:left}
    tr:last-child td{border-bottom:0}a{color:var(--a);text-decoration:none}a:hover{text-decoration:underline}
    .cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:14px}
    .cards article{padding:14px 16px;background:var(--page)}figure{margin:0}
    figcaption{font-size:12.5px;color:var(--soft);margin-top:6px}
    """
}
