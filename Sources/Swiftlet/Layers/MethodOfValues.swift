import GraphIR
import Lowering
import Runtime
import TensorCore
import XNNPACKBackend

/// A program lowered with other outputs than its own.
package func loadMethod(
  _ program: ExportedProgram, giving outputs: [ValueID], _ threads: ThreadPool, delegate: Bool
) throws -> Method {
  var program = program
  program.graph.outputs = outputs
  program.graph.removeDeadNodes()
  program.removeUnusedConstants()
  return try Method(lower(program, partitioner: delegate ? XNNPACKPartitioner() : nil), threads: threads)
}

extension Method {
  /// Sets all inputs. Throws when they do not fit, in number, type or shape.
  package func setInputs(_ inputs: [Tensor]) throws {
    guard inputs.count == program.inputs.count else {
      throw UsageError("\(program.name): takes \(program.inputs.count) inputs, but each sample has \(inputs.count)")
    }
    for (index, tensor) in inputs.enumerated() { try setInput(index, to: tensor) }
  }

  /// The elements of a float32 output, in memory order.
  package func withFloats(_ output: Int, _ body: (UnsafeBufferPointer<Float>) -> Void) {
    withOutput(output) { _, bytes in body(bytes.bindMemory(to: Float.self)) }
  }
}
