"""How to listen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from bat_agent.errors import BadInput
from bat_agent.listening.intake import LONGEST_S


@dataclass(frozen=True)
class Settings:
    """How to listen."""

    window_s: float = 2.0
    """How much sound a look is about; 10 s at most."""
    hop_s: float = 0.25
    """Time between looks."""
    questions: tuple[str, ...] = ()
    """Asked when the window is full for the first time, or the sound ends before."""
    ask_every_s: float | None = None
    """And again after so much time."""
    only: tuple[str, ...] = ()
    """Labels to tell of; all where it is empty."""
    without: tuple[str, ...] = ()
    """Labels never told of."""
    least_confidence: float = 0.0
    """Sources below it are not told."""

    def __post_init__(self) -> None:
        if not 0 < self.hop_s <= self.window_s <= LONGEST_S:
            raise BadInput(
                f"a hop must be above 0 and no longer than the window, which is {LONGEST_S:g} s at most; got hop_s="
                f"{self.hop_s:g} and window_s={self.window_s:g}"
            )
        if self.ask_every_s is not None and self.ask_every_s <= 0:
            raise BadInput(f"ask_every_s must be above 0, got {self.ask_every_s:g}")


class SettingsGiven(TypedDict, total=False):
    """The same as keyword arguments, so that an editor completes them."""

    window_s: float
    hop_s: float
    questions: tuple[str, ...]
    ask_every_s: float | None
    only: tuple[str, ...]
    without: tuple[str, ...]
    least_confidence: float
