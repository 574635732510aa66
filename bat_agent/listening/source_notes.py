"""What is told of the source and of time itself: lost, back, a gap, too slow, adrift; each as long as it holds."""

from __future__ import annotations

from bat_agent.listening.events import HealthNote

DRIFT_S = 0.5
BEHIND = 3
"""Looks in a row that took longer than the hop, before that is said."""
_BRIEF = ("gap", "back", "switched", "note", "zeros")
_PATIENCE_S = 3.0


class SourceNotes:
    """At most one note of each kind. Whoever shares it among threads guards it."""

    def __init__(self) -> None:
        self._notes: dict[str, HealthNote] = {}

    def tell(self, kind: str, text: str, t_s: float) -> None:
        """Say this from now on."""
        self._notes[kind] = HealthNote(kind, text, t_s)

    def over(self, kind: str) -> None:
        """Say it no more."""
        self._notes.pop(kind, None)

    def standing(self, t_s: float) -> list[HealthNote]:
        """What holds at ``t_s``; what has happened, and is over, is said for a few seconds."""
        for kind in _BRIEF:
            if kind in self._notes and t_s - self._notes[kind].since_s > _PATIENCE_S:
                self._notes.pop(kind)
        return list(self._notes.values())


def slow_note(hop_s: float, t_s: float) -> HealthNote:
    """Where :data:`BEHIND` looks in a row took longer than the hop."""
    text = f"hearing takes longer than the hop of {hop_s:g} s: looks are left out; take a longer hop"
    return HealthNote("slow", text, t_s)


def drift_note(drift_s: float, t_s: float) -> HealthNote:
    """Where the sound is more than :data:`DRIFT_S` behind the clock (positive), or ahead of it."""
    text = f"the sound is {abs(drift_s):.1f} s {'behind' if drift_s > 0 else 'ahead of'} the clock"
    return HealthNote("drift", text, t_s)
