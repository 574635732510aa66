"""Sets of source sounds: mono clips with classes and folds, loaded when needed.

A :class:`SoundSet` keeps columns instead of objects (about 30 bytes a clip), so that the two million clips of AudioSet
fit; a :class:`Sound` is made when it is asked for. :mod:`bat_agent.datasets.sound_libraries` opens them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, overload

import numpy as np

from bat_agent.datasets.cache import Cached
from bat_agent.errors import BadInput
from bat_agent.labels import class_number, labels

Balance = Literal["class", "bat", "none"]
_NO_FOLD = -1
_NAMED = 3
LARGEST_FOLD = 2**15 - 1
"""Folds are kept in 16 bits."""
RELEASED_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
"""What recordings in the released layout may end in; the release itself has the first."""


@dataclass(frozen=True)
class Sound:
    """One source clip: what it is, and where to get its samples."""

    id: str
    """Unique within its library: a path relative to the library, or the name of a procedural variant."""
    labels: tuple[str, ...]
    """Display names of the 355-class table."""
    fold: int | None
    """Fold of a cross-validation; ``None`` where the library has none."""
    loader: Callable[[str], np.ndarray] = field(repr=False, compare=False)
    """Gives the samples of an id."""

    @property
    def path(self) -> Path | None:
        """Its file; ``None`` for a sound that is made when it is needed."""
        folder = getattr(self.loader, "root", None)
        return None if folder is None else Path(folder) / self.id

    def waveform(self) -> np.ndarray:
        """The samples: float32 (N,), mono, 32 kHz. Raises :class:`~bat_agent.errors.BadInput` for a bad file."""
        return self.loader(self.id)


class Row(NamedTuple):
    """One sound of a :class:`SoundSet`: its id, class numbers and fold."""

    id: str
    classes: tuple[int, ...]
    fold: int | None


class SoundSet(Sequence[Sound]):
    """Sounds that can be indexed, filtered, joined and drawn from; made by :mod:`.sound_libraries`."""

    def __init__(self, rows: Iterable[Row], loader: Callable[[str], np.ndarray]) -> None:
        """Keep rows (id, class numbers, fold); ``loader`` gives the samples of an id."""
        kept = list(rows)
        self._ids = np.array([row.id.encode() for row in kept], dtype=np.bytes_)
        self._classes = np.array([c for row in kept for c in row.classes], dtype=np.int16)
        self._ends = np.cumsum([0, *(len(row.classes) for row in kept)])
        self._folds = np.array([_NO_FOLD if row.fold is None else row.fold for row in kept], dtype=np.int16)
        self._origin = np.zeros(len(kept), dtype=np.int16)
        self._loaders: tuple[Callable[[str], np.ndarray], ...] = (loader,)
        self.left_out: tuple[str, ...] = ()
        """Recordings that were listed but hold no sound, and so are no part of the set."""

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Sound: ...
    @overload
    def __getitem__(self, index: slice) -> SoundSet: ...
    def __getitem__(self, index: int | slice) -> Sound | SoundSet:
        """The sound with a number, or the set of the sounds in a slice."""
        if isinstance(index, slice):
            return self._take(np.arange(len(self))[index])
        number = range(len(self))[index]
        names = tuple(labels()[c] for c in self._classes[self._ends[number] : self._ends[number + 1]])
        fold = None if self._folds[number] == _NO_FOLD else int(self._folds[number])
        return Sound(self._ids[number].decode(), names, fold, self._loaders[self._origin[number]])

    def labels(self) -> tuple[str, ...]:
        """The classes that occur, in the order of the 355-class table."""
        return tuple(labels()[c] for c in np.unique(self._classes))

    def filter(self, *, folds: Iterable[int] | None = None, labels: Iterable[str] | None = None) -> SoundSet:
        """The sounds that lie in one of ``folds`` and bear at least one of ``labels`` (``None``: no condition).

        Raises :class:`~bat_agent.errors.BadInput` for an unknown label, or where nothing is left.
        """
        keep = np.ones(len(self), dtype=bool)
        if folds is not None:
            keep &= np.isin(self._folds, folds := sorted(folds))
        if labels is not None:
            labels = [labels] if isinstance(labels, str) else list(labels)
            wanted = np.isin(self._classes, [class_number(name) for name in labels])
            keep &= np.bincount(self._owner[wanted], minlength=len(self)) > 0
        if not keep.any():
            has = f"folds {np.unique(self._folds).tolist()} ({_NO_FOLD}: none) and labels {list(self.labels())}"
            raise BadInput(f"no sound is left with folds={folds} and labels={labels}; the set has {has}")
        return self._take(np.flatnonzero(keep))

    def weights(self) -> np.ndarray:
        """BAT's weight of each clip, float64 (len,): Σ over its labels of 1000 / (count of the label + 0.01)."""
        return bat_weights(self._classes, self._ends)

    def sample(self, rng: np.random.Generator, balance: Balance = "class") -> Sound:
        """Draw one sound, see :meth:`draw`."""
        return self[self.draw(rng, balance)]

    def draw(self, rng: np.random.Generator, balance: Balance = "class") -> int:
        """The number of a sound by lot.

        ``class``: a class uniformly, then one of its clips; ``bat``: by :meth:`weights`; ``none``: every clip alike.
        Raises :class:`~bat_agent.errors.BadInput` for an empty set.
        """
        if not len(self):
            raise BadInput("cannot draw from an empty set of sounds; check its folder, folds and labels")
        if balance == "class":
            clips = self._clips_of_class[int(rng.integers(len(self._clips_of_class)))]
            return int(clips[rng.integers(len(clips))])
        if balance == "bat":
            return int(np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], side="right"))
        if balance == "none":
            return int(rng.integers(len(self)))
        raise BadInput(f"balance must be 'class', 'bat' or 'none', got {balance!r}")

    def cached(self) -> SoundSet:
        """The same set, keeping what was loaded in memory as 16-bit samples (0.2 MB for 3 s), up to a gigabyte."""
        other = self._take(np.arange(len(self)))
        other._loaders = tuple(Cached(loader) for loader in self._loaders)
        return other

    def preload(self, workers: int) -> None:
        """Load all sounds of a :meth:`cached` set now, in so many processes, as far as there is room."""
        for number, loader in enumerate(self._loaders):
            if isinstance(loader, Cached):
                loader.preload([name.decode() for name in self._ids[self._origin == number]], workers)

    def _take(self, numbers: np.ndarray) -> SoundSet:
        other = object.__new__(SoundSet)
        lengths = np.diff(self._ends)[numbers]
        other._ends = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(other._ends[-1]) - np.repeat(other._ends[:-1], lengths)
        other._classes = self._classes[np.repeat(self._ends[numbers], lengths) + within]
        other._ids, other._folds, other._origin = self._ids[numbers], self._folds[numbers], self._origin[numbers]
        other._loaders, other.left_out = self._loaders, self.left_out
        return other

    @property
    def left_out_note(self) -> str | None:
        """How many recordings were left out, in a sentence; ``None`` where none were."""
        if not self.left_out:
            return None
        more = ", …" if len(self.left_out) > _NAMED else ""
        count = f"{len(self.left_out)} recording{'s' * (len(self.left_out) > 1)}"
        return f"{count} without sound left out (empty or broken): {', '.join(self.left_out[:_NAMED])}{more}"

    @cached_property
    def _owner(self) -> np.ndarray:
        """The clip that each entry of ``_classes`` belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self._ends))

    @cached_property
    def _clips_of_class(self) -> list[np.ndarray]:
        order = np.argsort(self._classes, kind="stable")
        starts = np.unique(self._classes[order], return_index=True)[1]
        return np.split(self._owner[order], starts[1:])

    @cached_property
    def _cumulative(self) -> np.ndarray:
        return np.cumsum(self.weights())


def bat_weights(classes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The weights of :meth:`SoundSet.weights`, float64 (clips,), from columns.

    The class numbers of clip i are ``classes[ends[i] : ends[i + 1]]``, each once, so that ``ends`` is (clips + 1,).
    """
    per_class = 1000.0 / (np.bincount(classes, minlength=len(labels())) + 0.01)
    owner = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    return np.bincount(owner, per_class[classes], minlength=len(ends) - 1)


def combine(*sets: SoundSet) -> SoundSet:
    """One set of all sounds of several; each keeps its own way of loading and its own cache."""
    both = object.__new__(SoundSet)
    both._ids = np.concatenate([s._ids for s in sets])
    both._classes = np.concatenate([s._classes for s in sets])
    both._folds = np.concatenate([s._folds for s in sets])
    both._ends = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(s._ends) for s in sets]))])
    first = np.cumsum([0, *(len(s._loaders) for s in sets)])
    both._origin = np.concatenate([s._origin + n for s, n in zip(sets, first, strict=False)]).astype(np.int16)
    both._loaders = tuple(loader for s in sets for loader in s._loaders)
    both.left_out = tuple(name for s in sets for name in s.left_out)
    return both
