import Foundation
import Operators
import TensorCore

/// One call of Tests/Golden/operators and PyTorch's answer.
public struct OpCase: Sendable, CustomStringConvertible {
  public let number: Int
  public let operatorName: String
  public let arguments: CallArguments
  public let inputs: [Tensor]
  public let expected: [Tensor]
  public let relativeTolerance: Double
  public let absoluteTolerance: Double

  public var description: String {
    let rest = arguments.compactMap { name, argument in
      if case .attribute(let value) = argument { "\(name)=\(value)" } else { nil }
    }
    let shapes = inputs.map(\.spec.description).joined(separator: ", ")
    return "\(number) \(operatorName)(\(shapes); \(rest.sorted().joined(separator: ", ")))"
  }

  /// The call, with the tensors from number `firstConstant` on as constants.
  public func call(firstConstant: Int = .max) throws -> (Operator, OperatorCall) {
    guard let op = OperatorSet.standard[operatorName] else { throw GoldenError("no operator \(operatorName)") }
    let call = OperatorCall(
      op: op, node: "case\(number)", arguments: arguments, inputs: inputs.map(\.spec),
      constants: inputs.indices.map { $0 >= firstConstant ? inputs[$0] : nil })
    return (op, call)
  }
}

struct GoldenError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

public enum OperatorGolden {
  public static let cases: Result<[OpCase], any Error> = Result { try load() }

  private static func load() throws -> [OpCase] {
    let file = try JSONDecoder().decode(
      File.self, from: Data(contentsOf: URL(fileURLWithPath: goldenPath("operators", "operators.json"))))
    let storage = try Storage(mapping: goldenPath("operators", "operators.bin"))
    return try file.cases.enumerated().map { number, entry in
      OpCase(
        number: number, operatorName: entry.operator,
        arguments: CallArguments(try entry.arguments.mapValues { try $0.argument() }),
        inputs: entry.inputs.map { $0.tensor(storage) }, expected: entry.outputs.map { $0.tensor(storage) },
        relativeTolerance: entry.rtol ?? 0, absoluteTolerance: entry.atol ?? 0)
    }
  }

  private struct File: Decodable {
    var cases: [Entry]
  }

  private struct Entry: Decodable {
    var `operator`: String
    var arguments: [String: Argument]
    var inputs: [TensorEntry]
    var outputs: [TensorEntry]
    var rtol: Double?
    var atol: Double?
  }

  /// `[dtype, offset, sizes...]`
  private struct TensorEntry: Decodable {
    let dtype: DataType
    let offset: Int
    let shape: [Int]

    init(from decoder: any Decoder) throws {
      var fields = try decoder.unkeyedContainer()
      dtype = try fields.decode(DataType.self)
      offset = try fields.decode(Int.self)
      var sizes: [Int] = []
      while !fields.isAtEnd { sizes.append(try fields.decode(Int.self)) }
      shape = sizes
    }

    func tensor(_ storage: Storage) -> Tensor {
      Tensor(TensorSpec(dtype, Shape(shape)), storage: storage, byteOffset: offset)
    }
  }

  private struct Argument: Decodable {
    var tensor: Int?
    var tensors: [Int]?
    var none: Bool?
    var bool: Bool?
    var int: Int?
    var float: Double?
    var string: String?
    var dtype: DataType?
    var ints: [Int]?
    var floats: [Double]?

    func argument() throws -> CallArgument {
      if let tensor { return .tensor(tensor) }
      if let tensors { return .tensors(tensors) }
      if none != nil { return .attribute(.none) }
      if let bool { return .attribute(.bool(bool)) }
      if let int { return .attribute(.int(int)) }
      if let float { return .attribute(.float(float)) }
      if let string { return .attribute(.string(string)) }
      if let dtype { return .attribute(.dataType(dtype)) }
      if let ints { return .attribute(.ints(ints)) }
      if let floats { return .attribute(.floats(floats)) }
      throw GoldenError("an argument of unknown kind")
    }
  }
}
