import Foundation
import Swiftlet

// How long each stage takes for graphs of many nodes: chains of linear layers with ReLU, and of additions of the input.
// Usage: swift run -c release ScaleBenchmark [NODES]...

private func milliseconds(_ body: () throws -> Void) rethrows -> Int {
  let start = ContinuousClock.now
  try body()
  return Int(((ContinuousClock.now - start) / .milliseconds(1)).rounded())
}

/// `nodes` operators on [1, 8] in one line: linear layers, each with weights of its own and ReLU behind it.
private func layers(_ nodes: Int) -> ExportedProgram {
  var program = ExportedProgram(name: "layers")
  var value = program.addInput([1, 8])
  for index in 0..<nodes / 2 {
    let weight = program.addBuffer(
      "w\(index)", Tensor((0..<64).map { Float(($0 * 7 + index) % 11) / 20 - 0.25 }, shape: [8, 8]))
    value = program.append(.linear, [.init("input", .value(value)), .init("weight", .value(weight))])
    value = program.append(.relu, [.init("self", .value(value))])
  }
  program.graph.outputs = [value]
  return program
}

/// `nodes` additions of the input to what was computed last.
private func sums(_ nodes: Int) -> ExportedProgram {
  var program = ExportedProgram(name: "sums")
  let input = program.addInput([1, 8])
  var value = input
  for _ in 0..<nodes { value = program.append(.add, [.init("self", .value(value)), .init("other", .value(input))]) }
  program.graph.outputs = [value]
  return program
}

extension ExportedProgram {
  fileprivate mutating func addInput(_ shape: Shape) -> ValueID {
    let id = graph.addValue("x", TensorSpec(.float32, shape))
    graph.inputs.append(id)
    inputKinds.append(.userInput)
    return id
  }

  fileprivate mutating func append(_ op: Operator, _ arguments: [Node.Argument]) -> ValueID {
    let node = graph.makeNode(op, name: op.functionName, arguments: arguments, output: TensorSpec(.float32, [1, 8]))
    graph.nodes.append(node)
    return node.output
  }
}

private func measure(_ program: ExportedProgram) throws -> String {
  let sample = [Tensor((0..<8).map { Float($0) / 8 }, shape: [1, 8])]
  var observed: ObservedProgram?
  var quantized: ExportedProgram?
  var lowered: Program?
  let prepare = try milliseconds { observed = try Swiftlet.prepare(program, quantizer: XNNPACKQuantizer()) }
  let calibrate = try milliseconds {
    let lowering = try lowerObserved(observed!.program, partitioner: XNNPACKPartitioner())
    let method = try Method(lowering.program, threads: ThreadPool(threadCount: 1))
    let outputs = try method.run(sample)
    for (observer, entries) in Dictionary(grouping: lowering.observed, by: \.observer) {
      try observed!.record(entries.map { outputs[$0.output] }, observer: observer)
    }
  }
  let convert = try milliseconds { quantized = try Swiftlet.convert(observed!) }
  let lower = try milliseconds { lowered = try Swiftlet.lower(quantized!, partitioner: XNNPACKPartitioner()) }
  let load = try milliseconds { _ = try Method(lowered!, threads: ThreadPool(threadCount: 1)) }
  return [prepare, calibrate, convert, lower, load].map { String($0).leftPadded(to: 10) }.joined()
}

extension String {
  fileprivate func leftPadded(to width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}

@main struct Scale {
  static func main() throws {
    let counts = CommandLine.arguments.dropFirst().compactMap(Int.init)
    print("model    nodes   prepare calibrate   convert     lower      load   (ms)")
    for make in [layers, sums] {
      for count in counts.isEmpty ? [250, 500, 1000, 10_000] : Array(counts) {
        let program = make(count)
        print("\(program.name)\(String(count).leftPadded(to: 14 - program.name.count))\(try measure(program))")
      }
    }
  }
}
