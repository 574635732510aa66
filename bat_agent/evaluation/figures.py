"""The figures of an encoder: each with its interval, none where the encoder has no head for it.

Shares lie in 0…1, angles in degrees. ``map``, ``er20``, ``mae_deg`` and ``der`` are those of BAT's table 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.evaluation.hearing import Decode, Heard, Progress, batches, encode, said, true_directions
from bat_agent.evaluation.intervals import Figure, RankedClasses, Resampled, mean_figure, resampled_figure
from bat_agent.evaluation.metrics import (
    angular_errors_deg,
    average_precisions,
    direction_hits,
    expected_calibration_error,
    mean_average_precision,
    sides,
)
from bat_agent.hearing.confidence import Calibration, Curve
from bat_agent.hearing.perception import Thresholds
from bat_agent.labels import labels
from bat_agent.scene import region

SWAP_NEAR_DEG = 20.0
CONE_DEG = 15.0
FROM_BORDER_DEG = 10.0
Figures = dict[str, Figure]
_BORDER_DEG = 1e-6


def single_source(heard: Heard, decode: Decode = "kernel") -> Figures:
    """Class, direction and distance of clips with one source; what the encoder has no head for is left out."""
    found: Figures = {}
    if heard.scores is not None:
        found["map"] = resampled_figure(RankedClasses(heard.classes, heard.scores), len(heard))
    if decode in heard.directions_deg:
        errors = direction_errors_deg(heard, decode)
        hits = direction_hits(heard.directions_deg[decode], true_directions(heard, decode))
        found |= {"er20": mean_figure(errors > 20), "mae_deg": mean_figure(errors)}
        found |= {axis: mean_figure(right) for axis, right in hits.items()}
    else:
        found |= one_angle(heard, decode)
    if decode in heard.distances:
        found["der"] = mean_figure(distance_misses(heard, decode))
    return found


def one_angle(heard: Heard, decode: Decode = "kernel") -> Figures:
    """Of an encoder with one of the two heads of a direction: ``azimuth_mae_deg``, ``left_right`` and
    ``front_behind``, or ``elevation_mae_deg`` and ``above_below``.
    """
    found: Figures = {}
    truth = true_directions(heard, decode)
    if (azimuth := heard.azimuths_deg.get(decode)) is not None:
        hits = direction_hits(np.stack((azimuth, truth[:, 1]), axis=1), truth)
        found["azimuth_mae_deg"] = mean_figure(azimuth_errors_deg(azimuth, truth[:, 0]))
        found |= {axis: mean_figure(hits[axis]) for axis in ("left_right", "front_behind")}
    if (elevation := heard.elevations_deg.get(decode)) is not None:
        hits = direction_hits(np.stack((truth[:, 0], elevation), axis=1), truth)
        found["elevation_mae_deg"] = mean_figure(np.abs(elevation - truth[:, 1]))
        found["above_below"] = mean_figure(hits["above_below"])
    return found


def azimuth_errors_deg(said_deg: NDArray[Any], true_deg: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) degrees between azimuths, the short way round."""
    return np.abs((said_deg - true_deg + 180.0) % 360.0 - 180.0)


def direction_errors_deg(heard: Heard, decode: Decode = "kernel") -> NDArray[np.float64]:
    """(N,) great-circle angles between what is said and what is true."""
    return angular_errors_deg(heard.directions_deg[decode], true_directions(heard, decode))


def distance_misses(heard: Heard, decode: Decode = "kernel") -> NDArray[np.bool_]:
    """(N,) whether the distance is more than 0.5 m (one bin) off."""
    return np.abs(heard.distances[decode] - heard.true_bins[:, 0]) > 1


def where_it_fails(heard: Heard, decode: Decode = "kernel") -> Figures:
    """The angle to the side alone (``lateral_mae_deg``, 0 in the median plane, ±90° at the ears), which both ears tell
    from the time between them; of clips more than 20° off, those that have it right within 15° (``on_cone``: heard
    somewhere else on the cone of confusion); and the mean error by true distance and elevation.
    """
    if decode not in heard.directions_deg:
        return {}
    errors, truth = direction_errors_deg(heard, decode), true_directions(heard, decode)
    aside = np.abs(lateral_deg(heard.directions_deg[decode]) - lateral_deg(truth))
    found = {"lateral_mae_deg": mean_figure(aside)}
    if (errors > 20).any():
        found["on_cone"] = mean_figure(aside[errors > 20] <= CONE_DEG)
    distance_m, elevation = heard.true_bins[:, 0] / 2, np.abs(truth[:, 1])
    parts = {
        "mae_deg below 1.5 m": distance_m < 1.5,
        "mae_deg 1.5 to 3 m": (distance_m >= 1.5) & (distance_m < 3),
        "mae_deg from 3 m": distance_m >= 3,
        "mae_deg within 30° of the horizon": elevation < 30,
        "mae_deg more than 30° above or below": elevation >= 30,
    }
    return found | {name: mean_figure(errors[there]) for name, there in parts.items() if there.any()}


def lateral_deg(directions_deg: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) angle to the right of the plane that halves the head, of directions (N, 2): −90° at the left ear."""
    azimuth, elevation = np.radians(directions_deg).T
    return np.degrees(np.arcsin(np.clip(np.cos(elevation) * np.cos(azimuth), -1, 1)))


def swap_consistency(heard: Heard, decode: Decode = "kernel") -> Figures:
    """Whether swapping the ears mirrors what is said: azimuth within 20° of its mirror image (``mirrors``), on the
    other side (``side_flips``; of clips said to be on a side at all), likeliest class unchanged (``class_stays``).

    Nothing of it depends on the truth. Empty where the ears were not swapped.
    """
    found: Figures = {}
    if decode in heard.swapped_azimuths_deg:
        before, after = _turned(heard, decode)
        apart = azimuth_errors_deg(after[:, 0], 180.0 - before[:, 0])
        found["mirrors"] = mean_figure(apart <= SWAP_NEAR_DEG)
        lateral = np.abs((before[:, 0] + 90.0) % 180.0) > _BORDER_DEG  # 90° and 270° are on no side
        if lateral.any():
            found["side_flips"] = mean_figure((sides(before)[:, 0] != sides(after)[:, 0])[lateral])
    if heard.scores is not None and heard.swapped_top is not None:
        found["class_stays"] = mean_figure(heard.scores.argmax(axis=1) == heard.swapped_top)
    return found


def _turned(heard: Heard, decode: Decode) -> tuple[NDArray[Any], NDArray[Any]]:
    """Directions (N, 2) before and after the ears are swapped; at the horizon where there is an azimuth alone."""
    if decode in heard.swapped_deg:
        return heard.directions_deg[decode], heard.swapped_deg[decode]
    flat = np.zeros(len(heard))
    before, after = (np.stack((each[decode], flat), 1) for each in (heard.azimuths_deg, heard.swapped_azimuths_deg))
    return before, after


def calibration(heard: Heard, curves: Calibration | None = None) -> Figures:
    """ECE of every output, as :mod:`bat_agent.hearing.confidence` names and defines them; ``…_calibrated`` after the
    model's ``curves``, where it has some.
    """
    found = {}
    for output, (sure, right) in heard.confidence.items():
        found[output] = resampled_figure(miscalibration(sure, right), len(sure))
        curve = getattr(curves, output, Curve())
        if curve != Curve():
            said_so = np.array([curve(float(confidence)) for confidence in sure])
            found[f"{output}_calibrated"] = resampled_figure(miscalibration(said_so, right), len(sure))
    return found


def named_sides(heard: Heard, thresholds: Thresholds) -> Figures:
    """Of each axis, of clips 10° or more from its border: how often the likelier side is right (``front_behind``), how
    often where the agent names one, as the posterior passes its threshold (``front_behind, where named``), and how
    often it leaves the axis open (``front_behind, left open``).
    """
    found: Figures = {}
    truth = true_directions(heard, "kernel") if heard.directions_deg else None
    for number, (axis, least) in enumerate(thresholds.sides.items()):
        if truth is None or axis not in heard.confidence:
            continue
        far = np.abs(plane_deg(truth)[number]) >= FROM_BORDER_DEG
        sure, right = (part[far] for part in heard.confidence[axis])
        named = sure >= least
        for name, values in (("", right), (", where named", right[named]), (", left open", ~named)):
            if len(values):
                found[f"{axis}{name}"] = mean_figure(values)
    return found


def plane_deg(directions_deg: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Of directions (N, 2) the angles to the right, ahead and up from the three planes through the head, (N,) each."""
    azimuth, elevation = np.radians(directions_deg).T
    flat = np.cos(elevation)
    parts = (flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation))
    return [np.degrees(np.arcsin(np.clip(part, -1, 1))) for part in parts]


def miscalibration(sure: NDArray[Any], right: NDArray[Any]) -> Resampled:
    """The ECE of statements, when statement n is there as often as entry n of its argument says."""
    return lambda times: expected_calibration_error(np.repeat(sure, times), np.repeat(right, times))


@dataclass(frozen=True)
class ClassRow:
    """How well one class is heard."""

    label: str
    clips: int
    """Clips in which it sounds."""
    average_precision: float | None
    mae_deg: float | None
    er20: float | None
    der: float | None


def per_class(heard: Heard, decode: Decode = "kernel") -> list[ClassRow]:
    """Every class that sounds in some clip, in the order of the class table."""
    precision = None if heard.scores is None else average_precisions(heard.classes, heard.scores)
    errors = direction_errors_deg(heard, decode) if decode in heard.directions_deg else None
    missed = distance_misses(heard, decode) if decode in heard.distances else None
    rows = []
    for number in np.flatnonzero(heard.classes.any(axis=0)):
        there = heard.classes[:, number]
        rows.append(
            ClassRow(
                labels()[number],
                int(there.sum()),
                None if precision is None else float(precision[number]),
                None if errors is None else float(errors[there].mean()),
                None if errors is None else float((errors[there] > 20).mean()),
                None if missed is None else float(missed[there].mean()),
            )
        )
    return rows


def per_region(heard: Heard, decode: Decode = "kernel") -> dict[str, dict[str, float]]:
    """Each of the eight regions that occurs → how many clips lie in it, and the share that is heard there."""
    if decode not in heard.directions_deg:
        return {}
    truth = true_directions(heard, decode)
    right = direction_hits(heard.directions_deg[decode], truth)["region"]
    where = np.array([region(azimuth, elevation) for azimuth, elevation in truth])
    names = sorted(set(where.tolist()))
    return {
        name: {"clips": float((where == name).sum()), "heard": float(right[where == name].mean())} for name in names
    }


@dataclass
class _Pairs:
    """What was said of clips with two sources."""

    errors_deg: list[float]
    """Per clip, mean of both sources; of the azimuth where there is no elevation."""
    misses: list[float]
    scores: list[NDArray[Any]]
    classes: list[NDArray[Any]]
    source_scores: list[NDArray[Any]]
    source_classes: list[NDArray[Any]]
    clips: int = 0
    measure: str = "mae_deg"


def two_sources(
    encoder: Any,
    data: Any,
    device: torch.device | str,
    decode: Decode = "kernel",
    progress: Progress = lambda done, total: None,
) -> Figures:
    """Two sources at once: each is matched to a slot of its own so that the angles are smallest; an encoder without
    slots says the same of both. ``mae_deg`` and ``der`` are means over both sources, ``map`` asks what sounds in the
    clip, ``source_map`` what each source is. Clips with another number of sources do not count.
    """
    pairs = _Pairs([], [], [], [], [], [])
    for done, batch in enumerate(batches(data, device), 1):
        encoding = encode(encoder, batch.waveform, device)
        for clip, sources in enumerate(batch.heard):
            if len(sources) == 2:
                _add_pair(pairs, encoding[[clip]], sources, batch.truth, clip, decode)
        progress(done, len(data))
    if not pairs.clips:
        raise BadInput("no clip has two sources, expected at least one; draw clips with two sources")
    found: Figures = {}
    if pairs.errors_deg:
        found[pairs.measure] = mean_figure(np.array(pairs.errors_deg))
    if pairs.scores:
        found["map"] = resampled_figure(RankedClasses(np.stack(pairs.classes), np.stack(pairs.scores)), pairs.clips)
        each = RankedClasses(np.concatenate(pairs.source_classes), np.concatenate(pairs.source_scores))
        found["source_map"] = resampled_figure(lambda times: each(np.repeat(times, 2)), pairs.clips)
    if pairs.misses:
        found["der"] = mean_figure(np.array(pairs.misses))
    return found


def _add_pair(pairs: _Pairs, encoding: Any, sources: Sequence[Any], truth: Any, clip: int, decode: Decode) -> None:
    """One clip: ``encoding`` is of it alone."""
    slots = encoding.slots or encoding
    azimuth, elevation, bins = said(slots, decode)
    pairs.clips += 1
    number = encoding.slots.activity_logits.shape[1] if encoding.slots else 1
    order: tuple[int, ...] = (0, 1) if number > 1 else (0, 0)
    if azimuth is not None:
        flat = elevation is None
        told = np.stack((azimuth, np.zeros_like(azimuth) if elevation is None else elevation), axis=-1)
        true = [(s.position.azimuth_deg, 0.0 if flat else min(s.position.elevation_deg, 89.0)) for s in sources]
        error, order = match(told.reshape(-1, 2), true)
        pairs.errors_deg.append(error)
        pairs.measure = "azimuth_mae_deg" if flat else "mae_deg"
    if bins is not None:
        distance = truth.distance[clip].cpu().numpy()
        pairs.misses.append(float((np.abs(bins.reshape(-1)[list(order)] - distance) > 1).mean()))
    classes = truth.classes[clip].cpu().numpy() > 0.5
    if encoding.class_logits is not None and slots.class_logits is not None:
        pairs.scores.append(encoding.class_logits[0].float().numpy())
        pairs.classes.append(classes.any(axis=0))
        pairs.source_scores.append(slots.class_logits.reshape(number, -1).float().numpy()[list(order)])
        pairs.source_classes.append(classes)


def match(said_deg: NDArray[Any], true_deg: Sequence[tuple[float, float]]) -> tuple[float, tuple[int, ...]]:
    """Smallest mean angle over all ways to give each true direction a slot (S, 2) of its own, or the only one, and
    which slot each then has.
    """
    choices: Iterable[tuple[int, ...]] = (
        itertools.permutations(range(len(said_deg)), len(true_deg))
        if len(said_deg) >= len(true_deg)
        else [(0,) * len(true_deg)]
    )
    means = ((float(angular_errors_deg(said_deg[list(order)], true_deg).mean()), order) for order in choices)
    return min(means)


def plain(heard: Heard, decode: Decode = "kernel") -> dict[str, float]:
    """The figures of one source without mAP's interval, which costs seconds: for the validation within training."""
    found: dict[str, float] = {"clips": float(len(heard))}
    if decode in heard.directions_deg:
        errors = direction_errors_deg(heard, decode)
        mae = mean_figure(errors)
        hits = direction_hits(heard.directions_deg[decode], true_directions(heard, decode))
        found |= {axis: float(right.mean()) for axis, right in hits.items()}
        found |= {"mae_deg": mae.value, "mae_low_deg": mae.low, "mae_high_deg": mae.high}
        found["er20"] = float((errors > 20).mean())
    if decode in heard.distances:
        found["der"] = float(distance_misses(heard, decode).mean())
    if heard.scores is not None:
        found["map"] = mean_average_precision(heard.classes, heard.scores)
    return found
