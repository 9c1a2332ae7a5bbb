import Foundation
import TensorCore
import TorchFormats
import Vision

/// Samples to calibrate with or to measure on, as tensors that a model takes.
public protocol Dataset: Sendable {
  /// How many samples there are.
  var count: Int { get }
  /// The input of sample `index`, with its batch dimension of 1. Throws when a file is missing or damaged.
  func input(_ index: Int) throws -> Tensor
  /// The class of sample `index`; nil for data without labels.
  func label(_ index: Int) -> Int?
  /// The first samples; all, where there are not more.
  func limited(to limit: Int) -> any Dataset
  /// What errors and lists call sample `index`: a file's path.
  func name(_ index: Int) -> String
  /// The same samples in another epoch: random transforms give others. Data without such is the same in each.
  func atEpoch(_ epoch: Int) -> any Dataset
}

extension Dataset {
  /// The first samples, read as they are here.
  public func limited(to limit: Int) -> any Dataset { LimitedDataset(self, limit: limit) }
  /// "sample 12".
  public func name(_ index: Int) -> String { "sample \(index)" }
  /// The same: nothing is random.
  public func atEpoch(_ epoch: Int) -> any Dataset { self }
}

/// What a dataset is read for: which array of an `.npz` is meant.
public enum DatasetRole: Sendable {
  /// The array `calibration`; or `val` and `labels`.
  case calibration, evaluation
}

/// Images in folders named by class, as torchvision's `ImageFolder`.
public struct ImageDataset: Dataset {
  /// The files and their classes.
  public let folder: ImageFolder
  /// What becomes of a picture.
  public let transform: Compose
  /// Of random transforms.
  public let seed: UInt64
  private var epoch = 0

  /// Sample i of epoch e is transformed with the numbers of `SeededGenerator(seed: seed, epoch: e, sample: i)`.
  public init(_ folder: ImageFolder, transform: Compose, seed: UInt64 = 0) {
    self.folder = folder
    self.transform = transform
    self.seed = seed
  }

  /// With the transforms of a preprocessing file.
  public init(_ folder: ImageFolder, preprocess: Preprocess) { self.init(folder, transform: preprocess.transforms) }

  /// The number of files.
  public var count: Int { folder.samples.count }

  /// Decodes and transforms a picture: float32 [1, 3, H, W]. Throws an `ImageError` or, with the file's name, a
  /// `UsageError`.
  public func input(_ index: Int) throws -> Tensor {
    let image = try Image(contentsOf: name(index))
    do {
      return try transform.tensor(from: image, using: SeededGenerator(seed: seed, epoch: epoch, sample: index))
    } catch {
      throw UsageError("\(name(index)): \(error)")
    }
  }

  /// The class of the file's folder.
  public func label(_ index: Int) -> Int? { folder.samples[index].label }
  /// The file's path.
  public func name(_ index: Int) -> String { folder.samples[index].path }

  /// The same files with the random numbers of that epoch.
  public func atEpoch(_ epoch: Int) -> any Dataset {
    var copy = self
    copy.epoch = epoch
    return copy
  }
}

/// One array of an `.npz`, its first dimension the samples, with labels beside it.
public struct ArrayDataset: Dataset {
  private let array: Tensor
  private let labels: [Int]?
  private let preprocess: Preprocess

  /// Samples that `preprocess` scales; labels, if there are any, one for each.
  public init(_ array: Tensor, labels: [Int]?, preprocess: Preprocess) {
    self.array = array
    self.labels = labels
    self.preprocess = preprocess
  }

  /// The size of the array's first dimension.
  public var count: Int { array.shape[0] }

  /// One sample as float32, with a batch dimension of 1. Throws for arrays other than uint8 and float32.
  public func input(_ index: Int) throws -> Tensor {
    var sample = array.spec
    sample.shape = Shape([1] + array.shape.dimensions.dropFirst())
    let window = Tensor(sample, storage: array.storage, byteOffset: array.byteOffset + index * sample.byteCount)
    return try preprocess.tensor(fromArray: window)
  }

  /// The label that was given for it.
  public func label(_ index: Int) -> Int? { labels?[index] }
}

/// The first samples of another dataset.
package struct LimitedDataset: Dataset {
  private let base: any Dataset
  package let count: Int

  package init(_ base: any Dataset, limit: Int) {
    self.base = base
    self.count = min(max(0, limit), base.count)
  }

  package func input(_ index: Int) throws -> Tensor { try base.input(index) }
  package func label(_ index: Int) -> Int? { base.label(index) }
  package func name(_ index: Int) -> String { base.name(index) }
  package func atEpoch(_ epoch: Int) -> any Dataset { LimitedDataset(base.atEpoch(epoch), limit: count) }
}

/// Opens an image folder or an `.npz`: arrays `calibration`, or `val` and `labels`, or `spectrograms` and `labels`.
///
/// Throws an `UsageError` that names the path and what is missing, or the reader's own error.
public func openDataset(
  _ path: String, role: DatasetRole, preprocess: Preprocess, classes: String? = nil
) throws -> any Dataset {
  var isFolder: ObjCBool = false
  guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
    throw UsageError("\(path): no such file or folder")
  }
  if isFolder.boolValue {
    return ImageDataset(try ImageFolder(path: path, classes: classes), preprocess: preprocess)
  }
  guard path.hasSuffix(".npz") else { throw UsageError("\(path): neither a folder of images nor an .npz file") }
  let archive = try NumPyArchive(path: path)
  if archive.names.contains("spectrograms") {
    return try SpectrogramDataset(archive, path: path, role: role)
  }
  let name = role == .calibration ? "calibration" : "val"
  guard archive.names.contains(name) else {
    throw UsageError("\(path): has no array '\(name)', only \(archive.names.sorted().joined(separator: ", "))")
  }
  let array = try archive.tensor(name)
  guard array.shape.rank > 0 else { throw UsageError("\(path): '\(name)' is a single number, not an array of samples") }
  var labels: [Int]?
  if role == .evaluation {
    guard archive.names.contains("labels") else { throw UsageError("\(path): has no array 'labels'") }
    labels = try readLabels(archive, path: path, count: array.shape[0])
  }
  return ArrayDataset(array, labels: labels, preprocess: preprocess)
}

func readLabels(_ archive: NumPyArchive, path: String, count: Int) throws -> [Int] {
  let tensor = try archive.tensor("labels")
  guard tensor.dataType == .int64, tensor.shape.dimensions == [count] else {
    throw UsageError("\(path): 'labels' must be int64[\(count)], not \(tensor.spec)")
  }
  return tensor.elements(as: Int64.self).map { Int(clamping: $0) }
}

/// Something the user asked for that cannot be done, in words for the user.
public struct UsageError: Error, CustomStringConvertible, Sendable {
  /// What cannot be done, and why.
  public let description: String
  /// An error in those words.
  public init(_ description: String) { self.description = description }
}
