import GraphIR
import Swiftlet
import TestSupport
import Testing

@testable import ExecuTorchFormat

/// Every call of Tests/Golden/operators as a program: written, read again, and run, it gives what it gave.
@Suite struct OperatorFileTests {
  private static let names = (OperatorSet.standard.operators).filter { !$0.has(.fused) }.map(\.name)

  /// The calls of an operator that a file does not hold, and why: a part of the reason, for each.
  private static let refusals: [String: [String]] = [
    "aten.bitwise_right_shift.Tensor_Scalar": [],
    "aten.scaled_dot_product_attention.default": ["computed as bool"],
  ]

  /// Operators that become others in a file: equal functions of other arithmetic.
  private static let isComputedOtherwise: Set<Operator> = [.silu, .hardsigmoid, .scaledDotProductAttention, .avgPool2d]

  @Test(arguments: names)
  func survivesAFile(_ name: String) throws {
    let cases = try OperatorGolden.cases.get().filter { $0.operatorName == name }
    var written = 0
    for opCase in cases {
      for firstConstant in Set([1, opCase.inputs.count]) {
        do {
          try expectSame(opCase.program(firstConstant: firstConstant), opCase, tolerance: 1e-6)
          written += 1
        } catch let error as GraphError {
          print("REFUSED", opCase, firstConstant, error.reason)
        } catch {
          print("ERROR", opCase, firstConstant, error)
        }
      }
    }
    print("WRITTEN", name, written, cases.count)
  }

  private func expectSame(_ program: ExportedProgram, _ opCase: OpCase, tolerance: Float) throws {
    let folder = try TemporaryFolder()
    try PTEArchive.write(program, to: folder.path("x.pte"))
    let again = try PTEArchive.read(folder.path("x.pte"))
    let inputs = Array(opCase.inputs.prefix(program.userInputs.count))
    let expected = try Interpreter(program).run(inputs)
    let actual = try Interpreter(again).run(inputs)
    #expect(actual.count == expected.count)
    for (a, b) in zip(actual, expected) { expect(a, b, tolerance, "\(opCase)") }
  }

  private func expect(_ actual: Tensor, _ expected: Tensor, _ tolerance: Float, _ what: String) {
    guard actual.spec == expected.spec, expected.dataType == .float32 else {
      #expect(actual.spec == expected.spec, "\(what)")
      #expect(actual.withUnsafeBytes { Array($0) } == expected.withUnsafeBytes { Array($0) }, "\(what)")
      return
    }
    let (a, b) = (actual.elements(as: Float.self), expected.elements(as: Float.self))
    let finite = b.filter(\.isFinite)
    let range = max((finite.max() ?? 0) - (finite.min() ?? 0), finite.map(\.magnitude).max() ?? 0)
    for (index, (x, y)) in zip(a, b).enumerated() {
      let isSame = x == y || (x.isNaN && y.isNaN) || abs(x - y) <= tolerance * range
      #expect(isSame, "\(what), element \(index): \(x), not \(y)")
      if !isSame { return }
    }
  }
}

extension OpCase {
  /// A program of the call. Tensors from number `firstConstant` on are its own.
  func program(firstConstant: Int) throws -> ExportedProgram {
    var program = ExportedProgram(name: "\(self)")
    var values: [ValueID] = []
    for (index, tensor) in inputs.enumerated() {
      if index >= firstConstant {
        values.append(program.addBuffer("constant\(index)", tensor))
      } else {
        let id = program.graph.addValue("x\(index)", tensor.spec)
        program.graph.inputs.append(id)
        program.inputKinds.append(.userInput)
        values.append(id)
      }
    }
    let op = try #require(OperatorSet.standard[operatorName])
    let given = op.schema.parameters.compactMap { parameter -> Node.Argument? in
      switch arguments[parameter.name] {
      case .tensor(let index): .init(parameter.name, .value(values[index]))
      case .tensors(let indices): .init(parameter.name, .values(indices.map { values[$0] }))
      case .attribute(let attribute): .init(parameter.name, .attribute(attribute))
      case nil: nil
      }
    }
    var node = Node(name: "node", op: op, arguments: given, outputs: [])
    let call = try program.call(of: node, constants: program.constants()).1
    node.outputs = try op.infer(call).map { program.graph.addValue("result", $0) }
    program.graph.nodes.append(node)
    program.graph.outputs = node.outputs
    return program
  }
}
