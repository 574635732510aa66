"""What the front end made of the last windows: of a window that overlaps one of them, only new frames are computed.

A frame of the spectrogram depends on 1024 samples and on nothing else, the level of the window apart, which is one
factor. Windows that follow one another by a quarter of a second share seven frames of eight.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bat_agent.sound import features
from bat_agent.sound.overlap import Before, Windows

MOST_CLIPS = 32
_HALF = features.N_FFT // 2
_INSIDE = -(-_HALF // features.HOP)
"""The first frame that sees nothing mirrored at the edge."""


class _Frames(NamedTuple):
    mel: Float[Tensor, "2 T 128"]
    """At the level as it came."""
    phase: Float[Tensor, "2 T 128"]


class FrameMemory:
    """Front end of one encoder that remembers; each clip of a batch may go on with a clip of some batch before."""

    def __init__(self) -> None:
        self._windows: Windows[_Frames] = Windows(features.HOP, features.N_FFT)
        self.computed = 0
        """Frames computed so far."""

    def features(
        self, waveform: Float[Tensor, "B 2 N"], gain: Float[Tensor, " B"] | None, filters: Tensor, power: bool
    ) -> tuple[Float[Tensor, "B 2 T 128"], Float[Tensor, "B 2 T 128"]]:
        """What :func:`bat_agent.sound.features.mel_and_phase` gives of clips times ``gain``."""
        found = [self._frames(clip, self._windows.before(clip.numpy()), filters, power) for clip in waveform]
        for clip, frames in zip(waveform, found, strict=True):
            self._windows.keep(clip.numpy(), frames)
        mel = torch.stack([frames.mel for frames in found])
        if gain is not None:
            mel = mel * (gain.square() if power else gain)[:, None, None, None]
        return mel, torch.stack([frames.phase for frames in found])

    def _frames(self, clip: Tensor, old: Before[_Frames] | None, filters: Tensor, power: bool) -> _Frames:
        total = features.num_frames(clip.shape[1])
        first = last = 0
        if old is not None:
            shared = min(old.samples - old.start, clip.shape[1])
            first, last = _INSIDE, max((shared - _HALF) // features.HOP + 1, _INSIDE)
        wanted = [*range(first), *range(last, total)]
        self.computed += len(wanted)
        mel, phase = features.some_frames(clip, wanted, filters, power)
        if old is not None and last > first:
            start = old.start // features.HOP
            mel, phase = (
                torch.cat((new[:, :first], known[:, start + first : start + last], new[:, first:]), dim=1)
                for new, known in ((mel, old.made.mel), (phase, old.made.phase))
            )
        return _Frames(mel, phase)
