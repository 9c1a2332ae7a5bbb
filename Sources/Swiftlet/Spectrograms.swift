import TensorCore
import TorchFormats
import Vision

/// Recordings as spectrograms, for models that reconstruct them (MLPerf Tiny's anomaly detection).
///
/// A recording [frames, bands] is cut into windows of five frames, each one sample of 5 · bands values; its score is the
/// mean squared reconstruction error over the windows. Label 0 is a normal recording.
public struct SpectrogramDataset: Dataset {
  static let framesPerWindow = 5
  /// Frames at the end of a recording that no window starts in.
  private let windowsPerFile: Int
  private let bands: Int
  private let frames: Int
  private let values: [Float]
  public let labels: [Int]
  private let windowLimit: Int

  init(_ archive: NumPyArchive, path: String, role: DatasetRole) throws {
    let tensor = try archive.tensor("spectrograms")
    guard tensor.dataType == .float32, tensor.shape.rank == 3, tensor.shape[1] >= SpectrogramDataset.framesPerWindow,
      tensor.shape[0] > 0
    else {
      throw UsageError("\(path): 'spectrograms' is \(tensor.spec), not float32 [files, frames ≥ 5, bands]")
    }
    labels = try readLabels(archive, path: path, count: tensor.shape[0])
    frames = tensor.shape[1]
    bands = tensor.shape[2]
    windowsPerFile = frames - SpectrogramDataset.framesPerWindow + 1
    values = tensor.elements()
    // Calibration takes the first 100 windows of the first normal recording.
    windowLimit = role == .calibration ? min(100, windowsPerFile) : windowsPerFile * labels.count
    firstWindow = role == .calibration ? (labels.firstIndex(of: 0) ?? 0) * windowsPerFile : 0
  }

  private let firstWindow: Int

  public var fileCount: Int { labels.count }
  public var count: Int { windowLimit }

  public func input(_ index: Int) -> Tensor {
    let (file, window) = (firstWindow + index).quotientAndRemainder(dividingBy: windowsPerFile)
    let start = (file * frames + window) * bands
    let size = SpectrogramDataset.framesPerWindow * bands
    return Tensor(Array(values[start..<start + size]), shape: [1, size])
  }

  public func label(_ index: Int) -> Int? { nil }

  /// The samples of one recording.
  public func windows(ofFile file: Int) -> Range<Int> { file * windowsPerFile..<(file + 1) * windowsPerFile }
}
