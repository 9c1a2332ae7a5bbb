import GraphIR
import TensorCore

/// Turns the payloads of an archive into tensors: windows on the file, or copies where strides are not row-major.
struct PT2TensorLoader {
  let files: PT2Files
  /// Whether the checksums of payloads are compared, which reads every byte of them.
  let verify: Bool
  private(set) var tensors: [String: Tensor] = [:]
  /// Several tensors may share a payload; a deflated one is inflated once.
  private var windows: [String: ZipArchive.Window] = [:]
  private var builder: TensorBuilder

  init(files: PT2Files, verify: Bool) {
    self.files = files
    self.verify = verify
    builder = TensorBuilder(path: files.archive.path, fileByteCount: files.archive.byteCount)
  }

  mutating func load(_ place: PT2Files.Tensors) throws(FormatError) {
    switch place {
    case .listed(let folder, let config):
      let payloads = try files.decode(PT2Schema.PayloadConfig.self, config).config
      // In order of their names, so that the same damage always gives the same message.
      for (name, payload) in payloads.sorted(by: { $0.key < $1.key }) {
        try add(name, try tensor(name, payload, folder))
      }
    case .pickled(let name):
      guard let entry = files.archive.entry(name) else {
        throw FormatError(path: files.archive.path, reason: "is damaged: it has no entry '\(name)'")
      }
      let window = try files.archive.window(of: entry, verify: verify)
      guard window.byteCount > 0 else { return }
      let file = try TorchFile(window, path: "\(files.archive.path): \(name)", verify: verify)
      for (name, tensor) in try StateDict(file, key: nil).entries { try add(name, tensor) }
    }
  }

  private mutating func add(_ name: String, _ tensor: Tensor) throws(FormatError) {
    guard tensors.updateValue(tensor, forKey: name) == nil else { throw error(name, "is both a weight and a constant") }
  }

  private func error(_ name: String, _ reason: String) -> FormatError {
    builder.error(name, reason)
  }

  private mutating func tensor(
    _ name: String, _ payload: PT2Schema.Payload, _ folder: String
  ) throws(FormatError) -> Tensor {
    guard let meta = payload.tensorMeta, !payload.usePickle else {
      throw error(name, "is pickled (a custom object or a tensor subclass), which cannot be read")
    }
    let spec: TensorSpec
    do { spec = try meta.spec() } catch { throw self.error(name, error.reason) }
    let strides = meta.strides.compactMap(\.value)
    guard strides.count == meta.strides.count, let offset = meta.storageOffset.value else {
      throw error(name, "has dynamic strides")
    }
    let window = try self.window(folder + payload.pathName, name)
    return try builder.tensor(name, spec, strides: strides, offset: offset, in: window)
  }

  private mutating func window(_ entryName: String, _ tensor: String) throws(FormatError) -> ZipArchive.Window {
    if let known = windows[entryName] { return known }
    guard let entry = files.archive.entry(entryName) else {
      throw error(tensor, "its data '\(entryName)' are not in the archive")
    }
    let window = try files.archive.window(of: entry, verify: verify)
    windows[entryName] = window
    return window
  }
}

extension PT2Schema.TensorMeta {
  struct Failure: Error { let reason: String }

  /// Throws a `Failure` for an element type without counterpart, impossible sizes, dynamic ones without example, and sparse tensors.
  func spec() throws(Failure) -> TensorSpec {
    guard let dataType = PT2Schema.scalarTypes[dtype] else {
      throw Failure(reason: "has scalar type \(dtype), which is not supported")
    }
    guard layout == PT2Schema.stridedLayout else { throw Failure(reason: "is not a dense strided tensor") }
    let dimensions = sizes.compactMap(\.example)
    guard dimensions.count == sizes.count else {
      throw Failure(reason: "has sizes that depend on data, which cannot be read")
    }
    guard dimensions.count <= 64, let shape = Shape(validating: dimensions) else {
      throw Failure(reason: "has impossible sizes \(dimensions.prefix(8))")
    }
    return TensorSpec(dataType, shape)
  }
}
