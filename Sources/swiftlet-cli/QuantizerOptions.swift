import ArgumentParser
import Swiftlet

/// How `quantize` decides what becomes int8. Options change what `--config` says.
struct QuantizerOptions: ParsableArguments {
  @Flag(help: "One scale for each weight tensor, instead of one per output channel.")
  var perTensor = false

  @Flag(help: "Choose the parameters of inputs at run time: linear layers and 2-D convolutions, no calibration needed.")
  var dynamic = false

  @Option(
    help: ArgumentHelp(
      "The observer of activations: \(QuantizerConfiguration.observers.map(\.name).joined(separator: ", ")).",
      valueName: "name"))
  var observer: String?

  @Option(help: ArgumentHelp("Keep a module in float; can be repeated.", valueName: "path"))
  var skipModule: [String] = []

  @Option(help: ArgumentHelp("Keep an operator in float (aten.add); can be repeated.", valueName: "op"))
  var skipOperator: [String] = []

  @Option(help: ArgumentHelp("A JSON file with a configuration by module and operator.", valueName: "file"))
  var config: String?

  @Flag(help: "Fail if an operator stays in float.")
  var strict = false

  func validate() throws {
    for name in skipOperator where !name.hasPrefix("aten.") {
      throw ValidationError("--skip-operator takes names like aten.add or aten.add.Tensor, not '\(name)'")
    }
  }

  func configuration() throws -> QuantizerConfiguration {
    var configuration = try config.map { try QuantizerConfiguration(path: $0) } ?? QuantizerConfiguration()
    if perTensor { configuration.global?.isPerChannel = false }
    if dynamic { configuration.global?.isDynamic = true }
    if let observer { configuration.global?.observer = try QuantizerConfiguration.observer(observer) }
    for path in skipModule { configuration.moduleNames[path] = .some(nil) }
    for name in skipOperator { configuration.operators[name] = .some(nil) }
    return configuration
  }
}
