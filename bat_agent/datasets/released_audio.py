"""What the records of a data set name, read from it and rendered as the released loader does it (field protocol)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bat_agent.datasets.layout import BINAURAL, REVERB, SPLITS, ReverberationFile, position_of
from bat_agent.datasets.store import MissingFile, Store
from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.questions import QARecord
from bat_agent.scene import Position
from bat_agent.sound.acoustics import CLIP_SAMPLES, rms_normalise
from bat_agent.sound.audio import decode


class ReleasedAudio:
    """Recordings, RIRs and positions of the released layout in a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def render(self, record: QARecord) -> Tensor:
        """The sound of a record as the released loader renders it, (2, 320000) float32, 32 kHz, full scale ±1.

        The first channel of each recording, at 32 kHz (polyphase) and −14 dBFS (silence stays as it is), convolved with
        the whole RIR in float64, cut or padded to 10 s; several sources are averaged. A source that moves sounds again
        and again, and fades from each RIR of its path into the next.
        """
        heard = np.zeros((2, CLIP_SAMPLES))
        for number, (audio_id, reverb_id) in enumerate(record.sources):
            dry = rms_normalise(torch.from_numpy(self.dry(audio_id))).numpy()
            path = record.reverb_path if number == 0 and record.reverb_path else (reverb_id,)
            _add_along(heard, dry, [self.rir(name) for name in path])
        return torch.from_numpy((heard / len(record.sources)).astype(np.float32))

    def dry(self, audio_id: str) -> np.ndarray:
        """The recording of that name: float64 (N,), first channel, 32 kHz.

        Raises :class:`~bat_agent.errors.BadInput` where it is not there or no audio.
        """
        path = self.audio_path(audio_id)
        samples, rate_hz = decode(self.store.read(path), self.store.shown(path), "float64")
        return _resampled(samples[0], rate_hz)

    def audio_path(self, audio_id: str) -> str:
        """Where the recording lies below the root, with its suffix."""
        path = self.store.find_audio(f"AudioSet/{audio_id}")
        if path is None:
            raise MissingFile(
                f"no recording AudioSet/{audio_id}.wav (nor .flac, .ogg, .mp3) under {self.store.root}; fetch it, or "
                "leave out the records that name it"
            )
        return path

    def rir(self, reverb_id: str) -> np.ndarray:
        """The RIR of that name: float64 (2, taps)."""
        path = f"{REVERB}/{BINAURAL}/{reverb_id}"
        rir = self.store.array(path)
        if rir.ndim != 2 or len(rir) != 2 or not np.isfinite(rir).all():
            raise BadInput(
                f"{self.store.shown(path)} holds {rir.shape}, expected finite numbers (2, samples); make or download "
                "it again"
            )
        return rir.astype(np.float64)

    @cached_property
    def positions(self) -> dict[str, Position]:
        """Where the source of each RIR is heard, by ``reverb_id``, from the reverberation files that there are."""
        found: dict[str, Position] = {}
        for split in SPLITS:
            name = f"{REVERB}/{split}_reverberation.json"
            if self.store.exists(name):
                found |= {item["fname"]: position_of(item) for item in ReverberationFile(self.store.local(name))}
        return found


def _resampled(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """At 32 kHz by ``scipy.signal.resample_poly``, as the released loader does; elsewhere soxr is used."""
    if rate_hz == SAMPLE_RATE_HZ:
        return np.ascontiguousarray(samples)
    from scipy.signal import resample_poly

    divisor = math.gcd(rate_hz, SAMPLE_RATE_HZ)
    return np.asarray(resample_poly(samples, SAMPLE_RATE_HZ // divisor, rate_hz // divisor))


def _add_along(heard: np.ndarray, dry: np.ndarray, rirs: Sequence[np.ndarray]) -> None:
    """Add a sound that moves through RIRs, evenly in time, with linear fades between neighbours, to what is heard."""
    if len(rirs) == 1:
        _add(heard, dry, rirs[0])
        return
    dry = np.resize(dry, CLIP_SAMPLES)  # a short one repeats: its motion could not be heard otherwise
    # A fade weighs the dry sound, so that the reverberation of what sounded at a place stays that of the place.
    place = np.linspace(0, len(rirs) - 1, CLIP_SAMPLES)
    for number, rir in enumerate(rirs):
        weight = np.maximum(1 - np.abs(place - number), 0)
        first, last = np.flatnonzero(weight)[[0, -1]].tolist()
        _add(heard[:, first:], dry[first : last + 1] * weight[first : last + 1], rir)


def _add(heard: np.ndarray, dry: np.ndarray, rir: np.ndarray) -> None:
    """Add dry ∗ RIR, what of it lies within. By scipy, twice as fast in float64 as torch on some processors."""
    from scipy.signal import fftconvolve

    wet = fftconvolve(dry[None, : heard.shape[1]], rir[:, : heard.shape[1]], axes=1)[:, : heard.shape[1]]
    heard[:, : wet.shape[1]] += wet
