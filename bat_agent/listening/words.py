"""What is heard, in words as somebody would say them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from bat_agent.listening.events import TrackedSource, Update

_SIDES = ("right", "front right", "front", "front left", "left", "behind left", "behind", "behind right")
_HIGH_DEG = 20.0


def side(azimuth_deg: float | None) -> str:
    """One of eight: ``front left``."""
    return "somewhere" if azimuth_deg is None else _SIDES[round(azimuth_deg / 45) % 8]


def height(elevation_deg: float | None) -> str:
    """``above``, ``below`` or nothing."""
    if elevation_deg is None or abs(elevation_deg) < _HIGH_DEG:
        return ""
    return "above" if elevation_deg > 0 else "below"


def name(tracked: TrackedSource) -> str:
    """The likeliest label."""
    return tracked.source.labels[0] if tracked.source.labels else "something"


def short_name(tracked: TrackedSource) -> str:
    """Its first words: ``Female speech`` of ``Female speech, woman speaking``."""
    return name(tracked).split(",")[0]


def sentence(tracked: TrackedSource) -> str:
    """``Dog, front left, above, 1.5 m``."""
    source = tracked.source
    parts = [name(tracked), side(source.azimuth_deg), height(source.elevation_deg)]
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
