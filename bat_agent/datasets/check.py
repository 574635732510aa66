"""Whether a SpatialSoundQA set is whole: every record readable, every file it names there, every answer true.

An answer is checked where the record says where its sources are (``geometry``), by :mod:`bat_agent.questions.verify`;
the location in an answer about one source also against the reverberation file.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.datasets.layout import BINAURAL, REVERB
from bat_agent.datasets.released_audio import ReleasedAudio
from bat_agent.datasets.spatialsoundqa import question_files
from bat_agent.datasets.store import Store
from bat_agent.errors import BadInput
from bat_agent.labels import labels
from bat_agent.questions import QARecord, QuestionType, RecordFile, parse_labels, parse_location
from bat_agent.questions.verify import verify
from bat_agent.scene import Position

Progress = Callable[[int, int], None]
_TOLD_EVERY = 500
_ROUNDING_M = 0.01
_BORDER_DEG = 0.01
"""Nearer to a border of regions than this, either side counts as right: files round."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one record, or with a file (then ``record`` is ``None``)."""

    file: str
    record: int | None
    line: int | None
    what: str

    def __str__(self) -> str:
        where = self.file if self.record is None else f"{self.file}, record {self.record} (line {self.line})"
        return f"{where}: {self.what}"


@dataclass
class Checked:
    """What was looked at, and what is wrong."""

    records: int = 0
    recordings: int = 0
    rirs: int = 0
    answers_verified: int = 0
    """Records whose answer follows from their geometry."""
    locations_verified: int = 0
    """Records without geometry whose location fits the reverberation file."""
    types: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return asdict(self)


def check(
    root: Path | str,
    *,
    stages: Sequence[int] | None = None,
    split: str | None = None,
    types: Sequence[QuestionType] | None = None,
    limit: int | None = None,
    listen: bool = False,
    progress: Progress = lambda done, total: None,
) -> Checked:
    """Check the records of a set; ``limit`` of each file at most, ``listen`` also decodes every recording and RIR.

    Raises :class:`~bat_agent.errors.BadInput` only where there is nothing to check; what is broken is a problem.
    """
    store = Store(root)
    names = question_files(store, stages, split)
    found = Checked()
    references = _References(store, listen)
    chosen = {QuestionType(kind) for kind in types} if types is not None else None
    files: list[tuple[str, RecordFile]] = []
    for name in names:
        file = _opened(store, name, found)
        if file is not None:
            files.append((name, file))
    total = sum(min(len(file), limit or len(file)) for _, file in files)
    for name, file in files:
        done = found.records
        for number in _check_file(name, file, chosen, limit, references, found):
            if number % _TOLD_EVERY == 0:
                progress(done + number, total)
    if references.broken is not None:
        found.problems.append(Problem(REVERB, None, None, references.broken))
    found.recordings, found.rirs = len(references.audio), len(references.rirs)
    return found


def _opened(store: Store, name: str, found: Checked) -> RecordFile | None:
    try:
        return RecordFile(store.local(name), name)
    except BadInput as error:
        found.problems.append(Problem(name, None, None, str(error)))
        return None


def _check_file(
    name: str,
    file: RecordFile,
    types: set[QuestionType] | None,
    limit: int | None,
    references: _References,
    found: Checked,
) -> Iterator[int]:
    ids: Counter[str] = Counter()
    last = math.inf if limit is None else found.records + limit
    for number in range(len(file)):
        if found.records >= last:
            break
        yield number
        try:
            record = file[number]
        except BadInput as error:
            # The message begins with the place, which the problem tells as well.
            what = str(error).partition("): ")[2] or str(error)
            found.problems.append(Problem(name, number, file.line(number), what))
            continue
        if types is not None and record.type not in types:
            continue
        ids[record.key] += 1
        found.records += 1
        found.types[record.type.value] = found.types.get(record.type.value, 0) + 1
        for what in [*references.problems(record), *_wrong_answer(record, references, found)]:
            found.problems.append(Problem(name, number, file.line(number), what))
    if twice := [key for key, count in ids.items() if count > 1]:
        found.notes.append(
            f"{name}: {len(twice)} pairs of question_type and question_id are not unique, first {twice[0]}; the "
            "release has such as well, answers to them are matched in their order"
        )


def _wrong_answer(record: QARecord, references: _References, found: Checked) -> Iterator[str]:
    if not record.answer.strip():
        yield "the answer is empty"
        return
    kind = record.type
    if kind.letter in "AC" or kind is QuestionType.MIXUP_NONBINARY_SOURCE:
        unknown = set(parse_labels(record.answer) or ()) - _label_names()
        if unknown and not _other_dialect(record):
            yield f"the answer names {sorted(unknown)[0]!r}, which is none of the 355 classes"
            return
    if record.geometry is not None:
        wrong = _misplaced(record, references) or verify(record)
        if wrong is not None:
            yield wrong
        else:
            found.answers_verified += 1
    elif kind is QuestionType.DOA and len(record.sources) == 1:
        yield from _wrong_location(record, references, found)


def _misplaced(record: QARecord, references: _References) -> str | None:
    """Whether a source of the geometry is not where the reverberation file has its RIR."""
    for source, (_, reverb_id) in zip(record.geometry or (), record.sources, strict=True):
        listed = references.positions.get(reverb_id)
        if listed is None:
            continue
        here, there = (np.array(_unit(p.azimuth_deg, p.elevation_deg)) for p in (source.position, listed))
        apart_m = float(np.linalg.norm(here * source.position.distance_m - there * listed.distance_m))
        if apart_m > _ROUNDING_M:
            return f"its geometry has {reverb_id} {apart_m:.2f} m from where the reverberation file has it"
    return None


def _wrong_location(record: QARecord, references: _References, found: Checked) -> Iterator[str]:
    """Against the reverberation file, for records of the release, which have no geometry."""
    position, said = references.positions.get(record.reverb_id), parse_location(record.answer)
    if position is None or said is None:
        return
    x, y, z = _unit(position.azimuth_deg, position.elevation_deg)
    near = math.sin(math.radians(_BORDER_DEG))
    words = (("left", "right", -x), ("front", "behind", -z), ("above", "below", y))
    for word, (first, second, value) in zip(said[0].split(", "), words, strict=True):
        if word != (first if value > 0 else second) and abs(value) > near:
            yield f"the answer says {word}, but {record.reverb_id} comes from {position.region}"
            return
    if abs(said[1] - position.distance_m) > 0.26:
        yield f"the answer says {said[1]:g} m, but {record.reverb_id} is {position.distance_m:.2f} m away"
        return
    found.locations_verified += 1


class _References:
    """The recordings and RIRs that records name; each is looked at once."""

    def __init__(self, store: Store, listen: bool) -> None:
        self._data = ReleasedAudio(store)
        self._store, self._listen = store, listen
        self.broken: str | None = None
        self.audio: dict[str, str | None] = {}
        self.rirs: dict[str, str | None] = {}

    @cached_property
    def positions(self) -> dict[str, Position]:
        """Where the source of each RIR is heard; nothing where that file is broken, which :attr:`broken` tells."""
        try:
            return self._data.positions
        except BadInput as error:
            self.broken = str(error)
            return {}

    def problems(self, record: QARecord) -> Iterator[str]:
        """One sentence for each reference of a record that leads nowhere."""
        for audio_id, reverb_id in record.sources:
            for known, name, look in ((self.audio, audio_id, self._audio), (self.rirs, reverb_id, self._rir)):
                if name not in known:
                    known[name] = look(name)
                if (what := known[name]) is not None:
                    yield what
        for name in record.reverb_path or ():
            if name not in self.rirs:
                self.rirs[name] = self._rir(name)
            if (what := self.rirs[name]) is not None:
                yield what

    def _audio(self, audio_id: str) -> str | None:
        try:
            if self._listen:
                self._data.dry(audio_id)
            else:
                path = self._data.audio_path(audio_id)
                if not self._store.size(path):
                    return f"{self._store.shown(path)} is empty (0 bytes), expected audio; fetch it again"
        except BadInput as error:
            return str(error)
        return None

    def _rir(self, reverb_id: str) -> str | None:
        path = f"{REVERB}/{BINAURAL}/{reverb_id}"
        try:
            if self._listen:
                self._data.rir(reverb_id)
            else:
                return self._head_of_rir(path)
        except BadInput as error:
            return str(error)
        return None

    def _head_of_rir(self, path: str) -> str | None:
        """The shape from the head of the file, and whether the file is as long as that."""
        head = io.BytesIO(self._store.read(path, 256))
        try:
            version = np.lib.format.read_magic(head)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = read(head)
        except ValueError as error:
            return f"{self._store.shown(path)} is no .npy file ({error}); make or download it again"
        if len(shape) != 2 or shape[0] != 2:
            return f"{self._store.shown(path)} has the shape {shape}, expected (2, samples); make or download it again"
        if self._store.size(path) < head.tell() + kind.itemsize * math.prod(shape):
            return f"{self._store.shown(path)} is cut off; make or download it again"
        return None


def _unit(azimuth_deg: float, elevation_deg: float) -> tuple[float, float, float]:
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    flat = math.cos(elevation)
    return flat * math.cos(azimuth), math.sin(elevation), -flat * math.sin(azimuth)


def _label_names() -> set[str]:
    return {name.lower() for name in labels()}


def _other_dialect(record: QARecord) -> bool:
    """BiDepth writes sentences where the release has labels."""
    return record.geometry is None and len(record.sources) == 2 and record.type is QuestionType.CLASSIFICATION
