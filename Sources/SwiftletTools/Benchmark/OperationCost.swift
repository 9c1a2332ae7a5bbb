import Foundation
import Swiftlet

/// What an operation has to do, whatever runs it.
public struct OperationCost: Codable, Sendable, Equatable {
  /// Of convolutions, linear layers and matrix products, those with padding and with zeros put between elements
  /// included; 0 for other operators.
  public var multiplyAdds: Int
  /// Each input, weight and result once.
  public var bytes: Int
  /// Whether the sums are of int8 products, and not of f32.
  public var isInt8: Bool

  enum CodingKeys: String, CodingKey {
    case multiplyAdds = "macs"
    case bytes
    case isInt8 = "int8"
  }

  /// From the types and sizes of the instruction's values in a program.
  package init(_ instruction: Program.Instruction, in program: Program) {
    func spec(_ index: Int) -> TensorSpec { program.values[index].spec }
    var result = instruction.outputs.first.map { spec($0).shape.elementCount }
    var moved = Set(instruction.inputs + instruction.outputs).map { spec($0).byteCount }
    if instruction.op == .fusedCatConv2d, let output = instruction.outputs.first.map(spec),
      output.shape.rank == 4,
      case .tensor(let position)? = instruction.arguments["weight"], instruction.inputs.indices.contains(position)
    {
      // Of the output it computes as many channels as there are filters; the others lie there already.
      let part = output.shape.elementCount / max(1, output.shape[1]) * spec(instruction.inputs[position]).shape[0]
      result = part
      moved = instruction.inputs.filter { spec($0).shape != output.shape }.map { spec($0).byteCount } + [part]
    }
    multiplyAdds = MultiplyAdds.count(instruction.op, result: result) { name in
      guard case .tensor(let position)? = instruction.arguments[name], instruction.inputs.indices.contains(position)
      else { return nil }
      return spec(instruction.inputs[position]).shape.dimensions
    }
    bytes = moved.reduce(0) { total, count in
      let (sum, overflow) = total.addingReportingOverflow(count)
      return overflow ? .max : sum
    }
    // Dynamic layers take and give f32 and multiply int8 weights.
    isInt8 = instruction.inputs.contains { spec($0).dataType == .int8 }
  }
}

extension BenchmarkReport.OperationTime {
  private var seconds: Double { max(ms * 1e-3, 1e-12) }

  /// 10⁹ multiply-adds a second; nil where there are none.
  public var gigaMultiplyAdds: Double? {
    cost.multiplyAdds > 0 ? Double(cost.multiplyAdds) * 1e-9 / seconds : nil
  }

  /// 10⁹ bytes a second.
  public var gigaBytes: Double { Double(cost.bytes) * 1e-9 / seconds }

  /// Multiply-adds against the machine's peak for the type that is multiplied, in percent.
  public func percentOfArithmetic(_ peak: MachinePeak) -> Double? {
    gigaMultiplyAdds.map { 100 * $0 / (cost.isInt8 ? peak.int8 : peak.float) }
  }

  /// Bytes against what the machine reads from memory, in percent; more than 100 when caches held them.
  public func percentOfMemory(_ peak: MachinePeak) -> Double { 100 * gigaBytes / peak.read }
}

extension BenchmarkReport {
  /// What the operations add up to, and what they are compared with, one line each; none where the options did not ask for a profile.
  package var profileSummary: [String] {
    guard let ops, let sum = sumOfOperations, let peak else { return [] }
    func number(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
    let multiplyAdds = ops.reduce(0.0) { $0 + Double($1.cost.multiplyAdds) }
    let needed = ops.reduce(0.0) { total, op in
      total + Double(op.cost.multiplyAdds) * 1e-6 / (op.cost.isInt8 ? peak.int8 : peak.float)
    }
    return [
      "sum of operations \(number(sum, 4)) ms, p50 of whole inferences without clocks between them "
        + "\(number(p50, 4)) ms: difference \(number(sum - p50, 4)) ms (\(number(100 * (sum - p50) / p50, 1)) %)",
      "\(number(multiplyAdds * 1e-6, 2)) million multiply-adds, \(number(multiplyAdds * 1e-6 / p50, 1)) GMAC/s; "
        + "at the measured peak they would take \(number(needed, 4)) ms, \(number(100 * needed / p50, 1)) % of p50",
      "peak, \(threads) thread\(threads == 1 ? "" : "s"), measured: int8 (\(peak.instructionSet)) \(number(peak.int8, 1)) "
        + "GMAC/s, f32 \(number(peak.float, 1)) GMAC/s, memory read \(number(peak.read, 1)) GB/s",
    ]
  }
}
