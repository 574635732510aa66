"""Answer texts: how truth is put into words, how words are read back, how they change in a mirror (BAT, section 3.2).

Every answer is one of: labels (``laughter; speech``), a location (``left, front, above; 2.5m``), a direction word,
``Yes``/``No`` or a distance (``2.5m``). The frame is the one drawn in :mod:`bat_agent.scene`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bat_agent.errors import BadInput
from bat_agent.scene import Position, Scene

AXES: dict[str, tuple[str, str]] = {
    "left_right": ("left", "right"),
    "front_behind": ("front", "behind"),
    "above_below": ("above", "below"),
}
"""The two direction words of each axis, in the order in which a region names the axes."""
YES_NO = ("Yes", "No")

_WORD = re.compile(r"[a-z]+")
_DISTANCE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*(?:m|meters?|metres?)(?!\w)")
_LEFT_RIGHT = re.compile(r"\b(left|right)\b", re.IGNORECASE)


@dataclass(frozen=True)
class HeardSource:
    """One source as the listener hears it: all that questions and answers depend on."""

    labels: tuple[str, ...]
    """What sounds; at least one, in any order and case."""
    position: Position
    """Where it is, in the listener's frame."""

    def __post_init__(self) -> None:
        labels = (self.labels,) if isinstance(self.labels, str) else tuple(self.labels)
        if not labels or not all(isinstance(label, str) and label.strip() for label in labels):
            raise BadInput(f"a source one asks about needs at least one label, got {self.labels!r}")
        object.__setattr__(self, "labels", labels)


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


def choices_for(answer: str) -> tuple[str, ...] | None:
    """The closed set a true answer was taken from (``Yes``/``No``, ``left``/``right`` …); ``None`` for open answers."""
    if parse_yes_no(answer) is not None:
        return YES_NO
    return next((axis for axis in AXES.values() if _bare(answer) in axis), None)


def mirror(text: str) -> str:
    """An answer, or a question, after the ears are swapped: left ↔ right as whole words, all else untouched.

    Its own inverse. A yes/no answer stays what it is if its question is mirrored too.
    """
    return _LEFT_RIGHT.sub(_swap, text)


def _swap(match: re.Match[str]) -> str:
    word = match[0]
    other = "right" if word.lower() == "left" else "left"
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def _bare(text: str) -> str:
    return text.strip().rstrip(".!").strip().lower()
