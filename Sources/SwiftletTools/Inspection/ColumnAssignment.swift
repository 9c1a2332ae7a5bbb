import Swiftlet

/// Gives every item of a layered graph its x so that long paths run straight down (after Brandes and Köpf, "Fast and
/// simple horizontal coordinate assignment", 2001).
///
/// Segments that are the longest way on for both of their ends, and do not cross a longer one, are straight: the items
/// that they join form a block with one x. Blocks keep their distances, and move to where their other neighbours are.
struct ColumnAssignment {
  let x: [Double]

  init(_ graph: LayeredGraph, gap: Double) {
    let blocks = ColumnAssignment.blocks(graph)
    var solver = BlockSolver(graph, blocks, gap)
    solver.pack()
    solver.relax()
    x = blocks.map { solver.x[$0] }
  }

  /// The block of each item, numbered from 0.
  private static func blocks(_ graph: LayeredGraph) -> [Int] {
    var parent = Array(graph.items.indices)
    for layer in graph.layers {
      for (upper, lower) in straightSegments(graph, below: layer) { parent[lower] = parent[upper] }
    }
    var numbers: [Int: Int] = [:]
    return graph.layers.joined().reduce(into: [Int](repeating: 0, count: graph.items.count)) { result, item in
      let number = numbers[parent[item]] ?? numbers.count
      numbers[parent[item]] = number
      result[item] = number
    }
  }

  private static func straightSegments(_ graph: LayeredGraph, below layer: [Int]) -> [(upper: Int, lower: Int)] {
    var candidates: [(upper: Int, lower: Int, length: Int)] = []
    for upper in layer {
      guard let best = longest(graph.items[upper].below), longest(graph.items[best.item].above)?.item == upper else {
        continue
      }
      candidates.append((upper, best.item, best.length))
    }
    candidates.sort { ($1.length, $0.upper) < ($0.length, $1.upper) }
    // By the place above; the places below ascend too, so that none cross.
    var chosen: [(upper: Int, lower: Int)] = []
    for (upper, lower, _) in candidates {
      let (a, b) = (graph.places[upper], graph.places[lower])
      var (next, end) = (0, chosen.count)
      while next < end {
        let middle = (next + end) / 2
        if graph.places[chosen[middle].upper] > a { end = middle } else { next = middle + 1 }
      }
      if next > 0, graph.places[chosen[next - 1].lower] > b { continue }
      if next < chosen.count, graph.places[chosen[next].lower] < b { continue }
      chosen.insert((upper, lower), at: next)
    }
    return chosen
  }

  /// Of equally long ways the one to the earliest item.
  private static func longest(_ segments: [LayeredGraph.Segment]) -> LayeredGraph.Segment? {
    segments.max { ($0.length, $1.item) < ($1.length, $0.item) }
  }
}

/// The blocks with the distances that they must keep.
private struct BlockSolver {
  private(set) var x: [Double]
  /// Blocks that lie beside each other in some layer, with the distance between their lines.
  private var lefts: [[(block: Int, distance: Double)]]
  private var rights: [[(block: Int, distance: Double)]]
  /// Blocks that are joined by a segment that need not be straight, one entry for each.
  private var joined: [[Int]]
  /// From left to right wherever two lie beside each other.
  private var order: [Int] = []

  init(_ graph: LayeredGraph, _ blocks: [Int], _ gap: Double) {
    let count = (blocks.max() ?? -1) + 1
    x = [Double](repeating: 0, count: count)
    lefts = [[(block: Int, distance: Double)]](repeating: [], count: count)
    rights = lefts
    joined = [[Int]](repeating: [], count: count)
    for layer in graph.layers {
      for (a, b) in zip(layer, layer.dropFirst()) {
        let areLines = graph.items[a].isDummy && graph.items[b].isDummy
        let distance = graph.items[a].right + (areLines ? 0 : gap) + graph.items[b].left
        rights[blocks[a]].append((blocks[b], distance))
        lefts[blocks[b]].append((blocks[a], distance))
      }
    }
    for (item, block) in blocks.enumerated() {
      for segment in graph.items[item].below where blocks[segment.item] != block {
        joined[block].append(blocks[segment.item])
        joined[blocks[segment.item]].append(block)
      }
    }
    sort()
  }

  /// Straight segments do not cross, so that "left of" has no cycle.
  private mutating func sort() {
    var missing = lefts.map(\.count)
    var ready = missing.indices.filter { missing[$0] == 0 }
    while let block = ready.popLast() {
      order.append(block)
      for (right, _) in rights[block] {
        missing[right] -= 1
        if missing[right] == 0 { ready.append(right) }
      }
    }
  }

  /// As far left as the distances allow.
  mutating func pack() {
    for block in order { x[block] = lefts[block].reduce(0) { max($0, x[$1.block] + $1.distance) } }
  }

  /// Moves each block to the mean of those it is joined to, as far as its neighbours let it.
  mutating func relax(rounds: Int = 30) {
    for round in 0..<rounds {
      for block in round % 2 == 0 ? order.reversed() : order where !joined[block].isEmpty {
        let wanted = joined[block].reduce(0) { $0 + x[$1] } / Double(joined[block].count)
        let low = lefts[block].reduce(-Double.infinity) { max($0, x[$1.block] + $1.distance) }
        let high = rights[block].reduce(Double.infinity) { min($0, x[$1.block] - $1.distance) }
        x[block] = max(low, min(high, wanted))
      }
    }
  }
}
