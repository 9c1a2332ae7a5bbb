#!/bin/sh
# Heap allocations of a whole `swiftlet bench` with 10 and with 1000 inferences: `execute` allocates nothing, so that the
# two differ only by the growth of the list of timings. Usage: scripts/allocations.sh MODEL.pt2
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -O2 -shared -fPIC -o "$work/count.so" scripts/count_allocations.c -ldl
for runs in 10 1000; do
  printf '%s inferences: ' "$runs"
  LD_PRELOAD="$work/count.so" .build/release/swiftlet bench "${1:-models/resnet8/resnet8.pt2}" --runs "$runs" 2>&1 >/dev/null
done
