import DelegateSchema
import ProgramFormat

extension XNNPACKPartitioner {
  /// The kind of each node of a delegate that this partitioner encoded: `convolution_2d`, `clamp`, …
  package static func nodeKinds(of delegate: Program.Delegate) -> [String] {
    let size = MemoryLayout<ds_node>.stride
    return delegate.processed.withUnsafeBytes { bytes in
      (0..<min(delegate.nodeCount, bytes.count / size)).map { index in
        let node = bytes.loadUnaligned(fromByteOffset: index * size, as: ds_node.self)
        return String(cString: ds_kind_name(node.kind))
      }
    }
  }
}
