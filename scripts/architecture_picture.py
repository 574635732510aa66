"""The picture of the floors: a box for each part of the core, an arrow for each import that others do not imply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

HEIGHT, WIDTH, GAP = 0.3, 1.55, 0.25
STEP = 0.85  # from floor to floor, inches
HIDDEN = {"data", "models", "_moved"}
"""Parts that hold no code to read."""


def draw(parts: Mapping[str, set[str]], floors: Sequence[Sequence[str]], file: Path) -> None:
    """Write the picture, the same bytes for the same imports."""
    mpl.rcParams["svg.hashsalt"] = "bat-agent"
    mpl.rcParams["svg.fonttype"] = "none"
    shown = [[part for part in floor if part not in HIDDEN] for floor in floors]
    width = max(map(len, shown)) * (WIDTH + GAP)
    figure = Figure(figsize=(width, len(shown) * STEP))
    axes = figure.add_axes((0, 0, 1, 1))
    places = {}
    for number, floor in enumerate(shown):
        axes.text(0.1, number * STEP + 0.45, str(number + 1), color="#577", va="center")
        left = (width - len(floor) * (WIDTH + GAP) + GAP) / 2
        for place, part in enumerate(floor):
            places[part] = (left + place * (WIDTH + GAP) + WIDTH / 2, number * STEP + 0.45)
    for part, (x, y) in places.items():
        for below in sorted(_direct(part, parts) & places.keys()):
            bx, by = places[below]
            style = {"arrowstyle": "-|>", "color": "#577", "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
            style["connectionstyle"] = "arc3,rad=0.08"
            arrow = axes.annotate("", (bx, by + HEIGHT / 2), (x, y - HEIGHT / 2), arrowprops=style, zorder=5)
            assert arrow.arrow_patch is not None
            arrow.arrow_patch.set_gid(f"{part}-to-{below}")
    for part, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.35", "facecolor": "#eef4f4", "edgecolor": "#377"}
        axes.text(x, y, "bat_agent" if part == "bat_agent" else part, ha="center", va="center", fontsize=11, bbox=box)
    axes.set_xlim(0, width)
    axes.set_ylim(0, len(shown) * STEP + 0.2)
    axes.set_axis_off()
    FigureCanvasSVG(figure).print_svg(str(file), metadata={"Date": None, "Creator": None})


def _direct(part: str, parts: Mapping[str, set[str]]) -> set[str]:
    """What a part imports from, less what it would reach anyway through another."""
    wanted = parts.get(part, set()) - {part}
    return {one for one in wanted if not any(one in _below(other, parts) for other in wanted - {one})}


def _below(part: str, parts: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = list(parts.get(part, ()))
    while todo:
        if (here := todo.pop()) not in seen:
            seen.add(here)
            todo += parts.get(here, ())
    return seen
