"""The diffuse tail: noise with the head's own diffuse-field spectrum and interaural coherence, decaying as rooms do.

Letters in shapes: S source positions, B bands, F frames of the noise, N frequencies of a frame.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bat_agent_shoebox.ears import band_weights, excess_air_loss_db_per_m
from bat_agent_shoebox.hrtf import DIFFUSE_FFT, RATE_HZ, SPEED_OF_SOUND, Head
from bat_agent_shoebox.image_sources import Images, Paths, turned
from bat_agent_shoebox.noise import NoiseBank

_HOP = DIFFUSE_FFT // 2


class DiffuseTail:
    """Draws tails; holds the head's diffuse-field statistics on one device.

    Left = p·M + q·D and right = p·M − q·D with independent noises M, D and p² + q² = diffuse power, p² − q² = diffuse
    power × coherence: both ears have the spectrum, and between them the coherence, of the head in a diffuse field.
    """

    def __init__(self, head: Head, device: str, air_absorption: bool) -> None:
        power, coherence = head.diffuse_power[:, 1:], head.diffuse_coherence[1:]
        mixing = np.sqrt(np.stack([power[0] * (1 + coherence), power[0] * (1 - coherence)]) / 2)
        # A frame of unit normals in 2·256 bins has variance 2/N after the inverse FFT.
        mixing *= math.sqrt(DIFFUSE_FFT / 2)
        self._mixing = torch.as_tensor(mixing, dtype=torch.float32, device=device)[:, None]
        right = np.sqrt(power[-1] / power[0].clip(1e-12))
        self._right = None if len(power) == 1 else torch.as_tensor(right, dtype=torch.float32, device=device)
        self._noise = NoiseBank(_HOP, device)
        frequency = np.fft.rfftfreq(DIFFUSE_FFT, 1 / RATE_HZ)[1:]
        loss = excess_air_loss_db_per_m(frequency) * air_absorption * math.log(10) / 20
        self._air_per_m = torch.as_tensor(loss, dtype=torch.float32, device=device)
        self._weights = torch.as_tensor(band_weights(frequency), dtype=torch.float32, device=device)
        phase = (torch.arange(DIFFUSE_FFT, device=device) + 0.5) / DIFFUSE_FFT
        self._window = torch.sin(math.pi * phase)

    def render(self, images: Images, paths: Paths, words: NDArray[np.uint64], num_taps: int) -> Tensor:
        """(S, 2, num_taps) float32, to be added to the early part; ``words`` holds one seed word per path."""
        frames = num_taps // _HOP + 2
        middle, side = (self._noise.draw(words, frames, 2) * self._mixing).unbind(1)
        side = side * _handedness(paths)[:, None, None]
        gain = self._frame_gain(images, paths, frames)
        # Without 0 Hz, which no room passes on.
        spectra = torch.zeros(len(words), 2, frames, _HOP + 1, dtype=middle.dtype, device=middle.device)
        spectra[:, 0, :, 1:] = (middle + side) * gain
        spectra[:, 1, :, 1:] = (middle - side) * (gain if self._right is None else gain * self._right)
        blocks = torch.fft.irfft(spectra, DIFFUSE_FFT) * self._window
        noise_signal = blocks[:, :, 1:, :_HOP] + blocks[:, :, :-1, _HOP:]
        return noise_signal.flatten(2)[..., :num_taps] * self._envelope(images, paths, num_taps)[:, None]

    def _frame_gain(self, images: Images, paths: Paths, frames: int) -> Tensor:
        """(S, F, N) what air takes, and how far each band lies below the envelope."""
        time = torch.arange(frames, device=self._window.device) * (_HOP / RATE_HZ) + paths.shift_s[:, None]
        metres = time.to(torch.float32).clamp_min(0) * SPEED_OF_SOUND
        log_gain = -metres[:, :, None] * self._air_per_m
        if paths.rate.shape[1] > 1 or paths.ray_rates is not None:
            level = images.tail_energy.clamp_min(1e-30).log()
            level = level - level.amax(1, keepdim=True)
            log_energy = level[..., None] + paths.log_decay(time) + (paths.slowest_rate[:, None] * time)[:, None]
            weights = self._weights if level.shape[1] > 1 else torch.ones_like(self._weights[:1])
            log_gain += 0.5 * torch.einsum("sbf,bn->sfn", log_energy.to(torch.float32), weights)
        return log_gain.exp()

    def _envelope(self, images: Images, paths: Paths, num_taps: int) -> Tensor:
        """(S, num_taps): fade-in times √(energy per sample) of the loudest band, decaying like the slowest one.

        All other bands lie below, so that none is lost where numbers get too small.
        """
        time = torch.arange(num_taps, device=self._window.device) / RATE_HZ + paths.shift_s[:, None].to(torch.float32)
        start, end = images.fade_s.to(torch.float32)[..., None].unbind(1)
        fade = torch.sin(math.pi / 2 * ((time - start) / (end - start)).clamp(0, 1))
        level = (images.tail_energy.amax(1) / RATE_HZ).sqrt().to(torch.float32)[:, None]
        return fade * level * torch.exp(-0.5 * paths.slowest_rate.to(torch.float32)[:, None] * time)


def _handedness(paths: Paths) -> Tensor:
    """(S,) a phase that turns by 180° when the scene is mirrored, so that mirroring swaps the ears of the tail, too.

    It follows where the source and the room's middle lie along the axis through the ears, both of which change sign in
    any mirror; and it turns slowly as things move, so a tail does not jump.
    """
    source, _ = turned(paths.source_m - paths.listener_m, paths.heading_deg)
    middle, _ = turned(paths.size_m / 2 - paths.listener_m, paths.heading_deg)
    # In a scene that is its own mirror image there is no side to tell, only rounding.
    sideways = torch.hypot(source, middle) > 1e-6
    angle = torch.where(sideways, torch.atan2(middle, source), torch.zeros_like(source))
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)
