"""One look at the newest sound: what is heard of it, less what shall not be told, followed from look to look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bat_agent.agent import Bat
from bat_agent.hearing.perception import PerceivedSource, Perception, replaced
from bat_agent.hearing.posterior import hear
from bat_agent.hearing.turning import Headings, Turning
from bat_agent.hearing.turning import Look as HeadLook
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening.answering import SHORTEST_S
from bat_agent.listening.events import HealthNote, TrackedSource
from bat_agent.listening.health import Health, forbids_direction
from bat_agent.listening.settings import Settings
from bat_agent.listening.tracker import Tracker
from bat_agent.sound.ring import Waveform
from bat_agent.sound.waveform import prepare

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

    def __init__(self, bat: Bat, settings: Settings) -> None:
        self._bat, self._settings = bat, settings
        self._health, self._tracker = Health(), Tracker()
        self._turning = Turning()
        self._looked_s: float | None = None
        self._faced_deg: float | None = None

    def clear(self) -> None:
        """Forget what earlier looks told: the sound goes on elsewhere."""
        self._health.clear()
        self._tracker.clear()
        self._turning.clear()
        self._looked_s = self._faced_deg = None

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
            told = self._joined(window, told, t_s, headings)
        sources = [source for source in told if self._wanted(source)]
        if forbids_direction(health):
            sources = [source.without_place() for source in sources]
        class_probs = {label: p for label, p in perception.class_probs.items() if p >= _LIKELY}
        return Look(self._tracker.look(sources, t_s), health, class_probs)

    def _perceive(self, window: Waveform) -> Perception:
        if window.shape[1] < SHORTEST_S * SAMPLE_RATE_HZ or not window.any():
            return Perception()
        return self._bat.perceive(window)

    def _joined(
        self, window: Waveform, sources: tuple[PerceivedSource, ...], t_s: float, headings: Headings
    ) -> tuple[PerceivedSource, ...]:
        """The sources of this look where all looks of the head together have them; what is followed turns with it."""
        self._turning.headings = headings
        if self._faced_deg is not None:
            self._tracker.turn(headings.now_deg - self._faced_deg)
        new_s = window.shape[1] / SAMPLE_RATE_HZ if self._looked_s is None else t_s - self._looked_s
        self._looked_s, self._faced_deg = t_s, headings.now_deg
        placed = [source for source in sources if source.azimuth_deg is not None and source.elevation_deg is not None]
        if not placed:
            return sources
        encoding = self._bat.encode(prepare(window, self._bat.encoder), heads_only=True)  # which it remembers
        (clip,) = hear(encoding, self._bat.config.thresholds)
        looks = [
            HeadLook(
                source.azimuth_deg or 0.0, source.elevation_deg or 0.0, heard.head("azimuth"), heard.head("elevation"),
                heard.class_probs,
            )  # fmt: skip
            for source, heard in zip(sources, clip.slots, strict=False)
        ]
        found = self._turning.look(looks, t_s, window.shape[1] / SAMPLE_RATE_HZ, new_s)
        config = self._bat.config
        return tuple(
            replaced(source, place, config.thresholds, config.calibration)
            for source, place in zip(sources, found, strict=True)
        )

    def _wanted(self, source: PerceivedSource) -> bool:
        settings, label = self._settings, source.labels[0] if source.labels else ""
        named = not settings.only or label in settings.only
        return named and label not in settings.without and source.confidence >= settings.least_confidence
