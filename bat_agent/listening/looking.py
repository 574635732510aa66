"""One look at the newest sound: what is heard of it, less what shall not be told, followed from look to look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bat_agent.ears import Ears
from bat_agent.hearing.headings import Headings
from bat_agent.hearing.perception import PerceivedSource, Perception
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening.answering import SHORTEST_S
from bat_agent.listening.events import HealthNote, TrackedSource
from bat_agent.listening.health import Health, forbids_direction
from bat_agent.listening.joining import Joining
from bat_agent.listening.settings import Settings
from bat_agent.listening.tracker import Tracker
from bat_agent.sound.ring import Waveform

_LIKELY = 0.05


@dataclass(frozen=True)
class Look:
    """What one look told."""

    sources: tuple[TrackedSource, ...]
    health: tuple[HealthNote, ...]
    class_probs: dict[str, float]
    """Of the classes that are at all likely."""


class Looking:
    """Looks at one window after the other; it remembers sources and the health of the input. One thread's alone."""

    def __init__(self, bat: Ears, settings: Settings) -> None:
        self._bat, self._settings = bat, settings
        self._health, self._tracker = Health(), Tracker()
        self._joining = Joining(bat)

    def clear(self) -> None:
        """Forget what earlier looks told: the sound goes on elsewhere."""
        self._health.clear()
        self._tracker.clear()
        self._joining.clear()

    def look(
        self,
        window: Waveform,
        recent: Waveform,
        t_s: float,
        notes: Sequence[HealthNote],
        clipped: np.ndarray | None = None,
        headings: Headings | None = None,
    ) -> Look:
        """What is heard in ``window`` (2, N) at ``t_s``; its end, ``recent``, tells the health of the input, to which
        ``notes`` of others are added; ``clipped`` as in :meth:`Health.look`. Where ``headings`` of the head are known,
        looks are joined over them, and what is followed turns with the head. Directions are left out where the input
        carries none.
        """
        health = (*self._health.look(recent, t_s, clipped), *notes)
        perception = self._perceive(window)
        told = perception.sources
        if headings is not None and len(headings):
            self._tracker.turn(self._joining.turned_deg(headings))
            told = self._joining.join(window, told, t_s, headings)
        sources = [source for source in told if self._wanted(source)]
        if forbids_direction(health):
            sources = [source.without_place() for source in sources]
        class_probs = {label: p for label, p in perception.class_probs.items() if p >= _LIKELY}
        return Look(self._tracker.look(sources, t_s), health, class_probs)

    def _perceive(self, window: Waveform) -> Perception:
        if window.shape[1] < SHORTEST_S * SAMPLE_RATE_HZ or not window.any():
            return Perception()
        return self._bat.perceive(window)

    def _wanted(self, source: PerceivedSource) -> bool:
        settings, label = self._settings, source.labels[0] if source.labels else ""
        named = not settings.only or label in settings.only
        return named and label not in settings.without and source.confidence >= settings.least_confidence
