import Foundation
import TensorCore

/// A data set of labelled pictures: one folder per class, as torchvision's `ImageFolder`, or ImageNet with a list of
/// WNIDs.
///
/// Without a list, the class index is the position of the folder's name among all folder names in byte order. With a
/// list (`wnids.txt`), it is the number of the line, from 0, whose first column is the folder's name.
public struct ImageFolder: Sendable {
  /// The folder.
  public let path: String
  /// By folder name, then by file name, both in byte order. Never empty.
  public let samples: [Sample]
  /// By class index: the words of the list's line, or the folder's name where there are none.
  public let classNames: [Int: String]

  /// One picture of the data set.
  public struct Sample: Hashable, Sendable {
    /// The file.
    public let path: String
    /// The class index.
    public let label: Int

    /// A picture and its class.
    public init(path: String, label: Int) {
      self.path = path
      self.label = label
    }
  }

  /// The name of a list of classes that is looked for in the folder and its parent.
  static let listName = "wnids.txt"
  private static let extensions: Set<String> = ["jpg", "jpeg", "png"]

  /// Lists the folder; no picture is opened.
  ///
  /// - Parameters:
  ///   - path: the folder that holds one folder per class.
  ///   - classes: the list of classes; nil takes a `wnids.txt` in the folder or its parent, if there is one.
  /// - Throws: `unreadable` for a missing folder or list, `noImages`, `unknownClass` for a folder with pictures that is
  ///   not in the list.
  public init(path: String, classes: String? = nil) throws(DatasetError) {
    self.path = path
    let folders = try ImageFolder.entries(of: path).filter { $0.isFolder }.map(\.name)
    let list: ClassList?
    if let location = classes ?? ImageFolder.listLocation(for: path) {
      list = try ClassList(path: location)
    } else {
      list = nil
    }
    var samples: [Sample] = []
    for (position, folder) in folders.enumerated() {
      let folderPath = ImageFolder.join(path, folder)
      let files = try ImageFolder.entries(of: folderPath).filter { !$0.isFolder && ImageFolder.isImage($0.name) }
      if files.isEmpty { continue }
      var label = position
      if let list {
        guard let line = list.lines[folder] else { throw .unknownClass(folder: folderPath, list: list.path) }
        label = line
      }
      samples += files.map { Sample(path: ImageFolder.join(folderPath, $0.name), label: label) }
    }
    guard !samples.isEmpty else { throw .noImages(path: path) }
    self.samples = samples
    self.classNames = list?.names ?? Dictionary(uniqueKeysWithValues: folders.enumerated().map { ($0, $1) })
  }

  private struct Entry {
    let name: String
    let isFolder: Bool
  }

  /// What a folder holds, in byte order of the names. A link counts as what it leads to.
  private static func entries(of folder: String) throws(DatasetError) -> [Entry] {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder) else {
      throw .unreadable(FileError(path: folder, reason: "no such folder"))
    }
    guard isFolder.boolValue else { throw .unreadable(FileError(path: folder, reason: "is not a folder")) }
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: folder)
    } catch {
      throw .unreadable(FileError(path: folder, reason: "cannot list the folder"))
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.map { name in
      var isFolder: ObjCBool = false
      let exists = FileManager.default.fileExists(atPath: join(folder, name), isDirectory: &isFolder)
      return Entry(name: name, isFolder: exists && isFolder.boolValue)
    }
  }

  private static func isImage(_ name: String) -> Bool {
    guard let dot = name.lastIndex(of: ".") else { return false }
    return extensions.contains(name[name.index(after: dot)...].lowercased())
  }

  private static func listLocation(for path: String) -> String? {
    // "..", resolved by the system, is also right for a relative path and for a link.
    [join(path, listName), join(join(path, ".."), listName)].first { FileManager.default.fileExists(atPath: $0) }
  }

  private static func join(_ folder: String, _ name: String) -> String {
    folder.hasSuffix("/") ? folder + name : folder + "/" + name
  }
}

/// A list of class folders: per line a name, then words that describe the class.
struct ClassList {
  let path: String
  /// Line number, from 0, by folder name. The first of equal names counts.
  let lines: [String: Int]
  /// Words by line number; the name where there are none. Empty lines are counted but have no class.
  let names: [Int: String]

  private static let maximumFileSize = 16 << 20

  init(path: String) throws(DatasetError) {
    let storage: Storage
    do { storage = try Storage(mapping: path) } catch { throw .unreadable(error) }
    guard storage.byteCount <= ClassList.maximumFileSize else {
      throw .unreadable(FileError(path: path, reason: "is too large for a list of classes"))
    }
    var lines: [String: Int] = [:]
    var names: [Int: String] = [:]
    // Split as bytes: "\r\n" is one character, and no line break, to String.
    let rows = storage.bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (number, row) in rows.enumerated() {
      let columns = String(decoding: row, as: UTF8.self).split(maxSplits: 1, whereSeparator: \.isWhitespace)
      guard let name = columns.first.map(String.init) else { continue }
      if lines[name] == nil { lines[name] = number }
      let words = columns.count > 1 ? columns[1].trimmingCharacters(in: .whitespacesAndNewlines) : ""
      names[number] = words.isEmpty ? name : words
    }
    self.path = path
    self.lines = lines
    self.names = names
  }
}

/// A folder that is no data set.
public enum DatasetError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The folder, a folder inside it, or the list of classes is missing or cannot be read.
  case unreadable(FileError)
  /// No folder inside it has a picture.
  case noImages(path: String)
  /// A folder with pictures whose name is not in the list of classes.
  case unknownClass(folder: String, list: String)

  public var description: String {
    switch self {
    case .unreadable(let error): error.description
    case .noImages(let path): "\(path): no .jpg, .jpeg or .png file in any folder inside"
    case .unknownClass(let folder, let list): "\(folder): the folder's name is not listed in \(list)"
    }
  }
}
