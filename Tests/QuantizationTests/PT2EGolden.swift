import Foundation
import GraphIR
import PipelineTesting
import TensorCore
import TestSupport
import Testing

/// Tests/Golden/pt2e: float programs, calibration values, and torchao's Q/DQ programs.
struct PT2EGolden: Decodable {
  var cases: [PT2ECase]

  /// The cases of `pt2e.json`, or of `scenarios.json`.
  static func load(_ file: String = "pt2e.json") throws -> [PT2ECase] {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Golden/pt2e/\(file)")
    return try JSONDecoder().decode(PT2EGolden.self, from: Data(contentsOf: url)).cases
  }
}

struct PT2ECase: Decodable, Sendable, CustomTestStringConvertible {
  var name: String
  var isPerChannel: Bool
  var float: GoldenProgram
  /// Per sample: the values of the folded float graph that torchao observes, by name.
  var samples: [[String: GoldenTensor]]
  /// The state dict after BatchNorms were folded.
  var folded: [String: GoldenTensor]
  var converted: GoldenProgram

  var testDescription: String { name }
}

struct GoldenTensor: Decodable, Sendable {
  var dtype: DataType
  var shape: [Int]
  /// Integers, or the bit patterns of floats.
  var values: [Int64]

  var tensor: Tensor {
    let shape = Shape(shape)
    return switch dtype {
    case .int8: Tensor(values.map { Int8($0) }, shape: shape)
    case .uint8: Tensor(values.map { UInt8($0) }, shape: shape)
    case .int32: Tensor(values.map { Int32($0) }, shape: shape)
    case .int64: Tensor(values, shape: shape)
    default: Tensor(values.map { Float(bitPattern: UInt32(truncatingIfNeeded: $0)) }, shape: shape)
    }
  }
}

struct GoldenProgram: Decodable, Sendable {
  struct Input: Decodable, Sendable {
    var name: String
    var kind: String
    var target: String?
    var tensor: GoldenTensor?
    var shape: [Int]
    var dtype: DataType
  }

  struct Argument: Decodable, Sendable {
    var name: String
    var value: String?
    var values: [String]?
    var int: Int?
    var ints: [Int]?
    var float: Double?
    var bool: Bool?
    var string: String?
    var dtype: DataType?
  }

  struct GoldenNode: Decodable, Sendable {
    struct Output: Decodable, Sendable {
      var name: String
      var shape: [Int]
      var dtype: DataType
    }

    var name: String
    var op: String
    var arguments: [Argument]
    /// `nn_module_stack`.
    var stack: String
    var outputs: [Output]
  }

  var inputs: [Input]
  var nodes: [GoldenNode]
  var outputs: [String]

  /// The program, with the names of the file.
  func program(_ name: String) throws -> ExportedProgram {
    var program = ExportedProgram(name: name)
    var ids: [String: ValueID] = [:]
    for input in inputs {
      let id = program.graph.addValue(input.name, TensorSpec(input.dtype, Shape(input.shape)))
      ids[input.name] = id
      program.graph.inputs.append(id)
      if let target = input.target { program.stateDict[target] = input.tensor?.tensor }
      switch input.kind {
      case "parameter": program.inputKinds.append(.parameter(try #require(input.target)))
      case "buffer": program.inputKinds.append(.buffer(try #require(input.target), isPersistent: true))
      case "user_input": program.inputKinds.append(.userInput)
      default: Issue.record("unknown kind \(input.kind)")
      }
    }
    for node in nodes {
      let arguments = try node.arguments.map { argument in
        Node.Argument(argument.name, try argument.operand(ids))
      }
      let outputs = node.outputs.map { output in
        program.graph.addValue(output.name, TensorSpec(output.dtype, Shape(output.shape)))
      }
      for (output, id) in zip(node.outputs, outputs) { ids[output.name] = id }
      program.graph.nodes.append(
        Node(
          name: node.name, operatorName: node.op, arguments: arguments, outputs: outputs,
          metadata: ["nn_module_stack": node.stack]))
    }
    program.graph.outputs = try outputs.map { try #require(ids[$0]) }
    program.graph.functionalize()
    return program
  }
}

extension GoldenProgram.Argument {
  func operand(_ ids: [String: ValueID]) throws -> Operand {
    if let value { return .value(try #require(ids[value])) }
    if let values { return .values(try values.map { try #require(ids[$0]) }) }
    if let bool { return .attribute(.bool(bool)) }
    if let int { return .attribute(.int(int)) }
    if let ints { return .attribute(.ints(ints)) }
    if let float { return .attribute(.float(float)) }
    if let string { return .attribute(.string(string)) }
    if let dtype { return .attribute(.dataType(dtype)) }
    return .attribute(.none)
  }
}
