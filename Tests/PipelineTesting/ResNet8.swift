import Swiftlet
import TestSupport

/// MLPerf Tiny's ResNet-8, which is shipped.
package enum ResNet8 {
  package static let path = repositoryPath("models/resnet8/resnet8.pt2")

  /// Calibrated on noise: enough for comparing kernels.
  package static func quantized() throws -> ExportedProgram {
    try quantize(PT2Archive.read(path), NoiseDataset(shape: [1, 3, 32, 32], count: 4, scale: 255)).program
  }

  package static func input(_ index: Int) -> Tensor {
    NoiseDataset(shape: [1, 3, 32, 32], count: 0, scale: 255).input(index)
  }
}

/// Seeded uniform noise in [0, scale).
package struct NoiseDataset: Dataset {
  private let shape: Shape
  package let count: Int
  private let scale: Float

  package init(shape: Shape, count: Int, scale: Float) { (self.shape, self.count, self.scale) = (shape, count, scale) }

  package func input(_ index: Int) -> Tensor {
    var state = UInt32(truncatingIfNeeded: index &* 2_654_435_761 &+ 12_345) | 1
    let values = (0..<shape.elementCount).map { _ in
      state ^= state << 13
      state ^= state >> 17
      state ^= state << 5
      return Float(state >> 8) / Float(1 << 24) * scale
    }
    return Tensor(values, shape: shape)
  }

  package func label(_ index: Int) -> Int? { nil }
}
