"""Two claps, recorded one after the other: the material of ``bat-listen calibrate``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bat_agent.listening.blocks import Block, SoundSource
from bat_agent.sound.ring import Waveform


def record_claps(source: SoundSource, seconds: float, say: Callable[[str], None]) -> tuple[Waveform, Waveform, int]:
    """(2, N) of a clap on the left, of one on the right, and their rate in Hz; ``say`` tells what to do."""
    source.open()
    try:
        claps = []
        for side in ("left", "right"):
            say(f"clap once on your {side}, an arm's length away (you have {seconds:g} s)")
            claps.append(_record(source, seconds))
    finally:
        source.close()
    return claps[0], claps[1], source.sample_rate_hz


def _record(source: SoundSource, seconds: float) -> Waveform:
    end_s = source.clock_s() + seconds
    parts = [np.zeros((0, 2), np.float32)]
    while source.clock_s() < end_s:
        parts += [item.samples[:, :2] for item in source.read(0.1) if isinstance(item, Block)]
    return np.ascontiguousarray(np.concatenate(parts).T)
