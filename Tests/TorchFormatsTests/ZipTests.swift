import Foundation
import TestSupport
import Testing
import TorchFormats

struct ZipTests {
  @Test func writtenEntriesAreReadBackAligned() throws {
    let folder = try TemporaryFolder()
    let contents = (0..<20).map { index in [UInt8](repeating: UInt8(index), count: index * 37) }
    var writer = try ZipWriter(path: folder.path("a.zip"))
    for (index, content) in contents.enumerated() { try writer.add("folder/é\(index)", content) }
    try writer.finish()
    let archive = try ZipArchive(path: folder.path("a.zip"))
    #expect(archive.entries.map(\.name) == (0..<20).map { "folder/é\($0)" })
    for (entry, content) in zip(archive.entries, contents) {
      #expect(try archive.bytes(of: entry) == content)
      #expect(try archive.window(of: entry).byteOffset % ZipWriter.alignment == 0)
    }
  }

  @Test func anAbandonedOrFailedWriterLeavesNothing() throws {
    let folder = try TemporaryFolder()
    do {
      var writer = try ZipWriter(path: folder.path("a.zip"))
      try writer.add("x", [1, 2, 3])
      #expect(throws: FormatError.self) { try writer.add("x", [4]) }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("")).isEmpty)
    #expect(throws: FormatError.self) { _ = try ZipWriter(path: folder.path("no/such/a.zip")) }
  }

  @Test func aFailedWriteKeepsTheOldFile() throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createDirectory(atPath: folder.path("a.zip"), withIntermediateDirectories: true)
    try Data([1]).write(to: URL(fileURLWithPath: folder.path("a.zip/inside")))
    #expect(throws: FormatError.self) { _ = try ZipWriter(path: folder.path("a.zip")) }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("")) == ["a.zip"])
  }

  @Test func aLinkStaysALinkAndADeviceADevice() throws {
    let folder = try TemporaryFolder()
    try Data([1]).write(to: URL(fileURLWithPath: folder.path("real.zip")))
    try FileManager.default.createSymbolicLink(
      atPath: folder.path("link.zip"), withDestinationPath: folder.path("real.zip"))
    try ZipWriter(path: folder.path("link.zip")).finish()
    #expect(
      try FileManager.default.destinationOfSymbolicLink(atPath: folder.path("link.zip")) == folder.path("real.zip"))
    #expect(try ZipArchive(path: folder.path("real.zip")).entries.isEmpty)
    #expect(throws: FormatError.self) { _ = try ZipWriter(path: "/dev/null") }
  }

  @Test func aChangedByteOfAContentIsFound() throws {
    let folder = try TemporaryFolder()
    var writer = try ZipWriter(path: folder.path("a.zip"))
    try writer.add("x", [UInt8](repeating: 7, count: 100))
    try writer.finish()
    var bytes = try Data(contentsOf: URL(fileURLWithPath: folder.path("a.zip")))
    bytes[70] ^= 1
    try bytes.write(to: URL(fileURLWithPath: folder.path("a.zip")))
    let archive = try ZipArchive(path: folder.path("a.zip"))
    let entry = try #require(archive.entry("x"))
    #expect(try archive.window(of: entry).byteCount == 100)
    #expect { try archive.bytes(of: entry) } throws: { "\($0)".contains("entry 'x'") && "\($0)".contains("checksum") }
  }

  /// A directory of many records that all claim the same bytes, as archives do that are made to exhaust memory.
  @Test func overlappingEntriesAreRefused() throws {
    let folder = try TemporaryFolder()
    var writer = try ZipWriter(path: folder.path("a.zip"))
    try writer.add("x", [UInt8](repeating: 0, count: 4000))
    try writer.add("y", [])
    try writer.finish()
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder.path("a.zip"))))
    let end = bytes.count - 22
    let record = end - 47
    #expect(bytes[record..<record + 4] == [0x50, 0x4b, 1, 2])
    for offset in [20, 24] { bytes.replaceSubrange(record + offset..<record + offset + 2, with: [0xa0, 0x0f]) }
    try Data(bytes).write(to: URL(fileURLWithPath: folder.path("a.zip")))
    #expect { _ = try ZipArchive(path: folder.path("a.zip")) } throws: { "\($0)".contains("larger than the file") }
  }

  @Test(arguments: ["", "PK", "hello, this is no archive at all"])
  func otherFilesAreRefusedByName(_ content: String) throws {
    let folder = try TemporaryFolder()
    try Data(content.utf8).write(to: URL(fileURLWithPath: folder.path("a.zip")))
    #expect { _ = try ZipArchive(path: folder.path("a.zip")) } throws: { "\($0)".contains(folder.path("a.zip")) }
  }
}
