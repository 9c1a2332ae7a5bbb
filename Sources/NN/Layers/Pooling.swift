import Operators

/// (N, C, H, W) → (N, C, H′, W′): the largest element of each window.
open class MaxPool2d: Module {
  private let kernelSize: Pair
  private let stride: Pair
  private let padding: Pair
  private let dilation: Pair
  private let ceilMode: Bool

  /// - Parameter stride: that of the window when nil.
  public init(
    kernelSize: Pair, stride: Pair? = nil, padding: Pair = 0, dilation: Pair = 1, ceilMode: Bool = false
  ) {
    self.kernelSize = kernelSize
    self.stride = stride ?? kernelSize
    self.padding = padding
    self.dilation = dilation
    self.ceilMode = ceilMode
  }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    var arguments: [(String, CaptureArgument)] = [
      ("self", .tensor(input)), ("kernel_size", .ints(kernelSize.sizes)), ("stride", .ints(stride.sizes)),
    ]
    if padding != 0 { arguments.append(("padding", .ints(padding.sizes))) }
    if dilation != 1 { arguments.append(("dilation", .ints(dilation.sizes))) }
    if ceilMode { arguments.append(("ceil_mode", .bool(true))) }
    return try input.tracer.call(.maxPool2d, arguments)[0]
  }
}

/// (N, C, H, W) → (N, C, H′, W′): the mean of each window.
open class AvgPool2d: Module {
  private let kernelSize: Pair
  private let stride: Pair
  private let padding: Pair
  private let ceilMode: Bool
  private let countIncludePad: Bool

  /// - Parameter stride: that of the window when nil.
  public init(
    kernelSize: Pair, stride: Pair? = nil, padding: Pair = 0, ceilMode: Bool = false, countIncludePad: Bool = true
  ) {
    self.kernelSize = kernelSize
    self.stride = stride ?? kernelSize
    self.padding = padding
    self.ceilMode = ceilMode
    self.countIncludePad = countIncludePad
  }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    var arguments: [(String, CaptureArgument)] = [
      ("self", .tensor(input)), ("kernel_size", .ints(kernelSize.sizes)), ("stride", .ints(stride.sizes)),
    ]
    if padding != 0 { arguments.append(("padding", .ints(padding.sizes))) }
    if ceilMode { arguments.append(("ceil_mode", .bool(true))) }
    if !countIncludePad { arguments.append(("count_include_pad", .bool(false))) }
    return try input.tracer.call(.avgPool2d, arguments)[0]
  }
}

/// (N, C, H, W) → (N, C, height, width) whatever the input's height and width: means.
open class AdaptiveAvgPool2d: Module {
  private let outputSize: Pair

  /// - Parameter outputSize: height and width of the result.
  public init(_ outputSize: Pair) { self.outputSize = outputSize }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.adaptiveAvgPool2d(outputSize.sizes.map { SymInt($0) })
  }
}
