"""Drawing the records of a SpatialSoundQA set: which sounds, in which room, asked what (BAT, section 3.2, appendix F).

A record depends on (seed, split, its number, attempt) alone: these numbers stand in it, so that :meth:`Draw.derive`
makes any one of them again. Only which attempt is kept depends on the records before it, as answers are levelled over
the whole set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np

from bat_agent.datasets.layout import SPLITS
from bat_agent.datasets.rooms import ReleasedRooms
from bat_agent.datasets.sounds import Balance as Drawing
from bat_agent.datasets.sounds import Sound, SoundSet
from bat_agent.errors import BadInput
from bat_agent.questions import (
    Balance,
    HeardSource,
    QARecord,
    Question,
    QuestionType,
    Split,
    compatible,
    generate,
    unrelated_labels,
)
from bat_agent.questions.free import FreeQuestion, Intent, ask_free
from bat_agent.questions.free.intents import intents_for
from bat_agent.questions.generator import CREDIT, TOGETHER
from bat_agent.scene import Position

T = QuestionType
PAPER_COUNTS = {"A": 139_392, "B": 139_392, "C": 118_000, "D": 118_000, "E": 357_528}
"""Records of each type in the release (BAT, table 1; exact counts of its training file): 15.98, 13.53 and 40.99 %."""
PAPER_SHARES = {"A": 0.159, "B": 0.159, "C": 0.135, "D": 0.135, "E": 0.412}
"""Shares that table 1 prints."""
_SHARE_WITHIN_E = {
    T.MIXUP_DIRECTION: 1 / 3,
    T.MIXUP_DISTANCE_BOTH: 1 / 3,
    T.MIXUP_NONBINARY_DIRECTION: 1 / 9,
    T.MIXUP_NONBINARY_DISTANCE: 1 / 9,
    T.MIXUP_NONBINARY_SOURCE: 1 / 9,
}
"""How E falls into its types: thirds, as the sizes of the released evaluation files suggest; the paper says nothing."""
SHARES: dict[QuestionType, float] = {
    T.CLASSIFICATION: PAPER_SHARES["A"],
    T.DOA: PAPER_SHARES["B"],
    T.MIXUP_SINGLE_CLASSIFICATION: PAPER_SHARES["C"],
    T.MIXUP_SINGLE_DOA: PAPER_SHARES["D"],
    **{kind: PAPER_SHARES["E"] * share for kind, share in _SHARE_WITHIN_E.items()},
}
_ATTEMPTS = 3000
_ATTEMPTS_OF_INTENT = 400  # then the next one has a try: sounds and rooms may not admit it
_SOUNDS_KEPT = 20_000  # objects, not samples
_DIGITS = 4


@dataclass(frozen=True)
class MovingPath:
    """A source that moves through a room: its RIRs, evenly in time, and where it begins and ends."""

    reverb_ids: tuple[str, ...]
    start: Position
    end: Position


@dataclass(frozen=True)
class Drawn:
    """A record, and what it is made of."""

    record: QARecord
    sounds: tuple[Sound, ...]


class _Refused(Exception):
    """The answer is ahead of the others of its question."""


class _Level(Balance):
    """As :class:`Balance`, but what it refuses is drawn anew from the sounds on, not only asked otherwise; and it never
    has a say in what is asked, so that a record follows from its seed.
    """

    def ahead(self, key: str, answer: str, choices: Sequence[str]) -> int:
        lead = super().ahead(key, answer, choices)
        if lead >= (CREDIT if key.startswith(TOGETHER) else self.slack):
            raise _Refused
        return lead

    def lends(self, wording: str, label: str) -> bool:
        if not super().lends(wording, label):
            raise _Refused
        return True

    def owed(self, wording: str) -> dict[str, int]:
        return {}


class Draw:
    """Draws records from sounds and RIRs.

    Args:
        sounds: What sounds.
        rooms: Where; two sources share a clip if one listener hears them, or, in sets that give every RIR a listener
            of its own as the release does, if they are in one building.
        audio_id: Gives the name of a sound in the records.
        seed, split: What everything is drawn from, together with the number of a record.
        wordings: ``train``, ``eval`` (those kept back), or ``all``.
        balance: How sounds are drawn (:meth:`SoundSet.sample`).
        paths: For questions about moving sources; free ones ask of motion only if there are some.
    """

    def __init__(
        self,
        sounds: SoundSet,
        rooms: ReleasedRooms,
        audio_id: Callable[[Sound], str],
        *,
        seed: int,
        split: str,
        wordings: Split = "all",
        balance: Drawing = "class",
        paths: Sequence[MovingPath] = (),
    ) -> None:
        self.sounds, self.rooms, self.paths = sounds, rooms, paths
        self.seed, self.split, self.wordings, self.balance = seed, SPLITS.index(split), wordings, balance
        self._audio_id = audio_id
        self._known = sounds.labels()
        self._intents = intents_for(self._known, moving=bool(paths))
        self._sound = lru_cache(_SOUNDS_KEPT)(sounds.__getitem__)

    def records(self, types: Sequence[QuestionType], first: int = 0) -> Iterator[Drawn]:
        """Records numbered ``first`` … of the given types, in their order.

        Raises :class:`~bat_agent.errors.BadInput` where the sounds or RIRs do not admit one.
        """
        level = _Level()
        for number, kind in enumerate(types, first):
            yield self._record(kind, number, level)

    def derive(self, record: QARecord) -> Drawn:
        """The record again, from its seed and type alone; of the same sounds and RIRs it is the same."""
        if record.seed is None or len(record.seed) != 4 or record.seed[:2] != (self.seed, self.split):
            raise BadInput(f"record {record.key} has the seed {record.seed}, which is none of this draw")
        number, attempt = record.seed[2:]
        found = self._attempt(record.type, number, attempt, None)
        if found is None:
            raise BadInput(f"record {record.key} cannot be derived again; the sounds, RIRs or version are others")
        return found

    def _record(self, kind: QuestionType, number: int, level: _Level) -> Drawn:
        for attempt in range(_ATTEMPTS):
            try:
                found = self._attempt(kind, number, attempt, level)
            except _Refused:
                continue
            if found is not None:
                return found
        raise BadInput(
            f"no {kind.value} question was found in {_ATTEMPTS} draws; give sounds of more classes, or RIRs with "
            "several sources in different directions of one listener"
        )

    def _attempt(self, kind: QuestionType, number: int, attempt: int, level: _Level | None) -> Drawn | None:
        seed = (self.seed, self.split, number, attempt)
        rng = np.random.default_rng(seed)
        intent = self._intent(number, attempt) if kind is T.FREE else None
        moving = kind is T.MOTION or (intent is not None and intent.moving and bool(rng.integers(2)))
        placed = self._moving(rng) if moving else self._at_rest(self._wanted(kind, number, intent, rng), rng)
        if placed is None:
            return None
        sounds, heard, reverbs = placed
        if kind is T.NOT_HEARD and not unrelated_labels([x for h in heard for x in h.labels], self._known):
            return None
        asked = self._asked(kind, intent, heard, rng, level)
        if not asked:
            return None
        return Drawn(self._written(asked[0], number, seed, sounds, heard, reverbs), tuple(sounds))

    def _asked(
        self,
        kind: QuestionType,
        intent: Intent | None,
        heard: Sequence[HeardSource],
        rng: np.random.Generator,
        level: _Level | None,
    ) -> Sequence[Question]:
        known = self._known
        if intent is None:
            return generate(heard, [kind], rng, 1, split=self.wordings, known_labels=known, balance=level, typed=False)
        # No voice of evaluation is trained on, even where all other wordings are used in both.
        voices = self.wordings if self.wordings != "all" else cast(Split, SPLITS[self.split])
        return ask_free(heard, rng, 1, intents=(intent.name,), split=voices, known_labels=known, balance=level)

    def _intent(self, number: int, attempt: int) -> Intent:
        """Intents come in turn, so that all are asked equally often."""
        return self._intents[(number + attempt // _ATTEMPTS_OF_INTENT) % len(self._intents)]

    def _wanted(self, kind: QuestionType, number: int, intent: Intent | None, rng: np.random.Generator) -> int:
        """How many sources."""
        # In turn and not by lot: rooms refuse many sources more often than few, and counts would not be level.
        if intent is None:
            return kind.sources[number % len(kind.sources)]
        # Where answers are levelled, a turn might be one that can never be taken.
        turn = number // len(self._intents) if intent.in_turn else int(rng.integers(len(intent.counts)))
        return intent.counts[turn % len(intent.counts)]

    def _at_rest(
        self, wanted: int, rng: np.random.Generator
    ) -> tuple[list[Sound], list[HeardSource], list[tuple[str, ...]]] | None:
        place = self.rooms.place(int(rng.integers(len(self.rooms))), rng, 1 if wanted == 1 else 8)
        sounds: list[Sound] = []
        heard: list[HeardSource] = []
        reverbs: list[tuple[str, ...]] = []
        for position, row in zip(place.positions, place.rows, strict=True):
            sound = self._sound(self.sounds.draw(rng, self.balance))
            candidate = HeardSource(sound.labels, _rounded(position))
            if all(compatible(candidate, other) for other in heard):
                sounds.append(sound)
                heard.append(candidate)
                reverbs.append((self.rooms.name(row, None),))
            if len(heard) == wanted:
                return sounds, heard, reverbs
        return None

    def _moving(self, rng: np.random.Generator) -> tuple[list[Sound], list[HeardSource], list[tuple[str, ...]]] | None:
        path = self.paths[int(rng.integers(len(self.paths)))]
        ids, ends = path.reverb_ids, (path.start, path.end)
        if rng.integers(2):  # either way, so that a room says nothing of the direction
            ids, ends = ids[::-1], ends[::-1]
        sound = self._sound(self.sounds.draw(rng, self.balance))
        return [sound], [HeardSource(sound.labels, _rounded(ends[0]), _rounded(ends[1]))], [ids]

    def _written(
        self,
        question: Question,
        number: int,
        seed: tuple[int, int, int, int],
        sounds: Sequence[Sound],
        heard: Sequence[HeardSource],
        reverbs: Sequence[tuple[str, ...]],
    ) -> QARecord:
        audio = [self._audio_id(sound) for sound in sounds] + [None] * 3
        reverb = [path[0] for path in reverbs] + [None] * 3
        return QARecord(
            cast(str, audio[0]), cast(str, reverb[0]), audio[1], reverb[1], number, question.type.value, question.text,
            question.answer, audio[2], reverb[2], audio[3], reverb[3],
            reverb_path=reverbs[0] if len(reverbs[0]) > 1 else None, geometry=tuple(heard), kind=question.kind,
            seed=seed, query=str(question.query) if isinstance(question, FreeQuestion) else None,
        )  # fmt: skip


def shared_out(count: int, shares: Mapping[QuestionType, float], seed: int) -> list[QuestionType]:
    """``count`` types in these proportions (largest remainders), in an order drawn by lot."""
    total = sum(shares.values())
    exact = {kind: count * share / total for kind, share in shares.items()}
    counts = {kind: int(value) for kind, value in exact.items()}
    left = sorted(exact, key=lambda kind: counts[kind] - exact[kind])[: count - sum(counts.values())]
    for kind in left:
        counts[kind] += 1
    types = [kind for kind, number in counts.items() for _ in range(number)]
    order = np.random.default_rng((seed, count)).permutation(len(types))
    return [types[place] for place in order]


def _rounded(position: Position) -> Position:
    """As it is written: answers follow from what the record says, to the last digit."""
    azimuth_deg, elevation_deg, distance_m = position
    return Position(round(azimuth_deg, _DIGITS) % 360.0, round(elevation_deg, _DIGITS), round(distance_m, _DIGITS))
