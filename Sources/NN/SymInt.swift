import GraphIR
import SymbolicSizes
import TensorCore

/// A size of a symbolic tensor: a number, or an expression of the sizes that were declared dynamic.
///
/// Arithmetic keeps the expression. Comparing it, or turning it into an `Int`, decides something for the example's size:
/// a guard is recorded, and `export` refuses the model unless the decision is the same at every size in range.
public struct SymInt: ExpressibleByIntegerLiteral, CustomStringConvertible {
  let expression: SymbolicSize
  /// Nil for a number.
  let tracer: Tracer?

  init(_ expression: SymbolicSize, _ tracer: Tracer?) {
    self.expression = expression
    self.tracer = expression.isConstant ? nil : tracer
  }

  /// A number.
  public init(_ value: Int) { self.init(.int(value), nil) }
  public init(integerLiteral value: Int) { self.init(value) }

  /// What it is in the example.
  var hint: Int { expression.evaluated(tracer?.shapes.hints ?? [:]) ?? 0 }

  public var description: String { expression.description }

  private static func combine(
    _ a: SymInt, _ b: SymInt, _ function: SymbolicSize.Function
  ) -> SymInt {
    let tracer = a.tracer ?? b.tracer
    guard let tracer else {
      guard let number = SymbolicSize.call(function, [a.expression, b.expression]).evaluated([:]) else {
        preconditionFailure("\(a) \(function.rawValue) \(b) is no number")
      }
      return SymInt(number)
    }
    let result: SymbolicSize =
      switch (function, a.expression, b.expression) {
      case (.add, let size, .int(let number)), (.add, .int(let number), let size): size.plus(number)
      case (.multiply, let size, .int(let number)), (.multiply, .int(let number), let size): size.times(number)
      case (.floorDivide, let size, .int(1)): size
      default: .call(function, [a.expression, b.expression])
      }
    return SymInt(result, tracer)
  }

  /// The sum.
  public static func + (a: SymInt, b: SymInt) -> SymInt { combine(a, b, .add) }
  /// The difference.
  public static func - (a: SymInt, b: SymInt) -> SymInt { combine(a, b * -1, .add) }
  /// The product.
  public static func * (a: SymInt, b: SymInt) -> SymInt { combine(a, b, .multiply) }
  /// The quotient, rounded down.
  public static func / (a: SymInt, b: SymInt) -> SymInt { combine(a, b, .floorDivide) }
  /// The remainder, with the divisor's sign.
  public static func % (a: SymInt, b: SymInt) -> SymInt { combine(a, b, .modulo) }

  /// `size - 1` and the like in places that take a literal.
  public static prefix func - (a: SymInt) -> SymInt { a * -1 }
}

extension SymInt: Comparable {
  public static func == (a: SymInt, b: SymInt) -> Bool { decide(a, .equal, b) }
  /// Decides for the example's sizes, and records that.
  public static func < (a: SymInt, b: SymInt) -> Bool { decide(a, .less, b) }
  /// Decides for the example's sizes, and records that.
  public static func <= (a: SymInt, b: SymInt) -> Bool { !decide(b, .less, a) }
  /// Decides for the example's sizes, and records that.
  public static func > (a: SymInt, b: SymInt) -> Bool { decide(b, .less, a) }
  /// Decides for the example's sizes, and records that.
  public static func >= (a: SymInt, b: SymInt) -> Bool { !decide(a, .less, b) }

  private static func decide(_ a: SymInt, _ relation: SizeGuard.Relation, _ b: SymInt) -> Bool {
    let result = relation.holds(a.hint, b.hint)
    (a.tracer ?? b.tracer)?.record(relation, a.expression, b.expression, holds: result)
    return result
  }
}

extension Int {
  /// The size in the example. For a dynamic size this fixes it: `export` reports the size, the value, and this line.
  public init(_ size: SymInt, fileID: StaticString = #fileID, line: UInt = #line) {
    self = size.hint
    size.tracer?.record(.equal, size.expression, .int(size.hint), holds: true, at: "\(fileID):\(line)")
  }
}
