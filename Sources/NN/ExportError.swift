/// A model that cannot be captured: where in it, and why.
public struct ExportError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The model's name.
  public let model: String
  /// The path of the module that was running (`layer1.0`); empty for the model itself.
  public let module: String
  /// Where in the source it was called, `Net/Model.swift:12`; empty when that is not known.
  public let location: String
  /// The operator that refused; empty for other errors.
  public let operatorName: String
  /// What is wrong, in words.
  public let reason: String

  /// An error; what is left out is not part of the message.
  public init(model: String, module: String = "", location: String = "", operatorName: String = "", reason: String) {
    self.model = model
    self.module = module
    self.location = location
    self.operatorName = operatorName
    self.reason = reason
  }

  public var description: String {
    var text = location.isEmpty ? model : "\(location): \(model)"
    if !module.isEmpty { text += ", module '\(module)'" }
    if !operatorName.isEmpty { text += " (\(operatorName))" }
    return text + ": " + reason
  }
}
