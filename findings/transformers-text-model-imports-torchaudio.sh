#!/usr/bin/env bash
# transformers 5.24.0 imports torchaudio with a text model: `from transformers import LlamaForCausalLM`, and so
# `import peft`, fail wherever a torchaudio is installed that does not load, and work as soon as it is uninstalled.
#
# Expected: that a lazy package imports an audio library for audio alone, and that its is_torchaudio_available() says
# whether torchaudio can be used. It says whether a folder of that name is there. transformers 5.0.0 did not import it.
# Seen 2026-11-29 with a pair that resolvers take and that does not load (torch 2.12.1, torchaudio 2.11.1), PyPI,
# Linux x86-64, Python 3.11:
#   is_torchaudio_available(): True
#   LlamaForCausalLM: OSError: Could not load this library: …/torchaudio/lib/libtorchaudio.so
#   without torchaudio: LlamaForCausalLM is imported
# Installs about 4.6 GB, as torch on PyPI is a CUDA build.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python="$folder/env/bin/python"

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$python" torch==2.12.1 torchaudio==2.11.1 transformers==5.24.0
"$python" - <<'PYTHON'
from transformers.utils import is_torchaudio_available

print("is_torchaudio_available():", is_torchaudio_available())
try:
    from transformers import LlamaForCausalLM
except OSError as error:
    print(f"LlamaForCausalLM: OSError: {error}")
    raise SystemExit("libtorchaudio" not in str(error))
raise SystemExit("LlamaForCausalLM was imported: the behaviour has changed")
PYTHON
uv pip uninstall -q -p "$python" torchaudio
"$python" -c "from transformers import LlamaForCausalLM as Llama; print(f'without torchaudio: {Llama.__name__} is imported')"
