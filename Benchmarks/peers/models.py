"""The models, and what is measured of each."""

import numpy as np

NAMES = (
    "resnet18_imagenette", "mobilenet_v2_imagenet", "efficientnet_lite0_imagenet", "squeezenet1_1_imagenet",
    "resnet20_cifar10", "resnet8_cifar10", "mobilenet_v1_vww", "ds_cnn_kws", "autoencoder_ad",
)
TYPES = ("int8", "f32")

# The peers and the kind of file that each reads.
PEERS = {"ExecuTorch": "pte", "ONNX Runtime": "onnx", "OpenVINO": "onnx", "LiteRT": "tflite"}
PACKAGES = {
    "ExecuTorch": "executorch", "ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "LiteRT": "ai-edge-litert",
}


def shape(data, name):
    """Of one input, batch 1."""
    with np.load(data / "models" / f"{name}_golden.npz") as arrays:
        return [1, *arrays["input"].shape[1:]]
