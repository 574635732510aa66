"""What the stages of a run are asked: the questions of a data set, or of the validation split of its recipe.

Both are records whose clips are rendered when they are needed. For a reasoner that learnt without sound, encodings are
made from their truth instead.
"""

from __future__ import annotations

import copy
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from bat_agent.clips import corpus
from bat_agent.clips.batch import truth_of
from bat_agent.clips.mixtures import Mixtures
from bat_agent.clips.oracle import ORACLE_TOKENS, oracle_encoding
from bat_agent.datasets.sound_libraries import expand
from bat_agent.errors import BadInput
from bat_agent.interfaces import CLIP_SECONDS, Encoding
from bat_agent.questions import HeardSource, QARecord, Question
from bat_agent.recipes.schema import Recipe
from bat_agent.scoring.ask import Encode, Sounding
from bat_agent.scoring.curricula import letters_of, reasoner_stages
from bat_agent.scoring.data import open_questions

LETTERS = ("A", "B", "C", "D", "E", "E")
"""Asked of every run, whatever it learnt: the tables have figures for all of them."""
TWO_SOURCES = 0.6
"""Share of clips with two sources, among those that are drawn."""
PER_CLIP = 4
_CLIPS_AT_ONCE = 32
_SEED, _DRAW = 0, 2  # of the questions: whatever seed a run was trained with, all are asked the same
_SAMPLES = 64


@dataclass(frozen=True)
class QuestionSet:
    """Questions, and what they are about."""

    records: dict[int, QARecord]
    """By their number in all of them."""
    keys: list[str]
    """``TYPE-ID`` of all, up to the last of ``records`` at least."""
    sound: Sounding
    id: str
    """Digest: two sets of one digest ask the same."""
    words: str
    """What they are, for people."""
    seconds: float = CLIP_SECONDS
    """Length of their clips."""
    notes: list[str] = field(default_factory=list)


def questions_of(recipe: Recipe, data: Path | None = None, count: int | None = None) -> QuestionSet:
    """What the stages of a run are asked.

    ``data`` is a data set (its evaluation files) or a QA file. Without it: the records of the recipe's last stage, or
    else questions drawn from its validation split, alike for all seeds. At most ``count`` of them, spread evenly; by
    default all, or four for each of the recipe's ``validation_clips``. Raises :class:`~bat_agent.errors.BadInput` where
    data, sounds or rooms are missing.
    """
    last = reasoner_stages(recipe)[-1].records
    if data is None and last is None:
        return _drawn(recipe, count or PER_CLIP * recipe.validation_clips)
    return _recorded(data if data is not None else Path(expand(str(last))), count)


def oracle_encodings(records: Mapping[int, QARecord], token_dim: int, oracle_tokens: bool = False) -> Encode:
    """Encodings of what records ask about, made from where they say that everything is; with ``oracle_tokens`` the
    tokens tell it too (:mod:`bat_agent.clips.oracle`).

    Raises :class:`~bat_agent.errors.BadInput` for a record that does not say it.
    """
    for record in records.values():
        if record.geometry is None:
            raise BadInput(
                f"question {record.key} does not say where its sounds are, which a reasoner that was trained on "
                "oracle heads needs; give --data made by bat-agent dataset qa, or none"
            )

    def encode(numbers: Sequence[int]) -> Encoding:
        return _joined([_oracle_encoding(records[number], token_dim, oracle_tokens) for number in numbers])

    return encode


def _recorded(path: Path, count: int | None) -> QuestionSet:
    found = open_questions(path, limit=count)
    samples = [found.data[n].to_dict() for n in range(0, len(found.keys), max(1, len(found.keys) // _SAMPLES))]
    records = dict(zip(found.numbers, found.records, strict=True))
    return QuestionSet(records, found.keys, found.data, _digest(found.keys, samples), found.words, notes=found.notes)


def _drawn(recipe: Recipe, count: int) -> QuestionSet:
    seconds = max(zip(recipe.mixing.window_weights, recipe.mixing.window_seconds, strict=True))[1]
    learnt = {letter for stage in reasoner_stages(recipe) for letter in letters_of(stage)}
    # What was never taught more than one wording is asked in that one.
    simple = all(stage.simple_words for stage in reasoner_stages(recipe))
    steps = -(-count // (PER_CLIP * _CLIPS_AT_ONCE))
    # Whole batches, so that the first questions stay what they are when more are asked for.
    data = corpus.validation(
        replace(recipe, seed=_SEED), steps * _CLIPS_AT_ONCE, seconds=seconds, clips_per_batch=_CLIPS_AT_ONCE,
        two_sources=TWO_SOURCES, letters=(*LETTERS, *sorted(learnt & {"N", "P"})), questions_per_clip=PER_CLIP,
        seed=_DRAW, simple_words=simple,
    )  # fmt: skip
    drawn = DrawnClips(data)
    records = drawn.records()
    first = [record.to_dict() for record in records[: PER_CLIP * _CLIPS_AT_ONCE]]
    heard = [recipe.mixing.normalise, recipe.mixing.reverberation, seconds]
    words = f"{count} questions drawn from the validation split of {recipe.name}"
    keys = [record.key for record in records]
    return QuestionSet(dict(enumerate(records[:count])), keys, drawn, _digest(heard, first), words, seconds)


class DrawnClips:
    """Clips that are drawn and asked about, rendered batch by batch when they are needed
    (:class:`~bat_agent.scoring.ask.Sounding`).
    """

    def __init__(self, data: Mixtures) -> None:
        """``data`` gives the clips and their questions."""
        self.data = data
        self._kept: tuple[int, Tensor] | None = None

    def records(self) -> list[QARecord]:
        """All questions, clip by clip, without rendering any."""
        silent = copy.copy(self.data)
        silent.truth_only = True
        found: list[QARecord] = []
        for step in range(len(silent)):
            batch = silent[step]
            for heard, asked in zip(batch.heard, batch.questions, strict=True):
                clip = len(found) // PER_CLIP
                found += [_record(clip, len(found) + n, heard, question) for n, question in enumerate(asked)]
        return found

    def waveform(self, index: int) -> Tensor:
        """(2, samples) float32: what question ``index`` is about."""
        step, row = divmod(index // PER_CLIP, _CLIPS_AT_ONCE)
        if self._kept is None or self._kept[0] != step:
            self._kept = step, self.data[step].waveform
        return self._kept[1][row]


def _record(clip: int, number: int, heard: Sequence[HeardSource], question: Question) -> QARecord:
    names = [(f"validation/{clip}-{n}", f"validation/{clip}-{n}.npy") for n in range(len(heard))]
    first, second = (*names, (None, None))[:2]
    return QARecord(
        str(first[0]), str(first[1]), *second, number, question.type.value, question.text, question.answer,
        geometry=tuple(heard), kind=question.kind,
    )  # fmt: skip


def _oracle_encoding(record: QARecord, token_dim: int, oracle_tokens: bool) -> Encoding:
    # Lots are drawn by clip, so that an answer depends neither on its batch nor on where a killed run went on.
    generator = torch.Generator().manual_seed(zlib.crc32(repr(record.sources).encode()))
    return oracle_encoding(truth_of([record.geometry or ()]), token_dim, ORACLE_TOKENS, generator, oracle_tokens)


Part = TypeVar("Part")


def _joined(parts: Sequence[Part]) -> Part:
    """Encodings of one clip each as that of all, heads and slots included."""
    values: dict[str, Any] = {}
    for each in fields(parts[0]):  # type: ignore[arg-type]
        those = [getattr(part, each.name) for part in parts]
        if isinstance(those[0], Tensor):
            values[each.name] = torch.cat(those)
        else:
            values[each.name] = None if those[0] is None else _joined(those)
    return type(parts[0])(**values)


def _digest(*content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
