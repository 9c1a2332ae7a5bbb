import Foundation
import GraphIR
import Quantization
import Runtime
import TensorCore

/// Cross-layer equalization with the ranges that samples show: of values as well as of weights, and through ReLU6.
///
/// BatchNorms are folded first. Throws when the program cannot be run or a sample cannot be read.
@discardableResult
public func equalizeCrossLayer(
  _ program: inout ExportedProgram, with data: any Dataset, loading: DataLoader.Options = .init(),
  threads: Int = ThreadPool.physicalCoreCount, delegate: Bool = true
) throws -> EqualizationReport {
  guard data.count > 0 else { throw UsageError("\(program.name): no samples to equalize with") }
  var equalization = try CrossLayerEqualization(program)
  let values = equalization.values
  guard !values.isEmpty else {
    let report = equalization.run()
    program = equalization.program
    return report
  }
  let measured = try equalization.program.fixed(for: data, loading)
  let method = try loadMethod(measured, giving: values, ThreadPool(threadCount: threads), delegate: delegate)
  var maxima = values.map { [Float](repeating: 0, count: equalization.program.graph.spec($0).shape[1]) }
  try loading.forEachSample(of: data, besideThreads: threads) { sample in
    try method.setInputs([sample.inputs])
    try method.execute()
    for output in values.indices {
      let shape = measured.graph.spec(values[output]).shape
      let area = shape.dimensions[2...].reduce(1, *)
      method.withFloats(output) { elements in
        for channel in maxima[output].indices {
          for batch in 0..<shape[0] {
            let start = (batch * shape[1] + channel) * area
            maxima[output][channel] = elements[start..<start + area].reduce(maxima[output][channel]) {
              max($0, abs($1))
            }
          }
        }
      }
    }
  }
  let report = equalization.run(maxima: Dictionary(zip(values, maxima), uniquingKeysWith: { first, _ in first }))
  program = equalization.program
  return report
}

/// The name of the report on equalization in an archive's `extra/` folder.
package let equalizationFileName = "equalization.json"

extension ExportedProgram {
  /// The program with a report on what was equalized before it was quantized, so that it can be compared with the float
  /// model.
  func storing(_ report: EqualizationReport) throws -> ExportedProgram {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    var copy = self
    copy.extraFiles[equalizationFileName] = [UInt8](try encoder.encode(report))
    return copy
  }

  /// Equalizes a float program as the quantized one was before it was quantized; does nothing if it was not.
  mutating func equalize(like quantized: ExportedProgram) throws {
    guard let stored = quantized.extraFiles[equalizationFileName] else { return }
    let report: EqualizationReport
    do { report = try JSONDecoder().decode(EqualizationReport.self, from: Data(stored)) } catch {
      throw UsageError(
        "\(quantized.name): its extra/\(equalizationFileName) cannot be read as a report on equalization")
    }
    var equalization = try CrossLayerEqualization(self)
    equalization.repeatRun(report)
    self = equalization.program
  }
}
