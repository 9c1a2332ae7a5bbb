// One import for users: `import Swiftlet` brings every stage of the pipeline.
@_exported import ExecuTorchFormat
@_exported import GraphIR
@_exported import Lowering
@_exported import NN
@_exported import Operators
@_exported import ProgramFormat
@_exported import Quantization
@_exported import Runtime
@_exported import SymbolicSizes
@_exported import TensorCore
@_exported import TorchFormats
@_exported import Vision
@_exported import XNNPACKBackend
