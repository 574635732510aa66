"""Ears without torch: a model that ``bat-agent export`` wrote, computed by ONNX Runtime; numpy in, the same answers.

import bat_agent.lite

bat = bat_agent.lite.load()  # bat-small with int8 weights, which ships with the package
print(bat.perceive(bat_agent.lite.read_audio("kitchen.wav")))
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from bat_agent.lite.ears import LiteBat, load
from bat_agent.lite.session import LiteEncoder

__all__ = ["LiteBat", "LiteEncoder", "load", "read_audio"]


def read_audio(
    path: Any, *, mono: Literal["refuse", "duplicate"] = "refuse", channels: tuple[int, int] | None = None
) -> np.ndarray:
    """As :func:`bat_agent.read_audio`, as a numpy array: float32 (2, N) at 32 kHz, left ear first, full scale ±1."""
    from bat_agent.sound.audio import read_ears

    return read_ears(path, mono=mono, channels=channels)[0]
