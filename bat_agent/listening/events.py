"""What a listener says: one update for each look at the last seconds of sound; also as JSON, one object a line."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from bat_agent.hearing.answers import Answer
from bat_agent.hearing.perception import PerceivedSource

TrackState = Literal["appearing", "steady", "vanishing"]


@dataclass(frozen=True)
class TrackedSource:
    """A source that was heard in one or several updates."""

    track: int
    """The same number as long as it is taken for the same source."""
    state: TrackState
    source: PerceivedSource
    """As heard by now; without directions where the health of the input forbids them."""
    age_s: float
    """Since it was first heard, by the clock of the sound."""
    unheard_s: float
    """Since it was last heard; 0 where this update hears it."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "track": self.track,
            "state": self.state,
            **_rounded(self.source.to_dict()),
            "age_s": round(self.age_s, 3),
            "unheard_s": round(self.unheard_s, 3),
        }


def _known_to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _known_to_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_known_to_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rounded(said: dict[str, Any]) -> dict[str, Any]:
    """Angles to a tenth of a degree and distances to a centimetre: tracks are means, not bins."""
    for name, digits in (("azimuth_deg", 1), ("elevation_deg", 1), ("distance_m", 2)):
        if said[name] is not None:
            said[name] = round(said[name], digits)
    return said


@dataclass(frozen=True)
class HealthNote:
    """Something is wrong with the input."""

    kind: str
    """``lost``, ``silent``, ``frozen``, ``clipping``, ``dc``, ``identical``, ``one_sided``, ``out_of_step``,
    ``inverted``, ``gap``, ``zeros``, ``slow``, ``drift``, ``switched``, ``saving``, ``note``."""
    text: str
    """One sentence for people: what is wrong and what to do."""
    since_s: float
    """Since when, by the clock of the sound."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"kind": self.kind, "text": self.text, "since_s": round(self.since_s, 3)}


@dataclass(frozen=True)
class Answered:
    """An answer to a question about the sound up to ``t_s``."""

    answer: Answer
    t_s: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**self.answer.to_dict(), "spoken": self.answer.spoken, "t_s": round(self.t_s, 3)}


@dataclass(frozen=True)
class Update:
    """What is heard now."""

    t_s: float
    """End of the window that was heard, seconds of sound since listening began."""
    emitted_s: float
    """When this was said, seconds since listening began by the clock of the source."""
    lag_s: float
    """How old the newest sound in it was by then."""
    window_s: float
    """How much sound was heard: shorter than asked for at the beginning and after a gap."""
    dropped: int
    """Looks that were left out so far because hearing took longer than the hop, or nobody took what they told."""
    lost_s: float
    """Sound that never arrived so far, also that for which zeros came."""
    levels_dbfs: tuple[float, float]
    """RMS of the left and the right ear over the last hop; −120 for digital silence."""
    peaks_dbfs: tuple[float, float]
    sources: tuple[TrackedSource, ...] = ()
    """Strongest first."""
    answers: tuple[Answered, ...] = ()
    """To questions that were answered since the last update."""
    health: tuple[HealthNote, ...] = ()
    paused: bool = False
    saving_to: str | None = None
    """Folder into which sound is written; nothing is written without being asked for."""
    class_probs: dict[str, float] = field(default_factory=dict)
    """Probability that a class is heard anywhere, those above 0.05."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; a number that JSON does not know, such as infinity, is ``None``."""
        said = {
            "t_s": round(self.t_s, 3),
            "emitted_s": round(self.emitted_s, 3),
            "lag_s": round(self.lag_s, 3),
            "window_s": round(self.window_s, 3),
            "dropped": self.dropped,
            "lost_s": round(self.lost_s, 3),
            "levels_dbfs": [round(level, 1) for level in self.levels_dbfs],
            "peaks_dbfs": [round(level, 1) for level in self.peaks_dbfs],
            "sources": [source.to_dict() for source in self.sources],
            "answers": [answer.to_dict() for answer in self.answers],
            "health": [note.to_dict() for note in self.health],
            "paused": self.paused,
            "saving_to": self.saving_to,
            "class_probs": {label: round(p, 3) for label, p in self.class_probs.items()},
        }
        return {name: _known_to_json(value) for name, value in said.items()}

    def to_json(self) -> str:
        """One line."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)
