#!/usr/bin/env bash
# torchaudio.functional.resample with its defaults lets a tone above the new Nyquist frequency through, 10 dB down: from
# 32 to 16 kHz, 8.4 kHz comes out as 7.6 kHz; and 7.2 kHz, which should pass, loses 2.4 dB.
#
# Expected: what soxr's or scipy's defaults do, aliases 60 dB down or more. The default window is 6 zero crossings long.
# Seen 2026-11-29, torch 2.11.0, torchaudio 2.11.0, soxr 1.1.0, PyPI, Linux x86-64, Python 3.11, level out over level in:
#   8.4 kHz: torchaudio -9.8 dB, soxr -140.9 dB
#   7.2 kHz: torchaudio -2.4 dB, soxr -0.0 dB
# Installs about 4.5 GB, as torch on PyPI is a CUDA build.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$folder/env/bin/python" torch==2.11.0 torchaudio==2.11.0 soxr==1.1.0 numpy
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import soxr
import torch
from torchaudio.functional import resample


def levels_db(hz: float) -> tuple[float, float]:
    tone = np.sin(2 * np.pi * hz * np.arange(128_000) / 32_000)
    out = resample(torch.from_numpy(tone), 32_000, 16_000).numpy(), soxr.resample(tone, 32_000, 16_000)
    middle = slice(16_000, 48_000)  # the ends of a tone are no tone
    return tuple(20 * np.log10(sound[middle].std() / tone.std()) for sound in out)


above, below = levels_db(8400), levels_db(7200)
for hz, (theirs, soxrs) in ((8.4, above), (7.2, below)):
    print(f"{hz} kHz: torchaudio {theirs:.1f} dB, soxr {soxrs:.1f} dB")
raise SystemExit(not (above[0] > -12 and above[1] < -60 and below[0] < -2 and below[1] > -0.1))
PYTHON
