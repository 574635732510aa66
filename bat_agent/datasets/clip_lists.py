"""Lists of AudioSet clips, Google's and the released ones, and folders of them: read as streams, kept as columns.

Two million clips take 50 MB so; as objects, or as the text of their list, they would take gigabytes.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from bat_agent.datasets.sounds import RELEASED_SUFFIXES, bat_weights
from bat_agent.errors import BadInput
from bat_agent.files.reading import decode_json
from bat_agent.labels import label_table

_BLOCK = 1 << 20  # characters of a JSON list that are read at once
_LONGEST_ITEM = 1 << 16  # characters
_CHUNK = 1 << 16  # clips that are strings at a time
_NAME = "[A-Za-z0-9_-]{1,33}"
_ID_LENGTH = 11  # of YouTube's ids; the released files write a Y in front
_LABEL = "/[a-z]/[A-Za-z0-9_]+"
_SECONDS = r"\d+(?:\.\d*)?"
_LINE = re.compile(rf'\s*({_NAME})\s*,\s*{_SECONDS}\s*,\s*{_SECONDS}\s*,\s*("?)({_LABEL}(?:,\s*{_LABEL})*)\2\s*')
_ID = re.compile(_NAME)
_COMMA = re.compile(r",\s*")
_SPACE = re.compile(r"\s*")
_Entry = tuple[int, str, Iterable[str]]
"""Line or item number, id, labels."""
Array = np.ndarray


@dataclass(frozen=True)
class Clips:
    """Clips as columns."""

    ids: Array
    """(clips,) YouTube ids, as bytes."""
    classes: Array
    """(entries,) int16, the class numbers of all clips in turn; those of one are in the order of its labels."""
    ends: Array
    """(clips + 1,) the classes of clip i are ``classes[ends[i] : ends[i + 1]]``."""

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[str, list[int]]]:
        for start in range(0, len(self), _CHUNK):
            ends = self.ends[start : start + _CHUNK + 1]
            classes = self.classes[ends[0] : ends[-1]].tolist()
            bounds = pairwise((ends - ends[0]).tolist())
            for clip, (begin, end) in zip(self.ids[start : start + _CHUNK].tolist(), bounds, strict=True):
                yield clip.decode(), classes[begin:end]

    def take(self, keep: Array) -> Clips:
        """The clips of a mask, bool (clips,), in their order."""
        lengths = np.diff(self.ends)
        ends = np.concatenate([[0], np.cumsum(lengths[keep])])
        return Clips(self.ids[keep], self.classes[np.repeat(keep, lengths)], ends)

    def weights(self) -> Array:
        """BAT's sampling weight of each clip, float64 (clips,), see :func:`bat_agent.datasets.sounds.bat_weights`."""
        return bat_weights(self.classes, self.ends)


def read_list(path: Path, split: str) -> Clips:
    """All clips of a list, Google's (``.csv``) or a released one, with those of their labels that are classes.

    Raises :class:`~bat_agent.errors.BadInput` with file and line (released lists: file and item, counted from 0) for
    what is broken, stands twice or, in a released list, lies in another folder than ``split``.
    """
    is_csv = path.suffix == ".csv"
    number_of = {mid: number for number, (mid, _) in enumerate(label_table())}
    ids, classes, lengths, places = _Column(), array("h"), array("H"), array("I")
    for place, clip, mids in _csv_entries(path) if is_csv else _json_entries(path, split):
        numbers = dict.fromkeys(number_of[mid] for mid in mids if mid in number_of)
        ids.append(clip)
        classes.extend(numbers)
        lengths.append(len(numbers))
        places.append(place)
    ends = np.concatenate([[0], np.cumsum(np.array(lengths, dtype=np.int64))])
    clips = Clips(ids.values(), np.array(classes, dtype=np.int16), ends)
    if twice := _first_repeated(clips.ids):
        earlier, later = (f"{path}:{places[i]}" if is_csv else f"{path}: item {places[i]}" for i in twice)
        clip = clips.ids[twice[1]].decode()
        raise BadInput(f"{later}: clip {clip} stands already at {earlier}, expected each once; delete one of the two")
    return clips


def have_audio(clips: Clips, root: Path, split: str) -> Array:
    """Which clips have their audio under ``root`` (``AudioSet`` or the folder above it), a mask (clips,).

    It is where :func:`~bat_agent.datasets.sound_libraries.from_audioset` finds it: ``<split>/audio/Y<id>`` with one of
    its suffixes, also without ``audio`` and without Y. Folders are listed: asking for two million names takes minutes.
    """
    base = root / "AudioSet" if (root / "AudioSet").is_dir() else root
    there = _Column()
    for folder in (base / split / "audio", base / split):
        if not folder.is_dir():
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                name, suffix = os.path.splitext(entry.name)
                if suffix in RELEASED_SUFFIXES and _ID.fullmatch(name):
                    if name.startswith("Y"):
                        there.append(name[1:])
                    there.append(name)  # an id may itself begin with Y
    return _among(clips.ids, there.values())


class _Column:
    """Gathers short ASCII strings in numpy: 11 bytes for an id, of which a str takes 60."""

    def __init__(self) -> None:
        self._parts: list[Array] = []
        self._recent: list[str] = []

    def append(self, value: str) -> None:
        self._recent.append(value)
        if len(self._recent) == _CHUNK:
            self._parts.append(np.array(self._recent, dtype=np.bytes_))
            self._recent.clear()

    def values(self) -> Array:
        return np.concatenate([*self._parts, np.array(self._recent, dtype=np.bytes_)])


def _among(ids: Array, names: Array) -> Array:
    """As ``np.isin``, which takes another 260 MB for two million ids."""
    if not len(names):
        return np.zeros(len(ids), dtype=bool)
    names.sort()
    return names[np.minimum(np.searchsorted(names, ids), len(names) - 1)] == ids


def _first_repeated(ids: Array) -> tuple[int, int] | None:
    """Where an id stands and stands again, of the one that is first to do so."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    again = np.flatnonzero(ordered[1:] == ordered[:-1])
    if not len(again):
        return None
    first = again[np.argmin(order[again + 1])]
    return int(order[first]), int(order[first + 1])


# --- Google's lists ---


def _csv_entries(path: Path) -> Iterator[_Entry]:
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.startswith("#") or not line.strip():
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                expected = 'YTID, start_seconds, end_seconds, "/m/…,/m/…"'
                raise BadInput(f"{path}:{number}: {_short(line)} is no clip, expected {expected}; mend or delete it")
            yield number, match[1], _COMMA.split(match[3])


# --- released lists ---


def json_items(path: Path) -> Iterator[Any]:
    """The items of a JSON list, one after the other; raises :class:`~bat_agent.errors.BadInput` with file and line."""
    with _opened(path) as file:
        yield from _JsonList(path, file)


def _json_entries(path: Path, split: str) -> Iterator[_Entry]:
    for number, item in enumerate(json_items(path)):
        match item:
            case {"id": str(clip), "folder": str(folder), "label": list(mids)} if _are_names(clip, mids):
                pass
            case _:
                expected = f'{{"id": "…", "folder": "{split}", "label": ["/m/…"]}}'
                raise BadInput(f"{path}: item {number} is {_short(item)}, expected {expected}; mend or delete it")
        # The released lists write folder and id both with and without audio/ and Y.
        if folder.strip("/").removesuffix("/audio") != split:
            raise BadInput(f"{path}: item {number} is in folder {folder!r}, expected {split!r}; mend or delete it")
        yield number, clip.removeprefix("Y") if len(clip) == _ID_LENGTH + 1 else clip, mids


def _are_names(clip: str, mids: list[Any]) -> bool:
    return _ID.fullmatch(clip) is not None and all(isinstance(mid, str) for mid in mids)


class _JsonList:
    """The items of a JSON list one after the other; only a block of its text is in memory.

    Raises :class:`~bat_agent.errors.BadInput` with file and line.
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file
        self._text, self._at = "", 0
        self._line = 1  # of the first character of the text

    def __iter__(self) -> Iterator[Any]:
        self._step("[")
        if self._next() != "]":
            yield self._value()
            while self._next() != "]":
                self._step(",")
                yield self._value()
        self._step("]")
        if self._next():
            raise self._broken("something stands behind the list")

    def _next(self) -> str:
        """The next character that is no white space, which stays; empty at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text) or not self._read():
                return self._text[self._at : self._at + 1]

    def _step(self, wanted: str) -> None:
        if (found := self._next()) != wanted:
            raise self._broken(f"{found!r} stands where {wanted!r} was expected" if found else "it breaks off")
        self._at += 1

    def _value(self) -> Any:
        self._next()
        while True:
            with suppress(json.JSONDecodeError):
                value, self._at = decode_json(self._text, self._at)
                return value
            # What looks broken may only be cut where the block ends.
            if len(self._text) - self._at > _LONGEST_ITEM or not self._read():
                break
        try:
            return decode_json(self._text, self._at)[0]
        except json.JSONDecodeError as error:
            raise self._broken(error.msg, error.pos - self._at) from None

    def _read(self) -> bool:
        """Put another block behind the text that is still to be read; whether there was one."""
        self._line += self._text.count("\n", 0, self._at)
        block = self._file.read(_BLOCK)
        self._text, self._at = self._text[self._at :] + block, 0
        return bool(block)

    def _broken(self, what: str, beyond: int = 0) -> BadInput:
        line = self._line + self._text.count("\n", 0, self._at + beyond)
        return BadInput(f"{self._path}:{line}: is no JSON list of clips ({what}); mend it or download it again")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        # What is no UTF-8 is found with its line, as no id or label has such characters.
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            yield file
    except OSError as error:
        raise BadInput(f"cannot read {path} ({error.strerror or error}); name a list that can be read") from error


def _short(value: object) -> str:
    text = value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
