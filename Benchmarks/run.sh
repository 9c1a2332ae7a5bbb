#!/bin/sh
# Latency of Swiftlet and of its peers on nine models, float and int8, one and two threads, in interleaved rounds; writes
# docs/benchmarks.md. See README.md. Usage: Benchmarks/run.sh DATA [options of `python -m peers`], DATA as for scripts/accuracy.sh.
# Environment: SWIFTLET_PYTHON_ENV, where the Python environment is or is to be made; SWIFTLET, another binary.
set -eu
cd "$(dirname "$0")/.."
data=${1:?usage: Benchmarks/run.sh DATA}
shift
cache=${XDG_CACHE_HOME:-$HOME/.cache}/swiftlet
env=${SWIFTLET_PYTHON_ENV:-$cache/interop-env}

if ! "$env/bin/python" -c 'import torch, torchao, torchvision, executorch, PIL' 2>/dev/null; then
  echo "Making a Python environment in $env" >&2
  python3 -m venv "$env"
  "$env/bin/pip" install --quiet --requirement scripts/interop/requirements.txt >&2
fi
# One by one: a peer that this machine has no package for is left out, and the table says so.
while read -r package; do
  "$env/bin/pip" install --quiet "$package" >&2 || echo "note: $package cannot be installed" >&2
done < Benchmarks/requirements.txt
# LiteRT's converter names an older PyTorch as its requirement; it lies apart, so that the others keep theirs.
converter=$cache/litert-converter
if [ ! -d "$converter/litert_torch" ]; then
  "$env/bin/pip" install --quiet --no-deps --target "$converter" --requirement Benchmarks/requirements-litert.txt >&2 ||
    echo "note: LiteRT's converter cannot be installed" >&2
fi
PYTHONPATH=Benchmarks:scripts PYTHONDONTWRITEBYTECODE=1 exec "$env/bin/python" -m peers \
  --swiftlet "${SWIFTLET:-.build/release/swiftlet}" --data "$data" --cache "$cache/benchmarks" \
  --litert-converter "$converter" "$@"
