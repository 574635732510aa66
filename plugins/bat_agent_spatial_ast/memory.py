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
from bat_agent.sound.overlap import overlap

MOST_CLIPS = 32
_HALF = features.N_FFT // 2
_INSIDE = -(-_HALF // features.HOP)
"""The first frame that sees nothing mirrored at the edge."""


class _Window(NamedTuple):
    sound: Float[Tensor, "2 N"]
    mel: Float[Tensor, "2 T 128"]
    """Before the logarithm, at the level as it came."""
    phase: Float[Tensor, "2 T 128"]


class FrameMemory:
    """Front end of one encoder that remembers; clips of a batch are taken to go on in their order."""

    def __init__(self) -> None:
        self._windows: list[_Window] = []
        self.computed = 0
        """Frames computed so far."""

    def features(
        self, waveform: Float[Tensor, "B 2 N"], gain: Float[Tensor, " B"] | None, filters: Tensor, power: bool
    ) -> tuple[Float[Tensor, "B 2 T 128"], Float[Tensor, "B 2 T 128"]]:
        """What :func:`bat_agent.sound.features.binaural_features` gives of clips times ``gain``."""
        before, now = self._windows, []
        for number, clip in enumerate(waveform):
            old = before[number] if number < len(before) else None
            now.append(self._window(clip, old, filters, power))
        self._windows = now
        mel = torch.stack([window.mel for window in now])
        if gain is not None:
            mel = mel * (gain.square() if power else gain)[:, None, None, None]
        return features.decibel(mel), torch.stack([window.phase for window in now])

    def _window(self, clip: Tensor, old: _Window | None, filters: Tensor, power: bool) -> _Window:
        total = features.num_frames(clip.shape[1])
        shift = None if old is None else overlap(old.sound.numpy(), clip.numpy(), features.HOP, features.N_FFT)
        if old is None or shift is None:
            first = last = 0
        else:
            shared = min(old.sound.shape[1] - shift, clip.shape[1])
            first, last = _INSIDE, max((shared - _HALF) // features.HOP + 1, _INSIDE)
        wanted = [*range(first), *range(last, total)]
        self.computed += len(wanted)
        mel, phase = features.some_frames(clip, wanted, filters, power)
        if old is not None and shift is not None and last > first:
            start = shift // features.HOP
            mel, phase = (
                torch.cat((new[:, :first], known[:, start + first : start + last], new[:, first:]), dim=1)
                for new, known in ((mel, old.mel), (phase, old.phase))
            )
        return _Window(clip.clone(), mel, phase)
