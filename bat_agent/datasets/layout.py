"""The released layout on disk: where files lie, how they are written and how the reverberation JSON is read.

``ROOT/mp3d_reverb/{binaural,mono}/<scene>/<n>.npy`` holds float64 (channels, samples) at 32 kHz;
``ROOT/mp3d_reverb/{train,eval}_reverberation.json`` is ``{"data": [{"fname", "sensor_position", "source_position"},
…]}``. What the released files lack stands in further keys, which their readers ignore.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.files import leftovers
from bat_agent.files.reading import decode_json
from bat_agent.scene import Listener, Position, Vector, relative_position

REVERB = "mp3d_reverb"
BINAURAL, MONO = "binaural", "mono"
SPLITS = ("train", "eval")
_SPACE = re.compile(r"\s*")
_NPY_HEADER_BYTES = 128
Item = dict[str, Any]
"""One entry of ``data``."""


def json_path(root: Path, split: str) -> Path:
    """The reverberation JSON of a split."""
    return root / REVERB / f"{split}_reverberation.json"


def rir_path(json_file: Path, fname: str, kind: str = BINAURAL) -> Path:
    """The RIR that an entry of ``json_file`` names."""
    return json_file.parent / kind / fname


def find_reverberations(path: Path) -> list[Path]:
    """The reverberation files at ``path``: itself, or those of a data set's root or of its ``mp3d_reverb``.

    Raises :class:`~bat_agent.errors.BadInput` where there are none.
    """
    if path.is_file():
        return [path]
    for folder in (path / REVERB, path):
        if found := [folder / f"{split}_reverberation.json" for split in SPLITS]:
            found = [file for file in found if file.is_file()]
        if found:
            return found
    if not path.exists():
        raise BadInput(f"{path} does not exist; name a reverberation JSON or the folder that holds {REVERB}")
    raise BadInput(
        f"{path} holds neither {REVERB}/train_reverberation.json nor {REVERB}/eval_reverberation.json; name the folder "
        f"that bat-agent dataset rirs wrote (an unfinished set has none: run its command again), or the JSON itself"
    )


# --- writing ---


def npy_bytes(rir: np.ndarray) -> bytes:
    """The content of a ``.npy`` file: float64, so that released readers find the type they expect."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(rir, dtype=np.float64))
    return buffer.getvalue()


def npy_size(channels: int, samples: int) -> int:
    """Bytes of such a file; what a finished file must have."""
    return _NPY_HEADER_BYTES + 8 * channels * samples


def clear_temporaries(folder: Path, scenes: str) -> None:
    """Remove what killed runs left half written in the scenes of a glob pattern."""
    for kind in (BINAURAL, MONO):
        for scene in folder.glob(f"{kind}/{scenes}"):
            leftovers.clear(scene)


# --- reading ---


class ReverberationFile:
    """A reverberation JSON, entry by entry: its text stays in memory, the objects of 21 000 scenes do not.

    ``header`` holds whatever stands before ``data``. Raises :class:`~bat_agent.errors.BadInput` with file and line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
            raise BadInput(f"cannot read {path} ({reason}); name a reverberation JSON") from error
        self.header, self._start = self._read_header()

    def __iter__(self) -> Iterator[Item]:
        at = self._after(self._start, "[")
        if self._peek(at) == "]":
            return
        while True:
            item, end = self._value(at)
            self._check(item, at)
            yield item
            at = self._skip(end)
            if self._peek(at) == "]":
                return
            at = self._skip(self._after(at, ","))

    def _read_header(self) -> tuple[dict[str, Any], int]:
        """What precedes the list of entries, and where that list begins; a bare list has no header."""
        header: dict[str, Any] = {}
        at = self._skip(0)
        if self._peek(at) == "[":
            return header, at
        at = self._skip(self._after(at, "{"))
        while self._peek(at) != "}":
            key, at = self._value(at)
            at = self._skip(self._after(self._skip(at), ":"))
            if key == "data":
                return header, at
            header[str(key)], at = self._value(at)
            at = self._skip(at)
            if self._peek(at) == ",":
                at = self._skip(at + 1)
        raise self._broken("it has no list named data", at)

    def _value(self, at: int) -> tuple[Any, int]:
        try:
            return decode_json(self._text, at)
        except json.JSONDecodeError as error:
            raise self._broken(error.msg, error.pos) from error

    def _check(self, item: Any, at: int) -> None:
        if not isinstance(item, dict):
            raise self._broken("an entry of data is no object", at)
        for key in ("fname", "sensor_position", "source_position"):
            if not isinstance(item.get(key), str):
                raise self._broken(f"an entry of data lacks {key}", at)
        fname = PurePosixPath(item["fname"])
        if fname.is_absolute() or ".." in fname.parts or fname.suffix != ".npy":
            raise self._broken(f"fname {item['fname']!r} is not of the form scene/n.npy", at)
        try:
            position_of(item)
        except BadInput as error:
            raise self._broken(str(error), at) from error

    def _skip(self, at: int) -> int:
        """To the next character that is no white space."""
        match = _SPACE.match(self._text, at)
        return match.end() if match else at

    def _peek(self, at: int) -> str:
        return self._text[at : at + 1]

    def _after(self, at: int, wanted: str) -> int:
        if self._peek(at) != wanted:
            found = self._peek(at) or "the end of the file"
            raise self._broken(f"expected {wanted!r} and found {found!r}", at)
        return self._skip(at + 1)

    def _broken(self, what: str, at: int) -> BadInput:
        line = self._text.count("\n", 0, at) + 1
        return BadInput(f"{self.path}, line {line}: {what}; expected a reverberation JSON, mend or download it again")


def position_of(item: Item) -> Position:
    """Where the listener hears the source of an entry; heading 0 where the entry, as a released one, names none."""
    heading = item.get("heading_deg", 0.0)
    if not isinstance(heading, int | float):
        raise BadInput(f"heading_deg must be a number, got {heading!r}")
    listener = Listener(_numbers(item["sensor_position"]), float(heading))
    return relative_position(listener, _numbers(item["source_position"]))


def position_text(position_m: Vector) -> str:
    """``x,y,z`` as released, with every digit that matters."""
    return ",".join(map(repr, position_m))


def _numbers(text: str) -> Vector:
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput(f"{text!r} is no position x,y,z") from error
    return (x, y, z)
