#!/usr/bin/env bash
# A FLAC stream may leave its number of samples at 0, "unknown" (STREAMINFO, RFC 9639 section 8.2), as an encoder must that
# writes into a pipe. soundfile opens it and says 2^63 - 1 frames: a part can be read, but neither read() of the whole nor
# blocks() comes to the end of it.
#
# Expected: the samples up to the end of the file, or a refusal when it is opened.
# Seen 2026-11-30, soundfile 0.14.0 (libsndfile 1.2.2) with numpy==2.4.6, PyPI, Linux x86-64, Python 3.11:
#   frames: 9223372036854775807
#   first 1000: 1000 frames
#   whole: ValueError
#   blocks: LibsndfileError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$folder/env/bin/python" soundfile==0.14.0 numpy==2.4.6
cd "$folder"
env/bin/python - <<'PYTHON'
import numpy as np
import soundfile

soundfile.write("x.flac", 0.1 * np.sin(np.arange(64_000) / 20), 32_000)
content = bytearray(open("x.flac", "rb").read())
assert content[:4] == b"fLaC" and content[4] & 0x7F == 0  # STREAMINFO comes first; its contents begin at byte 8
content[21] &= 0xF0  # the last 36 bits of bytes 21 to 25 are the number of samples
content[22:26] = bytes(4)
open("y.flac", "wb").write(content)


def ends(work) -> str:
    try:
        return f"{work()} frames"
    except Exception as error:
        return type(error).__name__


found = {
    "frames": str(soundfile.info("y.flac").frames),
    "first 1000": ends(lambda: len(soundfile.read("y.flac", frames=1000)[0])),
    "whole": ends(lambda: len(soundfile.read("y.flac")[0])),
    "blocks": ends(lambda: sum(map(len, soundfile.blocks("y.flac", 4096)))),
}
for name, text in found.items():
    print(f"{name}: {text}")
if found != {
    "frames": "9223372036854775807", "first 1000": "1000 frames", "whole": "ValueError", "blocks": "LibsndfileError",
}:  # fmt: skip
    raise SystemExit("the behaviour has changed")
PYTHON
