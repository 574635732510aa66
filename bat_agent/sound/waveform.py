"""From whatever a user hands in to the waveform an encoder wants; done once, here, for every encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ, Encoder
from bat_agent.sound.acoustics import fit_length
from bat_agent.sound.audio import resample
from bat_agent.sound.mending import mend
from bat_agent.sound.torchaudio_parts import torchaudio_part

SHORTEST_S = 0.02
SHORT_S = 0.5
LARGEST = 2.0**32
"""Integers of 32 bits that were turned to floats reach half of it; no recording reaches more."""


@dataclass(frozen=True)
class Prepared:
    """Clips ready for an encoder."""

    waveform: Tensor
    """(B, 2, N) float32 on the CPU."""
    batched: bool
    """Whether the user gave a batch."""
    silent: tuple[bool, ...]
    """Per clip: nothing above −90 dBFS."""
    placeless: tuple[bool, ...]
    """Per clip: no direction and no distance can be heard in it, as of one microphone in both channels."""
    notes: tuple[tuple[str, ...], ...]
    """Per clip: what the user should know."""


def prepare(waveform: Any, encoder: Encoder) -> Prepared:
    """Check a waveform (2, N) or (B, 2, N) at 32 kHz, mend what lies (:func:`~bat_agent.sound.mending.mend`) and fit it
    to the encoder's rate and length.

    Raises :class:`~bat_agent.errors.BadInput` for another shape, NaN, infinite or huge samples, or less than 20 ms.
    """
    sound = _as_tensor(waveform)
    batched = sound.ndim == 3
    sound = sound if batched else sound[None]
    seconds = sound.shape[-1] / SAMPLE_RATE_HZ
    if seconds < SHORTEST_S:
        raise BadInput(
            f"the waveform lasts {seconds * 1000:.0f} ms, expected at least {SHORTEST_S * 1000:.0f} ms: give more sound"
        )
    notes = []
    if seconds > encoder.clip_seconds:
        notes.append(f"only the first {encoder.clip_seconds:g} s of {seconds:.1f} s were heard")
        sound = sound[..., : round(encoder.clip_seconds * SAMPLE_RATE_HZ)]
    clips = list(sound)
    mended = [mend(clip) for clip in clips]
    if any(done.clip is not clip for done, clip in zip(mended, clips, strict=True)):
        sound = torch.stack([done.clip for done in mended])
    if seconds < SHORT_S:
        notes.append(f"the clip is very short ({seconds:.2f} s), so what is said of it is uncertain")
        sound = fit_length(sound, round(min(SHORT_S, encoder.clip_seconds) * SAMPLE_RATE_HZ))
    return Prepared(
        fit(sound, encoder).contiguous(),
        batched,
        tuple(done.silent for done in mended),
        tuple(done.placeless for done in mended),
        tuple((*notes, *done.notes) for done in mended),
    )


def _as_tensor(waveform: Any) -> Tensor:
    if isinstance(waveform, (list, tuple)) and waveform and all(isinstance(clip, Tensor) for clip in waveform):
        waveform = _stacked(waveform)
    if isinstance(waveform, (np.ndarray, list, tuple)):
        waveform = _from_numpy(waveform)
    if not isinstance(waveform, Tensor):
        raise BadInput(f"a waveform must be a torch tensor or numpy array, got {type(waveform).__name__}")
    if waveform.ndim not in (2, 3) or waveform.shape[-2] != 2:
        hint = "; a mono sound carries no direction" if waveform.ndim == 1 or 1 in waveform.shape else ""
        hint = "; transpose it" if waveform.ndim in (2, 3) and waveform.shape[-1] == 2 else hint
        raise BadInput(
            f"a waveform must have shape (2, samples) or (batch, 2, samples), got {tuple(waveform.shape)}{hint}"
        )
    if not len(waveform):
        raise BadInput("the batch of waveforms is empty, expected at least one clip: check how it was put together")
    if not waveform.is_floating_point():
        raise BadInput(f"a waveform must hold floats in ±1, got {waveform.dtype}: divide integers by their full scale")
    waveform = waveform.detach().cpu().float()
    if not bool(waveform.isfinite().all()):
        raise BadInput("the waveform contains NaN or infinite samples: check how it was recorded or computed")
    if waveform.numel() and (peak := float(waveform.abs().max())) > LARGEST:
        raise BadInput(f"samples of the waveform reach {peak:.3g}, expected ±1: check how it was recorded or computed")
    return waveform.contiguous()


def _stacked(clips: Sequence[Tensor]) -> Tensor:
    """Clips from wherever they lie; numpy would take those of a CPU without gradients alone."""
    if len({clip.shape for clip in clips}) > 1:
        shapes = ", ".join(sorted({str(tuple(clip.shape)) for clip in clips}))
        raise BadInput(f"the clips of a batch must have one shape (2, samples), got {shapes}: cut or pad them")
    return torch.stack([clip.detach().cpu() for clip in clips])


def _from_numpy(waveform: Any) -> Tensor:
    # A copy, because torch takes neither negative strides (swapped ears: ``wave[::-1]``) nor read-only memory.
    try:
        array = np.array(waveform)
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"a waveform must be numbers of shape (2, samples) or (batch, 2, samples): {' '.join(str(error).split())}"
        ) from error


def fit(sound: Tensor, encoder: Encoder) -> Tensor:
    """Bring clips (B, 2, N) at 32 kHz to the rate of the encoder, and to its length: to no more than that, or, where it
    is fixed, to exactly that.
    """
    if encoder.sample_rate_hz != SAMPLE_RATE_HZ:
        sound = _resampled(sound, encoder.sample_rate_hz)
    samples = round(encoder.clip_seconds * encoder.sample_rate_hz)
    return fit_length(sound, samples) if getattr(encoder, "fixed_length", True) else sound[..., :samples]


# torchaudio's kernel made steep, so that what a GPU trains on is what is heard on a CPU: white noise from 32 to 16 kHz
# differs from libsoxr's by −40 dB (nearly all above 7.2 kHz; −105 dB below). torchaudio's default differs by −15 dB.
STEEP = {
    "resampling_method": "sinc_interp_kaiser",
    "lowpass_filter_width": 80,
    "rolloff": 0.955,
    "beta": 10.0,
}


def _resampled(sound: Tensor, rate_hz: int) -> Tensor:
    """By libsoxr on the CPU, as files and live sound are; on another device, or for a gradient, by torchaudio."""
    if sound.device.type == "cpu" and not sound.requires_grad:
        return resample(sound, SAMPLE_RATE_HZ, rate_hz)
    purpose = f"resampling to {rate_hz} Hz on the device that trains"
    return torchaudio_part("functional", purpose).resample(sound, SAMPLE_RATE_HZ, rate_hz, **STEEP)
