import Foundation
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

@testable import SwiftletTools

#if canImport(FoundationXML)
  import FoundationXML
#endif

/// The layout of graphs, and the SVG that is made of it.
@Suite(.oneAtATime) struct DrawingTests {
  /// No two boxes overlap, every edge points down, and none passes through a box.
  private static func expectTidy(
    _ layout: GraphLayout, _ vertices: [GraphLayout.Vertex], _ edges: [GraphLayout.Edge], name: String
  ) {
    let boxes = zip(layout.positions, vertices).map { position, vertex in
      (
        left: position.x - vertex.left, right: position.x + vertex.right, top: position.y,
        bottom: position.y + vertex.height
      )
    }
    for (index, a) in boxes.enumerated() {
      for b in boxes[(index + 1)...] {
        let isApart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top
        #expect(isApart, "\(name): \(a) overlaps \(b)")
      }
    }
    for (edge, route) in zip(edges, layout.routes) {
      #expect(layout.ranks[edge.from] < layout.ranks[edge.to], "\(name)")
      #expect(zip(route, route.dropFirst()).allSatisfy { $0.y < $1.y }, "\(name): \(route)")
      // Between layers an edge may bend, where no box is; inside a layer it runs straight down.
      for (a, b) in zip(route, route.dropFirst()) where a.x == b.x {
        let hit = boxes.contains { $0.left < a.x && a.x < $0.right && $0.top < b.y && a.y < $0.bottom }
        #expect(!hit, "\(name): the edge \(edge) passes through a box")
      }
    }
    #expect(layout.positions.allSatisfy { (0...layout.width).contains($0.x) && (0...layout.height).contains($0.y) })
  }

  static func expectTidy(_ method: Method) throws {
    let drawing = ProgramDrawing(method)
    let edges = drawing.diagram.edges.map { GraphLayout.Edge(from: $0.from, to: $0.to) }
    expectTidy(drawing.layout, drawing.vertices, edges, name: method.program.name)
    // Every operation is reached, and reaches something.
    let ends = Set(edges.flatMap { [$0.from, $0.to] })
    #expect(ends.count == drawing.diagram.boxes.count, "\(method.program.name)")
  }

  /// The image parses, and has each input, operation and output once.
  static func expectWellFormed(_ method: Method) throws {
    let reader = BoxReader()
    let parser = XMLParser(data: Data(method.drawing().utf8))
    parser.delegate = reader
    #expect(parser.parse(), "\(String(describing: parser.parserError))")
    let program = method.program
    let count = program.inputs.count + program.instructions.count + program.outputs.count
    #expect(reader.boxes == (0..<count).map { "box-\($0)" })
    for instruction in program.instructions {
      let titles = reader.titles.count { $0.hasPrefix("\(instruction.node) (\(instruction.operatorName))") }
      #expect(titles == 1, "\(instruction.node)")
    }
    for entry in method.fallback where !entry.reason.isEmpty {
      #expect(reader.titles.contains { $0.contains("portable: " + entry.reason) })
    }
  }

  private final class BoxReader: NSObject, XMLParserDelegate {
    var boxes: [String] = []
    var titles: [String] = []
    private var isTitle = false

    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) {
      if let id = attributes["id"], id.hasPrefix("box-") { boxes.append(id) }
      isTitle = name == "title"
      if isTitle { titles.append("") }
    }

    func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
      isTitle = false
    }

    func parser(_ parser: XMLParser, foundCharacters text: String) {
      if isTitle { titles[titles.count - 1] += text }
    }
  }

  @Test func theShippedModelIsDrawn() throws {
    for delegate in [true, false] {
      let method = try load(PT2Archive.read(ResNet8.path), delegate: delegate)
      try Self.expectTidy(method)
      try Self.expectWellFormed(method)
    }
  }

  @Test(.enabled(if: ZooModel.isAvailable, "needs the shared models"), arguments: ZooModel.all)
  func sharedModelsAreDrawnWithoutOverlapsAndCrossings(_ model: ZooModel) throws {
    var paths = [try model.path(".pt2")]
    if let program = sharedData("models/\(model.name)_int8_executorch.pte") { paths.append(program) }
    for path in paths {
      let method = try loadMethod(path, threads: 1)
      try Self.expectTidy(method)
      try Self.expectWellFormed(method)
      #expect(ProgramDrawing(method).layout.crossings == 0, "\(path)")
    }
  }

  @Test func aResidualTrunkIsStraight() {
    let vertices = [GraphLayout.Vertex](repeating: .init(left: 50, right: 70, height: 40, band: 0), count: 7)
    let edges = [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (4, 5), (3, 5), (5, 6)].map {
      GraphLayout.Edge(from: $0, to: $1)
    }
    let layout = GraphLayout(vertices, edges)
    Self.expectTidy(layout, vertices, edges, name: "residual")
    #expect(Set(layout.positions.map(\.x)).count == 1)
    #expect(layout.crossings == 0)
    #expect(layout.ranks == Array(0...6))
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func anyGraphIsTidy(_ seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let vertices = (0..<300).map { index in
      let half = Double.random(in: 20...90, using: &random)
      return GraphLayout.Vertex(left: half, right: half + 30, height: 40, band: index / 40)
    }
    var edges: Set<GraphLayout.Edge> = []
    for to in 1..<300 {
      for _ in 0..<Int.random(in: 1...2, using: &random) {
        let nearest = Bool.random(using: &random) ? max(0, to - 12) : 0
        edges.insert(.init(from: Int.random(in: nearest..<to, using: &random), to: to))
      }
    }
    let sorted = edges.sorted { ($0.to, $0.from) < ($1.to, $1.from) }
    Self.expectTidy(GraphLayout(vertices, sorted), vertices, sorted, name: "random")
  }

  /// Two thousand operations that all read the input: two million points, would each edge have a line of its own.
  @Test func aValueThatManyReadHasOneLine() {
    let vertices = [GraphLayout.Vertex](repeating: .init(left: 50, right: 70, height: 40, band: 0), count: 2000)
    let edges = (1..<2000).flatMap { to in
      [GraphLayout.Edge(from: to - 1, to: to)] + (to > 1 ? [GraphLayout.Edge(from: 0, to: to)] : [])
    }
    let layout = GraphLayout(vertices, edges)
    #expect(layout.ranks == Array(0..<2000))
    #expect(layout.routes.reduce(0) { $0 + $1.count } < 20_000)
    #expect(layout.routes.allSatisfy { zip($0, $0.dropFirst()).allSatisfy { $0.y < $1.y } })
  }

  @Test func hostileNamesAreEscaped() throws {
    var program = ExportedProgram(name: "a/<b>&\"'.pt2")
    let spec = TensorSpec(.float32, [1, 4])
    let x = program.graph.addValue("</title><script>alert(1)</script>", spec)
    program.graph.inputs = [x]
    program.inputKinds = [.userInput]
    let node = program.graph.makeNode(
      .relu, name: "]]>\u{1}&\u{FFFF}<svg onload='x'>", arguments: [.init("self", .value(x))],
      output: spec)
    program.graph.nodes = [node]
    program.graph.outputs = [node.output]
    for delegate in [true, false] {
      let method = try load(program, delegate: delegate, threads: 1)
      let text = method.drawing()
      #expect(!text.contains("<script") && !text.contains("<svg onload") && !text.contains("\u{1}"))
      let parser = XMLParser(data: Data(text.utf8))
      #expect(parser.parse(), "\(String(describing: parser.parserError))")
    }
  }
}
