"""What DSpAST hears (arXiv 2509.13927 and its released code): log-mel, cross-correlation, level and phase differences.

Six maps from one STFT. Shapes: B clips, N samples, T frames, 513 STFT bins, 128 mel bands or lags. Nothing branches on
a tensor's values, so a CUDA graph can hold it, and every result is finite, whatever is heard.

Zeros are those of the released code. A bin that is exactly zero has phase 0 in the phase maps, each ear on its own. The
correlation takes the angle of the *product* X_L·conj(X_R): where both ears are silent it is 0; where one is, the signed
zeros of IEEE arithmetic make it π if real and imaginary part of the other ear are both negative, and 0 if not.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from bat_agent.sound import features

ILD_FLOOR = 1e-16
MAX_LOG_ILD = 70.0  # the loudest full-scale ear beside a silent one reaches 50; e^70 squared would leave float32 …
MAX_LOG_ILD_IN_TRAINING = 34.5  # … as the variance of a batch would, from here (1e15)
ROUNDING = 1e-5  # imaginary part of what is real: every bin of a frame that its own reflection fills
HALF_LAGS = features.NUM_MELS // 2


def dspast_features(
    waveform: Float[Tensor, "B 2 N"], filters: Float[Tensor, "513 128"]
) -> tuple[Float[Tensor, "B 2 T 128"], Float[Tensor, "B 1 T 128"], Float[Tensor, "B 2 T 128"]]:
    """Log-mel of both ears in dB, the correlation at lags −64 … 63, and (cos, sin) of the phase difference by mel band.

    The phase difference is right − left, as in Spatial-AST; a sound that reaches the left ear n samples before the
    right has its correlation peak at lag −n, map column 64 − n.
    """
    if waveform.device.type == "cpu" and len(waveform) > 1 and not torch.compiler.is_compiling():
        # Clip by clip the spectra stay in the cache.
        mels, lags, phases = zip(*(dspast_features(clip, filters) for clip in waveform.split(1)), strict=True)
        return torch.cat(mels), torch.cat(lags), torch.cat(phases)
    low, high = features.mel_support()
    used = filters[low:high]
    spectrum = features.stft(waveform)
    magnitude, real, imag, silent = unit_phasors(spectrum)
    mel = features.log_mel(magnitude[..., low:high], used)
    (real_l, real_r), (imag_l, imag_r) = real.unbind(1), imag.unbind(1)
    cosine, sine = real_r * real_l + imag_r * imag_l, imag_r * real_l - real_r * imag_l
    phase = torch.stack((cosine[..., low:high], sine[..., low:high]), dim=1) @ used
    one_silent = silent.any(dim=1)
    # A silent ear is 1 + 0i here, so only the other can be negative in both parts.
    turned = ((real < 0) & (imag < -ROUNDING)).any(dim=1)
    cross = torch.complex(
        torch.where(one_silent, torch.where(turned, -1.0, 1.0), cosine), torch.where(one_silent, 0.0, -sine)
    )
    return mel, correlation(cross)[:, None], phase


def unit_phasors(spectrum: Complex[Tensor, "B 2 T 513"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """|X|, real and imaginary part of X/|X|, and where X is exactly zero (there X/|X| is 1 + 0i).

    Scaled by the larger part first: no square overflows or vanishes, however loud or faint the bin.
    """
    real, imag = spectrum.real, spectrum.imag
    larger = torch.maximum(real.abs(), imag.abs())
    silent = larger == 0
    divisor = torch.where(silent, 1.0, larger)
    real, imag = torch.where(silent, 1.0, real / divisor), imag / divisor
    length = (real * real + imag * imag).sqrt()
    return larger * length, real / length, imag / length, silent


def correlation(cross: Complex[Tensor, "*B T 513"]) -> Float[Tensor, "*B T 128"]:
    """GCC-PHAT: inverse transform of a whitened cross-spectrum at lags −64 … 63."""
    lags = torch.fft.irfft(cross, n=features.N_FFT)
    return torch.cat((lags[..., -HALF_LAGS:], lags[..., :HALF_LAGS]), dim=-1)


def level_ratio(mel: Float[Tensor, "B 2 T 128"], training: bool) -> Float[Tensor, "B 1 T 128"]:
    """ILD = exp(L)/(exp(R) + 1e-16) with L, R in dB, as released: (mel_L/mel_R)^4.34 above a floor.

    Computed as exp(L − ln(exp(R) + 1e-16)): exp(−100), a denormal of three bits, never exists on its own. Capped where
    float32 would end, which full-scale sound does not reach outside training.
    """
    left, right = mel[:, :1], mel[:, 1:]
    exponent = left - torch.logaddexp(right, torch.full_like(right, math.log(ILD_FLOOR)))
    return exponent.clamp(max=MAX_LOG_ILD_IN_TRAINING if training else MAX_LOG_ILD).exp()
