"""The world of microphones: what recordings, loudspeakers and recorders do to sound, drawn for each clip.

A dry recording may end at any frequency, or be a telephone's; the loudspeaker that plays it has a response of its own.
The two microphones are no ears of a simulator: they have a response, alike and each its own, end where the recorder's
rate wants it, and what they give is coded and rounded. What of it there is, a recipe says
(:class:`bat_agent.recipes.schema.Capture`); :mod:`bat_agent.clips.captured` does the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bat_agent.recipes.schema import Capture
from bat_agent.sound.colour import draw_response

TELEPHONE_HZ = (300.0, 3400.0)
"""Band of a telephone (ITU-T G.712)."""
NO_LIMIT_HZ = 1e9
MOST_SOURCES = 2


@dataclass(frozen=True)
class Recorder:
    """What is drawn of one clip."""

    source_db: NDArray[np.float32]
    """(MOST_SOURCES, knots) response of what plays each source."""
    source_hz: NDArray[np.float32]
    """(MOST_SOURCES, 2) where the recording of each begins and ends."""
    ear_db: NDArray[np.float32]
    """(2, knots) response of each microphone."""
    limit_hz: float
    """Where both end."""
    codec: float
    """Amplitude of modulated noise, of that of the sound; 0 for none."""
    rounding: float
    """Step of rounding, of the clip's peak; 0 for none."""
    seed: int
    """Of the modulated noise."""


def draw_recorder(capture: Capture, rng: np.random.Generator) -> Recorder:
    """Draw for one clip. A switch changes what it says and nothing else, as everything is always drawn."""
    source_db, source_hz = [], []
    for _ in range(MOST_SOURCES):
        source_db.append(draw_response(rng) * capture.loudspeaker_db)
        source_hz.append(_band(capture, rng))
    common, apart = draw_response(rng) * capture.microphone_db, draw_response(rng) * capture.asymmetry_db
    limited, limit_hz = rng.random() < capture.recorder_limit, _between(capture.limit_hz, rng, octaves=True)
    coded, codec_db = rng.random() < capture.codec, _between(capture.codec_db, rng)
    rounded, headroom_db = rng.random() < capture.rounded, _between(capture.headroom_db, rng)
    return Recorder(
        np.stack(source_db).astype(np.float32),
        np.array(source_hz, dtype=np.float32),
        np.stack([common + apart / 2, common - apart / 2]).astype(np.float32),
        limit_hz if limited else NO_LIMIT_HZ,
        10 ** (-codec_db / 20) if coded else 0.0,
        10 ** (headroom_db / 20) / 32768 if rounded else 0.0,
        int(rng.integers(2**62)),
    )


def _band(capture: Capture, rng: np.random.Generator) -> tuple[float, float]:
    which, limit_hz = rng.random(), _between(capture.limit_hz, rng, octaves=True)
    if which < capture.telephone:
        return TELEPHONE_HZ
    return (0.0, limit_hz if which < capture.telephone + capture.source_limit else NO_LIMIT_HZ)


def _between(limits: Sequence[float], rng: np.random.Generator, octaves: bool = False) -> float:
    low, high = np.log(limits) if octaves else limits
    drawn = low + rng.random() * (high - low)
    return float(np.exp(drawn) if octaves else drawn)
