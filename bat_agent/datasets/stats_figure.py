"""A picture of the statistics of a set of RIRs, beside the figures of the BAT paper."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from bat_agent.datasets.stats import PAPER_MODE_M, PAPER_RT60_S, Statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SET, _PAPER, _INK = "#0072B2", "#D55E00", "#222222"
HEAD_RADIUS_M, SPEED_OF_SOUND = 0.0875, 343.0


def statistics_figure(stats: Statistics) -> Figure:
    """Distances, directions and, where RIRs were measured, reverberation, direct share and ear differences."""
    with_sound = len(stats.measured) > 0
    figure = Figure(figsize=(15, 7.6 if with_sound else 4.2), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.12))
    # 12 columns make room for three panels above four.
    grid = figure.add_gridspec(2 if with_sound else 1, 12)
    measured = f", {len(stats.measured):,} measured" if with_sound else ""
    figure.suptitle(f"{len(stats.distance_m):,} RIRs{measured}", fontweight="bold", color=_INK)
    upper = [figure.add_subplot(grid[0, 4 * i : 4 * i + 4]) for i in range(3)]
    _draw_distances(upper[0], stats)
    _draw_directions(upper[1], upper[2], stats)
    if with_sound:
        lower = [figure.add_subplot(grid[1, 3 * i : 3 * i + 3]) for i in range(4)]
        azimuth, distance = stats.azimuth_deg[stats.measured], stats.distance_m[stats.measured]
        _draw_rt60(lower[0], stats.values["rt60_s"])
        _draw_direct_share(lower[1], distance, stats.values["drr_db"])
        _draw_level(lower[2], azimuth, stats.values["ild_db"])
        _draw_time(lower[3], azimuth, stats.values["itd_s"])
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
        if ax.get_ylabel().startswith("RIRs"):
            ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure


def _draw_distances(ax: Axes, stats: Statistics) -> None:
    counts = stats.distance_counts()
    ax.axvspan(PAPER_MODE_M[0] - 0.25, PAPER_MODE_M[1] + 0.25, color=_PAPER, alpha=0.18, linewidth=0)
    ax.bar(np.arange(len(counts)) / 2, counts, width=0.42, color=_SET)
    ax.set_xticks(range(11))
    ax.set_title("Distance")
    ax.set_xlabel("metres, in steps of 0.5 m")
    ax.set_ylabel("RIRs")
    ax.plot([], [], color=_PAPER, alpha=0.4, linewidth=8, label="most frequent in BAT, fig. 3")
    ax.legend(frameon=False, loc="upper right", handlelength=1)


def _draw_directions(azimuths: Axes, elevations: Axes, stats: Statistics) -> None:
    azimuths.hist(stats.azimuth_deg, bins=36, range=(0, 360), color=_SET, rwidth=0.9)
    _azimuth_axis(azimuths)
    azimuths.set_title("Azimuth" if stats.headings_stored else "Azimuth (heading taken as 0)")
    azimuths.set_ylabel("RIRs in 10°")
    elevations.hist(stats.elevation_deg, bins=36, range=(-90, 90), color=_SET, rwidth=0.9)
    elevations.set_xticks(range(-90, 91, 30))
    elevations.set_title("Elevation")
    elevations.set_xlabel("degrees, above is positive")
    elevations.set_ylabel("RIRs in 5°")


def _draw_rt60(ax: Axes, rt60_s: np.ndarray) -> None:
    finite = rt60_s[np.isfinite(rt60_s)]
    top = max(0.4, math.ceil(10 * np.percentile(finite, 99)) / 10) if len(finite) else 1.0
    ax.axvspan(min(PAPER_RT60_S.values()), max(PAPER_RT60_S.values()), color=_PAPER, alpha=0.18, linewidth=0)
    ax.hist(np.minimum(finite, top), bins=25, range=(0, top), color=_SET, rwidth=0.9)
    ax.set_title("Reverberation time T20")
    ax.set_xlabel("seconds")
    ax.set_ylabel("RIRs")
    ax.set_ylim(0, 1.2 * ax.get_ylim()[1])  # the legend stands above the bars
    ax.plot([], [], color=_PAPER, alpha=0.4, linewidth=8, label="BAT, table 6")
    ax.legend(frameon=False, loc="upper right", handlelength=1)


def _draw_direct_share(ax: Axes, distance_m: np.ndarray, drr_db: np.ndarray) -> None:
    _dots(ax, distance_m, drr_db)
    ax.set_xlim(left=0)
    ax.set_title("Direct over reverberant")
    ax.set_xlabel("metres")
    ax.set_ylabel("dB")


def _draw_level(ax: Axes, azimuth_deg: np.ndarray, ild_db: np.ndarray) -> None:
    _dots(ax, azimuth_deg, ild_db)
    _azimuth_axis(ax)
    ax.set_title("Level difference, direct sound")
    ax.set_ylabel("left over right, dB")


def _draw_time(ax: Axes, azimuth_deg: np.ndarray, itd_s: np.ndarray) -> None:
    _dots(ax, azimuth_deg, 1e6 * itd_s)
    grid = np.arange(0, 361.0)
    label = "sphere, level source"
    ax.plot(grid, 1e6 * woodworth_s(grid), color=_PAPER, linewidth=1.4, label=label)
    _azimuth_axis(ax)
    ax.set_title("Time difference, direct sound")
    ax.set_ylabel("left leads by, µs")
    ax.legend(frameon=False, loc="lower center", fontsize=9)


def woodworth_s(azimuth_deg: np.ndarray) -> np.ndarray:
    """ITD of a rigid sphere for a level source: (a/c)·(θ + sin θ), θ from the median plane; positive on the left."""
    side = -np.cos(np.radians(azimuth_deg))
    return HEAD_RADIUS_M / SPEED_OF_SOUND * (np.arcsin(side) + side)


def _dots(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    ax.scatter(x, y, s=9, alpha=0.45, color=_SET, linewidths=0)
    ax.axhline(0, color=_INK, linewidth=0.6)


def _azimuth_axis(ax: Axes) -> None:
    ax.set_xlim(0, 360)
    ax.set_xticks([0, 90, 180, 270, 360], ["right\n0°", "front\n90°", "left\n180°", "behind\n270°", "right\n360°"])
