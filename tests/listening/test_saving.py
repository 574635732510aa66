"""Sound that is kept: every program can read it, also after the process was killed in the middle of a minute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from bat_agent.listening.saving import Recorder

KILLED = """
import os, sys
import numpy as np
from bat_agent.listening.saving import Recorder
recorder = Recorder(sys.argv[1])
sound = np.random.default_rng(0).uniform(-1, 1, (2, 80_000)).astype(np.float32)
for begin in range(0, 80_000, 1600):
    recorder.write(sound[:, begin : begin + 1600])
os.kill(os.getpid(), 9)
"""


def test_killed_in_the_middle_all_but_a_second_is_there(tmp_path: Path) -> None:
    """The sizes in the header were 0 until the minute was over, and a reader found nothing."""
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    (file,) = tmp_path.iterdir()
    samples, rate_hz = soundfile.read(file, dtype="float64")
    sound = np.random.default_rng(0).uniform(-1, 1, (2, 80_000)).astype(np.float32)
    assert rate_hz == 32_000
    assert 48_000 <= len(samples) <= 80_000
    assert np.abs(samples - sound[:, : len(samples)].T).max() <= 2**-24
    assert soundfile.info(file).subtype == "PCM_24"


def test_full_scale_is_clipped_and_not_turned_over(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.write(np.array([[1.0, -1.0, 2.0], [0.5, -2.0, 0.0]], np.float32))
    recorder.close()
    (file,) = tmp_path.iterdir()
    samples, _ = soundfile.read(file)
    np.testing.assert_allclose(samples.T, [[1.0, -1.0, 1.0], [0.5, -1.0, 0.0]], atol=2**-22)
