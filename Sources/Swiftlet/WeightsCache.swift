import Foundation
import GraphIR
import ProgramFormat
import Runtime
import TensorCore
import TorchFormats

/// Packed weights of models, kept in a folder: a `.safetensors` file for each model. Loading a model again maps them
/// instead of packing its weights.
///
/// A file is used only for the model file, the program and the kind of processor that it was made for, and if its checksum
/// is right; otherwise it is written again. Written files appear under their names when they are complete, so that
/// processes may share a folder.
public struct WeightsCache: Sendable {
  /// Where the files are.
  public let folder: String

  /// Throws when the folder is not there and cannot be made.
  public init(folder: String) throws {
    self.folder = folder
    do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) } catch {
      throw UsageError("\(folder): the folder cannot be created; check its path and permissions")
    }
  }

  private static let keyName = "swiftlet.key"
  private static let checksumName = "swiftlet.checksum"

  /// Loads a program that was read from the file at `path`, with its packed weights from the cache, or puts them there.
  ///
  /// A cache that cannot be read or written only costs time. Throws as `Method.init` does.
  package func method(
    _ program: Program, from path: String, threads: ThreadPool, kernels: MethodOptions.Kernels = .auto
  ) throws(ProgramError) -> Method {
    guard let key = key(program, path, kernels) else {
      return try Method(program, threads: threads, options: MethodOptions(kernels: kernels))
    }
    let file = self.file(of: path)
    if let known = read(file, key) {
      return try Method(program, threads: threads, options: MethodOptions(kernels: kernels, packedWeights: known))
    }
    let method = try Method(program, threads: threads, options: MethodOptions(kernels: kernels))
    write(method, to: file, key)
    return method
  }

  private func file(of path: String) -> String {
    let full = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    let name = URL(fileURLWithPath: full).lastPathComponent
    return "\(folder)/\(name)-\(String(Array(full.utf8).withUnsafeBytes(WeightsCache.checksum), radix: 16)).safetensors"
  }

  /// What the packed weights depend on. The file's change time tells a file that was replaced or written to, whatever
  /// its size and modification time; nil when there is no such file.
  private func key(_ program: Program, _ path: String, _ kernels: MethodOptions.Kernels) -> String? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    let change = status.st_ctim
    let file = "\(status.st_dev) \(status.st_ino) \(status.st_size) \(change.tv_sec).\(change.tv_nsec)"
    var structure: [UInt8] = []
    for delegate in program.delegates { structure += delegate.processed }
    for value in program.values {
      structure += Array("\(value.spec)".utf8)
      for scale in value.spec.quantization?.scales ?? [] {
        withUnsafeBytes(of: scale) { structure.append(contentsOf: $0) }
      }
    }
    let digest = structure.withUnsafeBytes(WeightsCache.checksum)
    return "\(MethodOptions.kernelBuild) \(kernels) \(file) \(String(digest, radix: 16))"
  }

  private func read(_ file: String, _ key: String) -> [String: Tensor]? {
    guard FileManager.default.fileExists(atPath: file), let dict = try? StateDict.read(file),
      dict.metadata[WeightsCache.keyName] == key,
      dict.metadata[WeightsCache.checksumName] == WeightsCache.checksum(of: dict)
    else { return nil }
    return Dictionary(uniqueKeysWithValues: dict.entries.map { ($0.name, $0.tensor) })
  }

  private func write(_ method: Method, to file: String, _ key: String) {
    var dict = StateDict()
    for (node, weights) in method.packedWeights { dict[node] = weights }
    dict.metadata = [WeightsCache.keyName: key, WeightsCache.checksumName: WeightsCache.checksum(of: dict)]
    // Storage alignment of packed weights; their sizes are multiples of it.
    try? dict.writeSafeTensors(to: file, alignment: 64)
  }

  private static func checksum(of dict: StateDict) -> String {
    var sum: UInt64 = 0
    for entry in dict.entries.sorted(by: { $0.name < $1.name }) {
      sum = (sum &* 31) ^ Array(entry.name.utf8).withUnsafeBytes(checksum) ^ entry.tensor.withUnsafeBytes(checksum)
    }
    return String(sum, radix: 16)
  }

  /// Against damage, not against forgery: four lanes of multiply and shift over 8 bytes each, at the speed of memory.
  static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    let prime: UInt64 = 0x9e37_79b9_7f4a_7c15
    var lanes = SIMD4<UInt64>(1, 2, 3, 4) &* SIMD4(repeating: prime)
    let whole = bytes.count / 32 * 32
    var offset = 0
    while offset < whole {
      lanes = (lanes ^ bytes.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)) &* SIMD4(repeating: prime)
      lanes ^= lanes &>> SIMD4(repeating: 29)
      offset += 32
    }
    var sum = UInt64(bytes.count)
    for lane in 0..<4 { sum = (sum ^ lanes[lane]) &* prime }
    for index in whole..<bytes.count { sum = (sum ^ UInt64(bytes[index])) &* prime }
    return sum ^ (sum >> 32)
  }
}
