"""SOFA heads for the engine, rewritten as it reads them.

The engine takes cartesian positions for degrees, does not look at which ear comes first nor at delays, and does not
resample. So each file is read by :func:`bat_agent.sound.sofa.read_sofa` and handed on at 32 kHz, with spherical
positions on one radius, the left ear first and delays inside the responses.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.extras import needed
from bat_agent.files.writing import whole_path
from bat_agent.sound.sofa import MeasuredHead, content_hash, read_sofa
from bat_agent_soundspaces.engine import RATE_HZ

_LEAD = 16
"""Samples before the earliest response, for what a delay by parts of a sample rings ahead."""
_VERSION = 1
Array = NDArray[np.float64]


def engine_head(path: str, distance_m: float, allow_implausible: bool) -> str:
    """The file that the engine reads instead of the SOFA file ``path``; written once for each content.

    Raises :class:`~bat_agent.errors.BadInput` as :func:`bat_agent.sound.sofa.read_sofa` does, and where ``sofar`` is
    not installed.
    """
    told = f"{content_hash(path)} {distance_m} {_VERSION}"
    name = hashlib.sha256(told.encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"bat-agent-heads-{os.getuid()}"
    file = folder / f"{name}.sofa"
    if file.is_file():
        return str(file)
    head = read_sofa(path, RATE_HZ, distance_m=distance_m, allow_implausible=allow_implausible)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to another user")
        with whole_path(file) as temporary:
            write_for_engine(head, temporary)
    except (OSError, BadInput) as error:
        raise BadInput(f"cannot write the head {path} for the engine ({error}); set TMPDIR to another place") from error
    return str(file)


def write_for_engine(head: MeasuredHead, path: Path) -> None:
    """Write a head at 32 kHz as a plain SimpleFreeFieldHRIR: spherical, left ear first, no delays left."""
    with needed("sofa", "writing a head for the engine"):
        import sofar
    data = sofar.Sofa("SimpleFreeFieldHRIR")
    data.Data_IR, data.Data_SamplingRate = with_delays(head), RATE_HZ
    front, left, up = head.directions.T
    azimuth = np.degrees(np.arctan2(left, front)) % 360
    elevation = np.degrees(np.arcsin(np.clip(up, -1, 1)))
    data.SourcePosition = np.stack([azimuth, elevation, np.full(len(front), head.radius_m)], axis=1)
    data.ReceiverPosition = np.array([[0, 0.09, 0], [0, -0.09, 0]])
    sofar.write_sofa(str(path), data)


def with_delays(head: MeasuredHead) -> Array:
    """(M, 2, N) responses that hold their delays, but for what all have in common."""
    late = head.delay - head.delay.min()
    if late.max() < 1e-6:
        return head.hrir
    taps = head.hrir.shape[-1] + int(np.ceil(late.max())) + 2 * _LEAD
    size = 1 << int(np.ceil(np.log2(2 * taps)))
    turn = np.exp(-2j * np.pi * (late + _LEAD)[..., None] * np.fft.rfftfreq(size))
    return np.asarray(np.fft.irfft(np.fft.rfft(head.hrir, size) * turn, size)[..., :taps])
