import PipelineTesting
import Swiftlet
import Synchronization
import TensorCore
import TestSupport
import Testing

/// Shapes are inferred where a stage makes or changes a node, and nowhere else.
@Suite struct InferenceCountTests {
  private static let count = Mutex(0)

  /// The identity on float32, which counts how often it is asked for its shape.
  private static let counted = Operator(
    "my.counted.default(Tensor self) -> Tensor",
    infer: { call throws(OperatorError) in
      count.withLock { $0 += 1 }
      return [try call.spec("self")]
    },
    prepare: { call throws(OperatorError) in
      let size = try call.spec("self").byteCount
      return PreparedKernel { buffers in
        buffers.outputs[0].copyMemory(from: buffers.inputs[0], byteCount: size)
      }
    })

  @Test func onceForEachNode() throws {
    let nodes = 10
    var program = ExportedProgram(name: "counted")
    let spec = TensorSpec(.float32, [1, 4])
    var value = program.graph.addValue("x", spec)
    program.graph.inputs = [value]
    program.inputKinds = [.userInput]
    for index in 0..<nodes {
      let node = program.graph.makeNode(
        index % 2 == 0 ? Self.counted : .sigmoid, name: "n\(index)", arguments: [.init("self", .value(value))],
        output: spec)
      program.graph.nodes.append(node)
      value = node.output
    }
    program.graph.outputs = [value]
    let sample = [Tensor([-1, 0, 1, 2] as [Float], shape: [1, 4])]
    let quantized = try Pipeline(program, samples: [sample]).quantize()
    let method = try Method(
      lower(quantized.program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 1))
    #expect(try method.run(sample)[0].shape == [1, 4])
    #expect(Self.count.withLock { $0 } == nodes / 2)
  }
}
