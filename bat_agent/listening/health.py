"""Whether the input can be believed: silence, clipping, one ear dead, turned over or late, both ears the same sound.

A microphone with one capsule that is opened in stereo gives two equal channels, and every direction heard in them is
made up. So these checks look at the samples alone (:mod:`bat_agent.sound.ears`); what the driver says of itself is not
enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening.events import HealthNote
from bat_agent.sound.audio import CLIPPED, CLIPPED_SHARE
from bat_agent.sound.ears import between_ears
from bat_agent.sound.ring import Waveform
from bat_agent.sound.samples import rms_dbfs

NOTHING_DBFS = -120.0
DC = 0.02
QUIET_DBFS = -80.0
PAUSE_DB = 20.0
"""A stretch so much softer than the one in which both ears were the same tells nothing of it: they still are."""
_NO_DIRECTION = ("identical", "one_sided", "out_of_step", "silent")
_WAIT_S = {
    "silent": 1.0, "identical": 1.0, "one_sided": 2.0, "out_of_step": 2.0, "inverted": 2.0, "clipping": 0.0, "dc": 1.0,
}  # fmt: skip
"""How long it must have been so before it is said; a pause between two sounds is no fault."""
_TEXTS = {
    "silent": "the input is digital silence: it is muted, or its switch is off; unmute it",
    "identical": "both ears carry the same sound, as of one microphone opened in stereo: no direction is told; "
    "use a device with two microphones",
    "one_sided": "the {side} ear is {apart:.0f} dB below the other one: no direction is told; check its plug and gain",
    "out_of_step": "the {side} ear is {late:.1f} ms behind the other one, more than on any head: no direction is told; "
    "use two inputs of one device",
    "inverted": "one ear is the wrong way round (its polarity is inverted) and turned back: check its wiring",
    "clipping": "the {side} clips, which spoils direction and distance: lower the gain of the input",
    "dc": "the {side} has an offset of {offset:.2f}, which is taken out: something is wrong with the microphone or its "
    "supply",
}


def level_dbfs(samples: Waveform) -> tuple[float, float]:
    """RMS of both ears, dBFS."""
    return _both(rms_dbfs(samples) if samples.size else None)


def peak_dbfs(samples: Waveform) -> tuple[float, float]:
    """The largest sample of both ears, dBFS."""
    if not samples.size:
        return _both(None)
    with np.errstate(divide="ignore"):
        return _both(20 * np.log10(np.abs(samples).max(axis=1)))


def _both(levels: np.ndarray | None) -> tuple[float, float]:
    if levels is None:
        return NOTHING_DBFS, NOTHING_DBFS
    left, right = np.maximum(levels, NOTHING_DBFS).tolist()
    return left, right


@dataclass(frozen=True)
class _Sign:
    kind: str
    text: str


class Health:
    """Watches a stream, stretch by stretch."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._same_dbfs = NOTHING_DBFS

    def clear(self) -> None:
        """The stream begins anew."""
        self._since.clear()

    def look(self, stretch: Waveform, t_s: float, clipped: np.ndarray | None = None) -> list[HealthNote]:
        """What is wrong with the newest stretch (2, n), which ends at ``t_s``, and has been for long enough.

        ``clipped`` (2,) is which share of it reaches full scale, where that was looked for at another rate.
        """
        signs = _signs(stretch, clipped)
        if any(sign.kind == "identical" for sign in signs):
            self._same_dbfs = max(level_dbfs(stretch))
        elif "identical" in self._since and max(level_dbfs(stretch)) < self._same_dbfs - PAUSE_DB:
            signs.append(_Sign("identical", _TEXTS["identical"]))
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


def _signs(stretch: Waveform, clipped: np.ndarray | None) -> list[_Sign]:
    if not stretch.size:
        return []
    levels, loudest = level_dbfs(stretch), np.abs(stretch).max(axis=1)
    if not loudest.any():
        return [_Sign("silent", _TEXTS["silent"])]
    signs = _of_both(stretch, quiet=max(levels) <= QUIET_DBFS and min(loudest) > 0)
    share = (np.abs(stretch) >= CLIPPED).mean(axis=1) if clipped is None else clipped
    if (share > CLIPPED_SHARE).any():
        signs.append(_Sign("clipping", _TEXTS["clipping"].format(side=_which(share > CLIPPED_SHARE))))
    offset = stretch.mean(axis=1)
    wrong = (np.abs(offset) > DC) & (np.abs(offset) > 0.5 * np.sqrt(np.square(stretch).mean(axis=1)))
    if wrong.any():
        signs.append(_Sign("dc", _TEXTS["dc"].format(side=_which(wrong), offset=float(offset[wrong][0]))))
    return signs


def _of_both(stretch: Waveform, *, quiet: bool) -> list[_Sign]:
    between = between_ears(stretch - stretch.mean(axis=1, keepdims=True))
    # In quiet, where each microphone's own noise is all there is, levels say nothing of the plug.
    if (apart_db := between.louder_left_db) is not None and not quiet:
        text = _TEXTS["one_sided"].format(side="right" if apart_db > 0 else "left", apart=abs(apart_db))
        return [_Sign("one_sided", text)]
    if between.one_microphone:
        return [_Sign("identical", _TEXTS["identical"])]
    if (late_s := between.behind_s) is not None:
        text = _TEXTS["out_of_step"].format(side="right" if late_s > 0 else "left", late=1000 * abs(late_s))
        return [_Sign("out_of_step", text)]
    return [_Sign("inverted", _TEXTS["inverted"])] if between.inverted else []


def _which(wrong: np.ndarray) -> str:
    return "input" if wrong.all() else ("left ear" if wrong[0] else "right ear")
