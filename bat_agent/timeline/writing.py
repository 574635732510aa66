"""Timelines as files: CSV for tables, JSON lines for programs, labels for Audacity."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from typing import TextIO

from bat_agent.timeline.hearing import Timeline, Track

COLUMNS = (
    "file", "track", "begin_s", "end_s", "label", "azimuth_deg", "elevation_deg", "distance_m", "region", "confidence",
    "guessed",
)  # fmt: skip


def write_csv_header(stream: TextIO) -> None:
    """The names of the columns."""
    csv.writer(stream, lineterminator="\n").writerow(COLUMNS)


def write_csv(timeline: Timeline, stream: TextIO) -> None:
    """A row a track; what the model cannot tell is empty."""
    writer = csv.writer(stream, lineterminator="\n")
    for track in timeline.tracks:
        row = {"file": timeline.name, **track.to_dict(), "guessed": int(track.guessed)}
        writer.writerow(["" if row[column] is None else row[column] for column in COLUMNS])


def write_jsonl(timeline: Timeline, stream: TextIO) -> None:
    """An object a track, with its ``path``: where it was at each look."""
    for track in timeline.tracks:
        path = [
            {key: None if value is None else round(value, 3) for key, value in asdict(p).items()} for p in track.path
        ]
        stream.write(json.dumps({"file": timeline.name, **track.to_dict(), "path": path}, ensure_ascii=False) + "\n")


def write_labels(timeline: Timeline, stream: TextIO) -> None:
    """A label track for Audacity (File, Import, Labels): begin, end and text, with tabs in between."""
    for track in timeline.tracks:
        stream.write(f"{track.begin_s:.3f}\t{track.end_s:.3f}\t{in_words(track)}\n")


def in_words(track: Track) -> str:
    """As a label says it: class, region, distance."""
    distance = None if track.distance_m is None else f"{track.distance_m:.1f} m"
    return "; ".join(part for part in (track.name or "something", track.region, distance) if part)
