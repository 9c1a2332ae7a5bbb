import GraphIR
import TensorCore
import TestSupport
import Testing
import TorchFormats

struct LoadStateDictTests {
  /// The tiny model, and a state dict that fits it, whose floats are all `value`.
  private func model(_ value: Float = 0.5) throws -> (ExportedProgram, StateDict) {
    let program = try PT2Tests.golden("tiny_float.pt2")
    var dict = StateDict()
    for kind in program.inputKinds {
      switch kind {
      case .parameter(let name), .buffer(let name, isPersistent: true):
        guard let spec = program.stateDict[name]?.spec else { continue }
        dict[name] =
          spec.dataType == .int64
          ? Tensor([7] as [Int64], shape: spec.shape)
          : Tensor([Float](repeating: value, count: spec.shape.elementCount), shape: spec.shape)
      default: break
      }
    }
    return (program, dict)
  }

  @Test func whatFitsIsLoaded() throws {
    var (program, dict) = try model()
    let keys = try program.loadStateDict(dict)
    #expect(keys.missing.isEmpty && keys.unexpected.isEmpty)
    #expect(program.stateDict["first.bias"]?.elements(as: Float.self) == [Float](repeating: 0.5, count: 16))
    #expect(program.stateDict["bn.num_batches_tracked"]?.elements(as: Int64.self) == [7])
    // Neither a buffer that is not persistent nor a constant is a part of the state dict.
    #expect(program.stateDict["shift"]?.elements(as: Float.self) == [0, 1, 2, 3])
    #expect(program.stateDict["lifted_tensor_0"]?.elements(as: Float.self) == [2])
  }

  @Test func strictnessIsPyTorchs() throws {
    var (program, dict) = try model()
    dict["first.bias"] = nil
    dict["more"] = Tensor([1] as [Float], shape: [1])
    dict["shift"] = Tensor([1, 1, 1, 1] as [Float], shape: [1, 4, 1, 1])
    #expect { try program.loadStateDict(dict) } throws: { error in
      guard let error = error as? StateDictError else { return false }
      return error.missing == ["first.bias"] && error.unexpected == ["more", "shift"] && error.mismatches.isEmpty
        && "\(error)".contains("missing (1): first.bias; unexpected (2): more, shift")
    }
    let before = try #require(program.stateDict["second.bias"]?.elements(as: Float.self))
    #expect(before != [Float](repeating: 0.5, count: 16), "an error changes nothing")
    let keys = try program.loadStateDict(dict, strict: false)
    #expect(keys.missing == ["first.bias"] && keys.unexpected == ["more", "shift"])
    #expect(program.stateDict["second.bias"]?.elements(as: Float.self) == [Float](repeating: 0.5, count: 16))
    #expect(program.stateDict["shift"]?.elements(as: Float.self) == [0, 1, 2, 3])
  }

  @Test(arguments: [true, false])
  func otherShapesAreRefusedWithBoth(_ strict: Bool) throws {
    var (program, dict) = try model()
    dict["first.weight"] = Tensor(zeros: TensorSpec(.float32, [16, 15]))
    #expect { try program.loadStateDict(dict, strict: strict) } throws: {
      "\($0)".contains("first.weight is float32[16, 15], the model has float32[16, 16]")
    }
  }

  @Test func elementsAreConverted() throws {
    var (program, dict) = try model()
    let one: UInt16 = 0x3c00
    let halves = Tensor([Int16](repeating: Int16(one), count: 16), shape: [16])
    dict["first.bias"] = halves.reinterpreted(as: TensorSpec(.float16, [16]))
    dict["second.bias"] = Tensor([Double](repeating: 0.1, count: 16), shape: [16])
    dict["bn.weight"] = Tensor([1, 2, 3, 4] as [Int32], shape: [4])
    dict["bn.num_batches_tracked"] = Tensor([3.0] as [Float], shape: [1])
    try program.loadStateDict(dict)
    #expect(program.stateDict["first.bias"]?.elements(as: Float.self) == [Float](repeating: 1, count: 16))
    #expect(program.stateDict["second.bias"]?.elements(as: Float.self) == [Float](repeating: 0.1, count: 16))
    #expect(program.stateDict["bn.weight"]?.elements(as: Float.self) == [1, 2, 3, 4])
    #expect(program.stateDict["bn.num_batches_tracked"]?.elements(as: Int64.self) == [3])
    #expect(program.stateDict["bn.num_batches_tracked"]?.shape == [])
  }

  @Test func theCountOfBatchesMayBeMissing() throws {
    var (program, dict) = try model()
    dict["bn.num_batches_tracked"] = nil
    try program.loadStateDict(dict)
    #expect(program.stateDict["bn.num_batches_tracked"]?.elements(as: Int64.self) == [1])
  }
}
