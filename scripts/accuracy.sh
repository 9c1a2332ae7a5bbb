#!/bin/sh
# Accuracy of nine models, float and int8. Usage: scripts/accuracy.sh DATA, a folder with models/NAME.pt2 and
# models/NAME.preprocess.json, and with the samples as listed below: folders with calibration/ and val/, or .npz files.
set -eu
cd "$(dirname "$0")/.."
data=${1:?usage: scripts/accuracy.sh DATA}
swiftlet=.build/release/swiftlet
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
while read -r name samples; do
  case $samples in
    *.npz) calibration=$data/$samples val=$data/$samples ;;
    *) calibration=$data/$samples/calibration val=$data/$samples/val ;;
  esac
  model=$data/models/$name.pt2
  echo "== $name"
  printf 'float  ' && "$swiftlet" eval "$model" --data "$val" | head -1
  "$swiftlet" quantize "$model" -o "$work/$name.pt2" --calibrate "$calibration" 2>/dev/null
  printf 'int8   ' && "$swiftlet" eval "$work/$name.pt2" --data "$val" | head -1
done <<'MODELS'
efficientnet_lite0_imagenet imagenet-sample
mobilenet_v2_imagenet imagenet-sample
squeezenet1_1_imagenet imagenet-sample
resnet18_imagenette imagenette-sample
resnet20_cifar10 mlperf-tiny/resnet20_cifar10.npz
resnet8_cifar10 mlperf-tiny/resnet8_cifar10.npz
mobilenet_v1_vww mlperf-tiny/mobilenet_v1_vww.npz
ds_cnn_kws mlperf-tiny/ds_cnn_kws.npz
autoencoder_ad mlperf-tiny/autoencoder_ad.npz
MODELS
