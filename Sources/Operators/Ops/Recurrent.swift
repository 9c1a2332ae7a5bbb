import TensorCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension Operator {
  /// Long short-term memory, f32: input [T, B, features] ([B, T, features] where the batch comes first), states `hx` (h, c)
  /// [layers · directions, B, H]; `params` are for each layer and direction the weights of input [4H, features] and
  /// state [4H, H], and their biases. Gives the last layer's states at all times, directions side by side, and the final
  /// h and c.
  ///
  /// i, f, g, o = σ, σ, tanh, σ of the sums in that order; c = f · c + i · g; h = o · tanh(c).
  public static let lstm = Operator(
    "aten.lstm.input(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, "
      + "bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor, Tensor)",
    reasonForFloat: "recurrent layers are computed in float, as in PyTorch"
  ) { call throws(OperatorError) in
    let network = try RecurrentLayers(call, gateCount: 4)
    let states = try call.specs("hx")
    guard case .tensors(let indices) = call.arguments["hx"], states.count == 2 else {
      throw call.error("'hx' must be the two states h and c, not \(states.count) tensors")
    }
    for state in states { try network.checkState(state, call) }
    let state = TensorSpec(.float32, network.state)
    return KernelPlan(outputs: [TensorSpec(.float32, network.output), state, state]) { () throws(OperatorError) in
      let layout = try network.layout(call)
      return PreparedKernel(scratchByteCount: layout.byteCount) { buffers in
        let (h, c) = (buffers.output(1, as: Float.self), buffers.output(2, as: Float.self))
        h.update(from: buffers.input(indices[0]), count: network.state.elementCount)
        c.update(from: buffers.input(indices[1]), count: network.state.elementCount)
        let hidden = network.hidden
        network.run(buffers, layout, state: h) { x, s, offset in
          for j in 0..<hidden {
            let (input, forget) = (logistic(x[j] + s[j]), logistic(x[hidden &+ j] + s[hidden &+ j]))
            let candidate = tanhf(x[2 &* hidden &+ j] + s[2 &* hidden &+ j])
            let output = logistic(x[3 &* hidden &+ j] + s[3 &* hidden &+ j])
            let memory = forget * c[offset &+ j] + input * candidate
            c[offset &+ j] = memory
            h[offset &+ j] = output * tanhf(memory)
          }
        }
      }
    }
  }

  /// Gated recurrent units, f32: as `lstm`, with one state `hx`, and weights of 3H rows.
  ///
  /// r, z = σ of the sums in that order; n = tanh(xₙ + r · sₙ), xₙ and sₙ being the third sums over input and state;
  /// h = (h − n) · z + n.
  public static let gru = Operator(
    "aten.gru.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, "
      + "bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)",
    reasonForFloat: "recurrent layers are computed in float, as in PyTorch"
  ) { call throws(OperatorError) in
    let network = try RecurrentLayers(call, gateCount: 3)
    let initial = try call.floatTensor("hx")
    try network.checkState(initial.spec, call)
    let state = TensorSpec(.float32, network.state)
    return KernelPlan(outputs: [TensorSpec(.float32, network.output), state]) { () throws(OperatorError) in
      let layout = try network.layout(call)
      return PreparedKernel(scratchByteCount: layout.byteCount) { buffers in
        let h = buffers.output(1, as: Float.self)
        h.update(from: buffers.input(initial), count: network.state.elementCount)
        let hidden = network.hidden
        network.run(buffers, layout, state: h) { x, s, offset in
          for j in 0..<hidden {
            let (reset, update) = (logistic(x[j] + s[j]), logistic(x[hidden &+ j] + s[hidden &+ j]))
            let candidate = tanhf(x[2 &* hidden &+ j] + reset * s[2 &* hidden &+ j])
            h[offset &+ j] = (h[offset &+ j] - candidate) * update + candidate
          }
        }
      }
    }
  }
}

@inline(__always)
private func logistic(_ x: Float) -> Float { 1 / (1 + expf(-x)) }
