#!/usr/bin/env bash
# sofar cannot write the SOFA object that it makes itself for the convention SingleRoomSRIR: its own defaults hold text
# variables that its writer refuses.
#
# Expected: Sofa("SingleRoomSRIR") followed by write_sofa gives a file, as Sofa("SimpleFreeFieldHRIR") does.
# Seen 2026-11-29, sofar 1.3.0 with netcdf4==1.7.5.1.post1 numpy==2.4.6, PyPI, Linux x86-64, Python 3.11:
#   SimpleFreeFieldHRIR: written
#   SingleRoomSRIR: AttributeError: 'numpy.ndarray' object has no attribute 'encode'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$folder/env/bin/python" sofar==1.3.0 netcdf4==1.7.5.1.post1 numpy==2.4.6
cd "$folder"
env/bin/python - <<'PYTHON'
import sofar

sofar.write_sofa("head.sofa", sofar.Sofa("SimpleFreeFieldHRIR"))
print("SimpleFreeFieldHRIR: written")
try:
    sofar.write_sofa("room.sofa", sofar.Sofa("SingleRoomSRIR"))
except AttributeError as error:
    print(f"SingleRoomSRIR: {type(error).__name__}: {error}")
else:
    raise SystemExit("SingleRoomSRIR was written: the behaviour has changed")
PYTHON
