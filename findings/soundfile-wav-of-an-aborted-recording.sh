#!/usr/bin/env bash
# A WAV file whose header was never finished (both sizes 0: the recorder lost power) is an empty recording to libsndfile,
# without an error; the same file with sizes of 0xFFFFFFFF, as programs write them into pipes, is read to its end.
#
# Expected: both alike, whichever way: the samples are there, or the header is refused.
# Seen 2026-11-29, soundfile 0.14.0 (libsndfile 1.2.2) with numpy==2.4.6, PyPI, Linux x86-64, Python 3.11:
#   sizes as they are: 1000 frames
#   sizes 0xffffffff: 1000 frames
#   sizes 0: 0 frames
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$folder/env/bin/python" soundfile==0.14.0 numpy==2.4.6
cd "$folder"
env/bin/python - <<'PYTHON'
import struct
import wave

import soundfile

with wave.open("x.wav", "wb") as file:
    file.setnchannels(2)
    file.setsampwidth(2)
    file.setframerate(32000)
    file.writeframes(struct.pack("<2000h", *range(2000)))
content = open("x.wav", "rb").read()
assert content[36:40] == b"data"
found = {}
for name, size in (("as they are", None), ("0xffffffff", 0xFFFFFFFF), ("0", 0)):
    changed = content
    if size is not None:
        changed = content[:4] + struct.pack("<I", size) + content[8:40] + struct.pack("<I", size) + content[44:]
    with open("y.wav", "wb") as file:
        file.write(changed)
    samples, _ = soundfile.read("y.wav")
    found[name] = len(samples)
    print(f"sizes {name}: {len(samples)} frames")
if found != {"as they are": 1000, "0xffffffff": 1000, "0": 0}:
    raise SystemExit("the behaviour has changed")
PYTHON
