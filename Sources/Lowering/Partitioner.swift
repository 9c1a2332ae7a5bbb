import GraphIR
import Operators
import ProgramFormat
import TensorCore

/// Decides which nodes of a lowered graph a backend runs.
public protocol DelegateSupport: Sendable {
  /// Why the backend cannot run a call; nil when it can. Everything the backend checks when it loads is checked here.
  func reasonAgainst(_ call: OperatorCall) -> String?
}

/// Decides which nodes of a lowered graph a backend runs, and encodes them.
public protocol Partitioner: DelegateSupport {
  /// The name under which the runtime finds the backend.
  var backend: String { get }
  /// One encoded node. `inputs` and `outputs` are the call's tensors in the program's value table.
  /// - Precondition: `reasonAgainst(call)` is nil.
  func encode(_ call: OperatorCall, inputs: [Int], outputs: [Int]) throws(OperatorError) -> [UInt8]
}
