import GraphIR

extension ExportedProgram {
  /// The program at the sizes of a dataset's first sample that can be read, for measurements sample by sample. Sizes that may vary are
  /// then fixed.
  ///
  /// Throws when the first sample cannot be read and is not to be skipped, or the program does not take its shape.
  package func fixed(for data: any Dataset, _ loading: DataLoader.Options) throws -> ExportedProgram {
    guard dynamicShapes != nil, let sample = try loading.firstSample(of: data) else { return self }
    var result = try resized(inputShapes: [sample.shape])
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
