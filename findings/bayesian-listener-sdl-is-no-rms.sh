#!/usr/bin/env bash
# bayesian-listener registers its lateral error sdL as an RMS error within 60° to the side; it computes a standard
# deviation within 80°. A listener who always points 10° too far to the left has an error of 0 by it.
#
# Expected, by the description in the package's own register of metrics (Middlebrooks' lateral RMS error): 10°, and
# responses 70° to the side not counted.
# Seen 2026-11-29, bayesian-listener 0.3.0 with numpy==2.4.6 scipy==1.17.1, PyPI, Linux x86-64, Python 3.11:
#   always 10° off: 0.0°
#   one of three responses 30° off, at 70° to the side: 14.1°
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$folder/env/bin/python" bayesian-listener==0.3.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
env/bin/python - <<'PYTHON'
import numpy as np

from bayesian_listener.metrics import sdL


def at(*lateral_deg):
    directions = np.zeros((len(lateral_deg), 3))
    directions[:, 0], directions[:, 2] = np.radians(lateral_deg), 1.0
    return directions


biased = float(np.degrees(sdL(at(0, 10, 20), at(10, 20, 30))[0]))
wide = float(np.degrees(sdL(at(0, 0, 40), at(0, 0, 70))[0]))
print(f"always 10° off: {biased:.1f}°")
print(f"one of three responses 30° off, at 70° to the side: {wide:.1f}°")
if biased > 1e-6 or abs(wide - 14.14) > 0.1:
    raise SystemExit("the behaviour has changed")
PYTHON
