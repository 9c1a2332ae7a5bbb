import TensorCore
import TorchFormats
import Vision

/// Recordings as spectrograms, for models that reconstruct them (MLPerf Tiny's anomaly detection).
///
/// A recording [frames, bands] is cut into windows of five frames, each one sample of 5 · bands values; its score is the
/// mean squared reconstruction error over the windows. Label 0 is a normal recording.
package struct SpectrogramDataset: Dataset {
  static let framesPerWindow = 5
  /// Frames at the end of a recording that no window starts in.
  private let windowsPerFile: Int
  private let bands: Int
  private let frames: Int
  private let values: [Float]
  package let labels: [Int]

  init(_ archive: NumPyArchive, path: String, role: DatasetRole) throws {
    let tensor = try archive.tensor("spectrograms")
    guard tensor.dataType == .float32, tensor.shape.rank == 3, tensor.shape[1] >= SpectrogramDataset.framesPerWindow,
      tensor.shape[0] > 0
    else {
      throw UsageError("\(path): 'spectrograms' must be float32 [files, 5 or more frames, bands], not \(tensor.spec)")
    }
    self.role = role
    let labels = try readLabels(archive, path: path, count: tensor.shape[0])
    self.labels = labels
    frames = tensor.shape[1]
    bands = tensor.shape[2]
    windowsPerFile = frames - SpectrogramDataset.framesPerWindow + 1
    values = tensor.elements()
    let normal = labels.indices.filter { labels[$0] == 0 }
    files = role == .calibration ? (normal.isEmpty ? [0] : normal) : Array(labels.indices)
    count = role == .calibration ? min(100, windowsPerFile) : windowsPerFile * labels.count
  }

  /// The recordings that samples are taken from, in order.
  private let files: [Int]

  package var fileCount: Int { labels.count }
  /// Calibration takes the first 100 windows of the first normal recording, unless told otherwise.
  package private(set) var count: Int

  private let role: DatasetRole

  /// The first windows; calibration goes on with the next normal recordings.
  package func limited(to limit: Int) -> any Dataset {
    guard role == .calibration else { return LimitedDataset(self, limit: limit) }
    var copy = self
    copy.count = min(max(0, limit), windowsPerFile * files.count)
    return copy
  }

  package func input(_ index: Int) -> Tensor {
    let (file, window) = index.quotientAndRemainder(dividingBy: windowsPerFile)
    let start = (files[file] * frames + window) * bands
    let size = SpectrogramDataset.framesPerWindow * bands
    return Tensor(Array(values[start..<start + size]), shape: [1, size])
  }

  package func label(_ index: Int) -> Int? { nil }

  /// The samples of one recording.
  package func windows(ofFile file: Int) -> Range<Int> { file * windowsPerFile..<(file + 1) * windowsPerFile }
}
