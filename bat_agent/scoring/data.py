"""The questions that are scored: a file or a data set in the released layout, all of it, some types or a few of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bat_agent.datasets.archives import SUFFIXES
from bat_agent.errors import BadInput
from bat_agent.questions import QARecord, QuestionType

if TYPE_CHECKING:
    from bat_agent.datasets.spatialsoundqa import SpatialSoundQA

QUESTION_FOLDERS = ("closed-end", "owl-questions")
"""Folders of a data set that hold its question files (the second is BiDepth's)."""


@dataclass(frozen=True)
class Questions:
    """Records chosen from a data set, and where they are in it."""

    data: SpatialSoundQA
    """All of its records; their sound is rendered by number."""
    keys: list[str]
    """``TYPE-ID`` of all of its records."""
    numbers: list[int]
    """Numbers of the chosen ones, ascending."""
    records: list[QARecord]
    """The chosen ones."""
    words: str
    """What they are, for people."""
    notes: list[str] = field(default_factory=list)
    """What to know about the choice."""


def open_questions(
    path: str | Path,
    *,
    stage: int | None = None,
    types: Sequence[QuestionType] = (),
    limit: int | None = None,
    root: str | Path | None = None,
) -> Questions:
    """The questions of a QA file, or of the ``eval-*`` files of a data set (its training files where it has no other).

    Args:
        path: A QA file, or the root of a data set in the released layout.
        stage: Take the files of this stage alone; of a root.
        types: Only these; all if there are none.
        limit: At most so many, spread evenly over the data.
        root: Where the recordings and RIRs of a QA file are; the root that the file lies in unless given.

    Raises :class:`~bat_agent.errors.BadInput` for what cannot be read, and where no question is left.
    """
    data, notes = _open(Path(path), stage, root)
    wanted = set(types or QuestionType)
    everything = set(range(len(data))) if types or limit is None else set(_spread(range(len(data)), limit))
    keys: list[str] = []
    chosen: list[tuple[int, QARecord]] = []
    for number, record in enumerate(data):
        keys.append(record.key)
        if number in everything and _type(data, record, number) in wanted:
            chosen.append((number, record))
    if not chosen:
        there = ", ".join(Counter(key.partition("-")[0] for key in keys)) or "no question at all"
        raise BadInput(f"{path} has no question of the types that were asked for; it has {there}")
    if types and limit is not None:
        chosen = [chosen[n] for n in _spread(range(len(chosen)), limit)]
    words = f"{len(chosen)} of {len(keys)} questions" if len(chosen) < len(keys) else f"{len(keys)} questions"
    return Questions(data, keys, *_unzipped(chosen), f"{words} of {Path(path).name}", notes)


def stage_counts(path: str | Path) -> dict[int, Counter[str]]:
    """Records of each letter in the training files of each stage of a data set, or in its other files where a stage has
    no training file; empty for a QA file, which says nothing of stages.
    """
    from bat_agent.datasets.spatialsoundqa import STAGES, question_files
    from bat_agent.datasets.store import Store
    from bat_agent.questions import RecordFile

    if _is_qa_file(Path(path)):
        return {}
    store, found = Store(path), {}
    for stage in range(1, len(STAGES) + 1):
        try:
            names = question_files(store, [stage])
        except BadInput:
            continue
        names = [name for name in names if name.endswith("/train.json")] or names
        letters: Counter[str] = Counter()
        for name in names:
            for kind, count in Counter(RecordFile(store.local(name), name).types()).items():
                letters[QuestionType(kind).letter] += count
        found[stage] = letters
    return found


def _open(path: Path, stage: int | None, root: str | Path | None) -> tuple[SpatialSoundQA, list[str]]:
    from bat_agent.datasets.spatialsoundqa import SpatialSoundQA, question_files
    from bat_agent.datasets.store import Store

    if not path.exists():
        raise BadInput(f"{path} does not exist; name a QA file or the root of a data set in the released layout")
    if _is_qa_file(path):
        if stage is not None:
            raise BadInput(f"--stage chooses files of a data set, but {path} is a file; leave one of them out")
        return SpatialSoundQA(root or _root_of(path), files=[path]), []
    if root is not None:
        raise BadInput(f"--root says where the sounds of a QA file are, but {path} is a folder; leave --root out")
    stages = None if stage is None else [stage]
    if any(not name.endswith("/train.json") for name in question_files(Store(path), stages)):
        return SpatialSoundQA(path, stages=stages, split="eval"), []
    data = SpatialSoundQA(path, stages=stages, split="train")
    return data, [f"{path} has no eval-*.json, so its training questions are scored"]


def _is_qa_file(path: Path) -> bool:
    """A file of questions, and not a whole data set in an archive."""
    return path.is_file() and path.suffix not in SUFFIXES


def _root_of(path: Path) -> Path:
    """The root of the data set that a QA file lies in; its own folder where that has another layout."""
    for folder in path.resolve().parents:
        if folder.name in QUESTION_FOLDERS:
            return folder.parent
    return path.resolve().parent


def _type(data: SpatialSoundQA, record: QARecord, number: int) -> QuestionType:
    try:
        return record.type
    except BadInput as error:
        raise BadInput(f"{data.where(number)}: {error}") from error


def _spread(numbers: range, limit: int) -> Iterable[int]:
    """At most ``limit`` of them, evenly spread."""
    if limit >= len(numbers):
        return numbers
    return np.linspace(0, len(numbers), limit, endpoint=False).astype(int).tolist()


def _unzipped(chosen: Sequence[tuple[int, QARecord]]) -> tuple[list[int], list[QARecord]]:
    return [number for number, _ in chosen], [record for _, record in chosen]
