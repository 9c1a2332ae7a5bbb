import Operators
import TensorCore

/// What a graph input is.
public enum InputKind: Hashable, Sendable {
  /// A tensor of the state dict, by its name, that training changes.
  case parameter(String)
  /// A tensor of the state dict, by its name, that training does not change by gradients.
  case buffer(String, isPersistent: Bool)
  /// A constant of the model, by its name.
  case constantTensor(String)
  /// What the user passes at each call.
  case userInput

  /// The fully qualified name of the tensor in the state dict; nil for a user input.
  public var target: String? {
    switch self {
    case .parameter(let name), .buffer(let name, _), .constantTensor(let name): name
    case .userInput: nil
    }
  }
}

/// How a module is called from Python: nested containers of tensors, as PyTorch's pytree module serializes their structure.
package struct CallSignature: Hashable, Sendable {
  /// The structure of `(args, kwargs)`, with as many leaves as the program has user inputs.
  package var inputs: String
  /// The structure of the result, with as many leaves as the program has outputs.
  package var outputs: String
  /// The parameters of the module's `forward`.
  package var argumentNames: [String]
  /// The paths of the modules inside it that the exporter listed.
  package var modules: [String]

  package init(inputs: String, outputs: String, argumentNames: [String], modules: [String] = []) {
    self.inputs = inputs
    self.outputs = outputs
    self.argumentNames = argumentNames
    self.modules = modules
  }
}

/// A graph with the tensors it owns: what `torch.export` produces, and what every stage up to lowering works on.
public struct ExportedProgram: Sendable {
  /// The operators and the values between them.
  public var graph: Graph
  /// Parallel to `graph.inputs`.
  public var inputKinds: [InputKind]
  /// Parameters, buffers and constants by fully qualified name. A tensor may lie in memory channels last though the graph
  /// takes it as row-major, as files store filters: nothing is copied before someone reads the elements.
  public var stateDict: [String: Tensor]
  /// Files of the archive's `extra/` folder, by name.
  public var extraFiles: [String: [UInt8]]
  /// How sizes vary; nil where all are fixed.
  package var dynamicShapes: DynamicShapes?
  /// How Python calls the graph; nil for positional tensors in and a tensor or a tuple of them out.
  package var callSignature: CallSignature?
  /// What this program is called in messages: its file, or the model's name.
  public var name: String

  /// A program without inputs, nodes or outputs, to be filled.
  public init(name: String) { self.init(name: name, graph: Graph()) }

  package init(
    name: String, graph: Graph = Graph(), inputKinds: [InputKind] = [], stateDict: [String: Tensor] = [:],
    extraFiles: [String: [UInt8]] = [:], dynamicShapes: DynamicShapes? = nil, callSignature: CallSignature? = nil
  ) {
    self.name = name
    self.graph = graph
    self.inputKinds = inputKinds
    self.stateDict = stateDict
    self.extraFiles = extraFiles
    self.dynamicShapes = dynamicShapes
    self.callSignature = callSignature
  }

  /// The values the user passes at each call, in order.
  public var userInputs: [ValueID] {
    zip(graph.inputs, inputKinds).compactMap { id, kind in kind == .userInput ? id : nil }
  }

  /// The data of each graph input that is a parameter, buffer or constant, in the dim order that the graph gives it.
  public func constants() -> [ValueID: Tensor] {
    var result = storedConstants()
    for (id, tensor) in result where tensor.spec.dimOrder != graph.spec(id).dimOrder { result[id] = tensor.rowMajor() }
    return result
  }

  /// Like `constants`, but each in the dim order that it is stored in.
  package func storedConstants() -> [ValueID: Tensor] {
    var result: [ValueID: Tensor] = [:]
    for (id, kind) in zip(graph.inputs, inputKinds) {
      if let target = kind.target { result[id] = stateDict[target] }
    }
    return result
  }

  /// Bytes of the state dict that lie in a mapped file, and bytes that were copied (or computed).
  package var stateByteCounts: (mapped: Int, copied: Int) {
    stateDict.values.reduce(into: (0, 0)) { counts, tensor in
      if tensor.storage.isMapped { counts.0 += tensor.spec.byteCount } else { counts.1 += tensor.spec.byteCount }
    }
  }

  /// Adds a buffer to the state dict and as a graph input, before the user's inputs.
  public mutating func addBuffer(_ target: String, _ tensor: Tensor) -> ValueID {
    var unique = target
    var suffix = 1
    while stateDict[unique] != nil {
      unique = "\(target)_\(suffix)"
      suffix += 1
    }
    stateDict[unique] = tensor
    let name = "b_" + identifier(unique)
    let id = graph.addValue(name, tensor.spec)
    // From the end: there are few user inputs, and many buffers may be added.
    let position = (inputKinds.lastIndex { $0 != .userInput } ?? -1) + 1
    graph.inputs.insert(id, at: position)
    inputKinds.insert(.buffer(unique, isPersistent: true), at: position)
    return id
  }

  /// Drops parameters and buffers that nothing reads.
  public mutating func removeUnusedConstants() {
    var used = Set(graph.outputs)
    for node in graph.nodes { used.formUnion(node.inputs) }
    let kept = zip(graph.inputs, inputKinds).filter { id, kind in kind == .userInput || used.contains(id) }
    graph.inputs = kept.map(\.0)
    inputKinds = kept.map(\.1)
    let targets = Set(inputKinds.compactMap(\.target))
    stateDict = stateDict.filter { targets.contains($0.key) }
  }
}

/// A text in which what is neither letter nor number has become `_`.
private func identifier(_ text: String) -> String {
  func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }
  // Almost always as it should be: characters are looked at only where it is not.
  if text.utf8.allSatisfy(isPlain) { return text }
  return String(text.map { $0.isLetter || $0.isNumber ? $0 : "_" })
}

/// A graph that breaks a rule: which program, which node, and why.
public struct GraphError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The program's name.
  public let program: String
  /// The node's name; empty where the graph as a whole is meant.
  public let node: String
  /// The node's operator; empty as `node` is.
  public let operatorName: String
  /// What is wrong, in words.
  public let reason: String

  /// An error; what is left out is not part of the message.
  public init(program: String, node: String = "", operatorName: String = "", reason: String) {
    self.program = program
    self.node = node
    self.operatorName = operatorName
    self.reason = reason
  }

  package init(_ error: OperatorError, program: String) {
    let inputs = error.inputs.map(\.description).joined(separator: ", ")
    self.init(
      program: program, node: error.node, operatorName: error.operatorName,
      reason: error.reason + (inputs.isEmpty ? "" : " (inputs: \(inputs))"))
  }

  public var description: String {
    var text = program
    if !node.isEmpty { text += ": node '\(node)'" }
    if !operatorName.isEmpty { text += " (\(operatorName))" }
    return text + ": " + reason
  }
}
