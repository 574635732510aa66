"""Whether the input can be believed: silence, clipping, one ear dead, both ears the same sound.

A microphone with one capsule that is opened in stereo gives two equal channels, and every direction heard in them is
made up. So these checks look at the samples alone; what the driver says of itself is not enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening.events import HealthNote
from bat_agent.sound.acoustics import rms_dbfs
from bat_agent.sound.ring import Waveform

NOTHING_DBFS = -120.0
CLIPPED = 0.999
CLIPPED_SHARE = 1e-3
DC = 0.02
ONE_SIDED_DB = 30.0
SAME = 1e-4
"""Of the louder ear: what is left of one ear without the other, where both are the same sound."""
QUIET_DBFS = -80.0
_NO_DIRECTION = ("identical", "one_sided", "silent")
_WAIT_S = {"silent": 1.0, "identical": 1.0, "one_sided": 2.0, "clipping": 0.0, "dc": 1.0}
"""How long it must have been so before it is said; a pause between two sounds is no fault."""
_TEXTS = {
    "silent": "the input is digital silence: it is muted, or its switch is off; unmute it",
    "identical": "both ears carry the same sound, as of one microphone opened in stereo: no direction is told; "
    "use a device with two microphones",
    "one_sided": "the {side} ear is {apart:.0f} dB below the other one: no direction is told; check its plug and gain",
    "clipping": "the {side} clips, which spoils direction and distance: lower the gain of the input",
    "dc": "the {side} has an offset of {offset:.2f}: something is wrong with the microphone or its supply",
}


def level_dbfs(samples: Waveform) -> tuple[float, float]:
    """RMS of both ears, dBFS."""
    return _both(rms_dbfs(torch.from_numpy(samples)) if samples.size else None)


def peak_dbfs(samples: Waveform) -> tuple[float, float]:
    """The largest sample of both ears, dBFS."""
    return _both(20 * torch.from_numpy(samples).abs().amax(dim=1).log10() if samples.size else None)


def _both(levels: Tensor | None) -> tuple[float, float]:
    if levels is None:
        return NOTHING_DBFS, NOTHING_DBFS
    left, right = levels.clamp(min=NOTHING_DBFS).tolist()
    return left, right


@dataclass(frozen=True)
class _Sign:
    kind: str
    text: str


class Health:
    """Watches a stream, stretch by stretch."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def clear(self) -> None:
        """The stream begins anew."""
        self._since.clear()

    def look(self, stretch: Waveform, t_s: float) -> list[HealthNote]:
        """What is wrong with the newest stretch (2, n), which ends at ``t_s``, and has been for long enough."""
        signs = _signs(stretch)
        begin_s = t_s - stretch.shape[1] / SAMPLE_RATE_HZ
        self._since = {sign.kind: self._since.get(sign.kind, begin_s) for sign in signs}
        return [
            HealthNote(sign.kind, sign.text, self._since[sign.kind])
            for sign in signs
            if t_s - self._since[sign.kind] >= _WAIT_S[sign.kind]
        ]


def forbids_direction(notes: Sequence[HealthNote]) -> bool:
    """Whether a direction heard now would be made up."""
    return any(note.kind in _NO_DIRECTION for note in notes)


def _signs(stretch: Waveform) -> list[_Sign]:
    if not stretch.size:
        return []
    levels, loudest = level_dbfs(stretch), np.abs(stretch).max(axis=1)
    if not loudest.any():
        return [_Sign("silent", _TEXTS["silent"])]
    signs = []
    apart = levels[0] - levels[1]
    # In quiet, where each microphone's own noise is all there is, levels say nothing of the plug.
    if abs(apart) > ONE_SIDED_DB and (max(levels) > QUIET_DBFS or min(loudest) == 0):
        side = "right" if apart > 0 else "left"
        signs.append(_Sign("one_sided", _TEXTS["one_sided"].format(side=side, apart=abs(apart))))
    elif _same(stretch):
        signs.append(_Sign("identical", _TEXTS["identical"]))
    share = (np.abs(stretch) >= CLIPPED).mean(axis=1)
    if (share > CLIPPED_SHARE).any():
        signs.append(_Sign("clipping", _TEXTS["clipping"].format(side=_which(share > CLIPPED_SHARE))))
    offset = stretch.mean(axis=1)
    wrong = (np.abs(offset) > DC) & (np.abs(offset) > 0.5 * np.sqrt(np.square(stretch).mean(axis=1)))
    if wrong.any():
        signs.append(_Sign("dc", _TEXTS["dc"].format(side=_which(wrong), offset=float(offset[wrong][0]))))
    return signs


def _which(wrong: np.ndarray) -> str:
    return "input" if wrong.all() else ("left ear" if wrong[0] else "right ear")


def _same(stretch: Waveform) -> bool:
    """Whether one ear is the other one times a number."""
    left, right = stretch.astype(np.float64)
    energy = float(left @ left)
    if not energy:
        return False
    rest = right - (float(left @ right) / energy) * left
    return float(np.sqrt(rest @ rest)) < SAME * float(np.sqrt(right @ right))
