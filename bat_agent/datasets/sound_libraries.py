"""Libraries of source sounds, from disk or made on the spot; recipes name one in a line, see :func:`open_sounds`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bat_agent.datasets.clip_lists import json_items
from bat_agent.datasets.sounds import LARGEST_FOLD, RELEASED_SUFFIXES, Row, SoundSet, combine
from bat_agent.errors import BadInput
from bat_agent.files.reading import file_name, parse_rows
from bat_agent.labels import class_number, label_index, label_table
from bat_agent.sound.audio import expand, holds_sound, read_mono
from bat_agent.sound.synthesis import PROCEDURAL_LABELS, synthesise

NUM_FOLDS = 5
_AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64", ".rf64"})
_METADATA_OF_SPLIT = {"balanced_train": "balanced", "unbalanced_train": "unbalanced"}


class MissingSounds(BadInput):
    """A library is not where it was said to be."""


def procedural(seed: int = 0, variants_per_class: int = 40) -> SoundSet:
    """Synthesised sounds of every class that :mod:`bat_agent.sound.synthesis` has; variant v lies in fold 1 + v mod 5.

    A variant depends on seed, class and v only, so that a longer set begins with the shorter one.
    """
    if variants_per_class < 1:
        raise BadInput(f"variants_per_class must be at least 1, got {variants_per_class}")
    pairs = itertools.product(PROCEDURAL_LABELS, range(variants_per_class))
    rows = (Row(f"procedural/{name}/{v}", (label_index()[name],), 1 + v % NUM_FOLDS) for name, v in pairs)
    return SoundSet(rows, _Procedural(seed))


def from_manifest(csv_path: str | os.PathLike[str]) -> SoundSet:
    """The sounds of a CSV file with columns ``file`` (relative to it), ``labels`` (joined by ``;``) and ``fold``.

    ``fold`` may be empty or absent; other columns are ignored. Recordings without sound are
    :attr:`~bat_agent.datasets.sounds.SoundSet.left_out`. Raises :class:`~bat_agent.errors.BadInput` with file and
    line number for a missing column, an unknown label, a fold that is no whole number ≥ 0, or a missing file.
    """
    path = Path(csv_path)
    if not path.is_file():
        raise MissingSounds(f"no sound manifest at {path}, expected a CSV file with columns file, labels, fold")
    rows = []
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        try:
            table = parse_rows(lines)
            _, columns = next(table)
            if missing := {"file", "labels"} - columns.keys():
                raise BadInput(f"{path}:1: lacks the columns {sorted(missing)}, expected file, labels and fold")
            for number, values in table:
                with _located(f"{path}:{number}"):
                    rows.append(_manifest_row(path.parent, values))
        except BadInput:
            raise
        except ValueError as error:
            raise BadInput(f"{path}: {error}, expected a CSV file with columns file, labels, fold; mend it") from error
    if not rows:
        raise BadInput(f"{path} lists no sound, expected one a line after the heading")
    return _with_sound(rows, path.parent, str(path))


def from_folder(folder: str | os.PathLike[str], labels: Mapping[str, str | Sequence[str]] | None = None) -> SoundSet:
    """The audio files of a folder of folders; a subfolder's name is the label, in any case, with ``_`` for a space.

    ``labels`` gives the labels of subfolders named otherwise. Recordings without sound are
    :attr:`~bat_agent.datasets.sounds.SoundSet.left_out`. Raises :class:`~bat_agent.errors.BadInput` for a name
    that is not in the 355-class table and not in ``labels``, and where no audio file is found.
    """
    root = Path(folder)
    if not root.is_dir():
        raise MissingSounds(f"no folder of sounds at {root}, expected one subfolder a class")
    rows = []
    for child in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        given = (labels or {}).get(child.name, child.name.replace("_", " "))
        with _located(f"{child}, rename it or pass labels={{{child.name!r}: …}}"):
            classes = _class_numbers([given] if isinstance(given, str) else given)
        files = sorted(p for p in child.rglob("*") if p.suffix.lower() in _AUDIO_SUFFIXES and p.is_file())
        rows += [Row(file.relative_to(root).as_posix(), classes, None) for file in files]
    if not rows:
        raise BadInput(f"{root} holds no audio file in a subfolder, expected e.g. {root / 'Dog' / 'bark.wav'}")
    return _with_sound(rows, root, str(root))


def _with_sound(rows: Sequence[Row], root: Path, name: str) -> SoundSet:
    """The recordings that hold sound; the others are counted, as one of them would stop a training when it is drawn."""
    kept = [row for row in rows if holds_sound(root / row.id)]
    if not kept:
        raise BadInput(f"none of the {len(rows)} recordings of {name} holds any sound; copy or record them again")
    sounds = SoundSet(kept, _Files(root))
    there = {row.id for row in kept}
    sounds.left_out = tuple(row.id for row in rows if row.id not in there)
    return sounds


def from_audioset(
    root: str | os.PathLike[str], split: str = "balanced_train", missing: Literal["refuse", "skip"] = "refuse"
) -> SoundSet:
    """AudioSet in the released layout of SpatialSoundQA: ``metadata/*.json`` and ``<folder>/audio/Y<id>.wav``.

    ``root`` is the folder ``AudioSet`` or the one above it; ``split`` is balanced_train, unbalanced_train or eval (also
    ``balanced``, ``unbalanced``). Labels outside the 355 classes are dropped, and clips that have no other. Raises
    :class:`~bat_agent.errors.BadInput` for broken metadata and, with ``missing="refuse"``, for missing clips.
    """
    base = Path(root) / "AudioSet" if (Path(root) / "AudioSet").is_dir() else Path(root)
    path = base / "metadata" / f"{_METADATA_OF_SPLIT.get(split, split)}.json"
    if not path.is_file():
        raise MissingSounds(f"no AudioSet metadata at {path}, expected a JSON list; check root and split {split!r}")
    number_of = {mid: number for number, (mid, _) in enumerate(label_table())}
    listed = _Listing(base)
    rows, absent = [], []
    for number, item in enumerate(json_items(path)):
        try:
            classes = tuple(dict.fromkeys(number_of[mid] for mid in item["label"] if mid in number_of))
            folder, clip = str(item["folder"]), str(item["id"])
        except (TypeError, KeyError) as error:
            raise BadInput(f"{path}: item {number} is broken ({error!r}), expected id, folder and label") from None
        if classes:
            file = listed.find(folder, clip)
            rows.append(Row(file, classes, None)) if file else absent.append(f"{folder}/audio/Y{clip}.wav")
    if absent and (missing == "refuse" or not rows):
        raise BadInput(
            f"{len(absent)} of {len(rows) + len(absent)} clips of {path} are missing, first {base / absent[0]}; fetch "
            "them, or leave them out with missing='skip' (in a recipe: '?missing=skip' after the split)"
        )
    return SoundSet(rows, _Files(base))


def open_sounds(spec: str | Sequence[str], *, cache: bool = False) -> SoundSet:
    """Open the library that a recipe names; several specs make one set.

    ``procedural`` or ``procedural:VARIANTS``, ``manifest:PATH``, ``folder:DIR``, ``audioset:ROOT/split`` (with
    ``?missing=skip`` behind it for an incomplete download). ``~``, ``$BAT_SHARED`` (default ``../shared``) and other
    variables are expanded. ``cache=True`` keeps loaded clips in memory.
    """
    if not isinstance(spec, str):
        return combine(*(open_sounds(one, cache=cache) for one in spec))
    kind, _, place = spec.partition(":")
    if kind not in _OPENERS or (kind != "procedural" and not place):
        raise BadInput(f"no library {spec!r}, expected procedural, manifest:PATH, folder:DIR, audioset:ROOT/split")
    sounds = _OPENERS[kind](expand(place))
    return sounds.cached() if cache else sounds


def _open_procedural(variants: str) -> SoundSet:
    if not variants.isdecimal() and variants:
        raise BadInput(f"procedural:{variants} must name a number of variants per class, e.g. procedural:40")
    return procedural(variants_per_class=int(variants or 40))


def _open_audioset(place: str) -> SoundSet:
    place, _, option = place.partition("?")
    root, _, split = place.rstrip("/").rpartition("/")
    if option not in ("", "missing=skip") or not root:
        raise BadInput(f"audioset:{place} must read audioset:ROOT/split or audioset:ROOT/split?missing=skip")
    return from_audioset(root, split, "skip" if option else "refuse")


_OPENERS: dict[str, Callable[[str], SoundSet]] = {
    "procedural": _open_procedural,
    "manifest": from_manifest,
    "folder": from_folder,
    "audioset": _open_audioset,
}


# Where samples come from: classes rather than closures, so that worker processes can be sent a set.
@dataclass(frozen=True)
class _Files:
    root: Path

    def __call__(self, sound_id: str) -> np.ndarray:
        return read_mono(self.root / sound_id)


@dataclass(frozen=True)
class _Procedural:
    seed: int

    def __call__(self, sound_id: str) -> np.ndarray:
        _, name, variant = sound_id.split("/")
        return synthesise(name, np.random.default_rng([self.seed, label_index()[name], int(variant)]))


class _Listing:
    """Finds clips by listing each folder once; asking the disk for two million names would take minutes."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._names: dict[str, set[str]] = {}

    def find(self, folder: str, clip: str) -> str | None:
        """Path relative to the base; the released lists write folder and id both with and without audio/ and Y."""
        stems = dict.fromkeys((f"Y{clip}", clip, clip.removeprefix("Y")))
        for place in dict.fromkeys((f"{folder}/audio", folder, folder.removesuffix("/audio"))):
            if place not in self._names:
                there = self._base / place
                self._names[place] = set(os.listdir(there)) if there.is_dir() else set()
            if not (names := self._names[place]):
                continue
            for name in (*(stem + suffix for stem in stems for suffix in RELEASED_SUFFIXES), clip):
                if name in names:
                    return f"{place}/{name}"
        return None


@contextmanager
def _located(where: str) -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from None


def _class_numbers(names: Iterable[str]) -> tuple[int, ...]:
    if numbers := tuple(dict.fromkeys(class_number(name) for name in names if name.strip())):
        return numbers
    raise BadInput("there is no label, expected at least one display name of the 355-class table")


def _manifest_row(root: Path, values: Mapping[str, Any]) -> Row:
    file, names, fold = (values.get(column) or "" for column in ("file", "labels", "fold"))
    if not file:
        raise BadInput("there is no file name, expected file,labels,fold")
    classes = _class_numbers(names.split(";"))
    if not (root / file_name(file)).is_file():
        raise BadInput(f"no audio file at {root / file}; fetch it or delete the line")
    if fold.strip() and not (fold.strip().isdecimal() and len(fold.strip()) < 10 and int(fold) <= LARGEST_FOLD):
        raise BadInput(f"fold must be a whole number up to {LARGEST_FOLD:,} or empty, got {fold[:20]!r}")
    return Row(file, classes, int(fold) if fold.strip() else None)
