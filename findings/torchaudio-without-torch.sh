#!/usr/bin/env bash
# torchaudio 2.11.0 declares no dependency at all: `pip install torchaudio` succeeds without torch, and cannot be imported.
#
# Expected: up to 2.10 it declared the one torch it was built for, which came with it; 2.11.1 declares torch>=2.11.
# Seen 2026-11-29, torchaudio 2.11.0 from PyPI, Linux x86-64, Python 3.11:
#   dependencies: none
#   ModuleNotFoundError: No module named 'torch'
# Installs a few MB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$folder/env/bin/python" torchaudio==2.11.0
"$folder/env/bin/python" - <<'PYTHON'
from importlib.metadata import requires

needs = requires("torchaudio")
print("dependencies:", needs or "none")
try:
    import torchaudio
except ModuleNotFoundError as error:
    print(f"ModuleNotFoundError: {error}")
    raise SystemExit(error.name != "torch" or bool(needs))
raise SystemExit("torchaudio was imported: the behaviour has changed")
PYTHON
