/// Modules that run one after the other, each on the result of the one before.
open class Sequential: Module {
  private let entries: [(key: String, module: Module)]

  /// The keys are the positions: `0`, `1`, …
  public init(_ modules: [Module]) {
    entries = modules.enumerated().map { (String($0.offset), $0.element) }
  }

  /// Modules with keys of their own, as from an `OrderedDict`.
  public init(_ modules: KeyValuePairs<String, Module>) { entries = modules.map { ($0.key, $0.value) } }

  /// Modules with keys of their own, as from an `OrderedDict`.
  public init(named modules: [(key: String, module: Module)]) { entries = modules }

  open override func children() -> [(key: String, module: Module)] { super.children() + entries }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    var x = input
    for (_, module) in entries { x = try module(x) }
    return x
  }
}

/// Modules with the keys `0`, `1`, …, for a `forward` that calls them itself.
open class ModuleList: Module, RandomAccessCollection {
  private let modules: [Module]

  /// The keys are the positions.
  public init(_ modules: [Module]) { self.modules = modules }

  public var startIndex: Int { 0 }
  public var endIndex: Int { modules.count }
  /// The module at that position.
  public subscript(index: Int) -> Module { modules[index] }

  open override func children() -> [(key: String, module: Module)] {
    super.children() + modules.enumerated().map { (String($0.offset), $0.element) }
  }
}
