import Operators
import TensorCore

/// Tensors that do not fit a program: what `load_state_dict` of PyTorch reports.
public struct StateDictError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A tensor that is not what the program has under its name.
  public struct Mismatch: Hashable, Sendable {
    /// The name in the state dict.
    public let name: String
    /// What the program has.
    public let expected: TensorSpec
    /// What the state dict has.
    public let actual: TensorSpec
  }

  /// The program's name.
  public let program: String
  /// Names of the program that the state dict lacks; empty unless strict.
  public let missing: [String]
  /// Names of the state dict that the program lacks; empty unless strict.
  public let unexpected: [String]
  /// Tensors of other shapes, or of element types that cannot be converted.
  public let mismatches: [Mismatch]
  /// Names that two tensors of the model have.
  public let repeated: [String]

  package init(
    program: String, missing: [String] = [], unexpected: [String] = [], mismatches: [Mismatch] = [],
    repeated: [String] = []
  ) {
    self.program = program
    self.missing = missing
    self.unexpected = unexpected
    self.mismatches = mismatches
    self.repeated = repeated
  }

  public var description: String {
    func list(_ title: String, _ items: [String]) -> [String] {
      guard !items.isEmpty else { return [] }
      let shown = items.prefix(20).joined(separator: ", ")
      return ["\(title) (\(items.count)): \(shown)\(items.count > 20 ? ", …" : "")"]
    }
    let lines =
      list("missing", missing) + list("unexpected", unexpected)
      + list("other shapes or types", mismatches.map { "\($0.name) is \($0.actual), the model has \($0.expected)" })
      + list("names that two of the model's tensors have", repeated)
    return "\(program): the state dict does not fit. " + lines.joined(separator: "; ")
  }
}

/// What loading a state dict left alone when it was not strict.
public struct IncompatibleKeys: Hashable, Sendable {
  /// Names of the program that the state dict lacks.
  public let missing: [String]
  /// Names of the state dict that the program lacks.
  public let unexpected: [String]
}

extension StateDict {
  /// The tensors that stand for those expected, by PyTorch's rules: every one must be there and no other, unless `strict`
  /// is false; shapes must be equal in any case, except that one element may stand for a scalar. Elements are converted to
  /// the expected type.
  ///
  /// `num_batches_tracked` may be missing, as it is for PyTorch in files without versions of modules. Throws a
  /// `StateDictError` that lists all that does not fit; `owner` is the model's name in it.
  package func tensors(
    for expected: [(name: String, spec: TensorSpec)], strict: Bool, owner: String
  ) throws(StateDictError) -> (loaded: [String: Tensor], incompatible: IncompatibleKeys) {
    var (loaded, mismatches) = ([String: Tensor](), [StateDictError.Mismatch]())
    var missing: [String] = []
    for (name, spec) in expected {
      guard let new = self[name] else {
        if name.split(separator: ".").last != "num_batches_tracked" { missing.append(name) }
        continue
      }
      if let converted = new.loaded(as: spec) {
        loaded[name] = converted
      } else {
        mismatches.append(StateDictError.Mismatch(name: name, expected: spec, actual: new.spec))
      }
    }
    let known = Set(expected.map(\.name))
    let unexpected = names.filter { !known.contains($0) }
    guard mismatches.isEmpty, !strict || (missing.isEmpty && unexpected.isEmpty) else {
      throw StateDictError(
        program: owner, missing: strict ? missing : [], unexpected: strict ? unexpected : [], mismatches: mismatches)
    }
    return (loaded, IncompatibleKeys(missing: missing, unexpected: unexpected))
  }
}

extension ExportedProgram {
  /// Puts the tensors of a state dict in the place of parameters and persistent buffers, by PyTorch's rules: every one
  /// must be there and no other, unless `strict` is false; shapes must be equal in any case, except that one element may
  /// stand for a scalar. Elements are converted to the type that the program has.
  ///
  /// `num_batches_tracked` may be missing, as it is for PyTorch in files without versions of modules. Throws a
  /// `StateDictError` that lists all that does not fit, and then changes nothing.
  @discardableResult
  public mutating func loadStateDict(
    _ dict: StateDict, strict: Bool = true
  ) throws(StateDictError) -> IncompatibleKeys {
    var expected: [(name: String, spec: TensorSpec)] = []
    for kind in inputKinds {
      switch kind {
      case .parameter(let name), .buffer(let name, isPersistent: true):
        if let tensor = stateDict[name] { expected.append((name, tensor.spec)) }
      case .buffer, .constantTensor, .userInput: break
      }
    }
    let (loaded, incompatible) = try dict.tensors(for: expected, strict: strict, owner: name)
    stateDict.merge(loaded) { $1 }
    return incompatible
  }
}

extension Tensor {
  /// The tensor with a program's spec. Nil for another shape, and where the element type cannot be converted.
  fileprivate func loaded(as target: TensorSpec) -> Tensor? {
    let isScalar = target.shape.rank == 0 && shape.dimensions == [1]
    guard shape == target.shape || isScalar else { return nil }
    let source = rowMajor()
    return source.reinterpreted(as: TensorSpec(source.dataType, target.shape)).converted(to: target.dataType)
  }

  /// The same numbers in another element type, as `aten.to.dtype` converts them; nil to the 16-bit floats.
  private func converted(to type: DataType) -> Tensor? {
    if dataType == type { return self }
    let source = dataType == .float16 || dataType == .bfloat16 ? widened() : self
    if source.dataType == type { return source }
    let op = Operator.toDtype
    let call = OperatorCall(
      op: op, node: "", arguments: ["self": .tensor(0), "dtype": .attribute(.dataType(type))],
      inputs: [source.spec], constants: [nil], outputs: [])
    return try? op.execute(call, inputs: [source]).first
  }
}
