"""SpatialSoundQA records: the eight released fields, what ours add to them, the question types, and the prompt.

Files of records, hundreds of megabytes long, are read by :mod:`bat_agent.questions.files`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from bat_agent.errors import BadInput
from bat_agent.questions.answers import HeardSource

PROMPT = (
    "Based on the audio you've heard, refer to the instruction and provide a response.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
"""The prompt of BAT, verbatim; 64 audio query tokens stand in front of it."""


def prompt(instruction: str) -> str:
    """The prompt around a question."""
    return PROMPT.replace("{instruction}", instruction)


class QuestionType(str, Enum):
    """The ``question_type`` strings of the release (BAT, table 1), and ours."""

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
    MANY_CLASSIFICATION = "MANY_CLASSIFICATION"
    """As C, with three or four sources; this and what follows is not in the release either."""
    MANY_DOA = "MANY_DOA"
    """As D, with three or four sources."""
    MANY_DIRECTION = "MANY_DIRECTION"
    """As MIXUP_DIRECTION, with three or four sources."""
    MANY_DISTANCE = "MANY_DISTANCE"
    """As MIXUP_DISTANCE_BOTH, with three or four sources."""
    ANGLE = "ANGLE"
    """Azimuth or elevation in degrees."""
    CLOCK = "CLOCK"
    """Azimuth as the hour of a clock face: 12 in front, 3 on the right."""
    ELEVATION = "ELEVATION"
    """Which of two is higher by its angle: yes or no."""
    COUNT = "COUNT"
    """How many sources there are."""
    CHOICE = "CHOICE"
    """Several answers to choose from by their letter."""
    NOT_HEARD = "NOT_HEARD"
    """Where something is, or how far, that may well not be there."""
    MOTION = "MOTION"
    """Which way a source moves."""
    FREE = "FREE"
    """Whatever people ask, in their own words (:mod:`bat_agent.questions.free`)."""

    @property
    def letter(self) -> str:
        """The paper's name, ``A`` … ``E``; ``P`` for plain questions, ``F`` for free ones, ``X`` for others of ours."""
        return _LETTERS.get(self.value, "E" if self in RELEASED_TYPES else "X")

    @property
    def sources(self) -> range:
        """How many sources a clip may hold that is asked about in this way."""
        return _SOURCES.get(self.value, range(2, 3))

    @property
    def num_sources(self) -> int | None:
        """How many sources the clip holds: 1, 2, or ``None`` where several numbers will do."""
        return self.sources[0] if len(self.sources) == 1 else None

    @classmethod
    def _missing_(cls, value: object) -> QuestionType | None:
        # Seen in third-party code about the release, with the same answers as _SOURCE.
        return cls.MIXUP_NONBINARY_SOURCE if value == "MIXUP_NONBINARY_CLASSIFICATION" else None


RELEASED_TYPES = tuple(QuestionType)[:9]
"""The nine types of the release, in the order of the paper's letters."""
BEYOND_TYPES = tuple(QuestionType)[10:-1]
"""Types that the paper does not have, asked in fixed words."""
MAX_SOURCES = 4
"""Most sources in one clip."""
_LETTERS = {
    "CLASSIFICATION": "A",
    "DOA": "B",
    "MIXUP_SINGLE_CLASSIFICATION": "C",
    "MIXUP_SINGLE_DOA": "D",
    "PLAIN": "P",
    "FREE": "F",
}
_ANY = range(1, MAX_SOURCES + 1)
_SOURCES = {"CLASSIFICATION": range(1, 2), "DOA": range(1, 2), "PLAIN": range(1, 3), "MOTION": range(1, 2)}
_SOURCES |= {f"MANY_{name}": range(3, MAX_SOURCES + 1) for name in ("CLASSIFICATION", "DOA", "DIRECTION", "DISTANCE")}
_SOURCES |= dict.fromkeys(("ANGLE", "CLOCK", "COUNT", "CHOICE", "NOT_HEARD", "FREE"), _ANY)


def parse_types(text: str) -> list[QuestionType]:
    """``A,B,MIXUP_DIRECTION`` → types; a letter stands for all its types, ``N`` for the non-binary ones of E.

    Raises :class:`~bat_agent.errors.BadInput` for anything else.
    """
    found: list[QuestionType] = []
    for part in (part.strip().upper() for part in text.split(",")):
        fitting = [kind for kind in QuestionType if part in (kind.letter, kind.value)]
        fitting += [kind for kind in RELEASED_TYPES if part == "N" and "NONBINARY" in kind.value]
        if not fitting:
            letters = ", ".join(dict.fromkeys(kind.letter for kind in QuestionType))
            names = ", ".join(kind.value for kind in QuestionType)
            raise BadInput(f"unknown question type {part!r}, expected letters ({letters}, N) or names ({names})")
        found += fitting
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class QARecord:
    """One question about one clip, with the field names of the release; those that may be ``None`` last are ours."""

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
    audio_id3: str | None = None
    """A third recording."""
    reverb_id3: str | None = None
    """The third impulse response."""
    audio_id4: str | None = None
    """A fourth recording."""
    reverb_id4: str | None = None
    """The fourth impulse response."""
    reverb_path: tuple[str, ...] | None = None
    """Impulse responses that the first source moves through, evenly in time, beginning with ``reverb_id``."""
    geometry: tuple[HeardSource, ...] | None = None
    """Where each source is and what sounds there, in the order of the fields; ``None`` where the file does not say."""
    kind: str | None = None
    """What is asked, finer than the type, e.g. ``relation.left_right``."""
    seed: tuple[int, ...] | None = None
    """Seed that the record was drawn from (:func:`bat_agent.datasets.draw_qa.derive`)."""
    query: str | None = None
    """What a free question asks, as a typed query (:mod:`bat_agent.questions.free.query`)."""

    def __post_init__(self) -> None:
        for name in ("audio_id", "reverb_id", "question_type", "question", "answer"):
            _check(name, getattr(self, name), (str,), "a text")
        for name in (f"{part}_id{number}" for number in (2, 3, 4) for part in ("audio", "reverb")):
            _check(name, getattr(self, name), (str, type(None)), "a text or null")
        _check("question_id", self.question_id, (int, str), "a number")
        self._check_sources()

    def _check_sources(self) -> None:
        given = [(getattr(self, f"audio_id{n}"), getattr(self, f"reverb_id{n}")) for n in ("", 2, 3, 4)]
        for number, (audio, reverb) in enumerate(given, 1):
            if (audio is None) != (reverb is None):
                here, missing = ("audio", "reverb") if reverb is None else ("reverb", "audio")
                raise BadInput(
                    f"{here}_id{number} is given and {missing}_id{number} is not; give both, or neither for no source"
                )
        present = [audio is not None for audio, _ in given]
        if sorted(present, reverse=True) != present:
            raise BadInput(f"source {present.index(False) + 1} is missing between others, expected them in a row")
        count, allowed = sum(present), self.type.sources
        # BiDepth has no types of its own for two sources: CLASSIFICATION and DOA may have either number.
        if count not in allowed and not (self.type.letter in "AB" and count <= 2):
            wanted = " or ".join(map(str, allowed))
            raise BadInput(f"question_type {self.question_type} is about {wanted} source(s), but {count} given")
        if self.geometry is not None and len(self.geometry) != count:
            raise BadInput(f"geometry has {len(self.geometry)} sources, but the record names {count}")

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

    @property
    def sources(self) -> list[tuple[str, str]]:
        """(audio_id, reverb_id) of each source."""
        pairs = [(getattr(self, f"audio_id{n}"), getattr(self, f"reverb_id{n}")) for n in ("", 2, 3, 4)]
        return [pair for pair in pairs if pair[0] is not None]

    @property
    def key(self) -> str:
        """``<question_type>-<question_id>``, what the released code calls a record in its outputs."""
        return f"{self.question_type}-{self.question_id}"

    def to_dict(self) -> dict[str, Any]:
        """The eight released fields, and of the others those that are given; JSON-able."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        out = {name: value for number, (name, value) in enumerate(values.items()) if number < 8 or value is not None}
        if self.geometry is not None:
            out["geometry"] = [source.to_dict() for source in self.geometry]
        return out

    @classmethod
    def from_dict(cls, item: Any) -> QARecord:
        """The inverse of :meth:`to_dict`; fields that nobody knows are ignored.

        Raises :class:`~bat_agent.errors.BadInput` for what is no record.
        """
        if not isinstance(item, dict):
            raise BadInput(f"it must be an object with the eight SpatialSoundQA fields, got {type(item).__name__}")
        # Files about single sources may leave the second pair out.
        if missing := [n for n in FIELDS if n not in item and n not in ("audio_id2", "reverb_id2")]:
            raise BadInput(f"it lacks {', '.join(missing)}; expected the fields {', '.join(FIELDS)}")
        values: dict[str, Any] = {name: item.get(name) for name in cls.__dataclass_fields__}
        for name in ("reverb_path", "seed"):
            if values[name] is not None:
                _check(name, values[name], (list, tuple), "a list")
                values[name] = tuple(values[name])
        if values["geometry"] is not None:
            _check("geometry", values["geometry"], (list, tuple), "a list with one entry a source")
            values["geometry"] = tuple(HeardSource.from_dict(source) for source in values["geometry"])
        return cls(**values)


FIELDS = tuple(QARecord.__dataclass_fields__)[:8]
"""The released fields."""


def _check(name: str, value: Any, types: tuple[type, ...], wanted: str) -> None:
    if not isinstance(value, types) or isinstance(value, bool):
        raise BadInput(f"{name} must be {wanted}, got {value!r}")
