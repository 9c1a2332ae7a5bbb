import ArgumentParser
import Swiftlet

/// How `quantize` decides what becomes int8. Options change what `--config` says.
struct QuantizerOptions: ParsableArguments {
  @Flag(help: "Use one scale for each weight tensor, instead of one for each output channel.")
  var perTensor = false

  @Flag(help: "Quantize linear layers and 2-D convolutions with parameters chosen at run time; needs no calibration.")
  var dynamic = false

  @Option(
    help: ArgumentHelp(
      "How the ranges of activations are chosen: \(QuantizerConfiguration.observers.map(\.name).joined(separator: ", ")).",
      valueName: "name"))
  var observer: String?

  @Option(help: ArgumentHelp("Keep this module in float; can be repeated.", valueName: "path"))
  var skipModule: [String] = []

  @Option(help: ArgumentHelp("Keep this operator in float, as aten.add; can be repeated.", valueName: "op"))
  var skipOperator: [String] = []

  @Option(help: ArgumentHelp("JSON file with settings for modules and operators.", valueName: "file"))
  var config: String?

  @Flag(help: "Fail, and say why, if an operator would run in float.")
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
