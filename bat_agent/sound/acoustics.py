"""Dry sound + room impulse response → binaural waveform; level and mixing (BAT, sections 3.1 and 3.2; released loader).

Pure functions on tensors. N samples of a dry mono sound, L taps of a RIR, 32 kHz, full scale ±1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from scipy.fft import next_fast_len
from torch import Tensor

from bat_agent.interfaces import CLIP_SECONDS, SAMPLE_RATE_HZ
from bat_agent.sound.samples import fit_length as fit_length
from bat_agent.sound.samples import rms_dbfs as rms_dbfs

SOURCE_LEVEL_DBFS = -14.0
DIRECT_SECONDS = 0.0025
DIRECT_FADE_SECONDS = 0.0005
CLIP_SAMPLES = int(CLIP_SECONDS * SAMPLE_RATE_HZ)


def rms_normalise(sound: Float[Tensor, "*batch N"], level_dbfs: float = SOURCE_LEVEL_DBFS) -> Float[Tensor, "*batch N"]:
    """Scale to an RMS level over the sound's own length; silence stays as it is.

    gain = 10^((level − 20·log10 rms)/20)
    """
    rms = sound.square().mean(dim=-1, keepdim=True).sqrt()
    gain = 10 ** (level_dbfs / 20) / torch.where(rms == 0, 1.0, rms)
    return sound * torch.where(rms == 0, 1.0, gain)


def convolve(
    dry: Float[Tensor, "*batch 1 N"], rir: Float[Tensor, "*batch C L"], num_samples: int | None = None
) -> Float[Tensor, "*batch C M"]:
    """Full linear convolution by FFT, cut or zero-padded to ``num_samples`` (default N + L − 1).

    The FFT length is rounded up to one with small prime factors: 384 000 instead of 383 999 is seven times faster.
    """
    full = dry.shape[-1] + rir.shape[-1] - 1
    size = next_fast_len(full, real=True)
    wet = torch.fft.irfft(torch.fft.rfft(dry, size) * torch.fft.rfft(rir, size), size)[..., :full]
    return wet if num_samples is None else fit_length(wet, num_samples)


def spatialise(
    dry: Float[Tensor, " N"], rir: Float[Tensor, "2 L"], num_samples: int = CLIP_SAMPLES
) -> Float[Tensor, "2 M"]:
    """Play a dry sound where the RIR was taken: normalise to −14 dBFS, convolve with the whole RIR, fit to 10 s.

    Works in the precision of ``dry``. The released question-answering loader has float64; float32 leaves a floor
    120 dB below the peak, which the encoder hears where the clip is digitally silent.
    """
    return convolve(rms_normalise(dry)[None], rir.to(dry.dtype), num_samples)


def mix(waveforms: Sequence[Float[Tensor, "2 N"]]) -> Float[Tensor, "2 N"]:
    """The mean of the binaural signals: (a + b)/2 for two sources, as released; one source stays as it is."""
    return torch.stack(list(waveforms)).mean(dim=0)


def direct_sound(rir: Float[Tensor, "*batch 2 L"]) -> Float[Tensor, "*batch 2 L"]:
    """The direct sound of a RIR and silence after it: what a room without reverberation leaves (BAT, table 8).

    Ends 2.5 ms after the onset, the first sample of either ear within 20 dB of the largest (ISO 3382-1, annex A), the
    last half millisecond of them fading out as half a cosine. The propagation delay stays.
    """
    loudness = rir.abs().amax(dim=-2)
    onset = (loudness >= 0.1 * loudness.amax(dim=-1, keepdim=True)).int().argmax(dim=-1, keepdim=True)
    since_s = (torch.arange(rir.shape[-1], device=rir.device) - onset) / SAMPLE_RATE_HZ
    left = ((DIRECT_SECONDS - since_s) / DIRECT_FADE_SECONDS).clamp(0, 1)
    window = (0.5 - 0.5 * torch.cos(torch.pi * left)).to(rir.dtype)
    return rir * window.unsqueeze(-2)
