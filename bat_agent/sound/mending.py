"""Recordings that lie: what can be mended is mended, what cannot is told, so that nobody hears what was never there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.sound.audio import CLIPS, clips
from bat_agent.sound.ears import BetweenEars, between_ears
from bat_agent.sound.samples import rms_dbfs

SILENCE_DBFS = -90.0
FAR_BEYOND = 100.0  # what rendering next to the ear never reaches, but integers turned to floats do
OFFSET, OFFSET_SHARE = 3e-5, 0.1
"""An ear has an offset where its mean is more than one step of 16 bits, and more than this share of its RMS."""
_OFFSET_SHORT_S = 0.01
"""In a sound of a few periods the mean may be larger: so many seconds by its length."""


@dataclass(frozen=True)
class Mended:
    """A clip as it may be heard."""

    clip: NDArray[np.float32]
    """(2, N) float32; the given one where there was nothing to mend."""
    silent: bool
    """Nothing above −90 dBFS."""
    placeless: bool
    """Whether a direction or a distance heard in it would be made up."""
    notes: tuple[str, ...]
    """What was mended, and what limits what can be heard."""


def mend(clip: NDArray[np.float32]) -> Mended:
    """Mend a clip (2, N) float32 at 32 kHz of finite samples: samples far beyond full scale are scaled down, an offset
    is taken out, an ear whose polarity is inverted is turned back.
    """
    notes = []
    peak = float(max(clip.max(), -clip.min()))
    if peak > FAR_BEYOND:
        clip = clip / np.float32(peak)
        notes.append(
            "samples lie far beyond full scale ±1 (above 100); they were scaled down to it, so distances are wrong"
        )
    elif clips(clip):
        notes.append(CLIPS)
    if (wrong := is_offset(clip)).any():
        mean = clip.mean(axis=1, keepdims=True)
        clip = clip - mean * wrong[:, None]
        most = float(mean[np.abs(mean).argmax(), 0])
        notes.append(f"{_which(wrong.tolist())} had an offset of {most:.2g}, which was taken out")
    if rms_dbfs(clip).max() < SILENCE_DBFS:
        return Mended(clip, True, False, (*notes, "silence: nothing above −90 dBFS"))
    between = between_ears(clip)
    if between.inverted and between.carries_direction:
        clip = clip * np.array([[1.0], [-1.0]], np.float32)
        notes.append("one ear is the wrong way round (its polarity is inverted), so it was turned back")
    if not between.carries_direction:
        notes.append(f"{_why_not(between, bool((clip[0] == clip[1]).all()))}, so no direction can be heard")
    return Mended(clip, False, not between.carries_direction, tuple(notes))


def is_offset(clip: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(2,) bool: which ear of (2, N) does not swing around zero."""
    mean, seconds = np.abs(clip.mean(axis=1)), clip.shape[1] / SAMPLE_RATE_HZ
    share = min(max(OFFSET_SHARE, _OFFSET_SHORT_S / seconds), 0.9)
    if not (mean > OFFSET).any():
        return np.zeros(2, bool)
    found: NDArray[Any] = (mean > OFFSET) & (mean > share * np.sqrt(np.square(clip).mean(axis=1)))
    return found


def _which(ears: list[bool]) -> str:
    return "the recording" if all(ears) else ("the left ear" if ears[0] else "the right ear")


def _why_not(between: BetweenEars, identical: bool) -> str:
    if identical:
        return "both channels are identical (a mono recording?)"
    if between.louder_left_db is not None:
        side, other = ("right", "left") if between.louder_left_db > 0 else ("left", "right")
        return f"the {side} ear is {abs(between.louder_left_db):.0f} dB below the {other} one, as if it were dead"
    if between.behind_s is not None:
        side, other = ("right", "left") if between.behind_s > 0 else ("left", "right")
        return (
            f"the {side} ear is {abs(between.behind_s) * 1000:.1f} ms behind the {other} one, more than on any head "
            "(were they recorded apart? align them)"
        )
    return "both ears carry the same sound, as of one microphone"
