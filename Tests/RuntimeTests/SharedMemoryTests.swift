import Foundation
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

/// Memory that serves twice: outputs in place of inputs, and packed weights of several methods.
@Suite(.oneAtATime) struct SharedMemoryTests {
  private func places(_ program: Program, _ index: Int) -> Int? {
    if case .arena(let offset) = program.values[index].location { offset } else { nil }
  }

  private func inPlaceCount(_ program: Program) -> Int {
    program.instructions.count { instruction in
      instruction.isInPlace && places(program, instruction.outputs[0]) != nil
        && places(program, instruction.inputs[0]) == places(program, instruction.outputs[0])
    }
  }

  @Test(arguments: [true, false])
  func inPlaceGivesTheSameBytes(_ delegate: Bool) throws {
    try expectEqualInPlace(
      ResNet8.quantized(), delegate: delegate,
      inputs: (0..<3).map { ResNet8.input($0) })
  }

  @Test(.enabled(if: ZooModel.isAvailable, "needs the shared models"), arguments: ZooModel.all, [true, false])
  func inPlaceGivesTheSameBytes(_ model: ZooModel, _ isQuantized: Bool) async throws {
    let program = isQuantized ? try await QuantizedZoo.shared.program(model) : try model.program()
    try expectEqualInPlace(program, delegate: true, inputs: Array(model.goldenSamples("input").prefix(3)))
  }

  private func expectEqualInPlace(_ program: ExportedProgram, delegate: Bool, inputs: [Tensor]) throws {
    let lowered = try lower(program, partitioner: delegate ? XNNPACKPartitioner() : nil)
    let apart = lowered.planned(inPlace: false)
    #expect(inPlaceCount(apart) == 0)
    #expect(lowered.arenaLowerBound <= apart.arenaLowerBound)
    #expect(Double(lowered.arenaByteCount) <= 1.05 * Double(lowered.arenaLowerBound))
    if program.name.contains("resnet") { #expect(inPlaceCount(lowered) > 0) }
    for threads in [1, 2] {
      let pool = try ThreadPool(threadCount: threads)
      let (a, b) = (try Method(lowered, threads: pool), try Method(apart, threads: pool))
      for input in inputs {
        let (x, y) = (try a.run([input]), try b.run([input]))
        #expect(x.map { $0.elements(as: Float.self) } == y.map { $0.elements(as: Float.self) })
      }
      // Inputs are not written over: the same once more.
      let last = a.output(0).elements(as: Float.self)
      try a.execute()
      #expect(a.output(0).elements(as: Float.self) == last)
    }
  }

  /// Also after the method that packed them is gone, and on another thread.
  @Test func packedWeightsAreShared() async throws {
    let program = try lower(ResNet8.quantized(), partitioner: XNNPACKPartitioner())
    let input = ResNet8.input(0)
    var first: Method? = try Method(
      program, threads: ThreadPool(threadCount: 1), options: .init(kernels: .native))
    let expected = try first!.run([input])[0].elements(as: Float.self)
    let weights = first!.packedWeights
    let packed = first!.packedWeightByteCount
    #expect(!weights.isEmpty && packed > 70_000)

    let options = MethodOptions(kernels: .native, packedWeights: weights)
    let second = try Method(program, threads: ThreadPool(threadCount: 1), options: options)
    #expect(second.packedWeightByteCount == packed - weights.values.reduce(0) { $0 + $1.spec.byteCount })
    #expect(second.packedWeights.keys.sorted() == weights.keys.sorted())
    #expect(second.packedWeights.allSatisfy { $1.storage === weights[$0]?.storage })
    first = nil
    #expect(try second.run([input])[0].elements(as: Float.self) == expected)
    let others = await withTaskGroup(of: [Float]?.self) { group in
      for _ in 0..<4 {
        group.addTask {
          let method = try? Method(program, threads: ThreadPool(threadCount: 1), options: options)
          return try? method?.run([input])[0].elements(as: Float.self)
        }
      }
      var results: [[Float]?] = []
      for await result in group { results.append(result) }
      return results
    }
    #expect(others.count == 4 && others.allSatisfy { $0 == expected })
  }
}
