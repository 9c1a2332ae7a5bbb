/// The random numbers of PyTorch's CPU generator: MT19937 (Matsumoto and Nishimura 1998) with `torch.manual_seed`.
public struct MersenneTwister {
  private var state: [UInt32]
  private var index = 624

  public init(seed: UInt32) {
    state = [seed]
    for i in 1..<624 {
      let last = state[i - 1]
      state.append(1_812_433_253 &* (last ^ (last >> 30)) &+ UInt32(i))
    }
  }

  /// The next numbers that `torch.rand` gives, float32 in 0..<1: 24 bits of each 32.
  public mutating func uniform(_ count: Int) -> [Float] {
    [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
      for i in 0..<count {
        if index == 624 { twist() }
        buffer.initializeElement(at: i, to: Float(tempered(state[index]) & 0xff_ffff) * 0x1p-24)
        index += 1
      }
      initialized = count
    }
  }

  private func tempered(_ value: UInt32) -> UInt32 {
    var y = value
    y ^= y >> 11
    y ^= (y << 7) & 0x9d2c_5680
    y ^= (y << 15) & 0xefc6_0000
    return y ^ (y >> 18)
  }

  private mutating func twist() {
    state.withUnsafeMutableBufferPointer { state in
      for i in 0..<624 {
        let next = i < 623 ? i + 1 : 0
        let far = i < 227 ? i + 397 : i - 227
        let y = (state[i] & 0x8000_0000) | (state[next] & 0x7fff_ffff)
        state[i] = state[far] ^ (y >> 1) ^ (y & 1 == 0 ? 0 : 0x9908_b0df)
      }
    }
    index = 0
  }
}
