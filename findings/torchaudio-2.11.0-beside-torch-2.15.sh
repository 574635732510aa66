#!/usr/bin/env bash
# torchaudio 2.11.0 runs with torch 2.11 to 2.14, and is refused by itself beside torch 2.15.0, on a machine without a GPU:
# it raises RuntimeError on import because CUDA 13.2 is not CUDA 13.0, though it uses no CUDA there.
#
# Expected: that what loads beside four minor releases of torch loads beside the fifth, or that a CPU does not ask for a
# version of CUDA. Neither `except ImportError` nor `except OSError` catches it. With torchaudio 2.11.1, which compares
# the major version alone, torch 2.15.0 loads; that one does not load beside torch 2.11.0, so no release fits all.
# Seen 2026-11-29, PyPI, Linux x86-64, Python 3.11, no GPU:
#   RuntimeError: Detected that PyTorch and TorchAudio were compiled with different CUDA versions. PyTorch has CUDA
#   version 13.2 whereas TorchAudio has CUDA version 13.0. Please install the TorchAudio version that matches …
# Installs about 4.5 GB, as torch on PyPI is a CUDA build.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$folder/env/bin/python" torch==2.15.0 torchaudio==2.11.0 numpy
uv pip check -q -p "$folder/env/bin/python"
"$folder/env/bin/python" - <<'PYTHON'
import torch

try:
    import torchaudio
except RuntimeError as error:
    print(f"torch {torch.__version__}, a GPU here: {torch.cuda.is_available()}\nRuntimeError: {error}")
    raise SystemExit("different CUDA versions" not in str(error))
raise SystemExit(f"torchaudio loads beside torch {torch.__version__}: the behaviour has changed")
PYTHON
