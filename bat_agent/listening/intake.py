"""From the blocks of a source to the last seconds of two ears at 32 kHz; nothing is joined across a gap."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import soxr

from bat_agent.errors import BadInput
from bat_agent.hearing.headings import Headings
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening.blocks import Block, Samples
from bat_agent.sound.audio import CLIPPED
from bat_agent.sound.ring import Ring, Waveform

LONGEST_S = 10.0
LARGEST = 1e6
HEADING_S = 0.005
"""How often a heading is read that comes in a channel."""


@dataclass
class Sides:
    """Which channel is which ear."""

    left: int = 0
    """Number of the channel, from 0."""
    right: int = 1
    swap: bool = False
    right_gain_db: float = 0.0
    """Added to the right ear, where the microphones differ."""
    heading: int | None = None
    """Number of the channel, from 0, in which the heading comes: full scale is half a circle, counter-clockwise."""
    named: bool = True
    """Whether somebody said which channels these are; else an input of more than two is refused."""


class Intake:
    """Takes blocks, keeps the last ``LONGEST_S`` seconds; not for several threads at once."""

    def __init__(self, sides: Sides | None = None) -> None:
        self.sides = sides or Sides()
        self.lost_s = 0.0
        """Sound that is known to be missing, seconds."""
        self.zeroed_s = 0.0
        """Sound that was lost and in whose place zeros came, seconds."""
        self.newest_s = 0.0
        """When the newest sample arrived, by the clock of the source."""
        self.headings = Headings()
        """Of the head, by :attr:`t_s`; none where nobody tells."""
        self._ring = Ring(round(LONGEST_S * SAMPLE_RATE_HZ))
        self._stream: soxr.ResampleStream | None = None
        self._rate_hz = SAMPLE_RATE_HZ
        self._frames, self._before_s = 0, 0.0
        self._clipped: deque[tuple[int, np.ndarray]] = deque()

    @property
    def heard_s(self) -> float:
        """Sound that arrived, and the time of pauses, seconds."""
        return self._before_s + self._frames / self._rate_hz  # whole numbers, which do not drift

    @property
    def t_s(self) -> float:
        """Where the newest sample lies in the stream: what was heard, and what is missing."""
        return self.heard_s + self.lost_s

    def open(self, sample_rate_hz: int, channels: int) -> None:
        """A source begins to send with this rate; raises :class:`~bat_agent.errors.BadInput` for missing channels."""
        most = max(self.sides.left, self.sides.right, self.sides.heading or 0) + 1
        if channels == 1:
            raise BadInput(
                "the input has one channel, and one ear hears no direction: give one with two microphones (left first)"
            )
        if channels > 2 + (self.sides.heading is not None) and not self.sides.named:
            raise BadInput(
                f"the input has {channels} channels, expected 2 (left and right ear); choose two with --channels 1,2 "
                "(in Python channels=(1, 2))"
            )
        if channels < most:
            raise BadInput(f"the input has {channels} channels, but channel {most} was asked for: change --channels")
        if sample_rate_hz != self._rate_hz:
            self._frames, self._before_s, self._rate_hz = 0, self.heard_s, sample_rate_hz
        self.gap(0.0)

    def gap(self, missing_s: float, *, wanted: bool = False) -> None:
        """Something is missing, which was ``wanted`` where listening was paused: forget what was heard before."""
        if wanted:
            self._before_s += missing_s
        else:
            self.lost_s += missing_s
        self._ring.clear()
        self.headings.clear()
        self._clipped.clear()
        if self._rate_hz != SAMPLE_RATE_HZ:
            self._stream = soxr.ResampleStream(self._rate_hz, SAMPLE_RATE_HZ, 2, dtype="float32", vr=True)
        else:
            self._stream = None

    def take(self, block: Block) -> Waveform:
        """Hear a block; returns it as the ears have it, (2, n) at 32 kHz. Numbers that are none become silence."""
        ears = self._ears(block.samples)
        self._face(block)
        self._frames += len(ears)
        self._count_clipped(ears)
        self.newest_s = block.arrived_s
        if self._stream is not None:
            ears = self._stream.resample_chunk(np.ascontiguousarray(ears))
        chunk: Waveform = np.ascontiguousarray(ears.T)
        self._ring.append(chunk)
        return chunk

    def look_at(self, seconds: float) -> Waveform:
        """What to look at: the newest sound, up to that long, of a head that turns as much as came near one heading."""
        newest = self.window(seconds)
        return self.window(self.headings.steady_s(self.t_s, newest)) if len(self.headings) else newest

    def window(self, seconds: float) -> Waveform:
        """The newest sound, (2, up to that long) at 32 kHz."""
        return self._ring.window(round(seconds * SAMPLE_RATE_HZ))

    def clipped_share(self) -> np.ndarray:
        """(2,) share of the samples of each ear, of the last second at the rate of the source, that reach full scale:
        resampling would hide it.
        """
        frames = sum(count for count, _ in self._clipped)
        return np.sum([found for _, found in self._clipped], axis=0) / frames if frames else np.zeros(2)

    def _face(self, block: Block) -> None:
        """Keep the heading that comes with a block, before its frames are counted."""
        channel = self.sides.heading
        if channel is not None:
            often = max(round(HEADING_S * self._rate_hz), 1)
            for frame in range(often - 1, len(block.samples), often):
                turned = float(np.nan_to_num(block.samples[frame, channel]))
                self.headings.say(self.t_s + (frame + 1) / self._rate_hz, 180 * turned)
        elif block.heading_deg is not None:
            self.headings.say(self.t_s + len(block.samples) / self._rate_hz, block.heading_deg)

    def _count_clipped(self, ears: Samples) -> None:
        self._clipped.append((len(ears), (np.abs(ears) >= CLIPPED).sum(axis=0)))
        while sum(count for count, _ in self._clipped) - self._clipped[0][0] >= self._rate_hz:
            self._clipped.popleft()

    def _ears(self, samples: Samples) -> Samples:
        sides = self.sides
        order = [sides.right, sides.left] if sides.swap else [sides.left, sides.right]
        ears = samples[:, order].astype(np.float32)
        if sides.right_gain_db:
            ears[:, 1] *= 10 ** (sides.right_gain_db / 20)
        # Finite but huge numbers stay far beyond full scale, which is told, without overflowing in sums of squares.
        return np.nan_to_num(ears, copy=False, nan=0.0, posinf=1.0, neginf=-1.0).clip(-LARGEST, LARGEST)
