"""Options of the reasoner ``rules``."""

from __future__ import annotations

from dataclasses import dataclass

from bat_agent.errors import BadInput
from bat_agent.hearing.perception import Thresholds
from bat_agent.labels import labels
from bat_agent.questions.answers import AXES


@dataclass(frozen=True)
class RulesConfig:
    """Options of the reasoner ``rules``; see :class:`bat_agent.hearing.perception.Thresholds`."""

    token_dim: int | None = None
    """Width of the encoder's tokens; taken as every reasoner takes it, but the tokens are not read."""
    activity: float = 0.5
    """A slot holds a source from this probability on; the strongest slot always does."""
    label: float = 0.5
    """A label is named, and "can you hear a dog?" is answered with yes, from this probability on."""
    heard: float = 0.0
    """A sound that a question names is ``not heard`` below this probability, one of two that it names below a tenth of
    it; 0 takes every question at its word."""
    known: tuple[str, ...] = ()
    """Display names of the classes that the encoder has learnt; of others it is said that they are not known. Empty:
    all 355. A model tells its own."""

    left_right: float = 0.5
    """A side of this axis is told from this probability on, else that it cannot be told; likewise below."""
    front_behind: float = 0.5
    above_below: float = 0.5

    def __post_init__(self) -> None:
        for name in ("activity", "label", "heard", *AXES):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise BadInput(f"{name} must be a probability between 0 and 1, got {value}")

        unknown = sorted(set(self.known) - set(labels()))
        if unknown:
            raise BadInput(f"known must be display names of the 355 classes, got {', '.join(unknown)}")

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds, as perception wants them."""
        sides = {axis: getattr(self, axis) for axis in AXES}
        return Thresholds(self.activity, self.label, self.heard, **sides)
