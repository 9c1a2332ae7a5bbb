#!/bin/sh
# Round trips between Swiftlet and PyTorch, torchao and ExecuTorch, as a Markdown table on stdout (docs/interop.md).
# Usage: scripts/interop.sh [DATA] [models|captured|operators|files]..., DATA as for scripts/accuracy.sh. All parts if none is named.
# Environment: SWIFTLET_PYTHON_ENV, where the Python environment is or is to be made; SWIFTLET, another binary.
set -eu
cd "$(dirname "$0")/.."
data=../shared/data
case ${1:-} in "" | models | captured | operators | files) ;; *) data=$1 && shift ;; esac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/swiftlet
env=${SWIFTLET_PYTHON_ENV:-$cache/interop-env}

if ! "$env/bin/python" -c 'import torch, torchao, torchvision, executorch, safetensors' 2>/dev/null; then
  echo "Making a Python environment in $env" >&2
  python3 -m venv "$env"
  "$env/bin/pip" install --quiet --requirement scripts/interop/requirements.txt >&2
fi
PYTHONPATH=scripts PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 exec "$env/bin/python" -m interop \
  --swiftlet "${SWIFTLET:-.build/release/swiftlet}" --data "$data" --cache "$cache/interop" "$@"
