import GraphIR
import Operators
import TensorCore

/// The value table of a plan that is written: each tensor once, and the attributes of kernel calls.
struct PlanValues {
  private let program: ExportedProgram
  private let constants: [ValueID: Int]
  private let offsets: [ValueID: Int]
  private let varying: VaryingSizes
  private(set) var tables: [FlatBufferBuilder.Reference] = []
  private var tensors: [ValueID: Int32] = [:]
  private var attributes: [Attribute: Int32] = [:]
  /// Where results go that nothing reads, all to one place behind the others.
  private let unreadOffset: Int
  private(set) var unreadByteCount = 0

  /// - Parameters:
  ///   - constants: numbers of the tensors that are data.
  ///   - offsets: places of the others in memory, of which they take `byteCount`.
  ///   - varying: sizes that are upper bounds.
  init(
    _ program: ExportedProgram, _ constants: [ValueID: Int], _ offsets: [ValueID: Int], byteCount: Int,
    varying: VaryingSizes
  ) {
    self.varying = varying
    unreadOffset = byteCount
    self.program = program
    self.constants = constants
    self.offsets = offsets
  }

  private mutating func append(
    _ kind: UInt8, _ value: FlatBufferBuilder.Reference, _ flat: inout FlatBufferBuilder
  ) -> Int32 {
    tables.append(flat.table([.int(0, kind), .reference(1, value)]))
    return Int32(tables.count - 1)
  }

  mutating func index(of id: ValueID, _ flat: inout FlatBufferBuilder) -> Int32 {
    if let known = tensors[id] { return known }
    let value = tensor(
      program.graph.spec(id), constant: constants[id], offset: offsets[id], isBound: !varying[id].isEmpty, &flat)
    let index = append(5, value, &flat)
    tensors[id] = index
    return index
  }

  private func tensor(
    _ spec: TensorSpec, constant: Int?, offset: Int?, isBound: Bool = false, _ flat: inout FlatBufferBuilder
  ) -> FlatBufferBuilder.Reference {
    let sizes = flat.vector(spec.shape.dimensions.map { Int32($0) })
    let order = spec.dimOrder == .channelsLast ? [0, 2, 3, 1] : Array(0..<spec.shape.rank)
    let dims = flat.vector(order.map { UInt8($0) })
    let place = offset.map { offset in
      flat.table([
        .int(0, UInt32(1)), .int(1, UInt32(truncatingIfNeeded: offset)),
        .int(2, UInt32(truncatingIfNeeded: offset >> 32)),
      ])
    }
    return flat.table(
      [
        .int(0, ExecutionPlan.code(of: spec.dataType)), .reference(2, sizes), .reference(3, dims),
        .int(5, UInt32(constant ?? 0)), .reference(6, place),
      ] + (isBound ? [.int(8, Int8(1))] : []))
  }

  /// The arguments of a kernel in its order, then its results, and these again as what the call returns.
  mutating func arguments(
    _ row: KernelRow, _ node: Node, _ call: OperatorCall, _ flat: inout FlatBufferBuilder
  ) throws(OperatorError) -> [Int32] {
    var indices: [Int32] = []
    for parameter in row.parameters {
      switch parameter {
      case .fixed(_, let attribute): indices.append(index(of: attribute, &flat))
      case .derived(let value): indices.append(index(of: try value(call), &flat))
      case .optionalTensors(let name):
        indices.append(list((node.operand(name)?.valueIDs ?? []).map { index(of: $0, &flat) }, kind: 11, &flat))
      case .named(let name):
        switch node.operand(name) {
        case .value(let id): indices.append(index(of: id, &flat))
        case .values(let ids): indices.append(list(ids.map { index(of: $0, &flat) }, &flat))
        case .attribute, nil: indices.append(index(of: adjusted(call, name), &flat))
        }
      }
    }
    var results = node.outputs.map { index(of: $0, &flat) }
    // Results that nothing reads still need a place.
    for spec in try row.unread(call) {
      unreadByteCount = max(unreadByteCount, spec.byteCount)
      let place = tensor(spec, constant: nil, offset: unreadOffset, isBound: !varying[node.output].isEmpty, &flat)
      results.append(append(5, place, &flat))
    }
    return indices + results + (results.count > 1 ? [list(results, &flat)] : results)
  }

  /// A number that the kernel takes as a real is written as one; as an integer where it computes integers.
  private func adjusted(_ call: OperatorCall, _ name: String) -> Attribute {
    let attribute = (try? call.attribute(name)) ?? .none
    let kind = call.schema.parameter(named: name)?.kind
    guard kind == .float || kind == .optionalFloat else { return attribute }
    let isInteger = call.inputs.first.map { !$0.dataType.isFloatingPoint } ?? false
    switch attribute {
    case .int(let value) where !isInteger: return .float(Double(value))
    case .float(let value) where isInteger && call.outputs[0].dataType == call.inputs[0].dataType:
      return Int(exactly: value).map { .int($0) } ?? attribute
    default: return attribute
    }
  }

  private mutating func list(_ indices: [Int32], kind: UInt8 = 10, _ flat: inout FlatBufferBuilder) -> Int32 {
    let items = flat.vector(indices)
    return append(kind, flat.table([.reference(0, items)]), &flat)
  }

  private mutating func index(of attribute: Attribute, _ flat: inout FlatBufferBuilder) -> Int32 {
    if let known = attributes[attribute] { return known }
    let index: Int32
    switch attribute {
    case .none: index = append(1, flat.table([]), &flat)
    case .int(let value): index = append(2, flat.table([.int(0, Int64(value))]), &flat)
    case .bool(let value): index = append(3, flat.table([.bool(0, value)]), &flat)
    case .float(let value): index = append(4, flat.table([.double(0, value)]), &flat)
    case .string(let text):
      let reference = flat.string(text)
      index = append(6, flat.table([.reference(0, reference)]), &flat)
    case .ints(let values):
      let items = flat.vector(values.map { Int64(self.index(of: .int($0), &flat)) })
      index = append(7, flat.table([.reference(0, items)]), &flat)
    case .floats(let values):
      let items = flat.vector(values)
      index = append(8, flat.table([.reference(0, items)]), &flat)
    case .bools(let values):
      let items = flat.vector(values.map { UInt8($0 ? 1 : 0) })
      index = append(9, flat.table([.reference(0, items)]), &flat)
    case .dataType(let type): index = append(2, flat.table([.int(0, Int64(ExecutionPlan.code(of: type)))]), &flat)
    }
    attributes[attribute] = index
    return index
  }
}
