"""SpatialSoundQA in its released layout: every question by its number, and what it asks about, rendered when needed.

The layout is in the docs (data sets). Nothing but the places of the records lies in memory, so that the 872 000
questions and 21 000 RIRs of the release are as cheap as ten.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from bat_agent.datasets.layout import SPLITS
from bat_agent.datasets.released_audio import ReleasedAudio
from bat_agent.datasets.store import Store
from bat_agent.errors import BadInput
from bat_agent.questions import QARecord, QuestionType, RecordFile

if TYPE_CHECKING:
    from torch import Tensor

STAGES = ("stage1-clsdoa", "stage2-single", "stage3-mixup", "stage4-beyond", "stage5-free")
"""Folders of question files; the last two are ours and hold what the paper does not ask."""
_QUESTIONS = ("closed-end", "owl-questions")
Split = str


class SpatialSoundQA(Sequence[QARecord]):
    """The questions of a data set, released, ours or BiDepth's.

    Args:
        root: Folder that holds ``AudioSet``, ``mp3d_reverb`` and ``closed-end`` (BiDepth: ``owl-questions``); zip
            archives and WebDataset shards (tar) in it are read in place.
        stages: Numbers 1 … 5 of the stages to take; each file of the release holds those of the stages before it as
            well. All by default.
        split: ``train``, ``eval`` (all other files: ``eval-*``, ``val``, ``test``), or ``None`` for both.
        types: Only records of these types.
        limit: No more than this many records.
        files: Question files to take instead, wherever they are.

    Raises :class:`~bat_agent.errors.BadInput` where there is no question file, or one is broken.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        stages: Sequence[int] | None = None,
        split: Split | None = None,
        types: Sequence[QuestionType] | None = None,
        limit: int | None = None,
        files: Sequence[Path | str] | None = None,
    ) -> None:
        self.store = Store(root)
        self.root = self.store.root
        self.audio = ReleasedAudio(self.store)
        names = question_files(self.store, stages, split) if files is None else []
        self.files = [self.root / name for name in names] if files is None else [Path(file) for file in files]
        places = [self.store.local(name) for name in names] if files is None else self.files
        self._files = [RecordFile(place, shown_as) for place, shown_as in zip(places, self.files, strict=True)]
        self._places = self._chosen(types, limit)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> QARecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[QARecord]: ...
    def __getitem__(self, index: int | slice) -> QARecord | list[QARecord]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        file, number = self._places[range(len(self))[index]].tolist()
        return self._files[file][number]

    def __iter__(self) -> Iterator[QARecord]:
        """All records; in large reads where nothing was left out."""
        if len(self) == sum(map(len, self._files)):
            for file in self._files:
                yield from file
        else:
            yield from (self[number] for number in range(len(self)))

    def types(self) -> list[QuestionType]:
        """The type of every record, without reading the rest of it."""
        names = [file.types() for file in self._files]
        return [QuestionType(names[file][number]) for file, number in self._places.tolist()]

    def only(self, file: Path) -> SpatialSoundQA:
        """The records of one of the files."""
        other = copy(self)
        number = self.files.index(file)
        other._places = self._places[self._places[:, 0] == number]
        return other

    def spread(self, count: int) -> SpatialSoundQA:
        """At most ``count`` of the records, evenly spread over all."""
        other = copy(self)
        rows = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)
        other._places = self._places[rows]
        return other

    def name(self, index: int) -> str:
        """File and record of a question."""
        file, number = self._places[range(len(self))[index]].tolist()
        return f"{self.files[file]}, record {number}"

    def where(self, index: int) -> str:
        """As :meth:`name`, with the line, which takes reading the file up to there."""
        file, number = self._places[range(len(self))[index]].tolist()
        return f"{self.name(index)} (line {self._files[file].line(number)})"

    def waveform(self, index: int) -> Tensor:
        """What record ``index`` asks about, (2, 320000) float32; see :meth:`ReleasedAudio.render`."""
        return self.audio.render(self[index])

    def _chosen(self, types: Sequence[QuestionType] | None, limit: int | None) -> np.ndarray:
        """(records, 2): number of the file, and of the record in it."""
        if limit is not None and limit < 1:
            raise BadInput(f"limit must be 1 or more, got {limit}; leave it out for all records")
        parts, left = [], math.inf if limit is None else limit
        for number, file in enumerate(self._files):
            rows = np.arange(len(file))
            if types is not None:
                wanted = {QuestionType(t).value for t in types}
                rows = np.array([row for row, name in enumerate(file.types()) if name in wanted], dtype=np.int64)
            rows = rows[: int(min(left, len(rows)))]
            left -= len(rows)
            parts.append(np.stack([np.full(len(rows), number), rows], axis=1))
        if types is not None and not sum(map(len, parts)):
            raise BadInput(f"no record of {', '.join(QuestionType(t).value for t in types)} in {self._names()}")
        return np.concatenate(parts).astype(np.int64)

    def _names(self) -> str:
        return ", ".join(str(file) for file in self.files)


def question_files(store: Store, stages: Sequence[int] | None = None, split: Split | None = None) -> list[str]:
    """Paths of the question files of a data set, stage by stage, ``train`` first.

    Raises :class:`~bat_agent.errors.BadInput` where there are none.
    """
    if split not in (None, *SPLITS):
        raise BadInput(f"split must be train or eval, got {split!r}")
    if unknown := [stage for stage in stages or () if not 1 <= stage <= len(STAGES)]:
        raise BadInput(f"stages are numbered 1 to {len(STAGES)}, got {unknown[0]}")
    wanted = [STAGES[stage - 1] for stage in sorted(set(stages or range(1, len(STAGES) + 1)))]
    # The first that is there, so that archives are not opened to look for the other.
    found = next((names for folder in _QUESTIONS if (names := store.glob(f"{folder}/*/*.json"))), [])
    found = [name for name in found if name.split("/")[1] in wanted]
    found = [name for name in found if split is None or (name.endswith("/train.json")) == (split == "train")]
    found.sort(key=lambda name: (name.split("/")[1], not name.endswith("/train.json"), name))
    if not found:
        what = " or ".join(f"{folder}/{{{','.join(wanted)}}}" for folder in _QUESTIONS)
        kind = f"{split} question file" if split else "question file"
        raise BadInput(
            f"{store.root} holds no {kind} in {what}; name the root of a SpatialSoundQA data set, or make one with "
            "bat-agent dataset qa"
        )
    return found
