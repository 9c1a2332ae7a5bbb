import Foundation
import TensorCore

/// How a model wants its input prepared, as a preprocessing file beside the model says. A missing key means "not done".
///
/// For pictures, in this order: `resize`, `crop`, division by 255, `channels`, `mean` and `std` (`transforms` has them as
/// transforms). For arrays: `scale`.
/// Keys of the file other than these are ignored.
public struct Preprocess: Codable, Hashable, Sendable {
  /// Pixels of the shorter side, 1...`maximumSize`.
  public let resize: Int?
  /// Pixels of both sides of the centre crop that follows, 1...`maximumSize`.
  public let crop: Int?
  /// The filter of `resize`; bilinear when missing.
  public let interpolation: ResizeFilter?
  /// Per channel, in the order of `channels`, for values 0...1. Three finite numbers.
  public let mean: [Double]?
  /// Per channel like `mean`. Three finite numbers greater than 0.
  public let std: [Double]?
  /// The order in which the model takes the channels; RGB when missing.
  public let channels: ChannelOrder?
  /// What the elements of an array are multiplied by; 1 when missing. Finite.
  public let scale: Double?

  /// The order of a picture's three channels.
  public enum ChannelOrder: String, Hashable, Sendable, Codable, CaseIterable {
    /// As a picture has them, or reversed.
    case rgb, bgr
  }

  /// The largest `resize` and `crop`.
  package static let maximumSize = 4096
  /// The largest preprocessing file, in bytes.
  static let maximumFileSize = 1 << 20

  /// - Throws: `invalid`, naming the key, for a value outside the limits written beside the properties.
  public init(
    resize: Int? = nil, crop: Int? = nil, interpolation: ResizeFilter? = nil, mean: [Double]? = nil,
    std: [Double]? = nil, channels: ChannelOrder? = nil, scale: Double? = nil
  ) throws(PreprocessError) {
    for (key, size) in [("resize", resize), ("crop", crop)] {
      guard let size else { continue }
      guard (1...Preprocess.maximumSize).contains(size) else {
        throw .invalid(key: key, reason: "must be from 1 to \(Preprocess.maximumSize), not \(size)")
      }
    }
    for (key, values) in [("mean", mean), ("std", std)] {
      guard let values else { continue }
      guard values.count == 3, values.allSatisfy({ Float($0).isFinite }) else {
        throw .invalid(key: key, reason: "must be three finite numbers")
      }
    }
    guard std?.allSatisfy({ Float($0) > 0 }) ?? true else {
      throw .invalid(key: "std", reason: "must be greater than 0")
    }
    guard scale.map({ Float($0).isFinite }) ?? true else { throw .invalid(key: "scale", reason: "must be finite") }
    self.resize = resize
    self.crop = crop
    self.interpolation = interpolation
    self.mean = mean
    self.std = std
    self.channels = channels
    self.scale = scale
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      resize: values.decodeIfPresent(Int.self, forKey: .resize),
      crop: values.decodeIfPresent(Int.self, forKey: .crop),
      interpolation: values.choice(forKey: .interpolation),
      mean: values.decodeIfPresent([Double].self, forKey: .mean),
      std: values.decodeIfPresent([Double].self, forKey: .std),
      channels: values.choice(forKey: .channels),
      scale: values.decodeIfPresent(Double.self, forKey: .scale))
  }

  /// No preparation at all.
  public init() {
    self.resize = nil
    self.crop = nil
    self.interpolation = nil
    self.mean = nil
    self.std = nil
    self.channels = nil
    self.scale = nil
  }

  /// - Throws: `malformed` if the data is no JSON object with values of the right types, `invalid` for a refused value.
  public init(json: Data) throws(PreprocessError) {
    do {
      self = try JSONDecoder().decode(Preprocess.self, from: json)
    } catch let error as PreprocessError {
      throw error
    } catch let error as DecodingError {
      throw .malformed(reason: PreprocessError.reason(of: error))
    } catch {
      throw .malformed(reason: "\(error)")
    }
  }

  /// As `init(json:)`, but the errors name where the data comes from (`named`).
  public init(json: Data, name: String) throws(PreprocessError) {
    do { self = try Preprocess(json: json) } catch { throw .named(name, reason: error.description) }
  }

  /// Reads a preprocessing file. Throws as `init(json:name:)` with its path, or `unreadable`.
  public init(jsonPath path: String) throws(PreprocessError) {
    let storage: Storage
    do { storage = try Storage(mapping: path) } catch { throw .unreadable(error) }
    guard storage.byteCount <= Preprocess.maximumFileSize else {
      throw .unreadable(FileError(path: path, reason: "is too large for a preprocessing file"))
    }
    try self.init(json: Data(storage.bytes), name: path)
  }

  /// The values as JSON; equal values give equal bytes. `init(json:)` reads them back.
  public var jsonData: Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    do {
      return try encoder.encode(self)
    } catch {
      preconditionFailure("finite numbers and fixed words always encode: \(error)")
    }
  }
}

extension KeyedDecodingContainer where Key: CodingKey {
  /// A word of a fixed list, or nil if the key is missing; the error lists the words.
  fileprivate func choice<Word: RawRepresentable<String> & CaseIterable>(forKey key: Key) throws -> Word? {
    guard let text = try decodeIfPresent(String.self, forKey: key) else { return nil }
    guard let word = Word(rawValue: text) else {
      let known = Word.allCases.map { $0.rawValue }.joined(separator: ", ")
      throw PreprocessError.invalid(key: key.stringValue, reason: "\"\(text)\" is not one of \(known)")
    }
    return word
  }
}

/// A preprocessing description that cannot be used.
public enum PreprocessError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The file cannot be read, or is too large for a preprocessing file.
  case unreadable(FileError)
  /// No JSON object, or a value of another type.
  case malformed(reason: String)
  /// A value outside its limits.
  case invalid(key: String, reason: String)
  /// A transform whose arguments are out of range, or that stands in the wrong place.
  case transform(String, reason: String)
  /// `malformed` or `invalid` in a file or in an entry of an archive.
  case named(String, reason: String)
  /// Arrays of this type cannot be a model's input samples.
  case unsupportedArray(DataType)

  public var description: String {
    switch self {
    case .unreadable(let error): error.description
    case .malformed(let reason): "invalid preprocessing: \(reason)"
    case .invalid(let key, let reason): "preprocessing key \"\(key)\": \(reason)"
    case .transform(let name, let reason): "transform \(name): \(reason)"
    case .named(let name, let reason): "\(name): \(reason)"
    case .unsupportedArray(let type): "input samples of \(type) (supported: uint8, float32)"
    }
  }

  static func reason(of error: DecodingError) -> String {
    switch error {
    case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context),
      .dataCorrupted(let context):
      let path = context.codingPath.map(\.stringValue).joined(separator: ".")
      return path.isEmpty ? context.debugDescription : "\(path): \(context.debugDescription)"
    @unknown default: return "\(error)"
    }
  }
}
