"""Answers of any system as JSON lines, and how each finds the question it answers.

One object a line: ``answer`` (text), and whichever is at hand of ``record`` (number of the record in the file or
files, from 0), ``key`` (``TYPE-ID``, what the released code calls a record in its outputs), ``question_type`` with
``question_id``, or ``id`` (a key or a question_id). Where ``record`` stands beside a key, both must name the same
question. ``confidence``, a probability, is optional. Question ids are not unique in the release: answers to a key that
several records share are taken in the order in which they stand.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_json
from bat_agent.files.writing import write_bytes

WANTED = 'expected {"answer": text} with "record", "key", "question_type" and "question_id", or "id"'


class Keyed(Protocol):
    """What answers are matched to: a :class:`~bat_agent.questions.QARecord`."""

    @property
    def key(self) -> str:
        """``TYPE-ID``"""
        ...


@dataclass(frozen=True)
class Answers:
    """One answer for each of N records; what is no text (``None`` for a missing answer) counts as malformed."""

    texts: list[Any]
    """N answers as they stood in the file."""
    confidences: list[float | None]
    """N probabilities, where given."""
    given: list[bool]
    """Whether there was an answer at all."""
    failed: list[str | None] | None = None
    """Why the system could not answer, such as a head that its encoder lacks; ``None`` where it could, and for all of
    them where none failed.
    """

    def __post_init__(self) -> None:
        if self.failed is not None and all(why is None for why in self.failed):
            object.__setattr__(self, "failed", None)

    def __len__(self) -> int:
        return len(self.texts)

    def of(self, numbers: Iterable[int]) -> Answers:
        """Those of some of the records."""
        chosen = list(numbers)
        failed = None if self.failed is None else [self.failed[n] for n in chosen]
        return Answers(
            [self.texts[n] for n in chosen],
            [self.confidences[n] for n in chosen],
            [self.given[n] for n in chosen],
            failed,
        )

    @property
    def notes(self) -> list[str]:
        """What to know about them: how many are missing, how many are no text."""
        missing = self.given.count(False)
        no_text = sum(there and not isinstance(text, str) for there, text in zip(self.given, self.texts, strict=True))
        notes = []
        if missing:
            have, count = ("has", "counts") if missing == 1 else ("have", "count")
            notes.append(f"{missing} of {len(self)} questions {have} no answer; {_they(missing)} {count} as wrong")
        if no_text:
            is_, count = ("is", "counts") if no_text == 1 else ("are", "count")
            notes.append(f"{no_text} of {len(self)} answers {is_} no text; {_they(no_text)} {count} as malformed")
        return notes

    @classmethod
    def of_texts(cls, texts: Sequence[Any], confidences: Sequence[float | None] | None = None) -> Answers:
        """Answers that are all there."""
        return cls(list(texts), list(confidences or [None] * len(texts)), [True] * len(texts))


def _they(count: int) -> str:
    return "it" if count == 1 else "they"


@dataclass(frozen=True)
class Line:
    """One line of a file of answers."""

    number: int
    """Counted from 1."""
    item: dict[str, Any]


def read_answers(path: str | Path, keys: Sequence[str]) -> Answers:
    """The answers in a JSONL file to records with these keys (``record.key``), in the order of the records.

    Raises :class:`~bat_agent.errors.BadInput`, with file and line, for what is no answer, answers a record that there
    is not or one that is answered already; where a key has another number of answers than of records; and where no
    record is answered.
    """
    path = Path(path)
    by_key, by_id = _places(keys)
    found: dict[int, Line] = {}
    in_order: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in read_lines(path):
        where = f"{path}, line {line.number}"
        if "answer" not in line.item:
            raise BadInput(f"{where} lacks answer, {WANTED}; mend the line or leave it out")
        if "record" in line.item:
            _take(found, _record(line.item, keys, where), line, path)
            continue
        name = _name(line.item, by_key, where)
        if name[1] not in (by_key if name[0] == "key" else by_id):
            raise BadInput(
                f"{where} answers {name[1]}, but no record of the data has this {name[0]}; name the data that these "
                "answers are of, or leave the line out"
            )
        in_order[name].append(line)
    for (kind, name_), lines in in_order.items():
        places = (by_key if kind == "key" else by_id)[name_]
        if len(lines) != len(places):
            numbers = ", ".join(str(line.number) for line in lines[:5])
            raise BadInput(
                f"{path} has {len(lines)} answer(s) to {name_} (line {numbers}), but the data has {len(places)} "
                f'record(s) of this {kind}; give one answer each, in their order, or name records by "record"'
            )
        for place, line in zip(places, lines, strict=True):
            _take(found, place, line, path)
    if not found:
        raise BadInput(f"{path} holds no answer, {WANTED} on each line; name another file")
    lines_ = [found.get(n) for n in range(len(keys))]
    return Answers(
        [line.item["answer"] if line else None for line in lines_],
        [_confidence(line.item) if line else None for line in lines_],
        [line is not None for line in lines_],
        [_failed(line.item) if line else None for line in lines_],
    )


def read_lines(path: str | Path) -> Iterator[Line]:
    """The objects of a JSONL file; blank lines are passed over.

    Raises :class:`~bat_agent.errors.BadInput` with file and line for what is no object.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield Line(number, parse_line(text, f"{path}, line {number}"))
    except OSError as error:
        raise BadInput(f"cannot read answers {path} ({error.strerror or error}); name a JSONL file") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no UTF-8 text ({error.reason}); name a JSONL file of answers") from error


def write_answers(
    path: str | Path,
    records: Sequence[Keyed],
    answers: Sequence[Any],
    confidences: Sequence[float | None] | None = None,
    numbers: Sequence[int] | None = None,
) -> None:
    """Write the answers to ``records`` as :func:`read_answers` reads them, all or nothing.

    ``numbers`` are those of the records in their files, 0 … N − 1 unless given. Raises
    :class:`~bat_agent.errors.BadInput` where the counts differ or the file cannot be written.
    """
    numbers = range(len(records)) if numbers is None else numbers
    confidences = [None] * len(records) if confidences is None else confidences
    if not len(records) == len(answers) == len(confidences) == len(numbers):
        raise BadInput(f"there are {len(records)} records but {len(answers)} answers; give one answer each")
    lines = (
        answer_line(number, record.key, answer, confidence)
        for number, record, answer, confidence in zip(numbers, records, answers, confidences, strict=True)
    )
    write_bytes(Path(path), "".join(lines).encode(), folder=True)


def answer_line(number: int, key: str, answer: Any, confidence: float | None = None, **more: Any) -> str:
    """One line of a file of answers, with its end of line."""
    sure = {} if confidence is None else {"confidence": round(confidence, 4)}
    # Text may hold half of a surrogate pair, which is no UTF-8; as an escape it is harmless.
    return json.dumps({"record": number, "key": key, "answer": answer, **sure, **more}) + "\n"


def key_of(item: Mapping[str, Any]) -> str | None:
    """The key that a line names in one way or the other; ``None`` if it names none."""
    if item.get("key") is not None:
        return str(item["key"])
    if item.get("question_type") is not None and item.get("question_id") is not None:
        return f"{item['question_type']}-{item['question_id']}"
    return None


def _places(keys: Sequence[str]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Numbers of the records of each key, and of each question_id alone."""
    by_key: dict[str, list[int]] = defaultdict(list)
    by_id: dict[str, list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        by_key[key].append(number)
        by_id[key.partition("-")[2]].append(number)
    return dict(by_key), dict(by_id)


def parse_line(text: str, where: str) -> dict[str, Any]:
    """The object of one line; raises :class:`~bat_agent.errors.BadInput`, which says ``where``, for anything else."""
    try:
        item = parse_json(text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "too deep or too long"
        raise BadInput(f"{where} is not valid JSON ({reason}), {WANTED}; mend the line or leave it out") from error
    if not isinstance(item, dict):
        raise BadInput(f"{where} is no object but a {type(item).__name__}, {WANTED}; mend the line or leave it out")
    return item


def _record(item: Mapping[str, Any], keys: Sequence[str], where: str) -> int:
    number = item["record"]
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(keys):
        raise BadInput(
            f"{where} answers record {number!r}, expected a whole number from 0 to {len(keys) - 1}; name the data that "
            "these answers are of, or leave the line out"
        )
    said = key_of(item)
    if said is not None and said != keys[number]:
        raise BadInput(
            f"{where} answers {said}, but record {number} of the data is {keys[number]}; name the data that these "
            "answers are of"
        )
    return number


def _name(item: Mapping[str, Any], by_key: Mapping[str, Any], where: str) -> tuple[str, str]:
    """(``key`` or ``id``, which): how a line without ``record`` names what it answers."""
    key = key_of(item)
    if key is not None:
        return "key", key
    if item.get("id") is None:
        raise BadInput(f"{where} does not say which question it answers, {WANTED}; add one of these")
    given = str(item["id"])
    return ("key" if given in by_key else "id"), given


def _take(found: dict[int, Line], place: int, line: Line, path: Path) -> None:
    if place in found:
        raise BadInput(
            f"{path}, line {line.number} answers record {place}, which line {found[place].number} answers already; "
            "leave one of them out"
        )
    found[place] = line


def _failed(item: Mapping[str, Any]) -> str | None:
    why = item.get("failed")
    return why if isinstance(why, str) and item["answer"] is None else None


def _confidence(item: Mapping[str, Any]) -> float | None:
    value = item.get("confidence")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None  # an infinite number, one that is none, or a percentage
    return float(value)
