/// The arguments of an operator call by name, in the order in which they were given. There are few of them, and calls are
/// made by the thousand while a program is loaded: they are compared, not hashed.
public struct CallArguments: Sendable, Equatable, ExpressibleByDictionaryLiteral, Sequence {
  private var entries: [(key: String, value: CallArgument)] = []

  /// No arguments.
  public init() {}

  public init(dictionaryLiteral elements: (String, CallArgument)...) {
    for (name, value) in elements { self[name] = value }
  }

  /// Arguments in no particular order.
  public init(_ arguments: [String: CallArgument]) {
    entries = arguments.map { ($0, $1) }
  }

  /// Nil for an argument that was not given.
  public subscript(name: String) -> CallArgument? {
    get { entries.first { $0.key == name }?.value }
    set {
      let index = entries.firstIndex { $0.key == name }
      switch (index, newValue) {
      case (let index?, let value?): entries[index].value = value
      case (let index?, nil): entries.remove(at: index)
      case (nil, let value?): entries.append((name, value))
      case (nil, nil): break
      }
    }
  }

  package mutating func reserveCapacity(_ count: Int) { entries.reserveCapacity(count) }

  /// Those but some, in the same order.
  package func without(_ names: Set<String>) -> CallArguments {
    var rest = self
    rest.entries.removeAll { names.contains($0.key) }
    return rest
  }

  /// The order does not matter.
  public static func == (a: CallArguments, b: CallArguments) -> Bool {
    a.entries.count == b.entries.count && a.entries.allSatisfy { b[$0.key] == $0.value }
  }

  public func makeIterator() -> IndexingIterator<[(key: String, value: CallArgument)]> { entries.makeIterator() }
}
