"""A timeline as a picture: what sounded when, and its azimuth over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from bat_agent.timeline.hearing import Timeline, Track

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9", "#882255", "#666666")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_MOST_ROWS = 40
_SIDES = ((-90, "behind"), (0, "right"), (90, "front"), (180, "left"), (270, "behind"))
"""From behind to behind: what stays on the right would jump between 0° and 360°."""


def timeline_figure(timeline: Timeline) -> Figure:
    """Above, a bar for each time that a class was heard, a row a class; below, where each track was, by azimuth.

    Of more than 40 classes those that sounded longest are shown.
    """
    rows = _rows(timeline)
    height = 1.2 + 0.32 * max(len(rows), 3) + 3.2
    figure = Figure(figsize=(11, height), layout=ConstrainedLayoutEngine())
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[0.6 + 0.32 * max(len(rows), 3), 3.2])
    _draw_bars(above, timeline, rows)
    _draw_azimuths(below, timeline, rows)
    above.set_title(f"{timeline.name[-80:]}: what was heard, a look every {timeline.every_s:g} s")
    below.set_xlim(timeline.begin_s, timeline.end_s)
    below.set_xlabel("seconds from the beginning of the recording")
    if not timeline.tracks:
        above.text(0.5, 0.5, "nothing was heard", transform=above.transAxes, ha="center", va="center")
    return figure


def _rows(timeline: Timeline) -> list[str]:
    """Labels by how long they sounded, at most 40, those that came first on top."""
    length: dict[str, float] = {}
    for track in timeline.tracks:
        length[_name(track)] = length.get(_name(track), 0.0) + track.end_s - track.begin_s
    kept = set(sorted(length, key=lambda name: -length[name])[:_MOST_ROWS])
    return [name for name in dict.fromkeys(map(_name, timeline.tracks)) if name in kept]


def _name(track: Track) -> str:
    return track.name or "something"


def _style(rows: list[str], track: Track) -> tuple[str, str]:
    """Colour and marker, which together belong to one row."""
    again, number = divmod(rows.index(_name(track)), len(_COLOURS))
    return _COLOURS[number], _MARKERS[(number + again) % len(_MARKERS)]


def _draw_bars(ax: Axes, timeline: Timeline, rows: list[str]) -> None:
    for track in timeline.tracks:
        if _name(track) in rows:
            colour, _ = _style(rows, track)
            size = track.end_s - track.begin_s
            alpha = 0.35 + 0.65 * min(max(track.confidence, 0.0), 1.0)
            ax.barh(rows.index(_name(track)), size, left=track.begin_s, height=0.62, color=colour, alpha=alpha)
    ax.set_yticks(range(len(rows)), [name if len(name) <= 32 else f"{name[:31]}…" for name in rows])
    ax.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.xaxis.set_major_locator(MaxNLocator(12))


def _draw_azimuths(ax: Axes, timeline: Timeline, rows: list[str]) -> None:
    for track in timeline.tracks:
        known = [(point.t_s, point.azimuth_deg) for point in track.path if point.azimuth_deg is not None]
        if not known or _name(track) not in rows:
            continue
        colour, marker = _style(rows, track)
        times, azimuths = np.array(known, dtype=np.float64).T
        azimuths = (azimuths + 90) % 360 - 90
        # A line that passes behind is broken there.
        broken = np.flatnonzero(np.abs(np.diff(azimuths)) > 180) + 1
        for part in np.split(np.arange(len(times)), broken):
            ax.plot(times[part], azimuths[part], marker=marker, markersize=4, linewidth=1, color=colour, alpha=0.85)
    ax.set_ylim(-95, 275)
    ax.set_yticks([azimuth for azimuth, _ in _SIDES], [f"{side} {azimuth % 360}°" for azimuth, side in _SIDES])
    ax.set_ylabel("azimuth")
    ax.grid(color="#DDDDDD", linewidth=0.7)
