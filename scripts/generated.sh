#!/bin/sh
# Signal-to-noise ratios of generated models' int8 forms: torchao's beside Swiftlet's, in dB, on stdout.
# Usage: scripts/generated.sh [SEEDS], as SWIFTLET_SEEDS of Tests/GeneratedModelTests has them; after `make test`.
# Environment: SWIFTLET_PYTHON_ENV, the Python environment that scripts/interop.sh makes.
set -eu
cd "$(dirname "$0")/.."
env=${SWIFTLET_PYTHON_ENV:-${XDG_CACHE_HOME:-$HOME/.cache}/swiftlet/interop-env}
models=$(mktemp -d)
trap 'rm -r "$models"' EXIT
SWIFTLET_MODELS=$models SWIFTLET_SEEDS=${1:-0-299} swift test -c release -Xswiftc -enable-testing \
  --explicit-target-dependency-import-check error --skip-build --filter everyWayGivesTheSame >&2
PYTHONPATH=scripts PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 "$env/bin/python" -m interop.generated "$models"
