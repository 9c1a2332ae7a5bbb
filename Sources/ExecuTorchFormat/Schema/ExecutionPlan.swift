import TensorCore
import TorchFormats

/// A method of an ExecuTorch program, as `program.fbs` describes it.
struct ExecutionPlan {
  enum Value {
    case none
    case int(Int)
    case bool(Bool)
    case double(Double)
    case string(String)
    case tensor(TensorValue)
    /// Indices of values.
    case ints([Int])
    case doubles([Double])
    case bools([Bool])
    /// Indices of values; −1 for None.
    case tensors([Int])
  }

  struct TensorValue {
    let spec: TensorSpec
    /// Into the program's constants; 0 for a computed tensor.
    let constant: Int
    /// Whether it has a place in planned memory: with `constant`, state that the program changes.
    let isPlanned: Bool
    let isDynamic: Bool
    /// The name under which its data lie in another file; empty when they do not.
    let externalName: String
  }

  struct Operator: Hashable {
    let name: String
    let overload: String

    /// As ExecuTorch prints it, `aten::add.out`.
    var qualified: String { overload.isEmpty ? name : "\(name).\(overload)" }
  }

  struct Delegate {
    let id: String
    let isInline: Bool
    let index: Int
  }

  enum Instruction {
    case kernel(operatorIndex: Int, arguments: [Int])
    case delegate(index: Int, arguments: [Int])
    /// Control flow and memory management, by the schema's name.
    case other(String)
  }

  let name: String
  let values: [Value]
  let inputs: [Int]
  let outputs: [Int]
  let operators: [Operator]
  let delegates: [Delegate]
  let instructions: [Instruction]

  init(_ table: FlatTable) throws(FormatError) {
    name = try table.string(0)
    var values: [Value] = []
    for value in try table.tables(2) { values.append(try ExecutionPlan.value(value)) }
    self.values = values
    inputs = try table.ints(3)
    outputs = try table.ints(4)
    var operators: [Operator] = []
    for entry in try table.tables(6) {
      operators.append(Operator(name: try entry.string(0), overload: try entry.string(1)))
    }
    self.operators = operators
    var delegates: [Delegate] = []
    for entry in try table.tables(7) {
      let data = try entry.requiredTable(1, "processed")
      delegates.append(
        Delegate(
          id: try entry.string(0), isInline: try data.integer(0, as: Int8.self) == 0, index: try data.uint(1)))
    }
    self.delegates = delegates
    let chains = try table.tables(5)
    guard chains.count == 1 else {
      throw table.buffer.error("method '\(name)' has \(chains.count) chains of instructions; one can be run")
    }
    var instructions: [Instruction] = []
    for entry in try chains[0].tables(2) { instructions.append(try ExecutionPlan.instruction(entry)) }
    self.instructions = instructions
  }

  private static func value(_ entry: FlatTable) throws(FormatError) -> Value {
    let kind = try entry.integer(0, as: UInt8.self)
    guard kind > 1 else { return .none }
    let value = try entry.requiredTable(1, "val")
    switch kind {
    case 2: return .int(Int(try value.integer(0, as: Int64.self)))
    case 3: return .bool(try value.bool(0))
    case 4: return .double(try value.double(0))
    case 5: return .tensor(try TensorValue(value))
    case 6: return .string(try value.string(0))
    case 7: return .ints(try value.integers(0, as: Int64.self).map { Int($0) })
    case 8: return .doubles(try value.doubles(0))
    case 9: return .bools(try value.integers(0, as: UInt8.self).map { $0 != 0 })
    case 10, 11: return .tensors(try value.ints(0))
    default: throw entry.buffer.error("has a value of kind \(kind), which the schema does not know")
    }
  }

  private static func instruction(_ entry: FlatTable) throws(FormatError) -> Instruction {
    let kind = try entry.integer(0, as: UInt8.self)
    switch kind {
    case 1, 2:
      let call = try entry.requiredTable(1, "instr_args")
      let (index, arguments) = (try call.int(0), try call.ints(1))
      return kind == 1
        ? .kernel(operatorIndex: index, arguments: arguments) : .delegate(index: index, arguments: arguments)
    case 3: return .other("MoveCall")
    case 4: return .other("JumpFalseCall")
    case 5: return .other("FreeCall")
    default: throw entry.buffer.error("has an instruction of kind \(kind), which the schema does not know")
    }
  }
}

extension ExecutionPlan.TensorValue {
  init(_ table: FlatTable) throws(FormatError) {
    let code = try table.integer(0, as: Int8.self)
    guard let dataType = ExecutionPlan.scalarTypes[code] else {
      throw table.buffer.error("has a tensor of scalar type \(code), which has no counterpart here")
    }
    guard try table.int(1) == 0 else { throw table.buffer.error("has a tensor that does not start at its storage") }
    let sizes = try table.ints(2)
    guard sizes.count <= 16, let shape = Shape(validating: sizes) else {
      throw table.buffer.error("has a tensor with impossible sizes \(sizes.prefix(8))")
    }
    let order = try table.integers(3, as: UInt8.self).map(Int.init)
    var spec = TensorSpec(dataType, shape)
    if order == [0, 2, 3, 1], shape.rank == 4 {
      spec.dimOrder = .channelsLast
    } else if order != Array(0..<shape.rank) {
      throw table.buffer.error("has a tensor with dim order \(order), which has no counterpart here")
    }
    self.spec = spec
    constant = try table.uint(5)
    isPlanned = try table.table(6) != nil
    isDynamic = try table.integer(8, as: Int8.self) != 0
    var externalName = ""
    if let extra = try table.table(9), try extra.integer(2, as: Int8.self) != 0 { externalName = try extra.string(1) }
    self.externalName = externalName
  }
}

extension ExecutionPlan {
  /// The schema's codes of element types.
  static let scalarTypes: [Int8: DataType] = [
    0: .uint8, 1: .int8, 2: .int16, 3: .int32, 4: .int64, 5: .float16, 6: .float32, 7: .float64, 11: .bool,
    15: .bfloat16,
  ]

  static func code(of type: DataType) -> Int8 { scalarTypes.first { $0.value == type }!.key }
}
