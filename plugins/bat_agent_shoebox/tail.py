"""The diffuse tail: noise with the head's own diffuse-field spectrum and interaural coherence, decaying by RT60."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bat_agent_shoebox.hrtf import DIFFUSE_FFT, RATE_HZ, SPEED_OF_SOUND, Head
from bat_agent_shoebox.image_sources import Images, Paths, excess_air_loss_db_per_m

_HOP = DIFFUSE_FFT // 2


class DiffuseTail:
    """Draws tails; holds the head's diffuse-field statistics on one device.

    Left = p·M + q·D and right = p·M − q·D with independent noises M, D and p² + q² = diffuse power, p² − q² = diffuse
    power × coherence: both ears have the spectrum, and between them the coherence, of the head in a diffuse field.
    """

    def __init__(self, head: Head, device: str, air_absorption: bool) -> None:
        # Without 0 Hz, a frame is 2·2·256 numbers: torch then draws the same noise for any longer tail.
        power, coherence = head.diffuse_power[1:], head.diffuse_coherence[1:]
        mixing = np.sqrt(np.stack([power * (1 + coherence), power * (1 - coherence)]) / 2)
        # A frame of unit normals in 2·256 bins has variance 2/N after the inverse FFT.
        mixing *= math.sqrt(DIFFUSE_FFT / 2)
        self._mixing = torch.as_tensor(mixing, dtype=torch.float32, device=device)
        frequency = np.fft.rfftfreq(DIFFUSE_FFT, 1 / RATE_HZ)[1:]
        loss = excess_air_loss_db_per_m(frequency) * air_absorption * math.log(10) / 20
        self._air_per_m = torch.as_tensor(loss, dtype=torch.float32, device=device)
        phase = (torch.arange(DIFFUSE_FFT, device=device) + 0.5) / DIFFUSE_FFT
        self._window = torch.sin(math.pi * phase)

    def render(self, images: Images, paths: Paths, seeds: Sequence[int], num_taps: int) -> Tensor:
        """(S, 2, num_taps) float32, to be added to the early part; ``seeds`` holds one seed per path."""
        device = self._window.device
        frames = num_taps // _HOP + 2
        noise = torch.stack(
            [torch.randn(frames, 2, _HOP, 2, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        )
        middle, side = (torch.view_as_complex(noise.to(device)) * self._mixing).unbind(2)
        time = torch.arange(frames, device=device) * (_HOP / RATE_HZ)
        metres = (time + paths.shift_s[:, None].to(torch.float32)).clamp_min(0) * SPEED_OF_SOUND
        air = torch.exp(-metres[:, :, None] * self._air_per_m)
        spectra = torch.stack([middle + side, middle - side], 1) * air[:, None]
        zero = torch.zeros_like(spectra[..., :1])
        blocks = torch.fft.irfft(torch.cat([zero, spectra], -1), DIFFUSE_FFT) * self._window
        noise_signal = blocks[:, :, 1:, :_HOP] + blocks[:, :, :-1, _HOP:]
        return noise_signal.flatten(2)[..., :num_taps] * self._envelope(images, paths, num_taps)[:, None]

    def _envelope(self, images: Images, paths: Paths, num_taps: int) -> Tensor:
        """(S, num_taps): fade-in times √(energy per sample)."""
        rate = (3 * math.log(10) / paths.rt60_s).to(torch.float32)[:, None]
        time = torch.arange(num_taps, device=self._window.device) / RATE_HZ + paths.shift_s[:, None].to(torch.float32)
        start, end = images.fade_s.to(torch.float32)[..., None].unbind(1)
        fade = torch.sin(math.pi / 2 * ((time - start) / (end - start)).clamp(0, 1))
        level = (images.tail_energy / RATE_HZ).sqrt().to(torch.float32)[:, None]
        return fade * level * torch.exp(-rate * time)
