"""An encoder in rooms of any simulator, measured ones first of all: which figures, and each by room and head.

Recordings that a model never met are put where responses were measured; every clip is drawn by its number and a seed
alone (:func:`bat_agent.evaluation.draw.draw_clips`), so two models hear the same clips.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.evaluation.clips import ManifestClips
from bat_agent.evaluation.draw import DrawnPlaces, draw_clips, open_library
from bat_agent.evaluation.figures import (
    CONE_DEG,
    Figures,
    direction_errors_deg,
    distance_misses,
    lateral_deg,
    one_angle,
    plane_deg,
)
from bat_agent.evaluation.hearing import Decode, Heard, true_directions
from bat_agent.evaluation.intervals import mean_figure
from bat_agent.evaluation.manifest import Clip, write_manifest
from bat_agent.evaluation.metrics import direction_hits
from bat_agent.evaluation.report import Data
from bat_agent.evaluation.runs import Run
from bat_agent.files.leftovers import temporary_folder
from bat_agent.registry import components
from bat_agent.scene import MeshRoom

SOUNDS = "manifest:$BAT_SHARED/data/sounds/manifest.csv"
FOLDS = (4,)
GOING_ON = 0.5
_PLACES = {"measured": "folder"}
"""Which option of a simulator the place after its name is."""


def places_of(rooms: str) -> DrawnPlaces:
    """``measured:DIR``, or the name of a simulator with its default options.

    Raises :class:`~bat_agent.errors.BadInput` for an unknown simulator or one that is given no place.
    """
    name, _, place = rooms.partition(":")
    if place and name not in _PLACES and name in components("simulator"):
        raise BadInput(f"--rooms {rooms!r}: {name} takes no place; give {name!r} alone, or measured:DIR")
    return DrawnPlaces(name, {_PLACES[name]: place} if place else {})


def rooms_data(
    rooms: str,
    run: Run,
    *,
    clips: int,
    seconds: float,
    batch: int,
    sounds: Sequence[str] = (),
    folds: Sequence[int] | None = None,
    seed: int = 0,
) -> Data:
    """Clips with one source: recordings of ``folds`` of the libraries ``sounds`` in rooms (:func:`places_of`), half of
    them cut out of sound already going on.
    """
    libraries = [open_library(spec, folds) for spec in sounds] if sounds else [open_library(SOUNDS, FOLDS)]
    drawn = draw_clips(libraries, places_of(rooms), clips, seed=seed, seconds=seconds, going_on=GOING_ON)
    with temporary_folder() as folder:
        file = folder / "rooms.jsonl"
        write_manifest(file, drawn)
        one = ManifestClips(file, clips_per_batch=batch, normalise=run.normalise, reverberation=run.reverberation)
    return Data(one, None, f"{clips} clips of {seconds:g} s in {rooms}, seed {seed}")


def where_figures(heard: Heard, decode: Decode = "kernel") -> Figures:
    """What a direction is wrong in, and more of distance and class than :func:`single_source` has.

    ``left_right`` of sources 5° or more aside, ``front_behind`` 10° or more from the plane of the ears, ``above_below``
    10° or more from the horizon; the errors of the angle to the side and of elevation, the azimuth's error where front
    and behind are right, how many of the large errors lie on the cone of confusion, and whether the likeliest class is
    one that sounds.
    """
    found: Figures = {}
    if decode in heard.directions_deg:
        told, truth = heard.directions_deg[decode], true_directions(heard, decode)
        hits, errors = direction_hits(told, truth), direction_errors_deg(heard, decode)
        aside, ahead, above = (np.abs(part) for part in plane_deg(truth))
        for name, far in (("left_right", aside >= 5), ("front_behind", ahead >= 10), ("above_below", above >= 10)):
            if far.any():
                found[name] = mean_figure(hits[name][far])
        off = np.abs(lateral_deg(told) - lateral_deg(truth))
        found["lateral_mae_deg"] = mean_figure(off)
        raised = np.abs(told[:, 1] - truth[:, 1])
        found["elevation_mae_deg"], found["elevation_er20"] = mean_figure(raised), mean_figure(raised > 20)
        turned = np.abs((told[:, 0] - truth[:, 0] + 180.0) % 360.0 - 180.0)
        found["azimuth_mae_deg, front or behind right"] = mean_figure(turned[hits["front_behind"]])
        if (errors > 20).any():
            found["on_cone"] = mean_figure(off[errors > 20] <= CONE_DEG)
    else:
        found |= one_angle(heard, decode)
    if decode in heard.distances:
        metres = np.abs(heard.distances[decode] - heard.true_bins[:, 0]) / 2
        found["distance_mae_m"] = mean_figure(metres)
        found["distance_der"] = mean_figure(distance_misses(heard, decode))
    if heard.scores is not None:
        top = heard.scores.argmax(axis=1)
        found["label_right"] = mean_figure(np.take_along_axis(heard.classes, top[:, None], axis=1)[:, 0])
    return found


def by_room(heard: Heard, clips: Sequence[Clip], decode: Decode = "kernel") -> dict[str, Figures]:
    """Mean error, large errors, front or behind and label of each room and head, in the order of their names."""
    names = np.array([room_name(clip) for clip in clips])
    found = {}
    for name in sorted(set(names.tolist())):
        here = _some(heard, names == name)
        figures = where_figures(here, decode)
        if decode in here.directions_deg:
            errors = direction_errors_deg(here, decode)
            figures = {"mae_deg": mean_figure(errors), "er20": mean_figure(errors > 20), **figures}
        found[name] = figures
    return found


def room_name(clip: Clip) -> str:
    """Room and head of a clip, as far as its scene tells."""
    scene = clip.sources[0].scene
    if scene is None:
        return "room"
    options = scene.simulator.get("options") or {}
    if isinstance(scene.room, MeshRoom):
        room, head = scene.room.options.get("room", Path(scene.room.path).stem), scene.room.options.get("head")
    else:
        room, head = str(scene.simulator.get("name", "room")), options.get("head")
    return f"{room}, {head}" if head else str(room)


def _some(heard: Heard, there: NDArray[np.bool_]) -> Heard:
    """Of N clips those that are ``there`` (N,); without confidences."""

    def cut(value: object) -> object:
        if isinstance(value, dict):
            return {key: each[there] for key, each in value.items()}
        return None if value is None else value[there]  # type: ignore[index]

    kept = {f.name: cut(getattr(heard, f.name)) for f in dataclasses.fields(heard) if f.name != "confidence"}
    return Heard(**kept)  # type: ignore[arg-type]
