"""The formats of ambisonic recordings: which channel is which harmonic, and how it is scaled.

``ambix`` is ACN/SN3D, as most of today's recorders and 360° videos have it; ``n3d`` is ACN/N3D; ``fuma`` is the older
order W X Y Z R S T U V K L M N O P Q with a maximum of 1 in every channel but W, which is 3 dB down (``.amb`` files;
Malham, *Higher order Ambisonic systems*, 2003).
"""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import Any, Literal, get_args

import numpy as np
import soundfile
from numpy.typing import NDArray

from bat_agent.ambisonics.harmonics import ORDERS, n3d_weights, num_channels, order_of
from bat_agent.errors import BadInput

Form = Literal["ambix", "n3d", "fuma"]
FORMS: tuple[Form, ...] = get_args(Form)
_FUMA = dict(zip("WXYZRSTUVKLMNOPQ", (0, 3, 1, 2, 6, 7, 5, 8, 4, 12, 13, 11, 14, 10, 15, 9), strict=True))
"""The channels of FuMa in their order, and their numbers in ACN."""
_TO_SN3D = (
    {"W": math.sqrt(2)}
    | dict.fromkeys("STUV", math.sqrt(3) / 2)
    | dict.fromkeys("LM", math.sqrt(32 / 45))
    | dict.fromkeys("NO", math.sqrt(5) / 3)
    | dict.fromkeys("PQ", math.sqrt(5 / 8))
)
"""What a channel of FuMa is multiplied with; the others with 1."""
_PRESENT = {
    3: "WXY", 4: "WXYZ", 5: "WXYUV", 6: "WXYZUV", 7: "WXYUVPQ", 8: "WXYZUVPQ", 9: "WXYZRSTUV", 11: "WXYZRSTUVPQ",
    16: "WXYZRSTUVKLMNOPQ",
}  # fmt: skip
"""Which of them a file of so many channels has; the lesser ones hold less of height."""
_LOW_HZ, _HIGH_HZ = 200.0, 3000.0
_BAND_S = 0.032
_AMBIX_RATIO, _FUMA_RATIO = 1.0, 2.0
_FAR = 1.45
"""Ratios further from AmbiX's than this factor are not AmbiX: microphones side by side, or FuMa, have 2 to 3."""


def to_ambix(channels: Any, form: Form) -> NDArray[np.float32]:
    """(channels, N) of any of :data:`FORMS` as ACN/SN3D, ((order + 1)², N) float32.

    Raises :class:`~bat_agent.errors.BadInput` for a number of channels that the format does not have.
    """
    given = np.asarray(channels, dtype=np.float32)
    count = len(given)
    if form not in FORMS:
        raise BadInput(f"there is no ambisonic format {form!r}; choose one of {', '.join(FORMS)}")
    if form == "fuma":
        if count not in _PRESENT:
            raise BadInput(f"FuMa has {_listed(_PRESENT)} channels, got {count}; is it ambisonic?")
        letters = _PRESENT[count]
        degree = math.isqrt(max(_FUMA[letter] for letter in letters))
        moved = np.zeros((num_channels(degree), *given.shape[1:]), np.float32)
        for letter, samples in zip(letters, given, strict=True):
            moved[_FUMA[letter]] = samples * np.float32(_TO_SN3D.get(letter, 1.0))
        return moved
    order = order_of(count)
    if order is None:
        orders = [num_channels(order) for order in ORDERS]
        raise BadInput(f"{form} has {_listed(orders)} channels (orders 1 to 3), got {count}; is it ambisonic?")
    if form == "ambix":
        return given
    return given / n3d_weights(order).astype(np.float32).reshape(-1, *[1] * (given.ndim - 1))


def named_form(file: soundfile.SoundFile, name: str) -> Form | None:
    """The format that a file names itself: ``.amb``, or WAVEX whose samples libsndfile calls Ambisonic B."""
    if PurePath(name).suffix.lower() == ".amb" and file.channels in _PRESENT:
        return "fuma"
    # libsndfile tells the subformat of WAVEX in the log of opening alone, as "format : pcm (Ambisonic B)".
    return "fuma" if "(Ambisonic B)" in file.extra_info and file.channels in _PRESENT else None


def could_be(count: int) -> bool:
    """Whether so many channels may be ambisonic where nothing says so."""
    return order_of(count) is not None


def guess(channels: Any, rate_hz: float) -> Form | None:
    """``ambix`` or ``fuma``, whichever (channels, N) of a file that does not say look like; ``None`` for neither.

    In a sound field the three figures-of-eight together carry as much energy as the pressure, whatever comes from
    where; so their ratio is 1 in SN3D and 2 in FuMa. It is 3 in N3D and with microphones side by side, which cannot be
    told apart. It is found band by band, so that one loud tone between walls does not decide.
    """
    samples = np.asarray(channels, dtype=np.float32)[:4]
    size = max(round(_BAND_S * rate_hz), 16)
    frames = samples[:, : samples.shape[1] // size * size].reshape(4, -1, size)
    if not frames.size or not samples[0].any():
        return None
    power = (np.abs(np.fft.rfft(frames * np.hanning(size).astype(np.float32))) ** 2).mean(axis=1)
    frequency = np.fft.rfftfreq(size, 1 / rate_hz)
    power = power[:, (frequency > _LOW_HZ) & (frequency < _HIGH_HZ)]
    heard = power[0] > 1e-4 * power[0].max()
    ratio = float(np.median(power[1:, heard].sum(axis=0) / power[0, heard]))
    if 1 / _FAR < ratio / _AMBIX_RATIO < _FAR:
        return "ambix"
    # Between 1.45 and 2.45 lies only FuMa; three and more have many other things too.
    return "fuma" if _FAR <= ratio < _FUMA_RATIO * 1.22 else None


def _listed(numbers: Any) -> str:
    first, last = list(numbers)[:-1], list(numbers)[-1]
    return f"{', '.join(map(str, first))} or {last}"
