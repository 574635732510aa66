"""The world of microphones: what recordings, loudspeakers and recorders do to sound; its options, and its lots.

A dry recording may end at any frequency, or be a telephone's; the loudspeaker that plays it has a response of its own.
The two microphones are no ears of a simulator: they have a response, alike and each its own, end where the recorder's
rate wants it, and what they give is coded and rounded. :mod:`bat_agent.captured` does the sums.

Needs no torch, as recipes are read before it is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput

KNOTS_HZ = (62.5, 125.0, *(250.0 * 2 ** (third / 3) for third in range(19)))
"""Where smooth responses are drawn, linear in dB over octaves between: thirds of octaves, where they are wide enough
for a filter of 32 ms."""
TELEPHONE_HZ = (300.0, 3400.0)
"""Band of a telephone (ITU-T G.712)."""
NO_LIMIT_HZ = 1e9
MOST_SOURCES = 2
_BROAD, _FINE = 0.8, 0.6
"""Of the variance of a response, how much changes over octaves and how much over thirds of them."""


@dataclass
class Capture:
    """What lies between a source's recording and ours, beyond the room. Nothing of it by itself."""

    source_limit: float = 0.0
    """Share of sources whose recording ends at a frequency drawn from ``limit_hz``."""
    telephone: float = 0.0
    """Share of sources that were recorded through a telephone, 300–3400 Hz."""
    loudspeaker_db: float = 0.0
    """Standard deviation of the smooth random response of what plays a source, dB; its level stays."""
    recorder_limit: float = 0.0
    """Share of clips in which both microphones, and their noise, end at a frequency drawn from ``limit_hz``."""
    limit_hz: list[float] = field(default_factory=lambda: [4000.0, 16000.0])
    """Range of these frequencies, Hz, even over octaves."""
    microphone_db: float = 0.0
    """Standard deviation of the smooth random response that both microphones have in common, dB."""
    asymmetry_db: float = 0.0
    """Standard deviation of the smooth random difference between the two microphones, dB."""
    codec: float = 0.0
    """Share of clips with noise that follows the sound as that of a codec does, at ``codec_db`` below it (the modulated
    noise of ITU-T P.810)."""
    codec_db: list[float] = field(default_factory=lambda: [20.0, 45.0])
    """Range of how far the noise of a codec lies below the sound, dB."""
    rounded: float = 0.0
    """Share of clips that are rounded to 16 bits, by a recorder at which their peak lies ``headroom_db`` below full
    scale."""
    headroom_db: list[float] = field(default_factory=lambda: [1.0, 40.0])
    """Range of that, dB."""

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        shares = (self.source_limit, self.telephone, self.recorder_limit, self.codec, self.rounded)
        return max(*shares, self.loudspeaker_db, self.microphone_db, self.asymmetry_db) > 0


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
    """The lots of one clip; a switch changes what it says and nothing else, as all of them are always drawn."""
    source_db, source_hz = [], []
    for _ in range(MOST_SOURCES):
        source_db.append(_response(rng) * capture.loudspeaker_db)
        source_hz.append(_band(capture, rng))
    common, apart = _response(rng) * capture.microphone_db, _response(rng) * capture.asymmetry_db
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


def check_capture(capture: Capture) -> None:
    """Refuse, with one sentence, what cannot be drawn."""
    for name in ("source_limit", "telephone", "recorder_limit", "codec", "rounded"):
        if not 0 <= getattr(capture, name) <= 1:
            raise BadInput(f"mixing.capture.{name} is a share from 0 to 1, got {getattr(capture, name)}")
    if capture.source_limit + capture.telephone > 1:
        raise BadInput("mixing.capture.source_limit and telephone are shares of all sources; together at most 1")
    for name in ("loudspeaker_db", "microphone_db", "asymmetry_db"):
        if not 0 <= getattr(capture, name) <= 20:
            raise BadInput(f"mixing.capture.{name} must lie in 0…20 dB, got {getattr(capture, name)}")
    for name, least, most in (("limit_hz", 1000, 16000), ("codec_db", 0, 120), ("headroom_db", 0, 80)):
        given = getattr(capture, name)
        if len(given) != 2 or not least <= given[0] <= given[1] <= most:
            raise BadInput(f"mixing.capture.{name} must be two numbers, rising, in {least}…{most}, got {given}")


def _band(capture: Capture, rng: np.random.Generator) -> tuple[float, float]:
    which, limit_hz = rng.random(), _between(capture.limit_hz, rng, octaves=True)
    if which < capture.telephone:
        return TELEPHONE_HZ
    return (0.0, limit_hz if which < capture.telephone + capture.source_limit else NO_LIMIT_HZ)


def _response(rng: np.random.Generator) -> NDArray[np.float64]:
    """(knots,) a smooth random curve of variance 1 about."""
    octaves = np.log2(np.array(KNOTS_HZ) / KNOTS_HZ[0])
    broad = np.interp(octaves, np.arange(9), rng.standard_normal(9))
    return np.asarray(_BROAD * broad + _FINE * rng.standard_normal(len(octaves)))


def _between(limits: Sequence[float], rng: np.random.Generator, octaves: bool = False) -> float:
    low, high = np.log(limits) if octaves else limits
    drawn = low + rng.random() * (high - low)
    return float(np.exp(drawn) if octaves else drawn)
