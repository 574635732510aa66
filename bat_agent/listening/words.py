"""What is heard, in words as somebody would say them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from bat_agent.hearing.perception import PerceivedSource
from bat_agent.listening.events import TrackedSource, Update

_SIDES = ("right", "front right", "front", "front left", "left", "behind left", "behind", "behind right")
_HIGH_DEG = 20.0
_BOTH = {"front_behind": "front or behind", "left_right": "left or right"}


def side(azimuth_deg: float | None) -> str:
    """One of eight: ``front left``."""
    return "somewhere" if azimuth_deg is None else _SIDES[round(azimuth_deg / 45) % 8]


def height(elevation_deg: float | None) -> str:
    """``above``, ``below`` or nothing."""
    if elevation_deg is None or abs(elevation_deg) < _HIGH_DEG:
        return ""
    return "above" if elevation_deg > 0 else "below"


def where(source: PerceivedSource) -> str:
    """``front left, above``, without what cannot be told: ``left, front or behind``."""
    azimuth_deg, parts = source.azimuth_deg, side(source.azimuth_deg).split()
    if azimuth_deg is not None:
        for axis, both in _BOTH.items():
            if axis in source.undecided and any(word in both.split(" or ") for word in parts):
                parts = [word for word in parts if word not in both.split(" or ")]
                # Beside a word of the other axis, left or right is a little aside and not worth saying.
                parts += [] if parts and axis == "left_right" else [f", {both}" if parts else both]
    up = height(source.elevation_deg)
    if up and "above_below" in source.undecided:
        up = "above or below"
    level = " ".join(parts).replace(" ,", ",")
    # Of "behind right", where neither can be told, only the comma before the second is left of the first.
    return ", ".join(part for part in ("somewhere" if level.startswith(",") else level, up) if part)


def name(tracked: TrackedSource) -> str:
    """The likeliest label."""
    return tracked.source.labels[0] if tracked.source.labels else "something"


def short_name(tracked: TrackedSource) -> str:
    """Its first words: ``Female speech`` of ``Female speech, woman speaking``; ``Female speech?`` for a guess."""
    return name(tracked).split(",")[0] + "?" * tracked.source.guessed


def sentence(tracked: TrackedSource) -> str:
    """``Dog, front left, above, 1.5 m``."""
    source = tracked.source
    parts = [f"{'perhaps ' * source.guessed}{name(tracked)}", where(source)]
    if source.distance_m is not None:
        parts.append(f"{source.distance_m:.1f} m")
    return ", ".join(part for part in parts if part)


def status(update: Update) -> str:
    """How well listening keeps up."""
    said = [f"lag {update.lag_s:.2f} s"]
    if update.dropped:
        said.append(f"{update.dropped} looks left out")
    if update.lost_s:
        said.append(f"{update.lost_s:.1f} s of sound lost")
    return ", ".join(said)


def privacy(update: Update) -> str:
    """Whether the input is open, and what becomes of the sound."""
    if update.paused:
        return "paused, input closed"
    if update.saving_to is not None:
        return f"SAVING INTO {update.saving_to}"
    return "listening, nothing is saved"


def told_others(reasoner_options: dict[str, Any]) -> list[str]:
    """Which hosts are told what is heard: those that a reasoner is given as addresses."""
    values = [value for value in reasoner_options.values() if isinstance(value, str)]
    hosts = [urlsplit(value).hostname for value in values if value.startswith(("http://", "https://"))]
    return [f"questions, and in words what is heard, go to {host}" for host in hosts]
