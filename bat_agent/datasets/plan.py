"""What a set of RIRs consists of: rooms, placements in them, and the random numbers each of them comes from.

RIR n of room r belongs to placement n // K with K sources, of which it is number n % K. Room and placement alone, with
the seed and the split, decide what is drawn: how many workers there are, or in which order they work, cannot matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bat_agent.datasets.layout import SPLITS
from bat_agent.errors import BadInput
from bat_agent.registry import config_of

LONGEST_S = 60.0
RIRS_AT_ONCE = 16
"""Most RIRs in one task: enough to outweigh its cost, few enough for many tasks and a small memory."""


class Task(NamedTuple):
    """Some RIRs of one room."""

    room: int
    numbers: tuple[int, ...]
    """Which RIRs of the room, counted from 0."""


@dataclass(frozen=True)
class Plan:
    """All that decides the bytes of a set; checked when made, before anything is rendered."""

    simulator: str
    """Name of the simulator."""
    rooms: int
    """N, how many rooms."""
    count: int
    """M, how many RIRs in all, spread evenly over the rooms."""
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    """Options of the simulator."""
    split: str = "train"
    """``train`` or ``eval``; the same seed draws other rooms for each."""
    seed: int = 0
    """Seed of everything that is drawn."""
    sources: int = 1
    """K, sources heard at once from one position of the listener; each gives a RIR."""
    seconds: float | None = None
    """Cut or pad every RIR to this length; ``None`` keeps the simulator's."""
    mono: bool = False
    """Also write one-channel RIRs."""

    def __post_init__(self) -> None:
        for name, least in (("rooms", 1), ("count", 1), ("sources", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise BadInput(f"--{name} must be {least} or more, got {getattr(self, name)}")
        if self.count < self.rooms:
            raise BadInput(
                f"--count {self.count} is less than --rooms {self.rooms}, expected a RIR in every room; "
                f"ask for more RIRs or fewer rooms"
            )
        if self.seconds is not None and not 0 < self.seconds <= LONGEST_S:
            raise BadInput(
                f"--seconds must lie in (0, {LONGEST_S:g}], got {self.seconds}; leave it out to keep RIRs whole"
            )
        if self.split not in SPLITS:
            raise BadInput(f"--split must be one of {', '.join(SPLITS)}, got {self.split!r}")
        config_of("simulator", self.simulator, self.options)  # an unknown name or option is told at once

    def arguments(self) -> dict[str, Any]:
        """Everything above as JSON has it, to be stored and compared."""
        return asdict(self)

    def scene_name(self, room: int) -> str:
        """Folder of a room."""
        return f"{self.simulator}-{self.split}-{room:05d}"

    def fname(self, room: int, number: int) -> str:
        """``<scene>/<n>.npy``."""
        return f"{self.scene_name(room)}/{number}.npy"

    def share(self, room: int) -> int:
        """How many RIRs a room has: M // N, and one more in each of the first M % N rooms."""
        return self.count // self.rooms + (room < self.count % self.rooms)

    def index(self, room: int, number: int) -> int:
        """Place of a RIR among all, 0 … M − 1."""
        return room * (self.count // self.rooms) + min(room, self.count % self.rooms) + number

    def indices(self) -> dict[str, int]:
        """Room folder → index of its first RIR."""
        return {self.scene_name(room): self.index(room, 0) for room in range(self.rooms)}

    def sources_of(self, room: int, placement: int) -> int:
        """K, or fewer in the last placement of a room."""
        return min(self.sources, self.share(room) - placement * self.sources)

    def rng(self, room: int, placement: int) -> np.random.Generator:
        """The generator of one placement; that of placement 0 also draws the room."""
        return np.random.default_rng((self.seed, SPLITS.index(self.split), room, placement))

    def tasks(self, finished: Callable[[int], bool] = lambda index: False) -> Iterator[Task]:
        """What is still to be made, room by room, in tasks of whole placements."""
        step = self.sources * math.ceil(RIRS_AT_ONCE / self.sources)
        for room in range(self.rooms):
            for first in range(0, self.share(room), step):
                last = min(first + step, self.share(room))
                missing = tuple(n for n in range(first, last) if not finished(self.index(room, n)))
                if missing:
                    yield Task(room, missing)
