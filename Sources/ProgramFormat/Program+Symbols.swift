import SymbolicSizes
import TensorCore

extension Program {
  /// The values of the symbols for which inputs have these shapes; symbols that none of the inputs tells keep their
  /// present value.
  ///
  /// - Parameter shapes: by position among the program's inputs; not all need be given.
  ///
  /// Throws, naming the input, for another number of dimensions, a fixed size that differs, inputs that contradict each
  /// other, and a size outside its range.
  package func symbols(forInputs shapes: [Int: Shape]) throws(ProgramError) -> [String: Int] {
    if let position = shapes.keys.first(where: { !inputs.indices.contains($0) }) {
      throw ProgramError(program: name, reason: "has no input \(position); it has \(inputs.count)")
    }
    let sizes = InputSizes(
      inputs.map { index in
        let value = values[index]
        let fixed = value.spec.shape.dimensions.map { SymbolicSize.int($0) }
        return (value.name, value.spec.dataType, dynamicSizes?.sizes[index] ?? fixed)
      }, rangeConstraints: dynamicSizes?.rangeConstraints ?? [:], symbols: dynamicSizes?.symbols ?? [:])
    do { return try sizes.symbols(for: shapes) } catch {
      throw ProgramError(program: name, place: "input '\(values[inputs[error.input]].name)'", reason: error.reason)
    }
  }
}
