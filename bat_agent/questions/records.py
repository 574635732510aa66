"""SpatialSoundQA files: the eight released fields, the released question types and the prompt (BAT, appendix G).

A file is ``{"data": [record, …]}``; a bare list also occurs. Training files have hundreds of megabytes, so records are
read one after another and never lie in memory together unless asked for.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TextIO

from bat_agent.errors import BadInput

PROMPT = (
    "Based on the audio you've heard, refer to the instruction and provide a response.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
"""The prompt of BAT, verbatim; 64 audio query tokens stand in front of it."""

_CHUNK = 1 << 20  # characters; no record is nearly as long
_HEAD = re.compile(r'\s*(?:\{\s*"data"\s*:\s*)?\[')


def prompt(instruction: str) -> str:
    """The prompt around a question."""
    return PROMPT.replace("{instruction}", instruction)


class QuestionType(str, Enum):
    """The ``question_type`` strings of the release, and one of ours."""

    CLASSIFICATION = "CLASSIFICATION"
    DOA = "DOA"
    MIXUP_SINGLE_CLASSIFICATION = "MIXUP_SINGLE_CLASSIFICATION"
    MIXUP_SINGLE_DOA = "MIXUP_SINGLE_DOA"
    MIXUP_DIRECTION = "MIXUP_DIRECTION"
    MIXUP_DISTANCE_BOTH = "MIXUP_DISTANCE_BOTH"
    MIXUP_NONBINARY_DIRECTION = "MIXUP_NONBINARY_DIRECTION"
    MIXUP_NONBINARY_DISTANCE = "MIXUP_NONBINARY_DISTANCE"
    MIXUP_NONBINARY_SOURCE = "MIXUP_NONBINARY_SOURCE"
    PLAIN = "PLAIN"
    """Not in the release: short questions about one source, as people type them to a live system."""

    @property
    def letter(self) -> str:
        """The paper's name, ``A`` … ``E``; ``P`` for plain questions, which the paper does not have."""
        return _LETTERS.get(self.value, "E")

    @property
    def num_sources(self) -> int | None:
        """How many sources the clip holds: 1, 2, or ``None`` where either will do."""
        return {"A": 1, "B": 1, "P": None}.get(self.letter, 2)

    @classmethod
    def _missing_(cls, value: object) -> QuestionType | None:
        # Seen in third-party code about the release, with the same answers as _SOURCE.
        return cls.MIXUP_NONBINARY_SOURCE if value == "MIXUP_NONBINARY_CLASSIFICATION" else None


_LETTERS = {
    "CLASSIFICATION": "A",
    "DOA": "B",
    "MIXUP_SINGLE_CLASSIFICATION": "C",
    "MIXUP_SINGLE_DOA": "D",
    "PLAIN": "P",
}


@dataclass(frozen=True)
class QARecord:
    """One question about one clip, with the field names of the release."""

    audio_id: str
    """Path of the recording under the audio root, without extension, e.g. ``eval/audio/YI-HlrcP6Qg4``."""
    reverb_id: str
    """Path of its impulse response, e.g. ``q9vSo1VnCiC/0.npy``."""
    audio_id2: str | None
    """The second recording; ``None`` for one source."""
    reverb_id2: str | None
    """The second impulse response; ``None`` for one source."""
    question_id: int | str
    """Not unique in the release; unique together with ``question_type`` within a file."""
    question_type: str
    """One of :class:`QuestionType`, as written in the file."""
    question: str
    """The instruction."""
    answer: str
    """The true answer."""

    def __post_init__(self) -> None:
        for name in ("audio_id", "reverb_id", "question_type", "question", "answer"):
            _check(name, getattr(self, name), (str,), "a text")
        for name in ("audio_id2", "reverb_id2"):
            _check(name, getattr(self, name), (str, type(None)), "a text or null")
        _check("question_id", self.question_id, (int, str), "a number")
        if (self.audio_id2 is None) != (self.reverb_id2 is None):
            raise BadInput("audio_id2 and reverb_id2 must both be given (two sources) or both be null (one source)")
        wanted, given = self.type.num_sources, 1 if self.audio_id2 is None else 2
        if wanted is not None and wanted != given:
            raise BadInput(f"question_type {self.question_type} is about {wanted} source(s), but {given} given")

    @property
    def type(self) -> QuestionType:
        """The question type; :class:`~bat_agent.errors.BadInput` for an unknown string."""
        try:
            return QuestionType(self.question_type)
        except ValueError:
            known = ", ".join(t.value for t in QuestionType)
            raise BadInput(f"unknown question_type {self.question_type!r}, expected one of {known}") from None

    @property
    def text(self) -> str:
        """The question, under the name that generated questions use as well."""
        return self.question


def iter_records(path: str | Path) -> Iterator[QARecord]:
    """Read a released QA file record by record; fields beyond the eight are ignored.

    Raises :class:`~bat_agent.errors.BadInput` with file and record number (the first is 0) where one is malformed.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, item in enumerate(_items(file, path)):
                yield _record(item, path, number)
    except OSError as error:
        raise BadInput(f"cannot read QA file {path}: {error.strerror or error}; give a SpatialSoundQA JSON") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"QA file {path} is not UTF-8 text ({error.reason}); give a SpatialSoundQA JSON") from error


def read_records(path: str | Path) -> list[QARecord]:
    """All of :func:`iter_records`; for evaluation files, not for the training file of stage 3."""
    return list(iter_records(path))


def write_records(path: str | Path, records: Iterable[QARecord]) -> int:
    """Write ``{"data": [...]}``, one record a line, and return how many.

    Atomic: a reader sees the old file or the whole new one, also when ``records`` raises or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    count = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write('{"data": [')
            for record in records:
                file.write(("," if count else "") + "\n" + json.dumps(asdict(record), ensure_ascii=False))
                count += 1
            file.write("\n]}\n")
        os.chmod(temporary, 0o644)  # mkstemp makes files only their owner can read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return count


def _items(file: TextIO, path: Path) -> Iterator[Any]:
    """The elements of the list in the file, parsed one by one from a sliding buffer."""
    buffer = file.read(_CHUNK)
    head = _HEAD.match(buffer)
    if head is None:
        raise BadInput(f'QA file {path} must hold {{"data": [records]}} or a list of records, got {buffer[:40]!r}')
    decoder, position, number = json.JSONDecoder(), head.end(), 0
    while True:
        buffer, position = _skip(buffer, position, file, ", \t\r\n" if number else " \t\r\n")
        if buffer[position : position + 1] == "]":
            return
        try:
            item, position = decoder.raw_decode(buffer, position)
        except json.JSONDecodeError as error:
            rest, more = buffer[position:], file.read(_CHUNK)
            if not more and not rest.strip():
                raise BadInput(f"QA file {path} ends after record {number - 1} without closing its list") from error
            if not more or len(rest) > _CHUNK:
                raise BadInput(f"record {number} of QA file {path} is not valid JSON: {error.msg}") from error
            buffer, position = rest + more, 0
            continue
        yield item
        number += 1


def _skip(buffer: str, position: int, file: TextIO, characters: str) -> tuple[str, int]:
    """Move on to the first character that is not one of ``characters``, reading on where the buffer ends."""
    while True:
        while position < len(buffer) and buffer[position] in characters:
            position += 1
        if position < len(buffer):
            return buffer, position
        buffer, position = file.read(_CHUNK), 0
        if not buffer:
            return buffer, position


def _record(item: Any, path: Path, number: int) -> QARecord:
    where = f"record {number} of QA file {path}"
    if not isinstance(item, dict):
        raise BadInput(f"{where} must be an object with the eight SpatialSoundQA fields, got {type(item).__name__}")
    names = list(QARecord.__dataclass_fields__)
    # Files about single sources may leave the second pair out.
    if missing := [n for n in names if n not in item and n not in ("audio_id2", "reverb_id2")]:
        raise BadInput(f"{where} lacks {', '.join(missing)}; expected the fields {', '.join(names)}")
    try:
        values: dict[str, Any] = {name: item.get(name) for name in names}
        return QARecord(**values)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error


def _check(name: str, value: Any, types: tuple[type, ...], wanted: str) -> None:
    if not isinstance(value, types) or isinstance(value, bool):
        raise BadInput(f"{name} must be {wanted}, got {value!r}")
