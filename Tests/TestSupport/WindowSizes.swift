import DelegateSchema

/// A window's sizes as tests reckon with them.
extension ds_window {
  public var kernel: (height: Int, width: Int) {
    get { (Int(kernel_height), Int(kernel_width)) }
    set { (kernel_height, kernel_width) = (UInt32(newValue.height), UInt32(newValue.width)) }
  }

  public var stride: (height: Int, width: Int) {
    get { (Int(stride_height), Int(stride_width)) }
    set { (stride_height, stride_width) = (UInt32(newValue.height), UInt32(newValue.width)) }
  }

  public var dilation: (height: Int, width: Int) {
    get { (Int(dilation_height), Int(dilation_width)) }
    set { (dilation_height, dilation_width) = (UInt32(newValue.height), UInt32(newValue.width)) }
  }

  public var padding: (top: Int, left: Int) {
    get { (Int(pad_top), Int(pad_left)) }
    set { (pad_top, pad_left) = (UInt32(newValue.top), UInt32(newValue.left)) }
  }

  public var groupCount: Int {
    get { Int(groups) }
    set { groups = UInt32(newValue) }
  }
}
