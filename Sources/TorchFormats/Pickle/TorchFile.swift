import TensorCore

/// What `torch.save` wrote: a zip archive (`NAME/data.pkl`, `NAME/data/KEY`) or the older sequence of pickles and storages.
///
/// `value` describes everything; tensors are made one by one, as windows on the file where their elements lie row-major.
struct TorchFile {
  let path: String
  let value: PickleValue
  private var builder: TensorBuilder
  /// Data of storages by key. Those of an archive are found when they are first used.
  private var storages: [String: ZipArchive.Window]
  private let archive: Archive?

  private struct Archive {
    let zip: ZipArchive
    let root: String
    let verify: Bool
  }

  /// Reads a file, or an entry of an archive; `path` is what it is called in messages. Checksums of tensors are compared
  /// on request, that of the pickle always.
  ///
  /// Throws for damage, big-endian data, TorchScript archives, tar files of PyTorch before 0.2, and pickles that use
  /// names which are not allowed.
  init(_ window: ZipArchive.Window, path: String, verify: Bool = false) throws(FormatError) {
    let kind = try window.withBytes { bytes throws(FormatError) in Kind(bytes) }
    switch kind {
    case .zip: try self.init(ZipArchive(window, path: path), verify: verify)
    case .legacy: try self.init(legacy: window, path: path)
    case .tar:
      throw FormatError(
        path: path,
        reason: "is a tar file from before PyTorch 0.2; load it with an old PyTorch and save it with a new one")
    case .foreign: throw FormatError(path: path, reason: "was not written by torch.save")
    }
  }

  init(_ zip: ZipArchive, verify: Bool = false) throws(FormatError) {
    guard let pickle = zip.entries.first(where: { ZipArchive.isAtRoot($0.name, "data.pkl") }) else {
      throw FormatError(path: zip.path, reason: "was not written by torch.save: it has no 'data.pkl'")
    }
    let root = String(pickle.name.dropLast("data.pkl".count))
    if zip.entry(root + "constants.pkl") != nil || zip.entries.contains(where: { $0.name.hasPrefix(root + "code/") }) {
      throw FormatError(
        path: zip.path,
        reason:
          "is a TorchScript archive; save the model's state_dict() with torch.save, or export it with torch.export"
      )
    }
    if let entry = zip.entry(root + "byteorder") {
      let order = String(decoding: try zip.bytes(of: entry, limit: 64), as: UTF8.self)
      guard order == "little" else { throw zip.error(entry, "is '\(order)'; only 'little' can be read") }
    }
    if let entry = zip.entry(root + "version") {
      let version = String(decoding: try zip.bytes(of: entry, limit: 64), as: UTF8.self).filter { $0 != "\n" }
      guard let number = Int(version), (1...10).contains(number) else {
        throw zip.error(entry, "is '\(version)'; 1 to 10 can be read")
      }
    }
    let data = try zip.window(of: pickle, verify: true)
    let limit = Unpickler.valueLimit(fileByteCount: zip.byteCount)
    value = try data.withBytes { bytes throws(FormatError) in
      try Unpickler.decode(bytes, valueLimit: limit, path: zip.path, entry: pickle.name).value
    }
    path = zip.path
    builder = TensorBuilder(path: path, fileByteCount: zip.byteCount)
    storages = [:]
    archive = Archive(zip: zip, root: root, verify: verify)
  }

  private init(legacy window: ZipArchive.Window, path: String) throws(FormatError) {
    (value, storages) = try LegacyTorchFile.read(window, path: path)
    self.path = path
    builder = TensorBuilder(path: path, fileByteCount: window.byteCount)
    archive = nil
  }

  /// The tensor that the pickle describes; `name` is what it is called in messages.
  ///
  /// Throws for an element type without counterpart, missing or short data, and a view that reaches outside of them.
  mutating func tensor(_ tensor: PickleTensor, name: String) throws(FormatError) -> Tensor {
    guard let dataType = DataType(rawValue: tensor.dataType) else {
      throw builder.error(name, "has element type torch.\(tensor.dataType), which is not supported")
    }
    guard tensor.sizes.count <= 64, let shape = Shape(validating: tensor.sizes) else {
      throw builder.error(name, "has impossible sizes \(tensor.sizes.prefix(8))")
    }
    let data = try window(of: tensor.storage, tensor: name)
    return try builder.tensor(
      name, TensorSpec(dataType, shape), strides: tensor.strides, offset: tensor.offset, in: data)
  }

  /// The bytes of a storage, or of its view.
  private mutating func window(of storage: PickleStorage, tensor: String) throws(FormatError) -> ZipArchive.Window {
    let whole: ZipArchive.Window
    if let known = storages[storage.key] {
      whole = known
    } else if let archive, let entry = archive.zip.entry("\(archive.root)data/\(storage.key)") {
      whole = try archive.zip.window(of: entry, verify: archive.verify)
      storages[storage.key] = whole
    } else {
      throw builder.error(tensor, "its storage '\(storage.key)' is not in the file")
    }
    let size = storage.elementSize
    let part = storage.view ?? 0..<storage.elementCount
    let (end, overflow) = part.upperBound.multipliedReportingOverflow(by: size)
    guard !overflow, let window = whole.slice(at: part.lowerBound * size, count: end - part.lowerBound * size) else {
      throw builder.error(
        tensor,
        "its storage '\(storage.key)' has \(whole.byteCount) bytes, not \(storage.elementCount) elements of \(size)"
      )
    }
    return window
  }

  /// What a file's first bytes say.
  enum Kind {
    case zip, legacy, tar, foreign

    init(_ bytes: UnsafeRawBufferPointer) {
      let reader = ByteReader(bytes: bytes)
      if reader.uint32(at: 0) == ZipDirectory.localSignature {
        self = .zip
      } else if LegacyTorchFile.hasMagic(bytes) {
        self = .legacy
      } else if reader.slice(at: 257, count: 5)?.elementsEqual("ustar".utf8) == true {
        self = .tar
      } else {
        self = .foreign
      }
    }
  }
}
