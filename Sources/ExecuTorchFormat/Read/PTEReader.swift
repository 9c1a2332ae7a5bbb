import GraphIR
import Operators
import TensorCore
import TorchFormats

/// Reads ExecuTorch programs (`.pte`), those written here and those that ExecuTorch made.
public enum PTEArchive {
  /// Whether a file has the identifier of an ExecuTorch program. Throws when it cannot be read.
  public static func isPTE(_ path: String) throws(FormatError) -> Bool {
    let storage: Storage
    do { storage = try Storage(mapping: path) } catch { throw FormatError(error) }
    return storage.byteCount >= 8 && String(decoding: storage.bytes[4..<8], as: UTF8.self) == PTEFile.identifier
  }

  /// Reads a method as a graph of ATen operators with Q/DQ nodes, from which everything else follows: printing,
  /// comparing, lowering. XNNPACK delegates become the nodes they were made of; constants are windows on the mapped file.
  ///
  /// - Parameter method: the method's name; nil for `forward`, or the first.
  ///
  /// Throws a `FormatError` that names the place: for damage, other backends, control flow, state that the program
  /// changes, and operators that are not there, which are all listed.
  public static func read(_ path: String, method: String? = nil) throws(FormatError) -> ExportedProgram {
    let file = try PTEFile(path: path)
    var reader = PlanReader(file, try file.method(method))
    return try reader.read()
  }
}

/// Turns an execution plan into a graph. A value of the plan is assigned by one instruction, so that its index stands for
/// the tensor, wherever the plan has put it in memory.
private struct PlanReader {
  private let file: PTEFile
  private let plan: ExecutionPlan
  private let builder: GraphBuilder
  private var tensors: [Int: ValueID] = [:]

  init(_ file: PTEFile, _ plan: ExecutionPlan) {
    self.file = file
    self.plan = plan
    builder = GraphBuilder(path: file.path)
  }

  mutating func read() throws(FormatError) -> ExportedProgram {
    try refuseUnknown()
    for index in plan.inputs {
      let value = try tensorValue(index, "input")
      guard tensors[index] == nil else { throw error("input", "value \(index) is given twice") }
      guard !value.isDynamic else { throw error("input", "its size is dynamic; export the program with fixed sizes") }
      tensors[index] = builder.addInput(value.spec)
    }
    for (position, instruction) in plan.instructions.enumerated() {
      switch instruction {
      case .kernel(let index, let arguments): try readKernel(plan.operators[index], arguments, position)
      case .delegate(let index, let arguments): try readDelegate(plan.delegates[index], arguments, position)
      case .other: break
      }
    }
    guard !plan.outputs.isEmpty else { throw error("outputs", "there are none") }
    var outputs: [ValueID] = []
    for index in plan.outputs { outputs.append(try operand(index, "output")) }
    var program = builder.finish(outputs: outputs)
    for (key, range) in file.namedData where !builder.constantKeys.contains(key) && range.count <= 1 << 20 {
      program.extraFiles[key] = [UInt8](file.storage.bytes[range])
    }
    return program
  }

  private func error(_ place: String, _ reason: String) -> FormatError { builder.error(place, reason) }

  /// Names all that the program needs and that is not there, at once.
  private func refuseUnknown() throws(FormatError) {
    var missing: Set<String> = []
    for instruction in plan.instructions {
      switch instruction {
      case .kernel(let index, _):
        guard plan.operators.indices.contains(index) else { throw error("instruction", "calls operator \(index)") }
        let kernel = plan.operators[index]
        if KernelRow.byKernel[kernel] == nil { missing.insert(kernel.qualified) }
      case .delegate(let index, _):
        guard plan.delegates.indices.contains(index) else { throw error("instruction", "calls delegate \(index)") }
        let id = plan.delegates[index].id
        if id != PTEArchive.backendName { missing.insert("the backend '\(id)'") }
      case .other(let name): missing.insert("the instruction \(name)")
      }
    }
    if !missing.isEmpty {
      throw error("method '\(plan.name)'", "needs what is not there: \(missing.sorted().joined(separator: ", "))")
    }
  }

  // MARK: Values

  private func value(_ index: Int, _ place: String) throws(FormatError) -> ExecutionPlan.Value {
    guard plan.values.indices.contains(index) else {
      throw error(place, "refers to value \(index) of \(plan.values.count)")
    }
    return plan.values[index]
  }

  private func tensorValue(_ index: Int, _ place: String) throws(FormatError) -> ExecutionPlan.TensorValue {
    guard case .tensor(let tensor) = try value(index, place) else {
      throw error(place, "value \(index) is not a tensor")
    }
    return tensor
  }

  /// The graph's value of a tensor that is read.
  private mutating func operand(_ index: Int, _ place: String) throws(FormatError) -> ValueID {
    if let id = tensors[index] { return id }
    let tensor = try tensorValue(index, place)
    guard tensor.externalName.isEmpty else {
      throw error(place, "the data of '\(tensor.externalName)' lie in another file (.ptd), which cannot be read")
    }
    guard tensor.constant > 0 else { throw error(place, "value \(index) is read before it is computed") }
    guard !tensor.isPlanned else { throw error(place, "value \(index) is state that the program changes") }
    let id = builder.addConstant("constant_\(tensor.constant)", try file.constant(tensor.constant, tensor.spec))
    tensors[index] = id
    return id
  }

  private mutating func define(_ index: Int, _ id: ValueID, _ place: String) throws(FormatError) {
    let recorded = try tensorValue(index, place).spec
    let id = try builder.scalarView(id, recorded.shape, place)
    let spec = builder.spec(id)
    guard spec.shape == recorded.shape, spec.dataType == recorded.dataType else {
      throw error(place, "value \(index) is recorded as \(recorded), but it is computed as \(spec)")
    }
    tensors[index] = id
  }

  /// A value as the argument of a kernel.
  private mutating func argument(
    _ index: Int, _ kind: Schema.Kind, _ place: String
  ) throws(FormatError) -> Operand {
    switch try value(index, place) {
    case .none: return .attribute(.none)
    case .int(let value):
      guard kind == .dataType else { return .attribute(kind == .bool ? .bool(value != 0) : .int(value)) }
      guard let code = Int8(exactly: value), let type = ExecutionPlan.scalarTypes[code] else {
        throw error(place, "scalar type \(value) has no counterpart here")
      }
      return .attribute(.dataType(type))
    case .bool(let value): return .attribute(.bool(value))
    case .double(let value): return .attribute(.float(value))
    case .string(let value): return .attribute(.string(value))
    case .tensor: return .value(try operand(index, place))
    case .ints(let indices):
      var integers: [Int] = []
      for index in indices {
        guard case .int(let integer) = try value(index, place) else {
          throw error(place, "a list has a size that is computed; export the program with fixed sizes")
        }
        integers.append(integer)
      }
      return .attribute(.ints(integers))
    case .doubles(let values): return .attribute(.floats(values))
    case .bools(let values): return .attribute(.bools(values))
    case .tensors(let indices):
      var ids: [ValueID] = []
      for index in indices { ids.append(try operand(index, place)) }
      return .values(ids)
    }
  }

  // MARK: Instructions

  private mutating func readKernel(
    _ kernel: ExecutionPlan.Operator, _ arguments: [Int], _ position: Int
  ) throws(FormatError) {
    let place = "instruction \(position) (\(kernel.qualified))"
    guard let row = KernelRow.byKernel[kernel] else { return }
    let count = row.parameters.count
    guard arguments.count > count else {
      throw error(place, "has \(arguments.count) arguments; \(count + 1) are needed")
    }
    var operands: [(String, Operand)] = []
    for (parameter, index) in zip(row.parameters, arguments) {
      switch parameter {
      case .derived: continue
      case .fixed(let name, let attribute):
        guard row.adapt != nil else { continue }
        operands.append(
          (name, try argument(index, attribute == .bool(false) || attribute == .bool(true) ? .bool : .int, place)))
      case .named(let name), .optionalTensors(let name):
        // A parameter that the operator here leaves out must have its neutral value, which is for it to check.
        guard let known = row.operators[0].schema.parameter(named: name) else { continue }
        let operand = try argument(index, known.kind, place)
        if operand == .attribute(.none), known.kind == .optionalTensor || known.defaultValue != nil { continue }
        operands.append((name, operand))
      }
    }
    var reading = KernelRow.Reading(
      op: row.operators[0], arguments: operands, result: try tensorValue(arguments[count], place).spec,
      input: operands.lazy.flatMap(\.1.valueIDs).first.map(builder.spec), builder: builder)
    row.adapt?(&reading)
    let known = reading.arguments.filter { reading.op.schema.parameter(named: $0.0) != nil }
    let results = try builder.emitAll(reading.op, name: reading.op.functionName, known, place)
    guard arguments.count >= count + results.count else {
      throw error(place, "has \(arguments.count) arguments; \(count + results.count) are needed")
    }
    for (index, id) in zip(arguments.dropFirst(count), results) { try define(index, id, place) }
  }

  private mutating func readDelegate(
    _ delegate: ExecutionPlan.Delegate, _ arguments: [Int], _ position: Int
  ) throws(FormatError) {
    let place = "instruction \(position) (\(delegate.id))"
    let range = try file.processed(delegate)
    let parts = try XNNHeader.read(file, range)
    let buffer = FlatBuffer(
      UnsafeRawBufferPointer(rebasing: file.storage.bytes[parts.graph]), path: file.path, name: place)
    let graph = try XNNGraph(try buffer.root(identifiers: XNNGraph.identifiers))
    var reader = XNNGraphReader(file, parts, graph, builder, place)
    let count = graph.inputs.count
    guard arguments.count == count + graph.outputs.count else {
      throw error(place, "is called with \(arguments.count) arguments; its graph has \(count + graph.outputs.count)")
    }
    var areImages: [Bool] = []
    for index in arguments { areImages.append(try tensorValue(index, place).spec.dimOrder == .channelsLast) }
    var inputs: [ValueID] = []
    for index in arguments.prefix(count) { inputs.append(try operand(index, place)) }
    let outputs = try reader.read(inputs, areImages: areImages)
    for (index, id) in zip(arguments.dropFirst(count), outputs) { try define(index, id, place) }
  }
}

extension PTEArchive {
  /// ExecuTorch's name of its XNNPACK backend.
  static let backendName = "XnnpackBackend"
}
