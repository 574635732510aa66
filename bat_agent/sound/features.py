"""Binaural waveform → log-mel of both ears and interaural phase difference (BAT, section 4.1, equations 2 to 5).

Shapes: B clips, E = 2 ears (left, right), N samples, T frames, F = 513 STFT bins, K = 446 bins that a mel band uses,
M = 128 mel bands. The numbers are those of the released code, which projects the *magnitude* onto the mel bands where
equation 3 has the power.

The phase difference is never computed as an angle: with unit phasors u = X/|X| its cosine and sine are the real and
imaginary part of u_R·conj(u_L). A bin that is exactly zero has phase 0 by convention (atan2(0, 0) = 0 in the released
code), so u = 1 there, for each ear on its own; so has a bin below −440 dB, whose power is zero in float32.

On the CPU the work goes clip by clip in blocks of frames that stay in the cache, so a clip gives the same numbers in
any batch. Elsewhere, and under ``torch.compile``, nothing depends on values: no transfer to the host, no shape that the
data decide, so that a CUDA graph can hold it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor

from bat_agent.interfaces import MEL_HIGH_HZ, MEL_LOW_HZ, NUM_MELS, SAMPLE_RATE_HZ

N_FFT = 1024
HOP = 320
NUM_BINS = N_FFT // 2 + 1
BIN_HZ = SAMPLE_RATE_HZ / N_FFT
LOG_FLOOR = 1e-10
FAINT_POWER = 1e-24  # −240 dB: below it the product of two powers leaves float32
LIFT = 2.0**80  # a power of two raises a faint bin without touching its phase
CACHED_FRAMES = 128  # one ear's spectrum of so many frames is 0.5 MB


@cache
def mel_filterbank() -> Float[Tensor, "513 128"]:
    """Slaney-scale, Slaney-normalised triangular filters from STFT bins to mel bands (librosa's default)."""
    # In float64, as torchaudio's float32 steps cost it five digits where a triangle is near zero.
    low, high = _slaney_mel(MEL_LOW_HZ), _slaney_mel(MEL_HIGH_HZ)
    corners = _slaney_hz(torch.linspace(low, high, NUM_MELS + 2, dtype=torch.float64))
    lower, centre, upper = corners[:-2], corners[1:-1], corners[2:]
    bins = torch.arange(NUM_BINS, dtype=torch.float64)[:, None] * BIN_HZ
    triangles = torch.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)).clamp(min=0)
    return (triangles * 2 / (upper - lower)).float()


def _slaney_mel(hz: float) -> float:
    """Slaney's mel scale (Auditory Toolbox, 1998): linear up to 1 kHz = 15 mel, then 27 mel for a factor of 6.4."""
    return hz * 0.015 if hz < 1000 else 15 + 27 * math.log(hz / 1000, 6.4)


def _slaney_hz(mel: Float[Tensor, " M"]) -> Float[Tensor, " M"]:
    return torch.where(mel < 15, mel / 0.015, 1000 * 6.4 ** ((mel - 15) / 27))


def mel_support() -> tuple[int, int]:
    """First and one past the last STFT bin inside the mel range: 2 and 448 of 513."""
    return math.floor(MEL_LOW_HZ / BIN_HZ) + 1, math.ceil(MEL_HIGH_HZ / BIN_HZ)


@cache
def hann_window(device: torch.device | None = None) -> Float[Tensor, " 1024"]:
    """The periodic Hann window of the STFT, made once for each device."""
    with torch.inference_mode(False):  # or a later caller could not differentiate
        return _new_window(device)


def _new_window(device: torch.device | None) -> Tensor:
    return torch.hann_window(N_FFT, periodic=True, device=device)


def num_frames(num_samples: int) -> int:
    """T of a centred STFT of ``num_samples``: 1001 for ten seconds."""
    return num_samples // HOP + 1


def stft(waveform: Float[Tensor, "B E N"]) -> Complex[Tensor, "B E T F"]:
    """Centred STFT with reflected edges, without scaling; N must exceed 512.

    The Fourier sum X(t, f) = Σ_n x(n) w(n − t·hop) exp(−2πi·f·n/1024), equation 2 of the paper.
    """
    batch, ears, samples = waveform.shape
    # A compiled graph makes its own window: it can look into no cache.
    window = (_new_window if torch.compiler.is_compiling() else hann_window)(waveform.device)
    spectrum = torch.stft(
        waveform.reshape(batch * ears, samples),
        N_FFT,
        HOP,
        window=window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return spectrum.transpose(1, 2).reshape(batch, ears, -1, NUM_BINS)


def log_mel(magnitude: Float[Tensor, "B E T K"], filters: Float[Tensor, "K 128"]) -> Float[Tensor, "B E T 128"]:
    """10·log10(max(|X|·melW, 1e-10)) in dB; silence is exactly −100 dB."""
    return decibel(magnitude @ filters)


def decibel(mel: Tensor) -> Tensor:
    """10·log10(max(mel, 1e-10))."""
    return 10.0 * torch.log10(torch.clamp(mel, min=LOG_FLOOR))


def binaural_features(
    waveform: Float[Tensor, "B 2 N"], filters: Float[Tensor, "513 128"], power: bool = False
) -> tuple[Float[Tensor, "B 2 T 128"], Float[Tensor, "B 2 T 128"]]:
    """Log-mel of both ears in dB, and (cos IPD, sin IPD) projected on the mel bands; IPD = phase right − phase left.

    ``power``: the log-mel of |X|², equation 3 as the paper prints it, in place of the released code's |X|.
    """
    mel, phase = mel_and_phase(waveform, filters, power)
    return decibel(mel), phase


def mel_and_phase(
    waveform: Float[Tensor, "B 2 N"], filters: Float[Tensor, "513 128"], power: bool = False
) -> tuple[Float[Tensor, "B 2 T 128"], Float[Tensor, "B 2 T 128"]]:
    """As :func:`binaural_features`, the mel bands before the logarithm."""
    low, high = mel_support()
    filters = filters[low:high]
    if waveform.device.type != "cpu" or torch.compiler.is_compiling():
        return _project(stft(waveform)[..., low:high], filters, power, look=False)
    clips = [
        [_project(frames, filters, power, look=True) for frames in spectrum.split(CACHED_FRAMES, dim=2)]
        for spectrum in (stft(clip)[..., low:high] for clip in waveform.split(1))
    ]
    mel, phase = (torch.cat([torch.cat([part[i] for part in clip], dim=2) for clip in clips]) for i in (0, 1))
    return mel, phase


def some_frames(
    clip: Float[Tensor, "2 N"], wanted: Sequence[int], filters: Float[Tensor, "513 128"], power: bool = False
) -> tuple[Float[Tensor, "2 W 128"], Float[Tensor, "2 W 128"]]:
    """Of :func:`mel_and_phase` these frames of one clip."""
    low, high = mel_support()
    frames = F.pad(clip[None], (N_FFT // 2, N_FFT // 2), mode="reflect")[0].unfold(-1, N_FFT, HOP)
    chosen = frames[:, torch.as_tensor(wanted, dtype=torch.long)]
    parts = [
        _project(
            torch.fft.rfft(some * hann_window(clip.device))[None, ..., low:high], filters[low:high], power, look=True
        )
        for some in chosen.split(CACHED_FRAMES, dim=1)
    ]
    mel, phase = (torch.cat([part[i] for part in parts], dim=2)[0] for i in (0, 1))
    return mel, phase


def _project(
    spectrum: Complex[Tensor, "B 2 T K"], filters: Float[Tensor, "K 128"], of_power: bool, look: bool
) -> tuple[Float[Tensor, "B 2 T 128"], Float[Tensor, "B 2 T 128"]]:
    """Magnitudes (or powers), and (cos, sin) of the phase difference, on the mel bands.

    ``look``: see first whether any bin is faint, which in most sounds none is; the numbers are the same either way.
    """
    real, imag = spectrum.real.contiguous(), spectrum.imag.contiguous()
    power = (real * real).addcmul_(imag, imag)
    mel = (power if of_power else power.sqrt()) @ filters
    if not look or bool(power.min() < FAINT_POWER):
        real, imag, power = _lift_faint(real, imag, power)
    inverse = power.rsqrt()
    real, imag = real * inverse, imag * inverse
    (real_left, real_right), (imag_left, imag_right) = real.unbind(1), imag.unbind(1)
    cosine = (real_right * real_left).addcmul_(imag_right, imag_left)
    sine = (imag_right * real_left).addcmul_(real_right, imag_left, value=-1)
    return mel, torch.stack((cosine @ filters, sine @ filters), dim=1)


def _lift_faint(real: Tensor, imag: Tensor, power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Silent bins become 1 + 0i; the end of an exponential decay is raised until its square fits float32."""
    silent = power == 0
    lift = torch.ones_like(power).masked_fill(power < FAINT_POWER, LIFT)
    real, imag = (real * lift).masked_fill(silent, 1.0), (imag * lift).masked_fill(silent, 0.0)
    return real, imag, (real * real).addcmul_(imag, imag)


def band_energies_db(sounds: Float[Tensor, "M 2 N"]) -> Float[Tensor, "M T 128"]:
    """Energy of each sound in time and mel bands, both ears together, in dB; −100 for silence."""
    low, high = mel_support()
    filters = mel_filterbank().to(sounds.device)[low:high]
    # Sound by sound on a CPU, as the spectra of many would leave the cache.
    at_once = 1 if sounds.device.type == "cpu" else 64
    power = [stft(some)[..., low:high].abs().square().sum(dim=1) @ filters for some in sounds.split(at_once)]
    return 10.0 * torch.log10(torch.cat(power).clamp(min=LOG_FLOOR))


def monaural_features(
    waveform: Float[Tensor, "B E N"], filters: Float[Tensor, "513 128"], power: bool = False
) -> Float[Tensor, "B 1 T 128"]:
    """Log-mel in dB of the mean of both ears: the paper's monaural ablation (table 7). ``power`` as for two ears."""
    low, high = mel_support()
    magnitude = stft(waveform.mean(dim=1, keepdim=True))[..., low:high].abs()
    return log_mel(magnitude.square() if power else magnitude, filters[low:high])


def stretch_frames(maps: Float[Tensor, "*batch T M"], frames: int) -> Float[Tensor, "*batch S M"]:
    """Resize the time axis to ``frames`` by cubic convolution (a = −0.75), first and last frame kept, edges repeated.

    What ``torch.nn.functional.interpolate`` does with ``bicubic`` and ``align_corners`` while the mel axis stays, at a
    quarter of the cost, as that convolves over both axes.
    """
    compiling = torch.compiler.is_compiling()
    taps, weights = (_new_taps if compiling else _cubic_taps)(maps.shape[-2], frames, maps.device)
    stretched = maps.index_select(-2, taps[0]) * weights[0]
    for tap, weight in zip(taps[1:], weights[1:], strict=True):
        stretched.addcmul_(maps.index_select(-2, tap), weight)
    return stretched


@cache
def _cubic_taps(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):
        return _new_taps(old, new, device)


def _new_taps(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(4, new) frames to read and (4, new, 1) their weights."""
    place = torch.arange(new, dtype=torch.float64, device=device) * ((old - 1) / max(new - 1, 1))
    base = place.floor()
    offset = torch.arange(-1, 3, device=device)[:, None]
    x = (place - base - offset).abs()
    near = 1.25 * x**3 - 2.25 * x**2 + 1
    far = -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
    weights = torch.where(x <= 1, near, far)
    return (base + offset).clamp(0, old - 1).long(), weights[..., None].float()
