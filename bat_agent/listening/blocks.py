"""What a source of sound hands over: blocks of samples, and notices about what happened to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
NoticeKind = Literal["lost", "back", "gap", "switched", "ended", "note", "zeros"]


@dataclass(frozen=True)
class Block:
    """Some more of a stream."""

    samples: Samples
    """(n, channels), full scale ±1, at the rate of its source."""
    arrived_s: float
    """When its last sample was there, by the source's own clock (:attr:`SoundSource.clock_s`)."""
    heading_deg: float | None = None
    """Where the head faced at its last sample, counter-clockwise from above, from anywhere; ``None`` where not told."""


@dataclass(frozen=True)
class Notice:
    """Something happened to the stream; what was heard before must not be joined to what comes after it."""

    kind: NoticeKind
    """``lost``: no sound until ``back``; ``gap``: some is missing; ``switched``: it now comes from elsewhere;
    ``ended``: nothing will follow; ``note``: nothing is missing, but somebody should know; ``zeros``: zeros stand for
    sound that was lost."""
    text: str
    """One sentence for people."""
    arrived_s: float
    missing_s: float = 0.0
    """How much sound is missing, as far as that is known."""


class SoundSource(Protocol):
    """Where sound comes from: a device, a file, a socket, a simulator. Used by one thread at a time."""

    name: str
    """For people, e.g. the name of the device."""
    sample_rate_hz: int
    """Of its blocks; known once it is open."""
    channels: int
    """Of its blocks; known once it is open."""
    live: bool
    """Whether sound comes at its own pace. Otherwise it comes as fast as it is read, and its clock is that of the
    samples, so that the same file always gives the same events."""

    def open(self) -> None:
        """Begin; raises :class:`~bat_agent.errors.BadInput` with a sentence that says what to do."""
        ...

    def read(self, timeout_s: float) -> list[Block | Notice]:
        """All that has come since the last call; waits up to ``timeout_s`` for something and may return nothing."""
        ...

    def clock_s(self) -> float:
        """The time by the clock of its blocks: seconds, never running backwards."""
        ...

    def close(self) -> None:
        """Stop; may be opened again (pause). Closing twice is fine."""
        ...
