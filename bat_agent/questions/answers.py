"""Answer texts: how truth is put into words, how words are read back, how they change in a mirror (BAT, section 3.2).

Every answer of the release is one of: labels (``laughter; speech``), a location (``left, front, above; 2.5m``), a
direction word, ``Yes``/``No`` or a distance (``2.5m``). Beyond it there are an angle (``azimuth 120 degrees``,
``elevation -20 degrees``), an hour (``3 o'clock``), a count (``2``), a letter (``B``), ``not heard`` and the way a
source moves (``left``, ``closer``, ``up`` …). The frame is the one drawn in :mod:`bat_agent.scene`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bat_agent.errors import BadInput
from bat_agent.scene import Position, Scene

AXES: dict[str, tuple[str, str]] = {
    "left_right": ("left", "right"),
    "front_behind": ("front", "behind"),
    "above_below": ("above", "below"),
}
"""The two direction words of each axis, in the order in which a region names the axes."""
YES_NO = ("Yes", "No")
APPROACH = ("closer", "away")
"""Whether the distance of a source shrinks or grows."""
RISE = ("up", "down")
"""Whether a source gains or loses height."""
LETTERS = ("A", "B", "C", "D")
"""Names of the answers that a question offers."""
COUNTS = ("1", "2", "3", "4")
"""How many sources there may be."""
HOURS = tuple(f"{hour} o'clock" for hour in range(1, 13))
"""Directions as hours: 12 in front, 3 right, 6 behind, 9 left."""
NOT_HEARD = "not heard"
"""Where something is that is not there."""

_WORD = re.compile(r"[a-z]+")
_DISTANCE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*(?:m|meters?|metres?)(?!\w)")
_ANGLE = re.compile(r"(azimuth|elevation) ([-−]?)(\d{1,3})(?:°| degrees?)")
_CLOCK = re.compile(r"(1[0-2]|[1-9]) o['’]clock")
_LETTER = re.compile(r"([A-D])(?:\.|\)(?:\s.*)?)?|\(([A-D])\)", re.IGNORECASE | re.DOTALL)
_OPTION = re.compile(r"(?<!\w)([A-D])\. (.+?)(?=;? [B-D]\. |\.+ |\?|[.?]*$)", re.IGNORECASE)
_ASKS_YES_NO = re.compile(
    r"^\W*(?:please )?(?:is|are|was|were|do|does|did|can|could|would|will|has|have)\b|\btrue\b|\bwhether\b|\bif\b",
    re.IGNORECASE,
)
_MIRRORED = re.compile(
    # Where a scale of degrees begins is a convention, which a mirror leaves alone.
    r"clockwise from (?:your |the )?(?:left|right)\b"
    r"|\b(?P<side>left|right)\b"
    r"|\bazimuth (?P<azimuth>0|[1-9]\d?|[12]\d\d|3[0-5]\d) degrees\b"
    r"|\b(?P<hour>1[0-2]|[1-9]) o['’]clock\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class HeardSource:
    """One source as the listener hears it: all that questions and answers depend on."""

    labels: tuple[str, ...]
    """What sounds; at least one, in any order and case."""
    position: Position
    """Where it is, in the listener's frame; where it begins, if it moves."""
    moves_to: Position | None = None
    """Where it ends, if it moves during the clip."""

    def __post_init__(self) -> None:
        labels = (self.labels,) if isinstance(self.labels, str) else tuple(self.labels)
        if not labels or not all(isinstance(label, str) and label.strip() for label in labels):
            raise BadInput(f"a source one asks about needs at least one label, got {self.labels!r}")
        object.__setattr__(self, "labels", labels)

    def to_dict(self) -> dict[str, Any]:
        """``labels``, ``azimuth_deg``, ``elevation_deg``, ``distance_m``; for a moving one also ``moves_to``."""
        moving = {} if self.moves_to is None else {"moves_to": self.moves_to._asdict()}
        return {"labels": list(self.labels), **self.position._asdict(), **moving}

    @classmethod
    def from_dict(cls, values: Any) -> HeardSource:
        """The inverse of :meth:`to_dict`; raises :class:`~bat_agent.errors.BadInput` for anything else."""
        try:
            end = values.get("moves_to")
            moves_to = None if end is None else Position(*(float(end[name]) for name in Position._fields))
            position = Position(*(float(values[name]) for name in Position._fields))
            return cls(tuple(values["labels"]), position, moves_to)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            wanted = ", ".join(("labels", *Position._fields))
            raise BadInput(f"a source of geometry must have {wanted}, got {values!r:.120}") from error


def from_scene(scene: Scene) -> list[HeardSource]:
    """The sources of a scene as its listener hears them (heading included)."""
    pairs = zip(scene.sources, scene.positions(), strict=True)
    return [HeardSource(source.labels, position) for source, position in pairs]


def answer_labels(labels: Iterable[str]) -> str:
    """Labels in lower case, alphabetical, each once, joined by ``"; "`` (labels themselves contain commas)."""
    return "; ".join(sorted({label.strip().lower() for label in labels}))


def answer_location(position: Position) -> str:
    """``left, front, above; 2.5m``: the region and the distance in steps of 0.5 m."""
    return f"{position.region}; {format_distance(position.distance_m)}"


def format_distance(distance_m: float) -> str:
    """``round(2·d)/2`` with its unit: ``2.5m``, ``3m``."""
    return f"{round(2 * distance_m) / 2:g}m"


def format_azimuth(azimuth_deg: float) -> str:
    """``azimuth 120 degrees``: whole degrees in [0, 360), 0 right, 90 front, 180 left, 270 behind."""
    return f"azimuth {round(azimuth_deg) % 360} degrees"


def format_elevation(elevation_deg: float) -> str:
    """``elevation -20 degrees``: whole degrees, negative below the ears."""
    return f"elevation {round(elevation_deg)} degrees"


def format_clock(azimuth_deg: float) -> str:
    """``3 o'clock``: the nearest hour, 12 in front, 3 right, 6 behind, 9 left."""
    return HOURS[(round((90 - azimuth_deg) / 30) - 1) % 12]


def parse_location(text: str) -> tuple[str, float] | None:
    """(region, distance_m) of a location answer, e.g. ``("left, front, above", 2.5)``.

    Strict: of each axis exactly one word and exactly one number with a unit of metres; else ``None``.
    """
    text = text.lower()
    words, numbers = _WORD.findall(text), _DISTANCE.findall(text)
    sides = [[word for word in words if word in axis] for axis in AXES.values()]
    if len(numbers) != 1 or any(len(side) != 1 for side in sides):
        return None
    return ", ".join(side[0] for side in sides), float(numbers[0])


def parse_distance(text: str) -> float | None:
    """Metres of a distance answer such as ``2.5m`` or ``2.5 meters``, and nothing else around it; else ``None``."""
    match = _DISTANCE.fullmatch(_bare(text))
    return float(match[1]) if match else None


def parse_yes_no(text: str) -> bool | None:
    """``True`` for yes, ``False`` for no in any case, with or without a final mark; else ``None``."""
    return {"yes": True, "no": False}.get(_bare(text))


def parse_labels(text: str, known: Iterable[str] | None = None) -> tuple[str, ...] | None:
    """Labels of an answer, lower case, alphabetical, each once; ``None`` where there is none.

    With ``known`` labels, an answer that names anything else is malformed as well, so ``None``.
    """
    found = sorted({part.strip() for part in text.strip().lower().split(";")} - {""})
    if not found or (known is not None and not {label.lower() for label in known}.issuperset(found)):
        return None
    return tuple(found)


def parse_angle(text: str) -> tuple[str, int] | None:
    """``("azimuth", 120)`` of ``azimuth 120 degrees``, and so for ``elevation``; degrees.

    Strict: azimuths lie in [0, 360), elevations in [−90, 90], nothing stands around it; else ``None``.
    """
    match = _ANGLE.fullmatch(_bare(text))
    if match is None:
        return None
    name, angle = match[1], int(match[3]) * (-1 if match[2] else 1)
    within = 0 <= angle < 360 and not match[2] if name == "azimuth" else abs(angle) <= 90
    return (name, angle) if within else None


def parse_clock(text: str) -> int | None:
    """The hour, 1 to 12, of an answer such as ``3 o'clock``; else ``None``."""
    match = _CLOCK.fullmatch(_bare(text))
    return int(match[1]) if match else None


def parse_count(text: str) -> int | None:
    """The number of an answer in digits, such as ``2``; else ``None``."""
    bare = _bare(text)
    return int(bare) if re.fullmatch(r"[0-9]{1,3}", bare) else None


def parse_letter(text: str) -> str | None:
    """``A`` … ``D`` of an answer such as ``B``, ``b.``, ``(b)`` or ``b) left, front, above``; else ``None``."""
    match = _LETTER.fullmatch(text.strip())
    return (match[1] or match[2]).upper() if match else None


def parse_not_heard(text: str) -> bool:
    """Whether an answer says that what was asked about is not there: ``not heard``, and nothing else around it."""
    return _bare(text) == NOT_HEARD


def options_in(question: str) -> dict[str, str]:
    """What a question offers by letter, e.g. ``{"A": "left, front, above", "B": …}``; empty where it offers nothing."""
    found: dict[str, str] = {}
    for letter, text in _OPTION.findall(question):
        if letter.upper() == LETTERS[len(found) % len(LETTERS)]:
            found[letter.upper()] = text
    return found if len(found) > 1 else {}


def asks_yes_no(question: str) -> bool:
    """Whether a question can be answered by yes or no, by how it begins or by a word such as ``whether``."""
    return _ASKS_YES_NO.search(question) is not None


def choices_for(answer: str) -> tuple[str, ...] | None:
    """The closed set a true answer was taken from (``Yes``/``No``, ``left``/``right`` …); ``None`` for open answers.

    For a letter these are all letters: how many a question offers is not known from its answer (:func:`options_in`).
    """
    if parse_yes_no(answer) is not None:
        return YES_NO
    bare = _bare(answer)
    return next((closed for closed in _CLOSED if bare in closed), LETTERS if answer in LETTERS else None)


_CLOSED = (*AXES.values(), APPROACH, RISE, COUNTS, HOURS)


def mirror(text: str) -> str:
    """An answer, or a question, after the ears are swapped; its own inverse.

    Left ↔ right as whole words, ``azimuth 120 degrees`` ↔ ``azimuth 60 degrees``, ``3 o'clock`` ↔ ``9 o'clock``, all
    else untouched. The convention "counter-clockwise from your right" stays, as the scale does not turn with the ears.
    A yes/no answer stays what it is if its question is mirrored too; a letter, if what it stands for is.
    """
    return _MIRRORED.sub(_swap, text)


def _swap(match: re.Match[str]) -> str:
    said, start = match[0], match.start()
    if (side := match["side"]) is not None:
        other = "right" if side.lower() == "left" else "left"
        return other.upper() if side.isupper() else other.capitalize() if side[0].isupper() else other
    for name, turned in (("azimuth", lambda angle: (180 - angle) % 360), ("hour", lambda hour: 12 - hour % 12)):
        if (number := match[name]) is not None:
            return f"{said[: match.start(name) - start]}{turned(int(number))}{said[match.end(name) - start :]}"
    return said


def _bare(text: str) -> str:
    return text.strip().rstrip(".!").strip().lower()
