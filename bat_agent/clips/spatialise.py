"""From dry sounds to binaural clips, many at once, on any device: equaliser, room, mixing, ears, microphones.

What is drawn by lot was drawn before (:mod:`.mixtures`), so that worker and training device do the same sum.
Letters in shapes: B clips, M sources of all clips together, N samples, L taps, F bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from bat_agent.clips.captured import Captured
from bat_agent.clips.sound_bank import Cuts
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.scene import Scene
from bat_agent.sound.acoustics import direct_sound

LOWEST_OCTAVE_HZ = 62.5
_REACH = 1024
"""Samples that the equaliser rings to either side; its finest detail is 62.5 Hz wide."""
_SAMPLES_AT_ONCE = 2**25
"""Samples of a clip, times clips, that a GPU renders in one go: some four gigabytes of spectra, for two sources."""


@dataclass
class Reverberant:
    """The RIRs of some of the sources of a batch: themselves, or where to find them."""

    rooms: int
    """Which of the places that rooms come from."""
    of: Tensor
    """(n,) int64: which sources of the batch."""
    rows: Tensor
    """(n,) int64: which RIRs of a bank."""
    rirs: Tensor | None = None
    """(n, 2, taps), if they travel with the batch"""
    scenes: list[Scene] = field(default_factory=list)
    """Where the rooms are new and not rendered yet: scenes whose sources, one after another, are these."""


@dataclass
class Unrendered:
    """Everything that B clips of N samples are made of."""

    sounds: Tensor
    """(M, lead_in + N) float32, dry"""
    clip: Tensor
    """(M,) int64: the clip of each source, ascending"""
    equaliser_db: Tensor | None
    """(M, 9) gain of each source at 62.5 Hz and the octaves above"""
    mirrored: Tensor
    """(B,) bool: ears swapped"""
    gain: Tensor
    """(B, 2) of each microphone; multiplies sound, not noise"""
    delay_s: Tensor
    """(B,) float64: how much later than the left the right microphone records sound"""
    noise: Tensor
    """(B,) amplitude of each microphone's own noise; 0 for none"""
    noise_seed: Tensor
    """(B,) int64"""
    reverberation: str
    """``full``, ``direct`` or ``none``"""
    rirs: list[Reverberant] = field(default_factory=list)
    """All sources once; empty for ``none``."""
    cuts: Cuts | None = None
    """What the sounds are to be cut from, where that is left to the device; ``sounds`` is then (0, lead_in + N)."""
    lead_in: int = 0
    """Samples before the clips, of which only the reverberation is heard in them."""
    captured: Captured | None = None
    """What the world of microphones does to them."""

    @property
    def samples(self) -> int:
        """N, of each clip."""
        return self.sounds.shape[-1] - self.lead_in

    def pin_memory(self) -> Unrendered:
        """The same with its large parts in page-locked memory."""
        rirs = [replace(part, rirs=None if part.rirs is None else part.rirs.pin_memory()) for part in self.rirs]
        return replace(self, sounds=self.sounds.pin_memory(), rirs=rirs)


def apart(clips: Unrendered) -> Unrendered:
    """The same sources, each a clip of its own without noise; its level is that which it has in the mixture."""
    of = clips.clip
    share = 1 / torch.bincount(of).clamp(min=1)[of]
    return replace(
        clips,
        clip=torch.arange(len(of)),
        mirrored=clips.mirrored[of],
        gain=clips.gain[of] * share[:, None],
        delay_s=clips.delay_s[of],
        noise=torch.zeros(len(of)),
        noise_seed=clips.noise_seed[of],
        captured=None if clips.captured is None else clips.captured.apart(of),
    )


def only(alone: Unrendered, wanted: Tensor) -> Unrendered:
    """Of sources that are clips of their own (:func:`apart`), those ``wanted`` (M,) bool."""
    return replace(
        alone,
        sounds=alone.sounds[wanted],
        clip=torch.arange(int(wanted.sum())),
        equaliser_db=None if alone.equaliser_db is None else alone.equaliser_db[wanted],
        mirrored=alone.mirrored[wanted],
        gain=alone.gain[wanted],
        delay_s=alone.delay_s[wanted],
        noise=alone.noise[wanted],
        noise_seed=alone.noise_seed[wanted],
        captured=None if alone.captured is None else alone.captured.only(wanted),
    )


def render(clips: Unrendered, rirs: Tensor | None, device: torch.device | str) -> Tensor:
    """The waveforms (B, 2, N) float32 on ``device``; ``rirs`` (M, 2, L) on any, None: the dry sound in both ears.

    Clip by clip on a CPU, where that stays in the cache and makes a clip independent of its neighbours to the last
    bit; by the hundred on a GPU.
    """
    device = torch.device(device)
    total, samples = len(clips.mirrored), clips.samples
    at_once = 1 if device.type == "cpu" else max(1, _SAMPLES_AT_ONCE // max(samples, 1))
    ends = torch.searchsorted(clips.clip, torch.arange(total + 1)).tolist()
    out = torch.empty(total, 2, samples, device=device)
    for first in range(0, total, at_once):
        last = min(first + at_once, total)
        some = slice(ends[first], ends[last])
        if some.start == some.stop:  # nothing sounds
            out[first:last] = 0
            continue
        clip = clips.clip[some] - first
        dry = clips.sounds[some].to(device, non_blocking=True)
        curve = None if clips.equaliser_db is None else clips.equaliser_db[some].to(device)
        here = torch.ones(len(dry), 2, 1) if rirs is None else rirs[some]
        room = _room(here.to(device, non_blocking=True).float(), clips, first + clip)
        delay = clips.delay_s[clips.clip[some]]
        late = delay.to(device, torch.float32) if delay.any() else None
        alone = torch.equal(clip, torch.arange(last - first))
        colour = None if clips.captured is None else partial(clips.captured.gains, some, first + clip)
        wave = _mixed(dry, room, curve, None if alone else clip.to(device), last - first, late, colour)
        out[first:last] = wave[..., clips.lead_in :]
    return _add_noise(out, clips)


def render_apart(clips: Unrendered, rirs: Tensor | None, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """What :func:`render` gives, and each source alone (M, 2, N) without noise, at the level that it has there.

    For a GPU, where to render every source for itself costs hardly more than to render mixtures.
    """
    alone = render(apart(clips), rirs, device)
    out = torch.zeros(len(clips.mirrored), *alone.shape[1:], device=alone.device)
    return _add_noise(out.index_add_(0, clips.clip.to(alone.device), alone), clips), alone


def _room(rirs: Tensor, clips: Unrendered, clip: Tensor) -> Tensor:
    """RIRs (m, 2, L) of some sources as their clips want them: mirrored, with the microphones' gain, and as mean.

    All that is linear is done here, to the shorter of the two signals. Released: two sources give (a + b)/2.
    """
    if clips.reverberation == "direct":
        rirs = direct_sound(rirs)
    mirrored = clips.mirrored[clip].to(rirs.device)
    rirs = torch.where(mirrored[:, None, None], rirs.flip(1), rirs)
    share = 1 / torch.bincount(clips.clip).clamp(min=1)[clip]
    return rirs * (clips.gain[clip] * share[:, None])[..., None].to(rirs.device)


def _mixed(
    dry: Tensor,
    rirs: Tensor,
    equaliser_db: Tensor | None,
    clip: Tensor | None,
    clips: int,
    delay_s: Tensor | None = None,
    colour: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """(clips, 2, N): every source in its room, and the sum of the sources of each clip (None: each has one); the right
    ear ``delay_s`` late. ``colour`` makes of the dry spectra (m, blocks, F) gains of each ear (m, 2, F).
    """
    reach = 0 if equaliser_db is None and colour is None else _REACH
    samples, taps = dry.shape[-1], rirs.shape[-1] + 2 * reach
    size, hop = _block(samples, taps)
    blocks = -(-samples // hop)
    dry = torch.nn.functional.pad(dry, (0, blocks * hop - samples)).view(len(dry), blocks, hop)
    spectrum = torch.fft.rfft(dry, size)
    filters = torch.fft.rfft(torch.nn.functional.pad(rirs, (reach, 0)), size)
    if equaliser_db is not None:
        filters = filters * _equaliser(spectrum, equaliser_db)[:, None]
    if colour is not None:
        filters = filters * colour(spectrum)
    if delay_s is not None:
        turn = torch.arange(filters.shape[-1], device=filters.device) * (-2 * math.pi * SAMPLE_RATE_HZ / size)
        angle = delay_s[:, None] * turn
        filters[:, 1] *= torch.polar(torch.ones_like(angle), angle)
    wave = torch.fft.irfft(_filtered(spectrum[:, None], filters[:, :, None], clip, clips), size)
    return _overlap_add(wave, hop)[..., reach : reach + samples]


def _filtered(spectrum: Tensor, filters: Tensor, clip: Tensor | None, clips: int) -> Tensor:
    """(clips, 2, blocks, F): Σ over the sources of a clip of spectrum · filter."""
    if clip is None:
        return spectrum * filters
    if clips == 1:
        out = spectrum[:1] * filters[:1]
        for source in range(1, len(spectrum)):
            out.addcmul_(spectrum[source : source + 1], filters[source : source + 1])
        return out
    wet = spectrum * filters
    return torch.zeros(clips, *wet.shape[1:], dtype=wet.dtype, device=wet.device).index_add_(0, clip, wet)


def _overlap_add(blocks: Tensor, hop: int) -> Tensor:
    """(…, n, size) blocks that begin ``hop`` samples apart → (…, (n − 1)·hop + size)."""
    number, size = blocks.shape[-2:]
    if number == 1:
        return blocks[..., 0, :]
    out = torch.zeros(*blocks.shape[:-2], (number - 1) * hop + size, device=blocks.device)
    for block in range(number):
        out[..., block * hop : block * hop + size] += blocks[..., block, :]
    return out


@lru_cache(maxsize=256)
def _block(samples: int, taps: int) -> tuple[int, int]:
    """(FFT length, new samples in each block) for which convolving ``samples`` with ``taps`` costs least."""
    # 3·2^k is left out: MKL takes longer for it than for the next 5·2^k.
    lengths = [factor << power for factor in (1, 5) for power in range(8, 23)]
    useful = [size for size in lengths if taps <= size // 2 or size >= samples + taps - 1] or [max(lengths)]

    def cost(size: int) -> float:
        blocks = -(-samples // (size - taps + 1))
        # Three transforms a block and two of the RIR; beyond 2^16 they leave the cache (measured: half as long again).
        return (3 * blocks + 2) * size * math.log2(size) * (1.5 if size > 2**16 else 1) * (1 if size % 5 == 0 else 1.05)

    best = min(useful, key=cost)
    return best, min(samples, best - taps + 1)


def _equaliser(spectrum: Tensor, knots_db: Tensor) -> Tensor:
    """Gain (M, F) through the given octaves, linear in dB over octaves, that leaves the energy as it is.

    ``spectrum`` (M, blocks, F) says where the energy is.
    """
    below, between = _octaves(spectrum.shape[-1], knots_db.shape[1], spectrum.device)
    gain_db = torch.lerp(knots_db[:, below], knots_db[:, below + 1], between)
    gain = torch.exp(gain_db * (math.log(10) / 20))
    parts = torch.view_as_real(spectrum)
    power = torch.zeros_like(parts[:, 0])
    for block in parts.unbind(1):
        power.addcmul_(block, block)
    power = power.sum(-1)
    level = power.sum(-1) / (power * gain.square()).sum(-1).clamp(min=1e-20)
    return gain * level.sqrt()[:, None]


@lru_cache(maxsize=32)
def _octaves(bins: int, knots: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each FFT bin the knot below it, and how far it lies on the way to the next."""
    hz = torch.arange(bins, device=device) * (SAMPLE_RATE_HZ / 2 / (bins - 1))
    octave = (hz / LOWEST_OCTAVE_HZ).clamp(min=1).log2().clamp(max=knots - 1.001)
    below = octave.long()
    return below, octave - below


def _add_noise(waveform: Tensor, clips: Unrendered) -> Tensor:
    """Each clip's noise from its own seed, and what its recorder then does; a GPU draws other numbers than a CPU."""
    waveform = _add_hiss(waveform, clips) if clips.noise.any() else waveform
    return waveform if clips.captured is None else clips.captured.record(waveform)


def _add_hiss(waveform: Tensor, clips: Unrendered) -> Tensor:
    if waveform.device.type != "cpu":
        pieces = _pieces_of_noise(waveform, clips)
        pieces = pieces if clips.captured is None else clips.captured.limited(pieces, slice(None))
        return waveform.add_(clips.noise.to(waveform.device)[:, None, None] * pieces)
    generator = torch.Generator()
    for clip, (level, seed) in enumerate(zip(clips.noise.tolist(), clips.noise_seed.tolist(), strict=True)):
        if level:
            generator.manual_seed(seed)
            hiss = torch.randn(waveform.shape[1:], generator=generator)
            waveform[clip].add_(hiss if clips.captured is None else clips.captured.limited(hiss, clip), alpha=level)
    return waveform


def _pieces_of_noise(waveform: Tensor, clips: Unrendered) -> Tensor:
    """(B, 2, N) of unit variance: for each ear a stretch of one long noise, chosen by the clip's seed.

    To draw anew for each clip would start two kernels a clip, which costs more than the rest of the rendering.
    """
    bank, samples = _long_noise(waveform.device), waveform.shape[-1]
    seeds = clips.noise_seed.to(waveform.device)
    starts = torch.stack((seeds, seeds >> 31), dim=1) % (len(bank) - samples)
    return bank[starts[..., None] + torch.arange(samples, device=waveform.device)]


@lru_cache(maxsize=4)
def _long_noise(device: torch.device) -> Tensor:
    """Nine minutes of white noise of unit variance, always the same."""
    return torch.randn(2**24, generator=torch.Generator().manual_seed(0)).to(device)
