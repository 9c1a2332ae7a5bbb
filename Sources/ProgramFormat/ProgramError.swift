/// A program that cannot be loaded, or a call or sizes that do not fit it: which program, where in it, and why.
public struct ProgramError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The program's name.
  public let program: String
  /// The instruction, input, value or delegate concerned; empty for the whole program.
  public let place: String
  /// What is wrong, in words.
  public let reason: String

  package init(program: String, place: String = "", reason: String) {
    self.program = program
    self.place = place
    self.reason = reason
  }

  public var description: String { place.isEmpty ? "\(program): \(reason)" : "\(program): \(place): \(reason)" }
}
