import TensorCore

/// Vision Transformer with torchvision's keys (Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words: Transformers
/// for Image Recognition at Scale").
///
/// Keys: `class_token`, `conv_proj`, `encoder.pos_embedding`, `encoder.layers.encoder_layer_0.ln_1`,
/// `….self_attention.in_proj_weight`, `….mlp.0`, `encoder.ln`, `heads.head`.
public final class VisionTransformer: Module {
  let classToken: Parameter
  let convProj: Conv2d
  let encoder: Encoder
  let heads: Sequential
  private let patchSize: Int
  private let hiddenDim: Int

  /// - Parameter imageSize: Rows and columns of the images; others do not fit the position embedding.
  package init(
    imageSize: Int = 224, patchSize: Int, numLayers: Int, numHeads: Int, hiddenDim: Int, mlpDim: Int,
    numClasses: Int = 1000
  ) {
    self.patchSize = patchSize
    self.hiddenDim = hiddenDim
    classToken = Parameter([1, 1, hiddenDim], .zeros)
    convProj = Conv2d(3, hiddenDim, kernelSize: Pair(patchSize), stride: Pair(patchSize))
    let patches = (imageSize / patchSize) * (imageSize / patchSize)
    encoder = Encoder(
      length: patches + 1, numLayers: numLayers, numHeads: numHeads, hiddenDim: hiddenDim, mlpDim: mlpDim)
    heads = Sequential(["head": Linear(hiddenDim, numClasses)])
  }

  /// torchvision's `vit_b_16`.
  public static func vitB16(numClasses: Int = 1000) -> VisionTransformer {
    VisionTransformer(
      patchSize: 16, numLayers: 12, numHeads: 12, hiddenDim: 768, mlpDim: 3072, numClasses: numClasses)
  }

  public override class var typeName: String { "torchvision.models.vision_transformer.VisionTransformer" }

  /// - Parameter input: Images [N, 3, imageSize, imageSize].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let batch = input.size(0)
    let patchCount = (input.size(2) / SymInt(patchSize)) * (input.size(3) / SymInt(patchSize))
    let patches = try convProj(input).reshape([batch, SymInt(hiddenDim), patchCount]).permute([0, 2, 1])
    let token = try input.parameter(classToken).expand([batch, -1, -1])
    let x = try encoder(cat([token, patches], dim: 1))
    return try heads(x.select(dim: 1, 0))
  }
}

extension VisionTransformer {
  final class Encoder: Module {
    let posEmbedding: Parameter
    let dropout = Dropout(0)
    let layers: Sequential
    let ln: LayerNorm

    init(length: Int, numLayers: Int, numHeads: Int, hiddenDim: Int, mlpDim: Int) {
      posEmbedding = Parameter([1, length, hiddenDim], .normal(standardDeviation: 0.02))
      layers = Sequential(
        named: (0..<numLayers).map {
          ("encoder_layer_\($0)", EncoderBlock(numHeads: numHeads, hiddenDim: hiddenDim, mlpDim: mlpDim))
        })
      ln = LayerNorm([hiddenDim], eps: 1e-6)
    }

    override class var typeName: String { "torchvision.models.vision_transformer.Encoder" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      try ln(layers(dropout(input + input.parameter(posEmbedding))))
    }
  }

  final class EncoderBlock: Module {
    let ln1: LayerNorm
    let selfAttention: MultiheadAttention
    let dropout = Dropout(0)
    let ln2: LayerNorm
    let mlp: MLPBlock

    init(numHeads: Int, hiddenDim: Int, mlpDim: Int) {
      ln1 = LayerNorm([hiddenDim], eps: 1e-6)
      selfAttention = MultiheadAttention(hiddenDim, numHeads, batchFirst: true)
      ln2 = LayerNorm([hiddenDim], eps: 1e-6)
      mlp = MLPBlock(hiddenDim, mlpDim)
    }

    override class var typeName: String { "torchvision.models.vision_transformer.EncoderBlock" }

    override class func key(forProperty name: String) -> String {
      ["ln1": "ln_1", "ln2": "ln_2"][name] ?? super.key(forProperty: name)
    }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let normalized = try ln1(input)
      let attended = try selfAttention(normalized, normalized, normalized, needWeights: false).output
      let x = try dropout(attended) + input
      return try x + mlp(ln2(x))
    }
  }

  final class MLPBlock: Sequential {
    init(_ dim: Int, _ hiddenDim: Int) {
      super.init([Linear(dim, hiddenDim), GELU(), Dropout(0), Linear(hiddenDim, dim), Dropout(0)])
    }

    override class var typeName: String { "torchvision.models.vision_transformer.MLPBlock" }
  }
}
