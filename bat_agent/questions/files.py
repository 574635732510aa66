"""Files of SpatialSoundQA records: ``{"data": [record, …]}``, or a bare list, as released; read in place.

The training file of stage 3 has 872 000 records and 400 MB. Opening it looks once over its bytes for where each record
begins and ends, some seconds without building an object; from then on any record is one short read. Memory holds 16
bytes a record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, overload

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.files.reading import decode_json, parse_json
from bat_agent.files.writing import whole_file
from bat_agent.questions.records import QARecord

_BLOCK = 1 << 23
_HEADER = 1 << 20  # bytes; whatever stands before the records is far shorter
_BETWEEN = np.frombuffer(b", \t\r\n", dtype=np.uint8)
_TYPE = re.compile(rb'"question_type"\s*:\s*"(\w*)"')
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_BOM = b"\xef\xbb\xbf"


class RecordFile(Sequence[QARecord]):
    """The records of one file, by their number.

    Raises :class:`~bat_agent.errors.BadInput` with file, record (the first is 0) and line for whatever is broken: the
    frame of the file when it is opened, a record when it is read.
    """

    def __init__(self, path: str | Path, shown_as: str | Path | None = None) -> None:
        """Index the file at ``path``; ``shown_as`` is what messages call it, where it came out of an archive."""
        self.path, self._place = Path(shown_as or path), Path(path)
        try:
            with self._place.open("rb") as file:
                self._bounds = _Scan(file, self.path).bounds()
        except OSError as error:
            raise BadInput(
                f"cannot read QA file {path}: {error.strerror or error}; give a SpatialSoundQA JSON"
            ) from error

    def __len__(self) -> int:
        return len(self._bounds)

    @overload
    def __getitem__(self, index: int) -> QARecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[QARecord]: ...
    def __getitem__(self, index: int | slice) -> QARecord | list[QARecord]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        start, stop = self._bounds[number].tolist()
        return self._record(self._read(start, stop - start), number)

    def __iter__(self) -> Iterator[QARecord]:
        """All of them, in large reads."""
        for first, block, base in self._blocks():
            for number, (start, stop) in enumerate((self._bounds[first : first + block[1]] - base).tolist(), first):
                yield self._record(block[0][start:stop], number)

    def types(self) -> list[str]:
        """``question_type`` of every record, without reading the rest of it."""
        names: list[str] = []
        for first, block, base in self._blocks():
            found = [match.decode("ascii", "replace") for match in _TYPE.findall(block[0])]
            if len(found) != block[1]:  # a broken record, or one that lacks its type: told as such
                part = self._bounds[first : first + block[1]] - base
                numbered = enumerate(part.tolist(), first)
                found = [self._record(block[0][a:b], number).question_type for number, (a, b) in numbered]
            names += found
        return names

    def line(self, number: int) -> int:
        """Line of the file in which a record begins, counted from 1."""
        with self._place.open("rb") as file:
            return _line(file, int(self._bounds[number, 0]))

    def _blocks(self) -> Iterator[tuple[int, tuple[bytes, int], int]]:
        """(number of its first record, (bytes of whole records, how many), offset of the bytes in the file)."""
        first = 0
        while first < len(self):
            base = int(self._bounds[first, 0])
            last = max(int(np.searchsorted(self._bounds[:, 1], base + _BLOCK, side="right")), first + 1)
            yield first, (self._read(base, int(self._bounds[last - 1, 1]) - base), last - first), base
            first = last

    def _read(self, start: int, size: int) -> bytes:
        # Opened anew each time: worker processes cannot share a position, and nothing stays open.
        with self._place.open("rb", buffering=0) as file:
            file.seek(start)
            return file.read(size)

    def _record(self, text: bytes, number: int) -> QARecord:
        try:
            return QARecord.from_dict(parse_json(text))
        except UnicodeDecodeError as error:
            raise BadInput(
                f"{self._where(number)} is not UTF-8 text ({error.reason}); export the file again"
            ) from error
        except json.JSONDecodeError as error:
            raise BadInput(f"{self._where(number)} is not valid JSON: {error.msg}; mend it or leave it out") from error
        except BadInput as error:
            raise BadInput(f"{self._where(number)}: {error}") from error

    def _where(self, number: int) -> str:
        return f"record {number} of QA file {self.path} (line {self.line(number)})"


class _Scan:
    """Finds where records begin and end: braces outside of strings, block by block, vectorised."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._starts: list[np.ndarray] = []
        self._stops: list[np.ndarray] = []
        self._count = 0
        self._depth, self._in_string, self._escapes = 0, False, False

    def bounds(self) -> np.ndarray:
        """(records, 2) int64: first byte of each, and the one after its last."""
        at = self._find_list()
        self._file.seek(at)
        end = None
        while end is None and (block := self._file.read(_BLOCK)):
            end = self._take(np.frombuffer(block, dtype=np.uint8), at)
            at += len(block)
        starts, stops = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (self._starts, self._stops))
        if len(starts) > len(stops):
            raise self._broken(len(stops), int(starts[-1]), "is not valid JSON: the file ends within it")
        if end is None:
            raise BadInput(
                f"QA file {self._path} ends after record {len(stops) - 1} without closing its list; copy it again"
            )
        return np.stack([starts, stops], axis=1)

    def _take(self, text: np.ndarray, base: int) -> int | None:
        """Note the records of a block; where the list ends, or ``None`` if it goes on."""
        quotes = self._quotes(text)
        marks = np.flatnonzero((text == 0x7B) | (text == 0x7D) | (text == 0x5D))
        marks = marks[(np.searchsorted(quotes, marks) + self._in_string) % 2 == 0]
        self._in_string = bool((len(quotes) + self._in_string) % 2)
        kinds = text[marks]
        depth = self._depth + np.cumsum((kinds == 0x7B).astype(np.int64) - (kinds == 0x7D))
        # The list ends at a bracket between records; those inside of records are their own.
        ends = np.flatnonzero(((kinds == 0x5D) & (depth == 0)) | (depth < 0))
        kept = int(ends[0]) if len(ends) else len(marks)
        end = int(marks[kept]) if len(ends) else len(text)
        starts = marks[:kept][(kinds[:kept] == 0x7B) & (depth[:kept] == 1)]
        stops = marks[:kept][(kinds[:kept] == 0x7D) & (depth[:kept] == 0)] + 1
        self._check_outside(text[:end], starts, stops, self._depth > 0, base)
        self._starts.append(starts + base)
        self._stops.append(stops + base)
        self._count += len(stops)
        self._depth = int(depth[kept - 1]) if kept else self._depth
        return base + end if len(ends) else None

    def _quotes(self, text: np.ndarray) -> np.ndarray:
        """Where strings begin and end: quotes that no backslash escapes."""
        quotes = np.flatnonzero(text == 0x22)
        slashes = np.flatnonzero(text == 0x5C)
        escaped_first, self._escapes = self._escapes, False
        if len(slashes):
            # The character after a run of backslashes is escaped where the run, counted from its start, is odd.
            first = np.concatenate([[True], np.diff(slashes) != 1])
            started = slashes[first][np.cumsum(first) - 1]
            run = slashes - started + 1
            if escaped_first:
                run[started == 0] -= 1
            odd = slashes[run % 2 == 1]
            self._escapes = bool(len(odd) and odd[-1] == len(text) - 1)
            quotes = quotes[~np.isin(quotes - 1, odd)]
        return quotes[1:] if escaped_first and len(quotes) and quotes[0] == 0 else quotes

    def _find_list(self) -> int:
        """The offset behind the bracket that opens the list of records; other keys may stand before ``data``."""
        head = self._file.read(_HEADER)
        at = len(_BOM) if head.startswith(_BOM) else 0
        text = head[at:].decode("utf-8", "surrogateescape")
        place = self._after_header(text)
        if place is None:
            raise BadInput(
                f'QA file {self._path} must hold {{"data": [records]}} or a list of records, got {text[:40]!r}; '
                "give a SpatialSoundQA JSON"
            )
        return at + len(text[:place].encode("utf-8", "surrogateescape"))

    @staticmethod
    def _after_header(text: str) -> int | None:
        """The index behind the opening bracket; ``None`` where there is no list of records."""
        space = re.compile(r"[\s,:]*")
        at = len(text) - len(text.lstrip())
        if text[at : at + 1] == "[":
            return at + 1
        if text[at : at + 1] != "{":
            return None
        at += 1
        try:
            while text[at := _past(space, text, at)] == '"':
                key, at = decode_json(text, at)
                at = _past(space, text, at)
                if key == "data":
                    return at + 1 if text[at] == "[" else None
                _, at = decode_json(text, at)
        except (json.JSONDecodeError, IndexError):
            pass
        return None

    def _check_outside(self, text: np.ndarray, starts: np.ndarray, stops: np.ndarray, inside: bool, base: int) -> None:
        """Around the records of a block, up to its end, stand white space and commas alone."""
        begins = stops if inside else np.concatenate([[0], stops])
        ends = np.concatenate([starts, [len(text)]])[: len(begins)]
        lengths = ends - begins
        # All indices begin … end − 1 of all stretches, one behind the other.
        index = np.repeat(begins - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        wrong = index[~np.isin(text[index], _BETWEEN)]
        if not len(wrong):
            return
        number = self._count + int(np.searchsorted(stops, wrong[0], side="right"))
        found = text[wrong[0] : wrong[0] + 40].tobytes()
        try:
            shown = repr(found.decode("utf-8", "strict" if len(found) < 40 else "ignore"))
        except UnicodeDecodeError as error:
            raise self._broken(number, base + int(wrong[0]), f"is not UTF-8 text ({error.reason})") from error
        raise self._broken(
            number, base + int(wrong[0]), f"must be an object with the eight SpatialSoundQA fields, got {shown}"
        )

    def _broken(self, number: int, at: int, what: str) -> BadInput:
        line = _line(self._file, at)
        return BadInput(f"record {number} of QA file {self._path} (line {line}) {what}; mend it or copy the file again")


def _past(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _line(file: BinaryIO, offset: int) -> int:
    """The line, counted from 1, in which the byte at ``offset`` stands."""
    file.seek(0)
    lines = 1
    while offset > 0 and (block := file.read(min(_BLOCK, offset))):
        lines += block.count(b"\n")
        offset -= len(block)
    return lines


def iter_records(path: str | Path) -> Iterator[QARecord]:
    """Read a QA file record by record; raises as :class:`RecordFile` does."""
    yield from RecordFile(path)


def read_records(path: str | Path) -> list[QARecord]:
    """All of :func:`iter_records` in memory."""
    return list(RecordFile(path))


class RecordWriter:
    """Writes ``{"data": [...]}``, one record a line; ``header`` stands before ``data``.

    A context manager, and atomic: a reader sees the old file or the whole new one, also when the disk is full or
    anything raises before the end.
    """

    def __init__(self, path: str | Path, header: Mapping[str, Any] | None = None) -> None:
        self.path, self.count = Path(path), 0
        self._header = json.dumps(header)[:-1] + ", " if header else "{"

    def __enter__(self) -> RecordWriter:
        self._whole = whole_file(self.path, folder=True, durable=True)
        self._file = self._whole.__enter__()
        self._file.write(f'{self._header}"data": ['.encode())
        return self

    def add(self, line: str) -> None:
        """One more record, as :func:`encode` gives it."""
        self._file.write((",\n" if self.count else "\n").encode() + line.encode())
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._file.write(b"\n]}\n")
            except OSError as full:
                kind, error, trace = type(full), full, full.__traceback__
        self._whole.__exit__(kind, error, trace)


def encode(record: QARecord) -> str:
    """A record as one line of JSON."""
    return _ENCODER.encode(record.to_dict())


def write_records(path: str | Path, records: Iterable[QARecord], header: Mapping[str, Any] | None = None) -> int:
    """Write all ``records`` as :class:`RecordWriter` does, and return how many."""
    with RecordWriter(path, header) as file:
        for record in records:
            file.add(encode(record))
    return file.count
