import TensorCore
import Testing

@testable import Operators

@Suite struct SchemaTests {
  @Test func readsKindsDefaultsAndKeywords() {
    let schema = Schema(
      "ns.op.overload(Tensor a, Tensor? b=None, Tensor[] c, SymInt[2] stride=1, int[] pad=[1, -2], *, Scalar alpha=1, "
        + "float? eps=None, bool flag=False, str mode=\"constant\", ScalarType? dtype=None) -> Tensor")
    #expect(schema.name == "ns.op.overload")
    #expect(schema.parameters.map(\.name) == ["a", "b", "c", "stride", "pad", "alpha", "eps", "flag", "mode", "dtype"])
    #expect(
      schema.parameters.map(\.kind) == [
        .tensor, .optionalTensor, .tensors, .ints(count: 2), .ints(count: nil), .float, .optionalFloat, .bool, .string,
        .dataType,
      ])
    #expect(schema.parameter(named: "a")?.defaultValue == nil)
    #expect(schema.parameter(named: "b")?.defaultValue == Attribute.none)
    #expect(schema.parameter(named: "stride")?.defaultValue == .ints([1, 1]))
    #expect(schema.parameter(named: "pad")?.defaultValue == .ints([1, -2]))
    #expect(schema.parameter(named: "alpha")?.defaultValue == .float(1))
    #expect(schema.parameter(named: "flag")?.defaultValue == .bool(false))
    #expect(schema.parameter(named: "mode")?.defaultValue == .string("constant"))
    #expect(
      schema.parameters.map(\.isKeywordOnly) == [Bool](repeating: false, count: 5) + [Bool](repeating: true, count: 5))
  }

  @Test func emptyListIsADefault() {
    #expect(Schema("op(int[2] stride=[]) -> Tensor").parameters[0].defaultValue == .ints([]))
  }

  @Test(arguments: OperatorSet.standard.operators)
  func isWellFormed(_ op: Operator) {
    #expect(op.name.split(separator: ".").count >= 2)
    #expect(Set(op.schema.parameters.map(\.name)).count == op.schema.parameters.count)
    // After the first argument with a default, ATen's positional arguments all have one.
    let positional = op.schema.parameters.filter { !$0.isKeywordOnly }
    let optional = positional.drop { $0.defaultValue == nil }
    #expect(optional.allSatisfy { $0.defaultValue != nil })
    #expect(OperatorSet.standard[op.name]?.schema == op.schema)
  }

  @Test func unknownNameIsNil() { #expect(OperatorSet.standard["aten.nothing.default"] == nil) }
}

extension Operator: CustomTestStringConvertible {
  public var testDescription: String { name }
}
