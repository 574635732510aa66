"""Measured rooms in SOFA files: binaural responses of one room, of sources or loudspeakers, for one or many headings.

Read are the conventions SingleRoomSRIR, MultiSpeakerBRIR, and SimpleFreeFieldHRIR and FreeFieldHRIR where the file says
that its room reflects (``RoomType`` is not ``free field``), by what stands in the file, as for heads
(:mod:`bat_agent.sound.sofa`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.extras import needed
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.scene import Position, azimuth_from_ccw_from_front
from bat_agent.sound.audio import resample
from bat_agent.sound.sofa_data import ear_responses
from bat_agent.sound.sofa_frames import BROKEN, axes_of, directions_and_radii, left_ear_first, opened
from bat_agent_measured.manifest import Response

ROOMS = ("SingleRoomSRIR", "MultiSpeakerBRIR")
HEADS = ("SimpleFreeFieldHRIR", "FreeFieldHRIR")


def read_sofa_rooms(path: Path) -> list[Response]:
    """Every response of a file, with the place of its source as the head hears it, and the head's heading.

    Raises :class:`~bat_agent.errors.BadInput` for a file that is broken or no binaural room, and where ``netCDF4`` is
    not installed.
    """
    with _open(path) as file:
        variables = opened(file)
        hrir, _, _ = ear_responses(variables)
        left_ear_first(variables)
        directions, radii_m = directions_and_radii(variables, len(hrir))
        front = axes_of(variables, "Listener")[:, 0]
        room = str(getattr(file, "RoomShortName", "") or path.stem)
        head = str(getattr(file, "ListenerShortName", "") or "head")
    headings = np.degrees(np.arctan2(front[:, 1], front[:, 0])) % 360
    headings = np.repeat(headings, len(hrir) // len(headings)) if len(headings) > 1 else np.repeat(headings, len(hrir))
    found = []
    for row, (direction, radius_m, heading_deg) in enumerate(zip(directions, radii_m, headings, strict=True)):
        azimuth_deg = azimuth_from_ccw_from_front(math.degrees(math.atan2(direction[1], direction[0])))
        elevation_deg = math.degrees(math.asin(max(-1.0, min(1.0, float(direction[2])))))
        found.append(Response(path, room, head, Position(azimuth_deg, elevation_deg, float(radius_m)),
                              round(float(heading_deg), 6) % 360, row))  # fmt: skip
    return found


def sofa_response(path: Path, row: int) -> NDArray[np.float32]:
    """(2, taps) at 32 kHz of one response, left ear first, its delays in it."""
    hrir, delay, rate_hz = _all(str(path))
    late = np.round(delay[row] - delay.min()).astype(int)
    taps = hrir.shape[-1] + int(late.max())
    ears = np.zeros((2, taps), dtype=np.float32)
    for ear in (0, 1):
        ears[ear, late[ear] : late[ear] + hrir.shape[-1]] = hrir[row, ear]
    return np.asarray(resample(ears, rate_hz, SAMPLE_RATE_HZ), dtype=np.float32)


@lru_cache(maxsize=4)
def _all(path: str) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    with _open(Path(path)) as file:
        variables = opened(file)
        hrir, delay, rate_hz = ear_responses(variables)
        return (hrir, delay, rate_hz) if left_ear_first(variables) else (hrir[:, ::-1], delay[:, ::-1], rate_hz)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    with needed("sofa", f"reading the SOFA file {path}"):
        import netCDF4
    try:
        file = netCDF4.Dataset(str(path))
    except Exception as error:  # netCDF4 raises whatever it likes on a broken file
        raise BadInput(f"{path} is no SOFA file that can be read ({type(error).__name__}: {error})") from error
    with file:
        convention, kind = str(getattr(file, "SOFAConventions", "none")), str(getattr(file, "RoomType", ""))
        if convention not in ROOMS and (convention not in HEADS or kind.strip().lower() in ("", "free field")):
            raise BadInput(
                f"SOFA file {path} follows the convention {convention}, room type {kind or 'none'!r}; a measured room "
                f"needs one of {', '.join(ROOMS)}, or {HEADS[0]} of a room that is no free field"
            )
        try:
            yield file
        except BadInput as error:
            raise BadInput(f"SOFA file {path} {error}") from error
        except BROKEN as error:
            raise BadInput(f"SOFA file {path} is malformed ({error}); {convention} was expected") from error
