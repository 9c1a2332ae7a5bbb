import Swiftlet

/// Places the boxes of a directed acyclic graph in layers, top to bottom, so that every edge points down and no two boxes
/// overlap (the method of Sugiyama, Tagawa and Toda, 1981: longest-path ranks, dummies on long edges, barycenter sweeps).
///
/// Vertices come in bands, which are stacked: all of a band lie below all of the band before.
struct GraphLayout {
  struct Vertex {
    /// How far the box, and what is written beside it, reach from the line that its edges leave on.
    var left: Double
    var right: Double
    var height: Double
    /// Never less than the vertex before has.
    var band: Int
  }

  /// From a vertex to a later one.
  struct Edge: Hashable {
    var from: Int
    var to: Int
  }

  struct Point: Hashable {
    var x: Double
    var y: Double
  }

  struct Spacing {
    /// Between neighbours in a layer.
    var column = 34.0
    /// Between layers.
    var row = 52.0
    /// Above and below a band, besides.
    var band = 0.0
  }

  /// Each vertex's layer, from 0 at the top.
  let ranks: [Int]
  /// Where each vertex's edges leave and arrive, and its upper edge.
  let positions: [Point]
  /// Each edge as a line through these points, from the lower edge of one box to the upper edge of another. Where it
  /// follows a shorter edge from the same box, it starts where it leaves that one.
  private(set) var routes: [[Point]]
  /// The upper edge of each band's first layer and the lower edge of its last.
  let bands: [ClosedRange<Double>]
  let width: Double
  let height: Double
  /// Pairs of edges that cross between two layers.
  let crossings: Int

  /// - Precondition: bands ascend from 0 without gap, and edges point to later vertices.
  init(_ vertices: [Vertex], _ edges: [Edge], spacing: Spacing = Spacing()) {
    let ranks = GraphLayout.ranks(vertices, edges)
    var layered = LayeredGraph(vertices, edges, ranks)
    layered.reduceCrossings()
    let columns = ColumnAssignment(layered, gap: spacing.column).x
    let rows = Rows(vertices, ranks, spacing)
    let left = layered.items.indices.map { columns[$0] - layered.items[$0].left }.min() ?? 0
    let right = layered.items.indices.map { columns[$0] + layered.items[$0].right }.max() ?? 0
    self.ranks = ranks
    positions = vertices.indices.map { index in
      let (rank, height) = (ranks[index], vertices[index].height)
      return Point(x: columns[index] - left, y: rows.top[rank] + (rows.heights[rank] - height) / 2)
    }
    var routes = [[Point]](repeating: [], count: edges.count)
    // The dummies of each vertex that a route passes already; those of longer edges come later.
    var passed = [Int](repeating: 0, count: vertices.count)
    for index in edges.indices.sorted(by: { layered.passes[$0] < layered.passes[$1] }) {
      let (edge, count) = (edges[index], layered.passes[index])
      let start = positions[edge.from]
      var points = [Point(x: start.x, y: start.y + vertices[edge.from].height)]
      for place in max(0, passed[edge.from] - 1)..<count {
        let dummy = layered.lines[edge.from][place]
        let (x, rank) = (columns[dummy] - left, layered.items[dummy].rank)
        let bottom = Point(x: x, y: rows.top[rank] + rows.heights[rank])
        if place < passed[edge.from] { points = [] } else { points.append(Point(x: x, y: rows.top[rank])) }
        points.append(bottom)
      }
      passed[edge.from] = count
      routes[index] = points + [positions[edge.to]]
    }
    self.routes = routes
    bands = rows.bands
    width = right - left
    height = rows.height
    crossings = layered.crossingCount()
    spreadArrivals(vertices, edges)
  }

  /// One more than the highest rank among those that point to a vertex; in a new band, below the whole band before.
  private static func ranks(_ vertices: [Vertex], _ edges: [Edge]) -> [Int] {
    var ranks = [Int](repeating: 0, count: vertices.count)
    var incoming = [[Int]](repeating: [], count: vertices.count)
    for edge in edges { incoming[edge.to].append(edge.from) }
    var (highest, start) = (-1, 0)
    for index in vertices.indices {
      if index > 0, vertices[index].band != vertices[index - 1].band { start = highest + 1 }
      ranks[index] = incoming[index].reduce(start) { max($0, ranks[$1] + 1) }
      highest = max(highest, ranks[index])
    }
    return ranks
  }

  /// Draws the ends of several edges at one box apart, in the order that they come from.
  private mutating func spreadArrivals(_ vertices: [Vertex], _ edges: [Edge]) {
    var incoming: [Int: [Int]] = [:]
    for (index, edge) in edges.enumerated() { incoming[edge.to, default: []].append(index) }
    for (vertex, arriving) in incoming where arriving.count > 1 {
      let center = positions[vertex].x
      func offset(_ edge: Int) -> Double { routes[edge][routes[edge].count - 2].x - center }
      let sorted = arriving.sorted { (offset($0), $0) < (offset($1), $1) }
      let lefts = sorted.filter { offset($0) < -0.5 }
      let rights = sorted.filter { offset($0) > 0.5 }
      let half = min(vertices[vertex].left, vertices[vertex].right) - 12
      for (edges, sign) in [(Array(lefts.reversed()), -1.0), (rights, 1.0)] {
        let step = min(24, half / Double(max(1, edges.count)))
        for (place, edge) in edges.enumerated() {
          routes[edge][routes[edge].count - 1].x = center + sign * step * Double(place + 1)
        }
      }
    }
  }
}

/// Where the layers lie.
private struct Rows {
  var top: [Double] = []
  var heights: [Double]
  var bands: [ClosedRange<Double>] = []
  var height = 0.0

  init(_ vertices: [GraphLayout.Vertex], _ ranks: [Int], _ spacing: GraphLayout.Spacing) {
    heights = [Double](repeating: 0, count: (ranks.max() ?? -1) + 1)
    var bandOfRank = [Int](repeating: 0, count: heights.count)
    for (vertex, rank) in zip(vertices, ranks) {
      heights[rank] = max(heights[rank], vertex.height)
      bandOfRank[rank] = vertex.band
    }
    var y = 0.0
    for rank in heights.indices {
      let isFirst = rank == 0 || bandOfRank[rank] != bandOfRank[rank - 1]
      if rank > 0 { y += spacing.row + (isFirst ? 2 * spacing.band : 0) }
      top.append(y)
      let end = y + heights[rank]
      if isFirst { bands.append(y...end) } else { bands[bands.count - 1] = bands[bands.count - 1].lowerBound...end }
      y = end
    }
    height = y
  }
}
