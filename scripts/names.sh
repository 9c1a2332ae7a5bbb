#!/bin/sh
# Operators are named where they are defined, and in the tables of file formats; everything else compares values
# (`node.op == .relu`) and asks for traits. Fails, with the lines, when a qualified operator name stands elsewhere in Sources.
set -eu
cd "$(dirname "$0")/.."
found=$(grep -rnE '"(aten|quantized_decomposed|quantization|fused|dim_order_ops)\.[A-Za-z_0-9]+\.?[A-Za-z_0-9]*"' \
  --include='*.swift' Sources | grep -v '^Sources/Operators/Ops/' | grep -vE '^[^:]+:[0-9]+: *///' || true)
if [ -n "$found" ]; then
  echo "$found" >&2
  echo "Name operators by their values: Operator.relu, not \"aten.relu.default\"." >&2
  exit 1
fi
