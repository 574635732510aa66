"""Heads from SOFA files (AES69), as they come: responses, spectra or filters, in any frame, unit, order and rate.

Read by what stands in a file, whatever its version says: ``Data.IR`` (SimpleFreeFieldHRIR, FreeFieldHRIR),
``Data.Real`` and ``Data.Imag`` (SimpleFreeFieldHRTF) or ``Data.SOS`` (SimpleFreeFieldHRSOS); delays of each ear or of
each measurement; positions in cartesian or spherical coordinates, in the units that they name; a listener or a source
that turns; ears in either order. Where directions were measured at several radii, the ring whose radius is nearest to
a wanted distance.

Letters in shapes: M measurements, R = 2 ears, N samples or frequencies, E loudspeakers measured at once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.extras import needed
from bat_agent.files.reading import file_name
from bat_agent.sound.sofa_checks import check_plausible
from bat_agent.sound.sofa_data import ear_responses
from bat_agent.sound.sofa_frames import BROKEN, directions_and_radii, left_ear_first, opened

Array = NDArray[np.float64]
CONVENTIONS = ("SimpleFreeFieldHRIR", "FreeFieldHRIR", "SimpleFreeFieldHRTF", "SimpleFreeFieldHRSOS")
FAR_M = 1.5
"""Distance of most sources: of several radii, the nearest to it is taken."""
_RING = 1.1
"""Radii that follow each other by less than this factor are one ring, measured by hand."""
_PAD = 64
"""Samples of silence around a response before it is resampled, so that the filter's ringing is kept."""


@dataclass(frozen=True)
class MeasuredHead:
    """M measured directions of both ears, at the rate that was asked for."""

    hrir: Array
    """(M, 2, N), left ear first; scaled as an impulse response: its spectrum does not change with the rate."""
    delay: Array
    """(M, 2) samples to be added to what ``hrir`` holds."""
    directions: Array
    """(M, 3) unit vectors from the head to the source, x front, y left, z up."""
    radius_m: float = 1.0
    """Distance of the sources; the median, where they differ."""


def content_hash(path: str) -> str:
    """SHA-256 of a file, to notice that another one stands in its place. Raises BadInput where there is none."""
    try:
        return hashlib.sha256(Path(file_name(path)).read_bytes()).hexdigest()
    except OSError as error:
        raise BadInput(
            f"SOFA file {path} cannot be read ({error.strerror}); give the path of an HRTF, or another head"
        ) from error


def read_sofa(path: str, rate_hz: int, *, distance_m: float = FAR_M, allow_implausible: bool = False) -> MeasuredHead:
    """Read a head; any rate is resampled to ``rate_hz``. Of several radii that nearest to ``distance_m`` is taken.

    Raises :class:`~bat_agent.errors.BadInput` for a file that is broken, holds something else, or sounds like no head
    (:mod:`bat_agent.sound.sofa_checks`; with ``allow_implausible`` that is a warning), and where ``netCDF4`` is not
    installed.
    """
    with needed("sofa", f"reading the SOFA file {path}"):
        import netCDF4
    try:
        file = netCDF4.Dataset(path)
    except Exception as error:  # netCDF4 raises whatever it likes on a broken file
        raise BadInput(f"{path} is no SOFA file that can be read ({type(error).__name__}: {error})") from error
    with file:
        convention = str(getattr(file, "SOFAConventions", "none"))
        if convention not in CONVENTIONS:
            raise BadInput(
                f"SOFA file {path} follows the convention {convention}; a head needs one of {', '.join(CONVENTIONS)}"
            )
        try:
            head = _head(opened(file), rate_hz, distance_m)
            check_plausible(head.hrir, head.delay, head.directions, rate_hz, allow_implausible=allow_implausible)
        except BadInput as error:
            raise BadInput(f"SOFA file {path} {error}") from error
        except BROKEN as error:
            raise BadInput(f"SOFA file {path} is malformed ({error}); {convention} was expected") from error
    return head


def resampled(hrir: Array, source_hz: float, rate_hz: int) -> Array:
    """Responses (M, 2, N) at another rate, with their spectrum.

    Silence around them moves all responses by the same time, which the head's own time reference takes out.
    """
    if source_hz == rate_hz:
        return hrir
    padded = np.pad(hrir, ((0, 0), (0, 0), (_PAD, _PAD)))
    channels = padded.reshape(-1, padded.shape[-1]).T
    moved = np.concatenate(
        [soxr.resample(channels[:, k : k + 256], source_hz, rate_hz, "VHQ") for k in range(0, channels.shape[1], 256)],
        axis=1,
    )
    return moved.T.reshape(*hrir.shape[:2], -1) * (source_hz / rate_hz)


def _head(file: dict[str, Any], rate_hz: int, distance_m: float) -> MeasuredHead:
    hrir, delay, source_hz = ear_responses(file)
    directions, radii_m = directions_and_radii(file, len(hrir))
    if not left_ear_first(file):
        hrir, delay = hrir[:, ::-1], delay[:, ::-1]
    ring = nearest_ring(radii_m, distance_m)
    hrir, delay, directions = hrir[ring], delay[ring], directions[ring]
    scale = rate_hz / source_hz
    return MeasuredHead(resampled(hrir, source_hz, rate_hz), delay * scale, directions, float(np.median(radii_m[ring])))


def nearest_ring(radii_m: Array, distance_m: float) -> NDArray[np.bool_]:
    """(M,) which measurements belong to the ring whose radius is, by its ratio, nearest to ``distance_m``.

    A ring ends where the next larger radius is a tenth larger.
    """
    order = np.argsort(radii_m, kind="stable")
    ring = np.empty(len(order), dtype=int)
    ring[order] = np.concatenate([[0], np.cumsum(radii_m[order][1:] > _RING * radii_m[order][:-1])])
    middle = [float(np.median(radii_m[ring == number])) for number in range(ring.max() + 1)]
    return np.asarray(ring == int(np.argmin(np.abs(np.log(np.array(middle) / distance_m)))))
