import GraphIR

extension ExportedProgram {
  /// The program at the sizes of a dataset's first sample, for measurements sample by sample. Sizes that may vary are
  /// then fixed.
  ///
  /// Throws when the sample cannot be read, or the program does not take its shape.
  func fixed(for data: any Dataset) throws -> ExportedProgram {
    guard dynamicShapes != nil, data.count > 0 else { return self }
    var result = try resized(inputShapes: [data.input(0).shape])
    result.dynamicShapes = nil
    return result
  }

  /// A program that was made from `fixed(for:)` of another one, with that one's sizes.
  func varying(like other: ExportedProgram) throws(GraphError) -> ExportedProgram {
    guard let shapes = other.dynamicShapes else { return self }
    var result = self
    result.dynamicShapes = try other.resized(inputShapes: userInputs.map { graph.spec($0).shape }).dynamicShapes
    return try result.resized(shapes.hints)
  }
}
