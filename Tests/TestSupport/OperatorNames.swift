import GraphIR
import Operators
import ProgramFormat
import TensorCore

// Tests name operators as a file does, so that what they expect can be read without the library.

extension Node {
  public var operatorName: String { op.name }

  public init(
    name: String, operatorName: String, arguments: [Argument], outputs: [ValueID], metadata: [String: String] = [:]
  ) {
    let op = OperatorSet.standard.resolve(operatorName)
    self.init(name: name, op: op, arguments: arguments, outputs: outputs, metadata: metadata)
  }
}

extension Program.Instruction {
  public var operatorName: String { op.name }
}
