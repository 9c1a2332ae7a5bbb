/// A program that cannot be loaded, or a call that does not fit it: which program, where in it, and why.
public struct RuntimeError: Error, Hashable, Sendable, CustomStringConvertible {
  public let program: String
  /// The instruction, input or delegate concerned; empty for the whole program.
  public let place: String
  public let reason: String

  public init(program: String, place: String = "", reason: String) {
    self.program = program
    self.place = place
    self.reason = reason
  }

  public var description: String { place.isEmpty ? "\(program): \(reason)" : "\(program): \(place): \(reason)" }
}
