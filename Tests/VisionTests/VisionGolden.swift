import Foundation

@testable import Vision

/// Tests/Golden/vision/vision.json: what Pillow and PyTorch make of small pictures.
struct VisionGolden: Decodable {
  let decode: [DecodeCase]
  let resize: [ResizeCase]
  let preprocess: [PreprocessCase]

  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Golden/vision")

  static func load() throws -> VisionGolden {
    try JSONDecoder().decode(
      VisionGolden.self, from: Data(contentsOf: folder.appendingPathComponent("vision.json")))
  }

  static func path(_ file: String) -> String { folder.appendingPathComponent(file).path }

  static func bytes(_ file: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(file))))
  }
}

struct GoldenPicture: Decodable {
  let width: Int
  let height: Int
  let pixels: Data

  var image: Image { Image(width: width, height: height, pixels: [UInt8](pixels)) }
}

struct DecodeCase: Decodable {
  let file: String
  let width: Int
  let height: Int
  let pixels: Data

  var image: Image { Image(width: width, height: height, pixels: [UInt8](pixels)) }
}

struct ResizeCase: Decodable {
  let source: GoldenPicture
  let filter: ResizeFilter
  let result: GoldenPicture
}

struct PreprocessCase: Decodable {
  let source: GoldenPicture
  /// The preprocessing file's text.
  let recipe: String
  let shape: [Int]
  /// Little-endian float32.
  let result: Data
}

/// A folder that `body` fills and that is gone afterwards.
func withTemporaryFolder<R>(_ body: (URL) throws -> R) throws -> R {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vision-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}
