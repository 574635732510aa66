"""What a source of rooms is to those who put clips together, and RIRs in the released layout as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from bat_agent.datasets import layout
from bat_agent.errors import BadInput
from bat_agent.files.reading import read_array
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.scene import Position, Scene


@dataclass(frozen=True)
class Place:
    """A listener in a room, and where a source may be."""

    positions: Sequence[Position]
    rows: Sequence[int]
    """Number of the RIR of each position, for :meth:`Rooms.read`; its place in ``scene`` where there is one."""
    scene: Scene | None = None
    """A room that is not rendered yet."""


class Rooms(Protocol):
    """Somewhere to get rooms from."""

    @property
    def taps(self) -> int:
        """Length of its RIRs, samples at 32 kHz."""
        ...

    def __len__(self) -> int:
        """How many rooms, or how often to come here next to others that have so many."""
        ...

    def place(self, number: int, rng: np.random.Generator) -> Place:
        """Room ``number``, or a new one drawn by ``rng``."""
        ...

    def read(self, rows: Sequence[int]) -> torch.Tensor:
        """RIRs (n, 2, taps), float16 or float32, by the rows of places."""
        ...

    def render(self, scenes: Sequence[Scene], device: torch.device) -> torch.Tensor:
        """RIRs (n, 2, taps) on ``device`` of new rooms, all their sources one after another."""
        ...

    def name(self, row: int, scene: Scene | None) -> str:
        """Which room and source, for people."""
        ...


class ReleasedRooms:
    """RIRs in the released layout, read when they are needed; a room is all RIRs of one listener.

    The released set gives nearly every RIR a listener of its own: then its building counts as the room, as two sources
    in one clip are otherwise impossible.
    """

    def __init__(self, json_file: Path, seconds: float) -> None:
        """Read the positions; raises :class:`~bat_agent.errors.BadInput` for a broken file or one without entries."""
        self.taps: int = round(seconds * SAMPLE_RATE_HZ)
        self.json_file = json_file
        names, positions = [], []
        listeners: dict[tuple[str, ...], list[int]] = defaultdict(list)
        buildings: dict[str, list[int]] = defaultdict(list)
        for row, item in enumerate(layout.ReverberationFile(json_file)):
            position = layout.position_of(item)
            names.append(item["fname"].encode())
            positions.append((position.azimuth_deg, position.elevation_deg, position.distance_m))
            building = item["fname"].rpartition("/")[0]
            listeners[building, item["sensor_position"], str(item.get("heading_deg", 0.0))].append(row)
            buildings[building].append(row)
        if not names:
            raise BadInput(f"{json_file} lists no reverberation, expected at least one; make or download it again")
        if self.taps < 1:
            raise BadInput(f"rooms need seconds above 0, got {seconds}")
        shared = sum(len(rows) for rows in listeners.values() if len(rows) > 1)
        groups = listeners.values() if 2 * shared > len(names) else buildings.values()
        # Columns: 21 000 entries take two megabytes.
        self._names, self._positions = np.array(names, dtype=np.bytes_), np.array(positions)
        self._rows, self._ends = np.concatenate([np.array(g) for g in groups]), np.cumsum([0, *map(len, groups)])
        self._room_of = np.repeat(np.arange(len(groups)), np.diff(self._ends))

    def __len__(self) -> int:
        return len(self._rows)

    def place(self, number: int, rng: np.random.Generator, most: int = 8) -> Place:
        """RIR ``number`` and others of its room, ``most`` in all, it being the first."""
        rows = self._rows[number : number + 1]
        if most > 1:
            room = self._room_of[number]
            others = self._rows[self._ends[room] : self._ends[room + 1]]
            others = others[others != rows[0]]
            rows = np.concatenate([rows, rng.permutation(others)[: most - 1]])
        return Place([Position(*values) for values in self._positions[rows].tolist()], rows.tolist())

    def read(self, rows: Sequence[int]) -> torch.Tensor:
        """(n, 2, taps) float32, cut or padded with silence; only what is needed of a file is read."""
        out = np.zeros((len(rows), 2, self.taps), dtype=np.float32)
        for rir, row in zip(out, rows, strict=True):
            path = layout.rir_path(self.json_file, self._names[row].decode())
            try:
                kept = read_array(path, mapped=True)[:, : self.taps]
            except (OSError, ValueError, IndexError) as error:
                raise BadInput(f"cannot read the RIR {path} ({error}); make or download it again") from error
            if len(kept) != 2:
                raise BadInput(f"the RIR {path} has {len(kept)} channels, expected 2; make or download it again")
            rir[:, : kept.shape[1]] = kept
        return torch.from_numpy(out)

    def render(self, scenes: Sequence[Scene], device: torch.device) -> torch.Tensor:
        """Nothing is left to render here; raises :class:`TypeError`."""
        raise TypeError("released RIRs are read, not rendered")

    def name(self, row: int, scene: Scene | None) -> str:
        """Its file."""
        return self._names[row].decode()
