#!/usr/bin/env bash
# torch.export.export of torch 2.11.0, not strict as by default: len(x) of a tensor turns a dynamic first dimension into a
# constant, so that the export fails, where x.shape[0] in its place keeps it dynamic. With strict=True both keep it.
#
# Expected: one answer for len(x) and x.shape[0], which are the same number, in both modes. The error names the dimension
# and suggests to make it a constant, but says nothing of len.
# Seen 2026-11-30, PyPI, Linux x86-64, Python 3.11, CPU, a module that returns x[torch.arange(N), x.argmax(1)]:
#   len, strict=False: UserError (Constraints violated)
#   len, strict=True: ok, 7 rows
#   shape, strict=False: ok, 7 rows
#   shape, strict=True: ok, 7 rows
# Installs about 5 GB, as torch on PyPI is a CUDA build.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv venv -q -p 3.11 "$folder/venv"
uv pip install -q -p "$folder/venv/bin/python" torch==2.11.0 numpy
"$folder/venv/bin/python" - > "$folder/seen.txt" 2> "$folder/log.txt" <<'PYTHON'
import torch
from torch import nn


class Len(nn.Module):
    def forward(self, x):
        return x[torch.arange(len(x)), x.argmax(1)]


class Shape(nn.Module):
    def forward(self, x):
        return x[torch.arange(x.shape[0]), x.argmax(1)]


rows = torch.export.Dim("rows", min=1, max=64)
for module in (Len(), Shape()):
    for strict in (False, True):
        try:
            program = torch.export.export(module, (torch.randn(3, 5),), dynamic_shapes=({0: rows},), strict=strict)
            said = f"ok, {len(program.module()(torch.randn(7, 5)))} rows"
        except Exception as error:
            said = f"{type(error).__name__} ({str(error).split(' (')[0]})"
        print(f"{type(module).__name__.lower()}, strict={strict}: {said}")
PYTHON
cat "$folder/seen.txt"
diff "$folder/seen.txt" - <<'SEEN'
len, strict=False: UserError (Constraints violated)
len, strict=True: ok, 7 rows
shape, strict=False: ok, 7 rows
shape, strict=True: ok, 7 rows
SEEN
