import TensorCore

/// Makes tensors of the strided views that PyTorch's files describe: windows on the data where the elements lie
/// row-major, copies elsewhere.
struct TensorBuilder {
  let path: String
  /// Bytes that copies may still take, so that a small file cannot ask for any amount of memory.
  private var copyBudget: Int

  init(path: String, fileByteCount: Int) {
    self.path = path
    copyBudget = fileByteCount + (32 << 20)
  }

  func error(_ name: String, _ reason: String) -> FormatError {
    FormatError(path: path, place: "tensor '\(name)'", reason: reason)
  }

  /// Strides and offset in elements. Throws for a view that reaches outside the window, and when all copies together
  /// are out of proportion to the file.
  mutating func tensor(
    _ name: String, _ spec: TensorSpec, strides: [Int], offset: Int, in window: ZipArchive.Window
  ) throws(FormatError) -> Tensor {
    guard let view = StridedView(spec, strides: strides, offset: offset, byteCount: window.byteCount) else {
      throw error(
        name, "\(spec) with strides \(strides) at element \(offset) reaches outside its \(window.byteCount) bytes")
    }
    if view.isContiguous {
      return Tensor(spec, storage: window.storage, byteOffset: window.byteOffset + offset * spec.dataType.size)
    }
    guard spec.byteCount <= copyBudget else {
      throw error(name, "its \(spec.byteCount) bytes are out of proportion to the file")
    }
    copyBudget -= spec.byteCount
    let copy = view.copy(from: window.storage.base + window.byteOffset)
    withExtendedLifetime(window.storage) {}
    return copy
  }
}
