#!/bin/sh
# Latency of the shipped models, float and int8, one and two threads, in turns. Usage: scripts/bench.sh [FLOAT.pt2 CALIBRATION]...
set -eu
cd "$(dirname "$0")/.."
swiftlet=.build/release/swiftlet
[ $# -gt 0 ] || set -- models/efficientnet-lite0/efficientnet_lite0.pt2 models/efficientnet-lite0/calibration
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
while [ $# -ge 2 ]; do
  name=$(basename "$1" .pt2)
  "$swiftlet" quantize "$1" -o "$work/$name.int8.pt2" --calibrate "$2" --limit 50
  "$swiftlet" bench "$1" "$work/$name.int8.pt2" --threads 1,2
  shift 2
done
