"""A folder of measured responses: ``manifest.csv``, one response a line.

Columns: ``file`` (two-channel audio, left ear first, any rate), ``room``, ``head``, ``azimuth_deg``, ``elevation_deg``
and ``distance_m`` of the source as the head hears it (frame of :mod:`bat_agent.scene`), and, where a head was measured
at several orientations, ``heading_deg`` (0 unless given). Further columns are for people.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from bat_agent.errors import BadInput
from bat_agent.files.reading import file_name, parse_rows
from bat_agent.scene import Position

NAME = "manifest.csv"
_NEEDED = ("file", "room", "head", "azimuth_deg", "elevation_deg", "distance_m")


@dataclass(frozen=True)
class Response:
    """One measured response: where its file is, and where its source is heard."""

    file: Path
    room: str
    head: str
    position: Position
    heading_deg: float = 0.0
    """Turn of the head, counter-clockwise, in the frame of the room."""
    row: int | None = None
    """Which response of a SOFA file; none for an audio file."""


def read_responses(folder: Path) -> list[Response]:
    """All lines of a folder's manifest.

    Raises :class:`~bat_agent.errors.BadInput`, with the number of the line, for what is missing or no response.
    """
    path = folder / NAME
    try:
        with path.open(encoding="utf-8", newline="") as text:
            (_, columns), *rows = parse_rows(text)
    except (OSError, ValueError) as error:
        raise BadInput(f"no measured rooms at {path} ({error}); give a folder with a {NAME}") from error
    if missing := [name for name in _NEEDED if name not in columns]:
        raise BadInput(f"{path} lacks the columns {', '.join(missing)}; it needs {', '.join(_NEEDED)}")
    if not rows:
        raise BadInput(f"{path} lists no response; add at least one")
    return [_response(folder, row, f"{path}:{number}") for number, row in rows]


def _response(folder: Path, row: dict[str, str], where: str) -> Response:
    try:
        place = [float(row[name] or "") for name in _NEEDED[3:]]
        heading_deg = float(row.get("heading_deg") or 0.0)
    except ValueError as error:
        raise BadInput(f"{where}: azimuth_deg, elevation_deg and distance_m must be numbers ({error})") from error
    if not all(map(math.isfinite, (*place, heading_deg))) or not -90 <= place[1] <= 90 or place[2] <= 0:
        raise BadInput(f"{where}: elevation_deg must lie in −90…90 and distance_m above 0, got {place}")
    file = folder / file_name(row["file"])
    if not file.is_file():
        raise BadInput(f"{where}: no file {file}; fetch it, or take the line out")
    position = Position(place[0] % 360.0, place[1], place[2])
    return Response(file, row["room"] or "", row["head"] or "", position, heading_deg % 360.0)
