import Foundation
import Quantization
import XNNPACKBackend

/// An `XNNPACKQuantizer` as a JSON file: what `swiftlet quantize --config` reads.
///
///     {
///       "global": {"observer": "mse"},
///       "module_names": {"features.0": null},
///       "module_types": {"Linear": {"dynamic": true}},
///       "operators": {"aten.add": {"activation_range": [-127, 127]}}
///     }
///
/// Keys that are left out have the quantizer's defaults; null keeps a module or operator in float.
public struct QuantizerConfiguration: Sendable {
  /// For what has none of its own; nil leaves it in float.
  public var global: Unit? = Unit()
  /// By module path; nil keeps the module in float.
  public var moduleNames: [String: Unit?] = [:]
  /// By module class; nil keeps its modules in float.
  public var moduleTypes: [String: Unit?] = [:]
  /// By operator name, with or without overload; nil keeps it in float.
  public var operators: [String: Unit?] = [:]
  /// Which patterns are annotated.
  public var patterns = XNNPACKQuantizer.Patterns.all

  /// The configuration of one object.
  public struct Unit: Hashable, Sendable {
    /// Whether weights have a scale for each output channel.
    public var isPerChannel = true
    /// Whether activations get their parameters at run time.
    public var isDynamic = false
    /// What finds the ranges of activations.
    public var observer = ObserverConstructor.histogram
    /// The integers that activations use.
    public var activationRange = -128...127
    /// The integers that weights use.
    public var weightRange = -127...127

    /// The quantizer's defaults.
    public init() {}

    var config: QuantizationConfig {
      .symmetric(
        isPerChannel: isPerChannel, isDynamic: isDynamic, activationRange: activationRange, weightRange: weightRange
      ).observing(observer)
    }
  }

  /// The configuration of `{}`: everything has the defaults.
  public init() {}

  /// The quantizer that it describes.
  public var quantizer: XNNPACKQuantizer {
    var quantizer = XNNPACKQuantizer(global?.config, patterns: patterns)
    for (name, unit) in moduleNames { quantizer = quantizer.setModuleName(name, unit?.config) }
    for (name, unit) in moduleTypes { quantizer = quantizer.setModuleType(name, unit?.config) }
    for (name, unit) in operators { quantizer = quantizer.setOperatorType(name, unit?.config) }
    return quantizer
  }

  // MARK: JSON

  /// Reads a file. Throws a `UsageError` that names the file, the key and what it may be.
  public init(path: String) throws {
    let data: Data
    do { data = try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
      throw UsageError("\(path): cannot be read: \(error.localizedDescription)")
    }
    do { try self.init(json: data) } catch let error as UsageError { throw UsageError("\(path): \(error)") }
  }

  /// Reads JSON text. Throws a `UsageError` that names the key and what it may be.
  public init(json: Data) throws {
    guard let object = try? JSONSerialization.jsonObject(with: json) as? [String: Any] else {
      throw UsageError("is not a JSON object, such as {\"global\": {}}")
    }
    for (key, value) in object {
      switch key {
      case "global": global = try Self.unit(value, key)
      case "module_names": moduleNames = try Self.units(value, key)
      case "module_types": moduleTypes = try Self.units(value, key)
      case "operators": operators = try Self.units(value, key)
      case "patterns":
        switch value as? String {
        case "all": patterns = .all
        case "torchao": patterns = .torchao
        default: throw UsageError("'patterns' must be \"all\" or \"torchao\"")
        }
      default:
        throw UsageError("unknown key '\(key)'; known: global, module_names, module_types, operators, patterns")
      }
    }
  }

  private static func units(_ value: Any, _ key: String) throws -> [String: Unit?] {
    guard let object = value as? [String: Any] else { throw UsageError("'\(key)' must be an object") }
    return try Dictionary(uniqueKeysWithValues: object.map { ($0.key, try unit($0.value, "\(key).\($0.key)")) })
  }

  private static func unit(_ value: Any, _ key: String) throws -> Unit? {
    if value is NSNull { return nil }
    guard let object = value as? [String: Any] else { throw UsageError("'\(key)' must be an object or null") }
    var unit = Unit()
    for (name, value) in object {
      let place = "'\(key).\(name)'"
      switch name {
      case "per_channel": unit.isPerChannel = try bool(value, place)
      case "dynamic": unit.isDynamic = try bool(value, place)
      case "observer":
        guard let text = value as? String else { throw UsageError("\(place) must be a string") }
        unit.observer = try observer(text)
      case "activation_range": unit.activationRange = try range(value, place)
      case "weight_range": unit.weightRange = try range(value, place)
      default:
        throw UsageError(
          "unknown key \(place); known: per_channel, dynamic, observer, activation_range, weight_range")
      }
    }
    return unit
  }

  private static func bool(_ value: Any, _ place: String) throws -> Bool {
    guard let bool = value as? Bool else { throw UsageError("\(place) must be true or false") }
    return bool
  }

  private static func range(_ value: Any, _ place: String) throws -> ClosedRange<Int> {
    guard let bounds = value as? [Int], bounds.count == 2, bounds[0] < bounds[1], bounds[0] >= -128, bounds[1] <= 127
    else { throw UsageError("\(place) must be two integers in [-128, 127], the smaller first") }
    return bounds[0]...bounds[1]
  }

  /// The names of observers of activations that commands and files know.
  package static let observers: [(name: String, observer: ObserverConstructor)] = [
    ("histogram", .histogram), ("minmax", .minMax), ("moving-average", .movingAverageMinMax()),
    ("percentile", .percentile(99.99)), ("mse", .mse), ("entropy", .entropy),
  ]

  /// The observer of that name. Throws a `UsageError` that lists the names.
  package static func observer(_ name: String) throws -> ObserverConstructor {
    guard let entry = observers.first(where: { $0.name == name }) else {
      throw UsageError("unknown observer '\(name)'; known: \(observers.map(\.name).joined(separator: ", "))")
    }
    return entry.observer
  }
}
