import TensorCore

extension OperatorCall {
  /// Makes errors of operators that this one consists of its own.
  func naming<R>(_ body: () throws(OperatorError) -> R) throws(OperatorError) -> R {
    do throws(OperatorError) { return try body() } catch { throw self.error(error.reason) }
  }
}
