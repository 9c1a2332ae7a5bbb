import Swiftlet

/// A graph whose every edge is cut into segments between neighbouring layers, by dummies where it passes a layer; and the
/// order of each layer from left to right. Edges from one vertex pass a layer at the same dummy.
struct LayeredGraph {
  struct Item {
    let rank: Int
    let left: Double
    let right: Double
    var isDummy = false
    /// Neighbours in the layers above and below.
    var above: [Segment] = []
    var below: [Segment] = []
  }

  struct Segment {
    let item: Int
    /// The longest path in the graph that goes through the segment's edge.
    let length: Int
  }

  /// The vertices, then the dummies.
  private(set) var items: [Item]
  /// The dummies below each vertex, top to bottom, one in a layer.
  private(set) var lines: [[Int]]
  /// How many of the dummies below its upper end each edge passes.
  private(set) var passes: [Int]
  private(set) var layers: [[Int]]
  /// Each item's place in its layer.
  private(set) var places: [Int]

  /// More dummies than this are not made; the edges that would need them are drawn straight.
  private static let dummyLimit = 20_000
  private static let dummyExtent = 8.0

  init(_ vertices: [GraphLayout.Vertex], _ edges: [GraphLayout.Edge], _ ranks: [Int]) {
    items = zip(vertices, ranks).map { Item(rank: $1, left: $0.left, right: $0.right) }
    layers = [[Int]](repeating: [], count: (ranks.max() ?? -1) + 1)
    places = []
    let lengths = LayeredGraph.pathLengths(vertices.count, edges)
    passes = [Int](repeating: 0, count: edges.count)
    lines = [[Int]](repeating: [], count: vertices.count)
    // Edges of one source share its line of dummies, those to near targets the beginning of it.
    for (index, edge) in edges.enumerated().sorted(by: { ($0.1.from, ranks[$0.1.to]) < ($1.1.from, ranks[$1.1.to]) }) {
      let count = ranks[edge.to] - ranks[edge.from] - 1
      let missing = count - lines[edge.from].count
      guard missing <= 0 || items.count + missing <= vertices.count + LayeredGraph.dummyLimit else { continue }
      while lines[edge.from].count < count {
        let rank = ranks[edge.from] + lines[edge.from].count + 1
        items.append(Item(rank: rank, left: LayeredGraph.dummyExtent, right: LayeredGraph.dummyExtent, isDummy: true))
        connect(lines[edge.from].last ?? edge.from, items.count - 1, lengths[index])
        lines[edge.from].append(items.count - 1)
      }
      passes[index] = count
      connect(count > 0 ? lines[edge.from][count - 1] : edge.from, edge.to, lengths[index])
    }
    places = [Int](repeating: 0, count: items.count)
    orderByDepth(vertices.count)
  }

  private mutating func connect(_ a: Int, _ b: Int, _ length: Int) {
    items[a].below.append(Segment(item: b, length: length))
    items[b].above.append(Segment(item: a, length: length))
  }

  private static func pathLengths(_ count: Int, _ edges: [GraphLayout.Edge]) -> [Int] {
    var (depth, height) = ([Int](repeating: 0, count: count), [Int](repeating: 0, count: count))
    for edge in edges.sorted(by: { $0.from < $1.from }) { depth[edge.to] = max(depth[edge.to], depth[edge.from] + 1) }
    for edge in edges.sorted(by: { $0.to > $1.to }) { height[edge.from] = max(height[edge.from], height[edge.to] + 1) }
    return edges.map { depth[$0.from] + height[$0.to] + 1 }
  }

  /// Depth first along the longest paths: the trunk comes to lie left, and what branches off right of it.
  private mutating func orderByDepth(_ vertexCount: Int) {
    var isPlaced = [Bool](repeating: false, count: items.count)
    for root in 0..<vertexCount where items[root].above.isEmpty {
      var pending = [root]
      while let item = pending.popLast() {
        if isPlaced[item] { continue }
        isPlaced[item] = true
        places[item] = layers[items[item].rank].count
        layers[items[item].rank].append(item)
        let next = items[item].below.enumerated().sorted { a, b in
          (a.element.length, b.offset) < (b.element.length, a.offset)
        }
        pending += next.map(\.element.item)
      }
    }
  }

  // MARK: Crossings

  /// Sorts the layers by their neighbours' mean places, downwards and upwards in turn, and keeps the best order found.
  mutating func reduceCrossings(sweeps: Int = 8) {
    var best = (crossings: crossingCount(), layers: layers)
    for sweep in 0..<sweeps where best.crossings > 0 {
      let isDownward = sweep % 2 == 0
      for rank in isDownward ? Array(layers.indices) : layers.indices.reversed() {
        sort(rank) { isDownward ? $0.above : $0.below }
      }
      let crossings = crossingCount()
      if crossings < best.crossings { best = (crossings, layers) }
    }
    for rank in layers.indices { arrange(rank, best.layers[rank]) }
  }

  private mutating func sort(_ rank: Int, by neighbours: (Item) -> [Segment]) {
    let keyed = layers[rank].map { item in
      let found = neighbours(items[item])
      let mean = Double(found.reduce(0) { $0 + places[$1.item] }) / Double(max(1, found.count))
      return (item: item, mean: found.isEmpty ? Double(places[item]) : mean)
    }
    let sorted = keyed.sorted { ($0.mean, places[$0.item]) < ($1.mean, places[$1.item]) }
    arrange(rank, sorted.map(\.item))
  }

  private mutating func arrange(_ rank: Int, _ order: [Int]) {
    layers[rank] = order
    for (place, item) in order.enumerated() { places[item] = place }
  }

  /// Pairs of segments that cross, counted with a Fenwick tree over the lower layer's places.
  func crossingCount() -> Int {
    var count = 0
    for layer in layers {
      var ends: [(Int, Int)] = []
      for item in layer { for segment in items[item].below { ends.append((places[item], places[segment.item])) } }
      ends.sort { $0 < $1 }
      let size = (ends.map(\.1).max() ?? -1) + 1
      var tree = [Int](repeating: 0, count: size + 1)
      for (seen, end) in ends.enumerated() {
        var notRight = 0
        var index = end.1 + 1
        while index > 0 {
          notRight += tree[index]
          index -= index & -index
        }
        count += seen - notRight
        index = end.1 + 1
        while index <= size {
          tree[index] += 1
          index += index & -index
        }
      }
    }
    return count
  }
}
