"""Claps around a rendered head: the physics says which ear is which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening.sides import DeviceSides, judge_claps, load_sides, settings_file, store_sides
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, Room, Scene, Source
from bat_agent.sound.ring import Waveform


def clap(x_m: float, level: float = 0.5) -> Waveform:
    """Two seconds with a clap at ``x_m`` to the right of the head, in a room."""
    rng = np.random.default_rng(0)
    dry = rng.standard_normal(640) * np.exp(-np.arange(640) / 60)
    scene = Scene(Room((5.0, 2.6, 4.0), 0.4), Listener((2.5, 1.5, 2.0)), (Source((2.5 + x_m, 1.5, 1.9)),))
    (rir,) = load_simulator("shoebox").render(scene)
    out = np.stack([np.convolve(dry, ear)[: 2 * SAMPLE_RATE_HZ] for ear in rir.numpy()])
    sound = 1e-4 * rng.standard_normal((2, 2 * SAMPLE_RATE_HZ))
    sound[:, 16_000 : 16_000 + out.shape[1]] += level * (out / np.abs(out).max())[:, : sound.shape[1] - 16_000]
    return sound.astype(np.float32)


LEFT, RIGHT = clap(-0.7), clap(0.7)


@pytest.mark.parametrize("gain_db", [0.0, -6.0, 4.0])
def test_swapped_ears_and_unequal_gains_are_found(gain_db: float) -> None:
    gain = np.float32([[1.0], [10 ** (gain_db / 20)]])
    right = judge_claps(gain * LEFT, gain * RIGHT, SAMPLE_RATE_HZ)
    assert not right.swap
    assert right.gain_db == pytest.approx(gain_db, abs=1.0)
    wrong = judge_claps((gain * LEFT)[::-1], (gain * RIGHT)[::-1], SAMPLE_RATE_HZ)
    assert wrong.swap
    assert wrong.gain_db == pytest.approx(gain_db, abs=1.0)


def test_claps_that_say_nothing() -> None:
    quiet = np.random.default_rng(0).standard_normal(LEFT.shape).astype(np.float32) * 0.01
    mono = np.repeat(LEFT[:1], 2, axis=0)
    for left, right, sentence in (
        (quiet, RIGHT, "no clap was heard on the left"),
        (LEFT, quiet, "no clap was heard on the right"),
        (mono, mono, "both ears carry the same sound"),
        (LEFT, LEFT, "from the same side"),
        (LEFT[:, :100], RIGHT, "too short"),
    ):
        with pytest.raises(BadInput, match=sentence):
            judge_claps(left, right, SAMPLE_RATE_HZ)


def test_what_was_found_is_kept_for_each_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_sides("one") is None
    store_sides("one", DeviceSides(True, -1.5))
    store_sides("other", DeviceSides(False, 0.0))
    assert load_sides("one") == DeviceSides(True, -1.5)
    assert [file.name for file in settings_file().parent.iterdir()] == ["devices.json"]
    for text in ('{"one": {}}', '{"one": {"swap": false, "gain_db": "loud"}}', '["one"]', "{"):
        settings_file().write_text(text)
        with pytest.raises(BadInput, match=r"devices\.json is broken .*delete it and calibrate again"):
            load_sides("one")
