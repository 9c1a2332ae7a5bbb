import GraphIR
import SymbolicSizes
import TensorCore

/// Captures a model as a graph of ATen operators, as `torch.export.export` does: its `forward` runs on symbolic tensors,
/// once, or again for each `Dim.auto` that it turns out to fix.
///
/// Parameters, buffers and constants become inputs of the graph; every node has the stack of modules it was called in.
/// Parameters that were never loaded are drawn (`Module.resetParameters`).
///
/// - Parameters:
///   - model: in evaluation mode.
///   - exampleInputs: type and sizes of each input.
///   - dynamicShapes: for each input, the dimensions whose size may differ from the example's; missing ones are fixed.
///   - name: what the program is called in messages; by default the model's type.
///
/// Throws an `ExportError` that names the module, the operator with its shapes, or the line: for shapes that do not fit,
/// control flow that depends on data, and for a size that was declared dynamic and that the model fixes, with all
/// the places that fix it.
public func export(
  _ model: Module, _ exampleInputs: [TensorSpec], dynamicShapes: [[Int: Dim]] = [], name: String? = nil
) throws(ExportError) -> ExportedProgram {
  let name = name ?? String(describing: type(of: model))
  if let (path, _) = model.namedModules().first(where: { $0.module.isTraining }) {
    throw ExportError(model: name, module: path, reason: "is in training mode; call eval() on the model before export")
  }
  if let repeated = model.repeatedNames().first {
    throw ExportError(
      model: name,
      reason: "two of its tensors are called '\(repeated)'; rename a property, or override key(forProperty:)")
  }
  guard !exampleInputs.isEmpty else { throw ExportError(model: name, reason: "is exported without any input") }
  var dimensions = try InputDimensions(exampleInputs, dynamicShapes, model: name)
  // A size that the model fixes and that may be fixed becomes a number; the model then runs again without it.
  while true {
    let tracer = Tracer(model, name: name, shapes: dimensions.shapes)
    let program: ExportedProgram
    do { program = try capture(model, exampleInputs, dimensions.sizes, tracer) } catch {
      guard let sample = tracer.refusedSample, dimensions.fixSizes(differingIn: sample) else {
        throw dimensions.naming(error)
      }
      continue
    }
    guard try dimensions.fixSizes(violating: tracer.guards) else { return try verified(program, tracer) }
  }
}

/// Captures a model with the types and sizes of example tensors; their elements are not looked at.
public func export(
  _ model: Module, _ exampleInputs: [Tensor], dynamicShapes: [[Int: Dim]] = [], name: String? = nil
) throws(ExportError) -> ExportedProgram {
  try export(model, exampleInputs.map(\.spec), dynamicShapes: dynamicShapes, name: name)
}

private func capture(
  _ model: Module, _ exampleInputs: [TensorSpec], _ sizes: [[SymbolicSize]], _ tracer: Tracer
) throws(ExportError) -> ExportedProgram {
  model.drawMissingParameters(seed: 0)
  var program = ExportedProgram(name: tracer.modelName)
  var inputs: [ValueID] = []
  func add(_ name: String, _ tensor: ModuleTensor) {
    inputs.append(tracer.addModuleTensor(name, tensor))
    switch tensor {
    case .parameter(let parameter):
      program.inputKinds.append(.parameter(name))
      program.stateDict[name] = parameter.tensor
    case .buffer(let buffer):
      program.inputKinds.append(.buffer(name, isPersistent: buffer.isPersistent))
      program.stateDict[name] = buffer.tensor
    }
  }
  // All parameters, then all buffers, as PyTorch orders them.
  let tensors = model.namedTensors()
  for case (let name, .parameter(let parameter)) in tensors { add(name, .parameter(parameter)) }
  for case (let name, .buffer(let buffer)) in tensors { add(name, .buffer(buffer)) }

  let users = zip(exampleInputs, sizes).enumerated().map { index, input in
    tracer.addInput(exampleInputs.count == 1 ? "x" : "x_\(index)", input.0, input.1)
  }
  let outputs = try tracer.within(model, at: "") { () throws(ExportError) in try model.forward(users) }
  guard !outputs.isEmpty else { throw tracer.error("returns no tensor") }
  try tracer.checkOwner(of: outputs)
  for (index, (id, tensor)) in tracer.lifted.enumerated() {
    let target = "lifted_tensor_\(index)"
    inputs.append(id)
    program.inputKinds.append(.constantTensor(target))
    program.stateDict[target] = tensor
  }
  program.graph = tracer.graph
  program.graph.inputs = inputs + users.map(\.id)
  program.inputKinds += users.map { _ in .userInput }
  program.graph.outputs = outputs.map(\.id)
  program.graph.removeDeadNodes()
  return program
}

private func verified(
  _ captured: ExportedProgram, _ tracer: Tracer
) throws(ExportError) -> ExportedProgram {
  var program = captured
  if !tracer.samples.isEmpty {
    program.dynamicShapes = tracer.shapes
    program.dynamicShapes?.guards = tracer.guards.map(\.text)
  }
  do { try Verifier.verify(program, as: .float) } catch {
    throw ExportError(model: program.name, operatorName: error.operatorName, reason: error.reason)
  }
  return program
}
