"""From an ambisonic sound field to two ears.

Four or sixteen channels hold less than a head hears: a plain decoder (virtual loudspeakers, or magnitude least squares)
moves what the model hears by 20 to 75°. So the field is taken apart by what it holds:

1. *Sources.* Directions from which sound begins (:mod:`bat_agent.ambisonics.directions`). The field is matched by plane
   waves from them; each is heard through the head's own response, exactly. All direct sound is in this part.
2. *What walls return*, the rest. In first order, every short moment of every frequency is one more plane wave, from
   where its intensity comes (directional audio coding: Pulkki, JAES 55, 2007), and what that leaves
3. goes through a linear decoder: least squares, from 1.5 kHz (order 1) to 2.5 kHz (order 3) on of magnitudes alone
   (Schörkhuber, Zaunschirm and Höldrich, *Binaural rendering of ambisonic signals via magnitude least squares*, 2018).

What is one plane wave is rendered exactly, whatever its direction; what cannot be told apart keeps its level.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.signal import oaconvolve

from bat_agent.ambisonics.directions import Directions
from bat_agent.ambisonics.harmonics import ORDERS, harmonics, n3d_weights, num_channels, order_of, turn
from bat_agent.ambisonics.head import LEAD, TAPS, head_table
from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ

Floats = NDArray[np.float32]
BLOCK = 2 * SAMPLE_RATE_HZ
"""Samples for which directions hold; sources that move are followed from block to block."""
FADE = SAMPLE_RATE_HZ // 4
"""Blocks overlap by so much, one fading into the next."""
_SOURCES = {1: 2, 2: 3, 3: 3}
"""Order → directions at once."""
_WINDOW, _HOP, _FFT = 512, 256, 1024
_MAGNITUDES_FROM_HZ = {1: 1500.0, 2: 2000.0, 3: 2500.0}


def to_ears(channels: Any, *, heading_deg: float = 0.0, head: str = "kemar") -> Floats:
    """ACN/SN3D at 32 kHz, ((order + 1)², N) of order 1, 2 or 3, as two ears hear it: (2, N) float32, left first.

    ``heading_deg`` turns the head, counter-clockwise seen from above; ``head`` is one of the simulator ``shoebox``.
    Raises :class:`~bat_agent.errors.BadInput` for another number of channels, and a heading that is no number.
    """
    renderer = Renderer(len(channels), heading_deg=heading_deg, head=head)
    parts = [renderer.push(np.asarray(channels, dtype=np.float32)), renderer.finish()]
    return np.concatenate(parts, axis=1)


class Renderer:
    """The same for sound that comes in pieces: what comes out is as long as what went in, a block later."""

    def __init__(self, num_channels_in: int, *, heading_deg: float = 0.0, head: str = "kemar") -> None:
        order = order_of(num_channels_in)
        if order is None:
            wanted = ", ".join(str(num_channels(order)) for order in ORDERS)
            raise BadInput(f"an ambisonic sound has {wanted} channels (orders 1 to 3), got {num_channels_in}")
        if not np.isfinite(heading_deg):
            raise BadInput(f"a heading of {heading_deg:g}° is no direction; give degrees counter-clockwise")
        self._order, self._heading_deg, self._head = order, heading_deg, head
        self._directions = Directions(head_table(head), _SOURCES[order])
        self._waiting = np.zeros((num_channels_in, 0), np.float32)
        self._fading = np.zeros((2, 0), np.float32)
        """The end of the block before, which fades out."""

    def push(self, channels: Floats) -> Floats:
        """Take (channels, n) more; give what is done by now, (2, …)."""
        self._waiting = np.concatenate([self._waiting, channels], axis=1)
        done = list(self._blocks())
        return np.concatenate(done, axis=1) if done else np.zeros((2, 0), np.float32)

    def finish(self) -> Floats:
        """What is left, (2, …)."""
        rest, self._waiting = self._waiting, self._waiting[:, :0]
        if rest.shape[1] <= self._fading.shape[1]:
            return self._fading[:, : rest.shape[1]]
        return self._joined(self._render(rest))

    def _blocks(self) -> Iterator[Floats]:
        while self._waiting.shape[1] >= BLOCK + FADE:
            ears = self._joined(self._render(self._waiting[:, : BLOCK + FADE]))
            self._fading = ears[:, BLOCK:]
            self._waiting = self._waiting[:, BLOCK:]
            yield ears[:, :BLOCK]

    def _joined(self, ears: Floats) -> Floats:
        if size := self._fading.shape[1]:
            rising = np.linspace(0, 1, size, dtype=np.float32)
            ears[:, :size] = rising * ears[:, :size] + (1 - rising) * self._fading
        return ears

    def _render(self, block: Floats) -> Floats:
        table = head_table(self._head)
        field = turn(block, self._heading_deg) if self._heading_deg else block
        found = self._directions.look(field[:4])
        ears = np.zeros((2, field.shape[1]), np.float32)
        if found:
            waves = harmonics(table.directions[found], self._order)
            sources = (_matcher(waves, self._order) @ field).astype(np.float32)
            field = field - waves.T.astype(np.float32) @ sources
            for number, sound in zip(found, sources, strict=True):
                heard = oaconvolve(sound[None], table.responses[number], axes=1)
                ears += heard[:, LEAD : LEAD + ears.shape[1]].astype(np.float32)
        return ears + _reflections(field, self._order, self._head)


def _matcher(waves: Any, order: int) -> Any:
    """(K, channels) what gives the K plane waves (K, channels) that match a field best."""
    weighted = waves * n3d_weights(order) ** 2
    # The sources are at least 35° apart, so this is far from singular; the ridge is for directions yet unthought of.
    return np.linalg.solve(weighted @ waves.T + 1e-6 * np.eye(len(waves)), weighted)


def _reflections(field: Floats, order: int, head: str) -> Floats:
    """(2, N) of what is left of a field without its sources."""
    spectra = _analysed(field)
    ears: Any = 0
    if order == 1:
        table = head_table(head)
        intensity = [(spectra[0].conj() * spectra[channel]).real for channel in (3, 1, 2)]
        rows = table.nearest(*intensity)
        waves = np.moveaxis(harmonics(table.directions, 1).astype(np.float32)[rows], -1, 0)
        weights = (n3d_weights(1) ** 2).astype(np.float32)[:, None, None]
        sound = (weights * waves * spectra).sum(axis=0) / (weights * waves * waves).sum(axis=0)
        spectra = spectra - waves * sound
        bins = np.arange(spectra.shape[-1])
        responses = _response_spectra(head)
        ears = np.stack([responses[ear][rows, bins] * sound for ear in range(2)])
    ears = ears + np.einsum("ecf,ctf->etf", _decoder(order, head), spectra, optimize=True)
    return _synthesised(ears, field.shape[1])


def _analysed(field: Floats) -> Any:
    """(channels, moments, bins) spectra of overlapping moments, which add up to the field."""
    length = field.shape[1]
    moments = -(-length // _HOP) + 1
    padded = np.zeros((len(field), (moments + 1) * _HOP), np.float32)
    padded[:, _HOP : _HOP + length] = field
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis=1)[:, ::_HOP]
    return rfft(frames * np.hanning(_WINDOW + 1)[:-1].astype(np.float32), _FFT)


def _synthesised(spectra: Any, length: int) -> Floats:
    """(2, length) of filtered moments; each is followed by room for what the filters add."""
    pieces = irfft(spectra, _FFT).astype(np.float32)
    ears, moments, _ = pieces.shape
    steps = _FFT // _HOP
    out = np.zeros((ears, moments + steps, _HOP), np.float32)
    for step in range(steps):
        out[:, step : step + moments] += pieces[..., step * _HOP : (step + 1) * _HOP]
    begin = _HOP + LEAD
    return out.reshape(ears, -1)[:, begin : begin + length]


@functools.lru_cache(maxsize=4)
def _response_spectra(head: str) -> Any:
    """(2, D, bins) complex64."""
    spectra = rfft(head_table(head).responses, _FFT)
    return np.ascontiguousarray(np.moveaxis(spectra, 1, 0))


@functools.lru_cache(maxsize=8)
def _decoder(order: int, head: str) -> Any:
    """(2, channels, bins) complex64 filters from SN3D to the ears, with the delay of the table's responses."""
    table = head_table(head)
    frequency = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE_HZ)
    # The phase is carried on from bin to bin, so the common delay has to be taken out meanwhile.
    delay = np.exp(-2j * np.pi * frequency / SAMPLE_RATE_HZ * LEAD)
    wanted = rfft(table.responses.astype(np.float64), _FFT) / delay
    waves = harmonics(table.directions, order) * n3d_weights(order)
    match = np.linalg.pinv(waves)
    filters = np.empty((2, waves.shape[1], len(frequency)), np.complex128)
    for number, hz in enumerate(frequency):
        target = wanted[:, :, number]
        if hz > _MAGNITUDES_FROM_HZ[order]:
            before = waves @ filters[:, :, number - 1].T
            target = np.abs(target) * np.exp(1j * np.angle(before))
        filters[:, :, number] = (match @ target).T
    # A diffuse field is as loud as the head itself hears it.
    diffuse = (np.abs(wanted) ** 2).mean(axis=(0, 1))
    filters *= np.sqrt(diffuse / (np.abs(filters) ** 2).sum(axis=1).mean(axis=0))
    taps = irfft(filters * delay, _FFT)
    taps[..., 2 * TAPS :] = 0  # no room for more behind a moment
    return (rfft(taps, _FFT) * n3d_weights(order)[:, None]).astype(np.complex64)
