#!/bin/sh
# What the options of `swiftlet quantize` make of models: many of two that lose much by plain PT2E, MobileNetV2 (top-1) and
# MLPerf Tiny's autoencoder (AUC), a few of the others. Usage: scripts/curves.sh DATA, a folder as for scripts/accuracy.sh.
set -eu
cd "$(dirname "$0")/.."
data=${1:?usage: scripts/curves.sh DATA}
swiftlet=.build/release/swiftlet
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

measure() {
  name=$1 calibration=$data/$2 val=$data/$3
  shift 3
  "$swiftlet" quantize "$data/models/$name.pt2" -o "$work/model.pt2" --calibrate "$calibration" "$@" >/dev/null 2>&1
  printf '%-24s %-44s ' "$name" "$*"
  "$swiftlet" eval "$work/model.pt2" --data "$val" 2>/dev/null | head -1
}

mobilenet() { measure mobilenet_v2_imagenet imagenet-sample/calibration imagenet-sample/val "$@"; }
autoencoder() { measure autoencoder_ad mlperf-tiny/autoencoder_ad.npz mlperf-tiny/autoencoder_ad.npz "$@"; }

mobilenet
for limit in 10 20 50; do mobilenet --limit $limit; done
for observer in minmax percentile mse entropy; do mobilenet --observer $observer; done
mobilenet --correct-bias
mobilenet --equalize
mobilenet --equalize --correct-bias
mobilenet --equalize --observer mse
for limit in 100 196 392 980 1960 13720; do autoencoder --limit $limit; done
for headroom in 1.1 1.25 1.5 2 3; do autoencoder --headroom $headroom; done
for observer in minmax percentile mse entropy; do autoencoder --observer $observer; done
for name in mobilenet_v2_imagenet autoencoder_ad; do
  case $name in
    autoencoder_ad) calibration=mlperf-tiny/autoencoder_ad.npz val=$calibration drop=1 ;;
    *) calibration=imagenet-sample/calibration val=imagenet-sample/val drop=0.5 ;;
  esac
  echo "$name --target-drop $drop"
  "$swiftlet" quantize "$data/models/$name.pt2" -o "$work/model.pt2" --calibrate "$data/$calibration" \
    --target-drop $drop --eval "$data/$val" 2>/dev/null | sed '/^$/q'
done
while read -r name samples; do
  case $samples in
    *.npz) calibration=$samples val=$samples ;;
    *) calibration=$samples/calibration val=$samples/val ;;
  esac
  measure "$name" "$calibration" "$val"
  measure "$name" "$calibration" "$val" --equalize
  measure "$name" "$calibration" "$val" --correct-bias
  measure "$name" "$calibration" "$val" --observer mse
done <<'MODELS'
efficientnet_lite0_imagenet imagenet-sample
squeezenet1_1_imagenet imagenet-sample
resnet18_imagenette imagenette-sample
resnet20_cifar10 mlperf-tiny/resnet20_cifar10.npz
resnet8_cifar10 mlperf-tiny/resnet8_cifar10.npz
mobilenet_v1_vww mlperf-tiny/mobilenet_v1_vww.npz
ds_cnn_kws mlperf-tiny/ds_cnn_kws.npz
MODELS
