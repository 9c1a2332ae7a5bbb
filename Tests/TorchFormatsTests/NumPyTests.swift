import Foundation
import TensorCore
import TestSupport
import Testing
import TorchFormats

struct NumPyTests {
  @Test(arguments: ["arrays.npz", "arrays_deflated.npz"])
  func everyElementTypeIsRead(_ file: String) throws {
    let archive = try NumPyArchive(path: goldenPath("formats", file))
    func check<T: TensorElement & Equatable>(_ name: String, _ values: [T]) throws {
      let tensor = try archive.tensor(name)
      #expect(tensor.shape == [2, 3])
      #expect(tensor.elements(as: T.self) == values)
    }
    try check("float32", [0, 1, 2, 3, 4, 5] as [Float])
    try check("float64", [0, 1, 2, 3, 4, 5] as [Double])
    try check("int8", [0, 1, 2, 3, 4, 5] as [Int8])
    try check("int16", [0, 1, 2, 3, 4, 5] as [Int16])
    try check("int32", [0, 1, 2, 3, 4, 5] as [Int32])
    try check("int64", [0, 1, 2, 3, 4, 5] as [Int64])
    try check("uint8", [0, 1, 2, 3, 4, 5] as [UInt8])
    let half = try archive.tensor("float16")
    #expect(half.dataType == .float16)
    #expect(half.withUnsafeBytes { [UInt8]($0) } == [0, 0, 0, 0x3c, 0, 0x40, 0, 0x42, 0, 0x44, 0, 0x45])
    let bool = try archive.tensor("bool")
    #expect(bool.spec == TensorSpec(.bool, [3]))
    #expect(bool.withUnsafeBytes { [UInt8]($0) } == [1, 0, 1])
    #expect(try archive.tensor("scalar").spec == TensorSpec(.float32, []))
    #expect(try archive.tensor("scalar").elements(as: Float.self) == [-1.5])
    #expect(try archive.tensor("empty").shape == [0, 4])
  }

  @Test func aDeflatedArrayIsInflated() throws {
    let archive = try NumPyArchive(path: goldenPath("formats", "arrays_deflated.npz"))
    #expect(try archive.tensor("zeros").elements(as: Float.self) == [Float](repeating: 0, count: 50_000))
  }

  @Test(arguments: [
    ("fortran.npy", "Fortran order"), ("big_endian.npy", "'>f4'"), ("complex.npy", "'<c8'"), ("fields.npy", "records"),
    ("tiny_float.pt2", "not an .npy array"), ("none.npy", "No such file"),
  ])
  func whatCannotBeReadIsExplained(_ file: String, _ reason: String) throws {
    #expect { try NumPyArchive.readArray(goldenPath("formats", file)) } throws: {
      "\($0)".contains(file) && "\($0)".contains(reason)
    }
  }

  @Test func aMissingArrayIsNamed() throws {
    let archive = try NumPyArchive(path: goldenPath("formats", "arrays.npz"))
    #expect { try archive.tensor("nothing") } throws: { "\($0)".contains("'nothing'") }
  }

  @Test func laterHeaderVersionsAreRead() throws {
    let tensor = try NumPyArchive.readArray(goldenPath("formats", "version2.npy"))
    #expect(tensor.elements(as: Int32.self) == [0, 1, 2, 3])
  }

  @Test func writingWhatNumPyWroteGivesItsBytes() throws {
    let folder = try TemporaryFolder()
    let archive = try NumPyArchive(path: goldenPath("formats", "arrays.npz"))
    try NumPyArchive.write(archive.names.map { ($0, try archive.tensor($0)) }, to: folder.path("a.npz"))
    let (theirs, ours) = try (
      ZipArchive(path: goldenPath("formats", "arrays.npz")), ZipArchive(path: folder.path("a.npz"))
    )
    #expect(theirs.entries.map(\.name) == ours.entries.map(\.name))
    for (a, b) in zip(theirs.entries, ours.entries) {
      // Headers may be padded differently; the dictionaries and the data are the same.
      let (x, y) = (try theirs.bytes(of: a).filter { $0 != 0x20 }, try ours.bytes(of: b).filter { $0 != 0x20 })
      #expect(x.dropFirst(10) == y.dropFirst(10), "\(a.name)")
    }
  }

  @Test func channelsLastIsWrittenInLogicalOrder() throws {
    let folder = try TemporaryFolder()
    let tensor = Tensor([0, 10, 1, 11, 2, 12, 3, 13] as [Float], shape: [1, 2, 2, 2], dimOrder: .channelsLast)
    try NumPyArchive.writeArray(tensor, to: folder.path("a.npy"))
    let read = try NumPyArchive.readArray(folder.path("a.npy"))
    #expect(read.spec == TensorSpec(.float32, [1, 2, 2, 2]))
    #expect(read.elements(as: Float.self) == [0, 1, 2, 3, 10, 11, 12, 13])
    #expect(read.byteOffset % 64 == 0)
  }
}
