"""Recordings of any length as a timeline: what sounded from when to when, and where."""

from __future__ import annotations

from bat_agent.timeline.hearing import Timeline, Track, hear

__all__ = ["Timeline", "Track", "hear"]
