"""The sources of each look of a head that turns, where all its looks together have them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from bat_agent.ears import Ears
from bat_agent.hearing.headings import Headings
from bat_agent.hearing.heads import as_array
from bat_agent.hearing.masks import masks_of
from bat_agent.hearing.perception import PerceivedSource, replaced
from bat_agent.hearing.posterior import hear
from bat_agent.hearing.turning import Look, Turning
from bat_agent.interfaces import SAMPLE_RATE_HZ, Encoding
from bat_agent.sound.ring import Waveform
from bat_agent.sound.waveform import Prepared, prepare


class Joining:
    """Joins what ``bat`` perceives, look by look (:mod:`bat_agent.hearing.turning`). Not for several threads at once.

    >>> headings.say(t_s, heading_deg)                                        # doctest: +SKIP
    >>> window = ring.window(round(headings.steady_s(t_s, newest) * 32_000))  # doctest: +SKIP
    >>> sources = joining.join(window, bat.perceive(window).sources, t_s, headings)  # doctest: +SKIP
    """

    def __init__(self, bat: Ears) -> None:
        self._bat = bat
        self._turning = Turning()
        self._looked_s: float | None = None
        self._faced_deg: float | None = None

    def clear(self) -> None:
        """Nothing that was heard is still there."""
        self._turning.clear()
        self._looked_s = self._faced_deg = None

    def turned_deg(self, headings: Headings) -> float:
        """How far the head has turned since the last look, counter-clockwise."""
        return 0.0 if self._faced_deg is None else headings.now_deg - self._faced_deg

    def join(
        self, window: Waveform, sources: Sequence[PerceivedSource], t_s: float, headings: Headings
    ) -> tuple[PerceivedSource, ...]:
        """``sources`` are what was perceived of ``window`` (2, N), which ended at ``t_s`` by the clock of ``headings``;
        returned are the same, in the frame of the newest heading.
        """
        self._turning.headings = headings
        window_s = window.shape[1] / SAMPLE_RATE_HZ
        new_s = window_s if self._looked_s is None else t_s - self._looked_s
        self._looked_s, self._faced_deg = t_s, headings.now_deg
        if not any(source.azimuth_deg is not None and source.elevation_deg is not None for source in sources):
            return tuple(sources)
        prepared = prepare(window, self._bat.encoder)
        encoding = self._bat.encode(prepared, heads_only=True)  # which it remembers
        config = self._bat.config
        (clip,) = hear(encoding, config.thresholds)
        masks = self._masks(prepared, encoding, len(clip.slots))
        looks = [
            Look(
                source.azimuth_deg or 0.0, source.elevation_deg or 0.0, heard.head("azimuth"), heard.head("elevation"),
                heard.class_probs, source.distance_m or 0.0, mask,
            )
            for source, heard, mask in zip(sources, clip.slots, masks, strict=False)
        ]  # fmt: skip
        found = self._turning.look(looks, t_s, window_s, new_s, window)
        return tuple(
            replaced(source, place, config.thresholds, config.calibration)
            for source, place in zip(sources, found, strict=True)
        )

    def _masks(self, prepared: Prepared, encoding: Encoding, count: int) -> list[np.ndarray | None]:
        """Of the slots of one clip, strongest first, the masks (R, 128) where the encoder has them."""
        with getattr(self._bat, "hearing", contextlib.nullcontext)(prepared.waveform):
            masks = masks_of(self._bat.encoder, prepared.waveform, encoding)
        if masks is None or encoding.slots is None:
            return [None] * count
        return list(masks[0, np.argsort(-as_array(encoding.slots.activity_logits)[0], kind="stable")])
