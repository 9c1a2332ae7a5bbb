import Foundation
import Swiftlet
import TestSupport
import Testing

/// Packed weights that are kept in a folder give the same results, and nothing that is stale or damaged is used.
@Suite struct WeightsCacheTests {
  private let folder: TemporaryFolder
  private let model: String
  private let input = Tensor((0..<768).map { Float($0 % 17) / 8 - 1 }, shape: [1, 3, 16, 16])

  init() throws {
    folder = try TemporaryFolder()
    model = folder.path("model.pte")
    try FileManager.default.copyItem(atPath: goldenPath("executorch", "images_int8.pte"), toPath: model)
  }

  private func output(cached: Bool) throws -> [Float] {
    let cache = cached ? try WeightsCache(folder: folder.path("cache")) : nil
    return try loadMethod(model, threads: 1, kernels: .native, cache: cache).run([input])[0].elements(as: Float.self)
  }

  private func cacheFile() throws -> URL {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path("cache"))
    return URL(fileURLWithPath: folder.path("cache")).appendingPathComponent(try #require(names.first))
  }

  @Test func cachedWeightsGiveTheSameResults() throws {
    let expected = try output(cached: false)
    #expect(try output(cached: true) == expected)
    let written = try Data(contentsOf: cacheFile())
    #expect(try output(cached: true) == expected)
    #expect(try Data(contentsOf: cacheFile()) == written)
    let dict = try StateDict.read(cacheFile().path)
    #expect(
      dict.count > 0
        && dict.entries.allSatisfy { ($0.tensor.byteOffset + Int(bitPattern: $0.tensor.storage.base)) % 64 == 0 })
  }

  /// Any byte that is changed is noticed, and the file is written again.
  @Test func damagedCachesAreNotUsed() throws {
    let expected = try output(cached: true)
    let good = try Data(contentsOf: cacheFile())
    for offset in stride(from: 0, to: good.count, by: 211) {
      var bad = good
      bad[offset] ^= 0x55
      try bad.write(to: cacheFile())
      #expect(try output(cached: true) == expected, "byte \(offset)")
      #expect(try Data(contentsOf: cacheFile()) == good, "byte \(offset)")
    }
    try good.prefix(good.count / 2).write(to: cacheFile())
    #expect(try output(cached: true) == expected)
  }

  /// Another model under the same path.
  @Test func staleCachesAreNotUsed() throws {
    _ = try output(cached: true)
    var program = try PTEArchive.read(model)
    let weight = try #require(program.stateDict.first { $0.value.dataType == .int8 && $0.value.shape.rank == 2 })
    let turned = weight.value.elements(as: Int8.self).map { Int8(-Int($0)) }
    program.stateDict[weight.key] = Tensor(turned, shape: weight.value.shape)
    try PTEArchive.write(program, to: folder.path("other.pte"))
    try FileManager.default.removeItem(atPath: model)
    try FileManager.default.moveItem(atPath: folder.path("other.pte"), toPath: model)
    let expected = try output(cached: false)
    #expect(try output(cached: true) == expected)
  }
}
