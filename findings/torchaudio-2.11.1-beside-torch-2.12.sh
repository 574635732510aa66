#!/usr/bin/env bash
# torchaudio 2.11.1 declares torch>=2.11, is installed beside torch 2.12.1 (and 2.11.0) without complaint, and does not load:
# its library needs functions of libtorch that came with a later torch.
#
# Expected: that the lower bound of a release is one it was built to run with; and that a patch release of torchaudio 2.11
# runs with torch 2.11. It needs 2.13. `except ImportError` does not catch the failure, which is an OSError.
# Seen 2026-11-29, PyPI, Linux x86-64, Python 3.11, no GPU:
#   torchaudio 2.11.1 declares: ['torch>=2.11']
#   OSError: Could not load this library: …/torchaudio/lib/libtorchaudio.so
#   caused by: …/libtorchaudio.so: undefined symbol: torch_exception_get_what_without_backtrace
# Installs about 4.5 GB, as torch on PyPI is a CUDA build.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$folder/env/bin/python" torch==2.12.1 torchaudio==2.11.1 numpy
uv pip check -q -p "$folder/env/bin/python"
"$folder/env/bin/python" - <<'PYTHON'
from importlib.metadata import requires

import torch

print("torchaudio 2.11.1 declares:", requires("torchaudio"))
try:
    import torchaudio
except OSError as error:
    print(f"OSError: {error}\ncaused by: {error.__cause__ or error.__context__}")
    raise SystemExit("undefined symbol" not in str(error.__cause__ or error.__context__))
raise SystemExit(f"torchaudio loads beside torch {torch.__version__}: the behaviour has changed")
PYTHON
