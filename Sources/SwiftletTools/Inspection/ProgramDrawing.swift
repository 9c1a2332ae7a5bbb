import Foundation
import Swiftlet

extension Method {
  /// The program as an SVG image that needs nothing else: boxes for operations, delegated subgraphs as coloured regions,
  /// types and quantization parameters on the edges, the reason of each portable operation as its tooltip.
  public func drawing() -> String { ProgramDrawing(self).svg() }

  /// Writes `drawing()` to a file, which takes the place of an old one when it is complete. Throws when it cannot be
  /// written.
  public func writeDrawing(to path: String) throws(FormatError) {
    let file = try AtomicFile(path)
    try file.write([UInt8](drawing().utf8))
    try file.commit()
  }
}

/// A laid out diagram as SVG.
struct ProgramDrawing {
  let diagram: ProgramDiagram
  let layout: GraphLayout
  /// Sizes of the vertices, as they were laid out.
  let vertices: [GraphLayout.Vertex]
  /// What flows out of each box.
  private let labels: [Int: [String]]
  /// The band of each delegate.
  private let bandOfDelegate: [Int: Int]
  private let title: String
  private let summary: String

  private static let boxHeight = 56.0
  private static let margin = 28.0
  /// Above the graph, for the title and the legend.
  private static let header = 84.0
  /// How far an edge runs straight down before it bends; its label lies beside.
  private static let stub = 22.0
  /// Around the boxes of a region.
  private static let inset = 16.0
  private static let nameLimit = 34

  init(_ method: Method) {
    let diagram = ProgramDiagram(method)
    var bands = Bands()
    let labels = Dictionary(grouping: diagram.edges, by: \.from).mapValues { Array(Set($0.map(\.label))).sorted() }
    vertices = diagram.boxes.enumerated().map { index, box in
      let isOutput = index >= diagram.inputCount + diagram.operationCount
      let lines = [(box.title, 7.2), (ProgramDrawing.shortened(box.name), 6.4), (box.result, 6.2)]
      let half = max(52, lines.map { Double($0.0.count) * $0.1 }.max() ?? 0) / 2 + 12
      let beside = (labels[index] ?? []).map { Double($0.count) * 5.9 + 8 }.max() ?? 0
      return GraphLayout.Vertex(
        left: half, right: max(half, beside), height: ProgramDrawing.boxHeight,
        band: bands.band(of: isOutput ? .output : box.kind == .port ? .input : .operation(box.kind)))
    }
    self.labels = labels
    bandOfDelegate = bands.bandOfDelegate
    layout = GraphLayout(
      vertices, diagram.edges.map { .init(from: $0.from, to: $0.to) }, spacing: .init(band: ProgramDrawing.inset))
    self.diagram = diagram
    title = method.program.name.split(separator: "/").last.map(String.init) ?? method.program.name
    summary = method.delegationSummary
  }

  /// Operations that stand together in execution order share a band: those of a delegate, and portable ones.
  private struct Bands {
    enum Place: Equatable {
      case input, output
      case operation(ProgramDiagram.Kind)
    }

    private var last: (place: Place, band: Int)?
    private(set) var bandOfDelegate: [Int: Int] = [:]

    mutating func band(of place: Place) -> Int {
      if let last, last.place == place { return last.band }
      let band = last.map { $0.band + 1 } ?? 0
      last = (place, band)
      if case .operation(.delegated(let index)) = place { bandOfDelegate[index] = bandOfDelegate[index] ?? band }
      return band
    }
  }

  // MARK: SVG

  func svg() -> String {
    let width = max(layout.width + 2 * (ProgramDrawing.margin + ProgramDrawing.inset), 560)
    let height = layout.height + ProgramDrawing.header + 2 * ProgramDrawing.margin
    let left = (width - layout.width) / 2
    return """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(point(width))" height="\(point(height))" \
      viewBox="0 0 \(point(width)) \(point(height))" role="img" aria-label="\(SVGPlot.escape(title))">
      <style>\(ProgramDrawing.style)</style>
      <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" \
      orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>
      <rect class="page" width="100%" height="100%"/>
      \(legend)
      <g transform="translate(\(point(left)) \(point(ProgramDrawing.header + ProgramDrawing.margin)))">
      \(diagram.delegates.indices.map(region).filter { !$0.isEmpty }.joined(separator: "\n"))
      \(diagram.edges.indices.map(edge).joined(separator: "\n"))
      \(diagram.delegates.indices.map(regionLabel).filter { !$0.isEmpty }.joined(separator: "\n"))
      \(diagram.boxes.indices.map(label).filter { !$0.isEmpty }.joined(separator: "\n"))
      \(diagram.boxes.indices.map(box).joined(separator: "\n"))
      </g>
      </svg>

      """
  }

  private static let style = """
    text{font-family:Helvetica,Arial,"Liberation Sans","DejaVu Sans",sans-serif;font-size:11px;fill:#475467}
    .page{fill:#fff}.title{font-size:16px;font-weight:bold;fill:#1b1f27}
    .box rect{stroke-width:1.2}.box text{text-anchor:middle}.box .op{font-size:12.5px;font-weight:bold;fill:#1b1f27}
    .port rect{fill:#f2f4f7;stroke:#667085}.delegated rect{fill:#d6e6ff;stroke:#2f6fde}
    .portable rect{fill:#ffe3cf;stroke:#d9682b}
    .region rect{fill:#f0f6ff;stroke:#9dbcf0}.region text{fill:#2f6fde;font-weight:bold;stroke:#f0f6ff;
    stroke-width:4px;stroke-linejoin:round;paint-order:stroke}
    .edge path{fill:none;stroke:#667085;stroke-width:1.3}.label{font-size:10.5px;stroke:#fff;stroke-width:3px;
    stroke-linejoin:round;paint-order:stroke}marker path{fill:#667085}
    """

  /// Title, what the colours mean, what the edges say.
  private var legend: String {
    let x = ProgramDrawing.margin
    var parts = [
      "<text class=\"title\" x=\"\(point(x))\" y=\"34\">\(SVGPlot.escape(title))</text>",
      "<text x=\"\(point(x))\" y=\"54\">\(SVGPlot.escape(summary))</text>",
    ]
    let swatches = [("delegated", "delegated"), ("portable", "portable"), ("port", "input, output")]
    var position = x
    for (style, text) in swatches {
      parts.append(
        "<g class=\"\(style)\"><rect x=\"\(point(position))\" y=\"66\" width=\"18\" height=\"14\" rx=\"3\"/></g>"
          + "<text x=\"\(point(position + 24))\" y=\"77\">\(text)</text>")
      position += 48 + Double(text.count) * 5.6
    }
    parts.append("<text x=\"\(point(position))\" y=\"77\">edges: type, s scale, zp zero point</text>")
    return "<g class=\"legend\">\(parts.joined(separator: "\n"))</g>"
  }

  /// The region of a delegate: its boxes, and the edges between them that pass other layers.
  private func region(_ delegate: Int) -> String {
    guard let (left, right, y) = extent(ofDelegate: delegate) else { return "" }
    let inset = ProgramDrawing.inset
    return """
      <g class="region"><rect x="\(point(left))" y="\(point(y.lowerBound - inset - 12))" \
      width="\(point(right - left))" height="\(point(y.upperBound - y.lowerBound + 2 * inset + 18))" rx="12"/></g>
      """
  }

  private func regionLabel(_ delegate: Int) -> String {
    guard let (left, _, y) = extent(ofDelegate: delegate) else { return "" }
    return """
      <g class="region"><text x="\(point(left + 10))" y="\(point(y.lowerBound - ProgramDrawing.inset + 2))">\
      \(SVGPlot.escape(regionTitle(delegate)))</text></g>
      """
  }

  private func regionTitle(_ delegate: Int) -> String {
    let (backend, nodes) = diagram.delegates[delegate]
    return "delegate \(delegate): \(backend), \(nodes) node\(nodes == 1 ? "" : "s")"
  }

  private func extent(ofDelegate delegate: Int) -> (left: Double, right: Double, y: ClosedRange<Double>)? {
    guard let band = bandOfDelegate[delegate] else { return nil }
    let members = diagram.boxes.indices.filter { diagram.boxes[$0].kind == .delegated(delegate) }
    let inside = Set(members)
    var (low, high) = (Double.infinity, -Double.infinity)
    for member in members {
      low = min(low, layout.positions[member].x - vertices[member].left)
      high = max(high, layout.positions[member].x + vertices[member].right)
    }
    for (index, edge) in diagram.edges.enumerated() where inside.contains(edge.from) && inside.contains(edge.to) {
      for point in layout.routes[index] { (low, high) = (min(low, point.x - 10), max(high, point.x + 10)) }
    }
    let left = low - ProgramDrawing.inset
    let right = max(high + ProgramDrawing.inset, left + Double(regionTitle(delegate).count) * 6.6 + 20)
    return (left, right, layout.bands[band])
  }

  private func edge(_ index: Int) -> String {
    let (edge, route) = (diagram.edges[index], layout.routes[index])
    var path = "M\(point(route[0].x)) \(point(route[0].y))"
    var last = route[0]
    for (step, next) in route.enumerated().dropFirst() {
      if abs(next.x - last.x) < 0.05 {
        path += "V\(point(next.y))"
      } else {
        var start = last.y
        if step == 1 {
          start += ProgramDrawing.stub
          path += "V\(point(start))"
        }
        let end = next.y - (step == route.count - 1 ? 8 : 0)
        let middle = (start + end) / 2
        path += "C\(point(last.x)) \(point(middle)) \(point(next.x)) \(point(middle)) \(point(next.x)) \(point(end))"
        if end < next.y { path += "V\(point(next.y))" }
      }
      last = next
    }
    let text = "\(diagram.boxes[edge.from].name) to \(diagram.boxes[edge.to].name): \(edge.label)"
    return
      "<g class=\"edge\"><title>\(SVGPlot.escape(text))</title><path d=\"\(path)\" marker-end=\"url(#arrow)\"/></g>"
  }

  /// What flows out of a box, beside the line that all of its edges start with.
  private func label(_ vertex: Int) -> String {
    let position = layout.positions[vertex]
    return (labels[vertex] ?? []).enumerated().map { line, text in
      let y = position.y + ProgramDrawing.boxHeight + 15 + Double(line) * 11
      return "<text class=\"label\" x=\"\(point(position.x + 6))\" y=\"\(point(y))\">\(SVGPlot.escape(text))</text>"
    }.joined()
  }

  private func box(_ index: Int) -> String {
    let (box, position, half) = (diagram.boxes[index], layout.positions[index], boxHalfWidth(index))
    let style =
      switch box.kind {
      case .port: "port"
      case .delegated: "delegated"
      case .portable: "portable"
      }
    func text(_ style: String, _ y: Double, _ text: String) -> String {
      "<text\(style) x=\"\(point(position.x))\" y=\"\(point(position.y + y))\">\(SVGPlot.escape(text))</text>"
    }
    return "<g class=\"box \(style)\" id=\"box-\(index)\"><title>\(SVGPlot.escape(box.tooltip))</title>"
      + "<rect x=\"\(point(position.x - half))\" y=\"\(point(position.y))\" width=\"\(point(2 * half))\""
      + " height=\"\(point(ProgramDrawing.boxHeight))\" rx=\"\(box.kind == .port ? 20 : 6)\"/>"
      + text(" class=\"op\"", 19, box.title) + text("", 34, ProgramDrawing.shortened(box.name))
      + text("", 48, box.result) + "</g>"
  }

  /// A box is as wide on the right of its line as on the left.
  func boxHalfWidth(_ index: Int) -> Double { vertices[index].left }

  private static func shortened(_ name: String) -> String {
    name.count > nameLimit ? "\(name.prefix(nameLimit - 14))…\(name.suffix(13))" : name
  }

  private func point(_ value: Double) -> String { String(format: "%.1f", value) }
}
