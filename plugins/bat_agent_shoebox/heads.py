"""Heads by name: those that come with the package, SOFA files, and sets of heads; and which of a set hears a room.

A name is ``kemar``, ``sphere``, a ``.sofa`` file, a folder of such, a pattern (``heads/*.sofa``), or a ``.npz`` file
of many heads, of which ``file.npz#003`` is one. In places ``~`` and ``$VARIABLES`` are filled in (``$BAT_SHARED``
too), but names keep them, so that a scene may be rendered where the files lie elsewhere.

A ``.npz`` file holds ``hrir_int16`` (heads, directions, 2, taps), left ear first, times ``scale`` (heads,);
``direction`` (directions, 3), unit vectors towards the source in the axes of :mod:`bat_agent.scene`; ``subject``
(heads,) and, where it is not 32 kHz, ``rate_hz``.
"""

from __future__ import annotations

import functools
import glob
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.files.reading import read_arrays
from bat_agent.scene import Scene
from bat_agent.sound.audio import expand
from bat_agent.sound.sofa import MeasuredHead, content_hash, resampled

BUILT_IN = ("kemar", "sphere")
_ARRAYS = ("hrir_int16", "scale", "direction", "subject")
_DRAW = 0x48656164
"""Sets the lot that draws a head apart from all else that a room's seed decides."""


def single_heads(names: Sequence[str], only: Sequence[str] = (), without: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of all heads that these names stand for, in order, each once; of them ``only`` these subjects, if any
    are given, and none of those ``without``. A subject is the name in a set, or that of the file or built-in head.

    Raises :class:`~bat_agent.errors.BadInput` where nothing is found or left, or a subject is not among them.
    """
    found = dict.fromkeys(single for name in names for single in _singles(name))
    known = {subject_of(name) for name in found}
    if unknown := sorted((set(only) | set(without)) - known):
        raise BadInput(f"heads {', '.join(names)} hold no subject {unknown[0]!r}; known are {', '.join(sorted(known))}")
    left = tuple(name for name in found if (not only or subject_of(name) in only) and subject_of(name) not in without)
    if not left:
        raise BadInput(f"no head of {', '.join(names)} is left; leave subjects or without_subjects out")
    return left


def subject_of(name: str) -> str:
    """Who a single head is: ``003`` of ``set.npz#003``, ``anna`` of ``heads/anna.sofa``."""
    place, _, subject = name.rpartition("#")
    return subject if place else Path(name).stem


def head_of(scene: Scene, heads: Sequence[str]) -> str:
    """Which of ``heads`` hears a scene: the one that it names, else one drawn by its seed alone."""
    named = (scene.simulator.get("options") or {}).get("head")
    if named in heads:
        return str(named)
    return heads[int(np.random.default_rng((scene.seed, _DRAW)).integers(len(heads)))]


def place_of(name: str) -> str:
    """The file that holds a single head."""
    return expand(name.rpartition("#")[0] if ".npz#" in name else name)


def hash_of(name: str) -> str:
    """SHA-256 of the file that holds a head; empty for those of this package."""
    return "" if name in BUILT_IN else content_hash(place_of(name))


def is_head(name: object) -> bool:
    """Whether ``name`` can stand for heads at all, judged by its looks."""
    if not isinstance(name, str) or not name:
        return False
    file = name.rpartition("#")[0] if ".npz#" in name else name
    return name in BUILT_IN or file.endswith((".sofa", ".npz")) or Path(expand(name)).is_dir()


def read_from_set(name: str, rate_hz: int) -> MeasuredHead:
    """One head of a ``.npz`` set, ``file.npz#003``. Raises :class:`~bat_agent.errors.BadInput` as :func:`subjects`."""
    place, subject = place_of(name), subject_of(name)
    index = subjects(place, content_hash(place)).index(subject)
    with np.load(place) as data:
        hrir = data["hrir_int16"][index].astype(np.float64) * float(data["scale"][index])
        right, up, back = data["direction"].astype(np.float64).T
        source_hz = float(data["rate_hz"]) if "rate_hz" in data else float(rate_hz)
    return MeasuredHead(
        resampled(hrir, source_hz, rate_hz), np.zeros((len(hrir), 2)), np.stack([-back, -right, up], axis=1)
    )


@functools.lru_cache(maxsize=8)
def subjects(place: str, content: str) -> tuple[str, ...]:
    """Who is in a ``.npz`` set, whose content is told by its hash.

    Raises :class:`~bat_agent.errors.BadInput` for a file that is no set of heads.
    """
    try:
        data = read_arrays(Path(place))
        if missing := [name for name in _ARRAYS if name not in data]:
            raise BadInput(f"{place} lacks {', '.join(missing)}; a set of heads needs {', '.join(_ARRAYS)}")
        shapes: list[tuple[int, ...]] = [data[name].shape for name in _ARRAYS]
        names = tuple(str(name) for name in data["subject"])
        unit = np.linalg.norm(data["direction"].astype(np.float64), axis=-1)
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{place} cannot be read as a set of heads ({error}); give a .npz file") from error
    _check_set(place, shapes, names, unit)
    return names


def _check_set(place: str, shapes: list[tuple[int, ...]], names: tuple[str, ...], unit: NDArray[np.float64]) -> None:
    hrir = shapes[0]
    fits = len(hrir) == 4 and hrir[2] == 2 and shapes[1:] == [hrir[:1], (hrir[1], 3), hrir[:1]]
    if not fits or not len(names) or len(set(names)) < len(names) or np.abs(unit - 1).max() > 1e-3:
        raise BadInput(
            f"{place} holds arrays of shapes {shapes}; hrir_int16 (heads, directions, 2, taps), scale (heads,), "
            "direction (directions, 3) of length 1 and subject (heads,), each another, were expected"
        )


def _singles(name: str) -> list[str]:
    if name in BUILT_IN or ".npz#" in name:
        if ".npz#" in name and subject_of(name) not in subjects(place := place_of(name), content_hash(place)):
            raise BadInput(f"{place} holds no subject {subject_of(name)!r}; leave out what follows # to take all")
        return [name]
    place = expand(name)
    if name.endswith(".npz"):
        return [f"{name}#{subject}" for subject in subjects(place, content_hash(place))]
    if Path(place).is_dir():
        return _some([f"{name.rstrip('/')}/{file.name}" for file in sorted(Path(place).glob("*.sofa"))], name)
    if glob.has_magic(place) and not Path(place).is_file():
        return _some(sorted(file for file in glob.glob(place, recursive=True) if file.endswith(".sofa")), name)
    return [name]


def _some(found: list[str], name: str) -> list[str]:
    if not found:
        raise BadInput(f"no .sofa file in {name}; give a folder or pattern that holds some")
    return found
