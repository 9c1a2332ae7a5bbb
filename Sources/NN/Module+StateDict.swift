import GraphIR
import TensorCore

extension Module {
  /// The module's parameters and persistent buffers by name, as PyTorch names them: one that several modules share has all
  /// its names. Parameters without data are drawn first.
  public final func stateDict() -> StateDict {
    drawMissingParameters(seed: 0)
    var result = StateDict()
    for (name, tensor) in everyName() {
      switch tensor {
      case .parameter(let parameter): result[name] = parameter.tensor
      case .buffer(let buffer): if buffer.isPersistent { result[name] = buffer.tensor }
      }
    }
    return result
  }

  /// Puts the tensors of a state dict in the place of parameters and persistent buffers, by PyTorch's rules: every one must
  /// be there and no other, unless `strict` is false; shapes must be equal in any case. Elements are converted to the type
  /// that the module has.
  ///
  /// Throws a `StateDictError` that lists missing and unexpected names and other shapes, or names that two tensors of the
  /// module have, and then changes nothing.
  @discardableResult
  public final func loadStateDict(
    _ dict: StateDict, strict: Bool = true
  ) throws(StateDictError) -> IncompatibleKeys {
    let repeated = repeatedNames()
    guard repeated.isEmpty else { throw StateDictError(program: "\(type(of: self))", repeated: repeated) }
    let targets = everyName().filter { _, tensor in
      if case .buffer(let buffer) = tensor { buffer.isPersistent } else { true }
    }
    let expected = targets.map { name, tensor in
      switch tensor {
      case .parameter(let parameter): (name, parameter.spec)
      case .buffer(let buffer): (name, buffer.tensor.spec)
      }
    }
    let (loaded, incompatible) = try dict.tensors(for: expected, strict: strict, owner: "\(type(of: self))")
    for (name, target) in targets {
      guard let tensor = loaded[name] else { continue }
      switch target {
      case .parameter(let parameter): parameter.tensor = tensor
      case .buffer(let buffer): buffer.tensor = tensor
      }
    }
    return incompatible
  }

  /// Draws all parameters anew but those that were made with data, as an untrained model has them: each from a generator of its own, seeded by `seed` and its
  /// name. The numbers are not PyTorch's.
  public final func resetParameters(seed: UInt64 = 0) {
    for case (_, .parameter(let parameter)) in namedTensors() where !parameter.isGiven {
      parameter.tensor = nil
    }
    drawMissingParameters(seed: seed)
  }

  final func drawMissingParameters(seed: UInt64) {
    for case (let name, .parameter(let parameter)) in namedTensors() where parameter.tensor == nil {
      // FNV-1a, so that a name means the same numbers in every process.
      let hash = name.utf8.reduce(0xcbf2_9ce4_8422_2325 ^ seed) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
      var generator = SeededGenerator(seed: hash)
      parameter.tensor = parameter.initialization.tensor(parameter.shape, using: &generator)
    }
  }
}
