import Foundation
import TensorCore
import Testing

@testable import Vision

@Suite struct ImageFolderTests {
  @Test func indexIsThePositionOfTheFolder() throws {
    try withTemporaryFolder { root in
      try fill(
        root,
        ["b/2.jpg", "b/10.JPEG", "B/x.png", "a/é.jpg", "a/z.jpg", "a/notes.txt", "a/sub/y.jpg", "c/read.me", "d/1.PNG"])
      try fill(root, ["README.jpg"])
      let folder = try ImageFolder(path: root.path)
      // Byte order: capitals first, "10" before "2", non-ASCII last; the empty folder c keeps its index.
      #expect(
        folder.samples.map { String($0.path.dropFirst(root.path.count + 1)) } == [
          "B/x.png", "a/z.jpg", "a/é.jpg", "b/10.JPEG", "b/2.jpg", "d/1.PNG",
        ])
      #expect(folder.samples.map(\.label) == [0, 1, 1, 2, 2, 4])
      #expect(folder.classNames == [0: "B", 1: "a", 2: "b", 3: "c", 4: "d"])
    }
  }

  @Test func indexIsTheLineOfTheList() throws {
    try withTemporaryFolder { root in
      try fill(root, ["val/n02/1.jpg", "val/n09/1.jpg"])
      let list = root.appendingPathComponent("wnids.txt")
      try Data("n05\tbird\r\n\nn09 great white  shark \nn02\n".utf8).write(to: list)
      let other = root.appendingPathComponent("other.txt")
      try Data("n02 x\nn09 y".utf8).write(to: other)

      let path = root.appendingPathComponent("val").path
      let folder = try ImageFolder(path: path)
      #expect(folder.samples.map(\.label) == [3, 2])
      #expect(folder.classNames == [0: "bird", 2: "great white  shark", 3: "n02"])
      #expect(try ImageFolder(path: path + "/").samples.map(\.label) == [3, 2])
      #expect(try ImageFolder(path: path, classes: other.path).samples.map(\.label) == [0, 1])
    }
  }

  @Test func errorsNameTheFolder() throws {
    try withTemporaryFolder { root in
      let path = root.path
      #expect(throws: DatasetError.noImages(path: path)) { try ImageFolder(path: path) }
      let missing = path + "/missing"
      #expect(throws: DatasetError.unreadable(FileError(path: missing, reason: "no such folder"))) {
        try ImageFolder(path: missing)
      }
      try fill(root, ["n01/1.jpg"])
      let file = path + "/n01/1.jpg"
      #expect(throws: DatasetError.unreadable(FileError(path: file, reason: "is not a folder"))) {
        try ImageFolder(path: file)
      }
      let list = path + "/wnids.txt"
      try Data("n02 cat\n".utf8).write(to: URL(fileURLWithPath: list))
      #expect(throws: DatasetError.unknownClass(folder: path + "/n01", list: list)) { try ImageFolder(path: path) }
      #expect(throws: DatasetError.self) { try ImageFolder(path: path, classes: missing) }
    }
  }

  private func fill(_ root: URL, _ files: [String]) throws {
    for file in files {
      let url = root.appendingPathComponent(file)
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data([0]).write(to: url)
    }
  }
}
