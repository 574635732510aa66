"""From the waveform to the maps of the encoder: log-mel of both ears, and the phase between them (BAT, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.sound import features
from bat_agent_spatial_ast.config import SpatialASTConfig


class Heard(NamedTuple):
    """What the front end makes of B clips; T frames, P after they are fitted to patches."""

    maps: Float[Tensor, "B C P 128"]
    """Normalised, for the convolution: [log-mel L, log-mel R, cos IPD, sin IPD], or fewer; mirrored ones after them."""
    mel: Float[Tensor, "B 2 T 128"]
    """Log-mel of both ears in dB."""
    phase: Float[Tensor, "B 2 T 128"]
    """(cos, sin) of the phase difference scaled to ±1."""


def front_end(
    waveform: Float[Tensor, "B 2 N"],
    filters: Float[Tensor, "K 128"],
    norm: nn.Module,
    config: SpatialASTConfig,
    *,
    mirrored: bool = False,
    known: tuple[Tensor, Tensor] | None = None,
    hear: Callable[..., tuple[Tensor, Tensor]] = features.mel_and_phase,
) -> Heard:
    """The maps as the configuration has them; ``norm`` normalises the log-mel.

    What the configuration does not hear is as if both ears were alike, in the summaries too. With ``mirrored`` the
    maps, and they alone, are also those of the clips with their ears swapped, which come after them. ``known``: the
    mel bands before the logarithm and the phase of both ears, where they are known; else ``hear`` computes them.
    """
    power = config.mel_of == "power"
    if config.features == "mono":
        mel = features.monaural_features(waveform, filters, power=power)
        maps = norm(mel.repeat(2, 1, 1, 1) if mirrored else mel)
        return Heard(fit_frames(maps, config), mel.expand(-1, 2, -1, -1), _no_phase(mel))
    mel, phase = hear(waveform, filters, power=power) if known is None else known
    if config.noise_floor_dbfs is None:
        mel = features.decibel(mel)
    else:
        mel, phase = over_noise_floor(mel, phase, noise_of_bands(filters, config.noise_floor_dbfs, power), power)
    unit_phase = phase / filters.sum(dim=0)
    maps = norm(torch.cat((mel, mel.flip(1))) if mirrored else mel)
    if config.features == "mel":
        return Heard(fit_frames(maps, config), mel, _no_phase(mel))
    heard = unit_phase if config.unit_ipd else phase
    if mirrored:  # the sine changes its sign
        heard = torch.cat((heard, heard * heard.new_tensor([1.0, -1.0])[:, None, None]))
    return Heard(fit_frames(torch.cat((maps, heard), dim=1), config), mel, unit_phase)


def noise_of_bands(filters: Float[Tensor, "513 128"], noise_dbfs: float, power: bool) -> Float[Tensor, " 128"]:
    """Expected mel bands, before the logarithm, of white Gaussian noise of so many dBFS (RMS)."""
    energy_of_window = 3 / 8 * features.N_FFT  # a periodic Hann window's sum of squares
    variance = 10 ** (noise_dbfs / 10) * energy_of_window  # of a bin
    expected = variance if power else math.sqrt(variance * math.pi / 4)  # the mean of a Rayleigh distribution
    return expected * filters.sum(dim=0)


def over_noise_floor(
    mel: Float[Tensor, "B 2 T 128"], phase: Float[Tensor, "B 2 T 128"], noise: Float[Tensor, " 128"], power: bool
) -> tuple[Float[Tensor, "B 2 T 128"], Float[Tensor, "B 2 T 128"]]:
    """Log-mel in dB and phase, from mel bands before the logarithm, as they are heard on the average over noise in both
    microphones: levels add up as powers, and the phase between the ears fades by the share of the sound in each.

    A band in which there is nothing but what arithmetic or rounding left then says nothing, in place of the level and
    phase of that, to which every device, number of bits and Fourier transform gives another value.
    """
    sound, noise = (mel, noise) if power else (mel * mel, noise * noise)
    both = sound + noise
    share = sound / both
    phase = phase * (share[:, :1] * share[:, 1:])
    return torch.log(both) * ((10 if power else 5) / math.log(10)), phase


def fit_frames(maps: Float[Tensor, "B C T 128"], config: SpatialASTConfig) -> Float[Tensor, "B C P 128"]:
    """To whole patches, or to the number of frames that the configuration asks for, by stretching."""
    target = config.target_frames
    if target is None:
        frames = max(maps.shape[2] // config.patch_frames, 1) * config.patch_frames
        missing = frames - maps.shape[2]
        return F.pad(maps, (0, 0, 0, missing), mode="replicate") if missing > 0 else maps.narrow(2, 0, frames)
    if config.short_clips:
        full = features.num_frames(round(config.clip_seconds * SAMPLE_RATE_HZ))
        rows = max(round(maps.shape[2] * target / full / config.patch_frames), 1)
        target = min(rows * config.patch_frames, target)
    if maps.shape[2] == target:
        return maps
    return features.stretch_frames(maps, target)


def _no_phase(mel: Tensor) -> Tensor:
    """(cos, sin) of no phase difference at all."""
    one = torch.ones_like(mel[:, :1])
    return torch.cat((one, torch.zeros_like(one)), dim=1)
