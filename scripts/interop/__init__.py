"""Round trips between Swiftlet and PyTorch, torchao and ExecuTorch. Started by scripts/interop.sh."""
