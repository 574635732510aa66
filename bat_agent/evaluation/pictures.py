"""Pictures of an evaluation: where directions and distances are taken for others, and λ1 against mAP and MAE.

Azimuth in the frame drawn in :mod:`bat_agent.scene`. The ears alone hear no difference between directions on one cone
around the axis through them; seen from above that is front and behind, azimuth and 360° − azimuth: the dashed lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from bat_agent.evaluation.figures import direction_errors_deg
from bat_agent.evaluation.hearing import Decode, Heard, true_directions
from bat_agent.evaluation.runs import Result
from bat_agent.interfaces import NUM_DISTANCE_BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEP_DEG = 10
_MAP, _LINE, _SECOND = "Blues", "#D55E00", "#009E73"
_WORDS = {0: "right", 90: "front", 180: "left", 270: "behind", 360: "right"}


def confusion_figure(heard: Heard, decode: Decode = "kernel") -> Figure | None:
    """True against said: azimuth (seen from above, and in the plane), elevation and distance.

    Panels of missing heads are left out; ``None`` where the encoder has neither direction nor distance.
    """
    directions, distances = decode in heard.directions_deg, decode in heard.distances
    if not (directions or distances):
        return None
    figure = Figure(figsize=(13, 11) if directions else (7, 6), layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15))
    if directions:
        said, true = heard.directions_deg[decode], true_directions(heard, decode)
        _from_above(figure, figure.add_subplot(2, 2, 1, projection="polar"), said[:, 0], true[:, 0])
        _azimuths(figure, figure.add_subplot(2, 2, 2), said[:, 0], true[:, 0])
        _elevations(figure, figure.add_subplot(2, 2, 3), said[:, 1], true[:, 1])
    if distances:
        axes = figure.add_subplot(2, 2, 4) if directions else figure.add_subplot()
        _distances(figure, axes, heard.distances[decode], heard.true_bins[:, 0])
    return figure


def error_figure(heard: Heard, decode: Decode = "kernel") -> Figure | None:
    """Mean angle between said and true direction, and the share of front/behind confusions, by true azimuth."""
    if decode not in heard.directions_deg:
        return None
    figure = Figure(figsize=(7.5, 7), layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15))
    axes: Any = figure.add_subplot(projection="polar")
    true, said = true_directions(heard, decode), heard.directions_deg[decode]
    flipped = _is_behind(true[:, 0]) != _is_behind(said[:, 0])
    step = 3 * STEP_DEG
    sector = (true[:, 0] // step).astype(int) % (360 // step)
    middles = np.radians(np.arange(360 // step) * step + step / 2)
    mean = _means(direction_errors_deg(heard, decode), sector, 360 // step)
    share = 180 * _means(flipped.astype(float), sector, 360 // step)
    axes.bar(middles, mean, width=np.radians(step - 3), color="#56B4E9", label="mean error, °")
    there = np.bincount(sector, minlength=len(middles)) > 0
    label = "front and behind taken for each other, share of the radius"
    axes.plot(middles[there], share[there], "o", color=_LINE, clip_on=False, zorder=5, label=label)
    _name_directions(axes)
    axes.set_ylim(0, 180)
    axes.set_yticks([45, 90, 135, 180], ["45°", "90°\n50 %", "135°", "180°\n100 %"], fontsize=8)
    axes.set_rlabel_position(67.5)
    axes.set_title(f"Errors by true azimuth, seen from above ({len(true)} clips)", fontweight="bold", pad=20)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), frameon=False)
    return figure


def cone_figure(heard: Heard, decode: Decode = "kernel") -> Figure | None:
    """Where on the cone of confusion each clip is heard: the turn about the ears' axis (0° front, 90° above, 180°
    behind), true against said, and beside it the angle to the side, true against said.
    """
    if decode not in heard.directions_deg:
        return None
    figure = Figure(figsize=(12, 6), layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15))
    said, true = (turn_and_side_deg(part) for part in (heard.directions_deg[decode], true_directions(heard, decode)))
    # Near the ears' axis a turn about it means nothing.
    told = np.maximum(np.abs(said[:, 1]), np.abs(true[:, 1])) < 75
    panels = (("turn about the ears' axis", 0, told, (-90, 270)), ("angle to the side", 1, told | True, (-90, 90)))
    for number, (what, column, some, ends) in enumerate(panels, 1):
        axes: Any = figure.add_subplot(1, 2, number)
        axes.plot(ends, ends, color="0.6", lw=1)
        if column == 0:  # front and behind taken for each other, at the same height
            axes.plot((-90, 270), (270, -90), "--", color=_LINE, lw=1)
            axes.set_xticks([-90, 0, 90, 180, 270], ["below", "front", "above", "behind", "below"])
            axes.set_yticks([-90, 0, 90, 180, 270], ["below", "front", "above", "behind", "below"])
        axes.plot(true[some, column], said[some, column], ".", ms=4, alpha=0.4, color="#0072B2")
        axes.set(xlim=ends, ylim=ends, xlabel=f"true {what}", ylabel=f"said {what}")
        axes.set_title(f"{what[0].upper()}{what[1:]} ({int(some.sum())} clips)", fontweight="bold")
        axes.set_aspect("equal")
    return figure


def turn_and_side_deg(directions_deg: Any) -> np.ndarray:
    """(N, 2) of directions (N, 2): the turn about the axis through the ears, −90 to 270 (0 front, 90 above, 180
    behind), and the angle to the right of the plane between them.
    """
    azimuth, elevation = np.radians(np.asarray(directions_deg, dtype=np.float64)).T
    flat = np.cos(elevation)
    right, ahead, up = flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)
    turn = (np.degrees(np.arctan2(up, ahead)) + 90.0) % 360.0 - 90.0
    return np.stack((turn, np.degrees(np.arcsin(np.clip(right, -1, 1)))), axis=1)


def lambda_figure(results: Sequence[Result]) -> Figure:
    """BAT's figure 2: mAP and MAE against λ1; MAE grows downwards, so that higher is better for both."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    left = figure.add_subplot()
    right = left.twinx()
    weights = [result.run.class_weight or 0.0 for result in results]
    for axes, measure, scale, colour, mark in (
        (left, "map", 100, "#0072B2", "o-"), (right, "mae_deg", 1, _LINE, "s--"),
    ):  # fmt: skip
        figures = [result.figures.get(measure) for result in results]
        known = [(weight, f) for weight, f in zip(weights, figures, strict=True) if f is not None]
        value, low, high = (np.array([scale * f[name] for _, f in known]) for name in ("value", "low", "high"))
        spread = np.maximum(np.stack([value - low, high - value]), 0)
        axes.errorbar([weight for weight, _ in known], value, yerr=spread, fmt=mark, color=colour, capsize=3)
        axes.tick_params(axis="y", colors=colour)
    left.set(xlabel="λ1", ylabel="mAP, %", title="Class loss against direction: mAP (solid) and MAE (dashed)")
    right.set_ylabel("MAE, ° (downwards)")
    right.invert_yaxis()
    return figure


def _from_above(figure: Figure, axes: Any, said: np.ndarray, true: np.ndarray) -> None:
    """Angle: true azimuth. Radius: how far off the azimuth is."""
    error = np.abs((said - true + 180) % 360 - 180)
    angles, radii = np.arange(0, 361, STEP_DEG), np.arange(0, 181, STEP_DEG)
    share = _column_shares(np.histogram2d(error, true % 360, bins=(radii, angles))[0])
    mesh = axes.pcolormesh(np.radians(angles), radii, share, cmap=_MAP, vmin=0, vmax=1)
    around = np.linspace(0, 360, 721)
    cone = np.abs((2 * around + 180) % 360 - 180)
    axes.plot(np.radians(around), cone, "--", color=_LINE, linewidth=1.4)
    _name_directions(axes)
    axes.set_yticks([45, 90, 135, 180], ["45°", "90°", "135°", "180°"], fontsize=8)
    axes.set_rlabel_position(67.5)
    axes.set_title("Error of the azimuth (radius) by true azimuth (angle)", fontweight="bold", pad=18)
    cone_line = Line2D([], [], color=_LINE, linestyle="--", label="cone of confusion: front taken for behind")
    axes.legend(handles=[cone_line], loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False)
    figure.colorbar(mesh, ax=axes, label="share of the clips from there", shrink=0.75, pad=0.12)


def _azimuths(figure: Figure, axes: Axes, said: np.ndarray, true: np.ndarray) -> None:
    edges = np.arange(0, 361, STEP_DEG)
    _confusion(figure, axes, said % 360, true % 360, edges, "azimuth")
    axes.plot([0, 360], [0, 360], "-", color=_SECOND, linewidth=1.2, label="said as it is")
    axes.plot([0, 360], [360, 0], "--", color=_LINE, linewidth=1.4, label="cone of confusion: front ↔ behind")
    ticks = list(_WORDS)
    axes.set_xticks(ticks, [f"{deg}°\n{_WORDS[deg]}" for deg in ticks])
    axes.set_yticks(ticks, [f"{_WORDS[deg]} {deg}°" for deg in ticks])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False)


def _elevations(figure: Figure, axes: Axes, said: np.ndarray, true: np.ndarray) -> None:
    edges = np.arange(-90, 91, STEP_DEG)
    _confusion(figure, axes, said, true, edges, "elevation")
    axes.plot([-90, 90], [-90, 90], "-", color=_SECOND, linewidth=1.2)
    axes.set_xticks(range(-90, 91, 30), [f"{deg}°" for deg in range(-90, 91, 30)])
    axes.set_yticks(range(-90, 91, 30), [f"{deg}°" for deg in range(-90, 91, 30)])


def _distances(figure: Figure, axes: Axes, said: np.ndarray, true: np.ndarray) -> None:
    edges = np.arange(NUM_DISTANCE_BINS + 1) / 2 - 0.25
    _confusion(figure, axes, said / 2, true / 2, edges, "distance")
    for offset in (-0.75, 0.75):  # what DER still takes as right
        axes.plot([0, 10], [offset, 10 + offset], "-", color=_SECOND, linewidth=1)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(edges[0], edges[-1]))
    axes.set_title("Distance (between the lines: within 0.5 m)", fontweight="bold")
    axes.xaxis.set_major_formatter("{x:g} m")
    axes.yaxis.set_major_formatter("{x:g} m")


def _confusion(figure: Figure, axes: Axes, said: np.ndarray, true: np.ndarray, edges: np.ndarray, what: str) -> None:
    """Each column is what clips of that truth were taken for, and adds up to 1."""
    counts = np.histogram2d(said, true, bins=(edges, edges))[0]
    mesh = axes.pcolormesh(edges, edges, _column_shares(counts), cmap=_MAP, vmin=0, vmax=1)
    axes.set(xlabel=f"true {what}", ylabel=f"said {what}", aspect="equal")
    axes.set_title(what.capitalize(), fontweight="bold")
    figure.colorbar(mesh, ax=axes, label=f"share of the clips of that {what}", shrink=0.75)


def _column_shares(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(axis=0, keepdims=True), 1)


def _means(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    return np.bincount(group, values, minlength=groups) / np.maximum(np.bincount(group, minlength=groups), 1)


def _is_behind(azimuth_deg: np.ndarray) -> np.ndarray:
    return np.sin(np.radians(azimuth_deg)) < -math.ulp(1.0)


def _name_directions(axes: Any) -> None:
    # Matplotlib's polar angle runs as our azimuth does: 0 right, counter-clockwise.
    names = ["right\n0°", "45°", "front 90°", "135°", "left\n180°", "225°", "behind 270°", "315°"]
    axes.set_thetagrids(range(0, 360, 45), names)
    axes.tick_params(axis="x", pad=6)
