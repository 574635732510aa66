"""Queries about two sounds, or three, beside each other; :mod:`bat_agent_talk.answering` has the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bat_agent.hearing.posterior import Heard
from bat_agent.interfaces import Reply
from bat_agent.questions.answers import format_distance
from bat_agent.questions.free.query import Query
from bat_agent_talk.scene import NEAR_DEG, NEAR_M, Scene, azimuth_deg, either, named, share_of, yes_no

_BETWEEN_DEG = 112.5  # the middle between what is clearly between two, 135, and what clearly is not, 90


def _ahead(scene: Scene, query: Query) -> float:
    """How likely the first is more so than the second."""
    a, b = scene.find(query.sounds)
    word = query.word
    if word in ("closer", "farther"):
        first, second = scene.worlds.distance_m(a), scene.worlds.distance_m(b)
        return share_of(first < second if word == "closer" else first > second)
    axis, sign = {"left": (0, -1), "right": (0, 1), "higher": (1, 1), "lower": (1, -1)}[word]
    return share_of(sign * (scene.worlds.points(a)[:, axis] - scene.worlds.points(b)[:, axis]) > 0)


def compare(scene: Scene, query: Query) -> Reply:
    """Whether the first is so, compared with the second."""
    return yes_no(_ahead(scene, query))


def which(scene: Scene, query: Query) -> Reply:
    """The one of the two that is so."""
    return either((query.sounds[0], query.sounds[1]), _ahead(scene, query))


def difference(scene: Scene, query: Query) -> Reply:
    """By how much the first is nearer, or that it is the other one."""
    a, b = scene.find(query.sounds)
    ahead_m = b.distance_m - a.distance_m
    off = np.abs(scene.worlds.distance_m(b) - scene.worlds.distance_m(a) - ahead_m)
    text = format_distance(abs(ahead_m))
    return Reply(text if ahead_m >= 0 else f"{query.sounds[1]} is nearer by {text}", share_of(off <= NEAR_M))


def apart(scene: Scene, query: Query) -> Reply:
    """How far apart two are."""
    a, b = scene.find(query.sounds)
    said_m = math.dist(a.point_m, b.point_m)
    apart_m = np.linalg.norm(scene.worlds.points(a) - scene.worlds.points(b), axis=1)
    return Reply(format_distance(said_m), 0.0 if a is b else share_of(np.abs(apart_m - said_m) <= NEAR_M))


def angle(scene: Scene, query: Query) -> Reply:
    """The angle between two, seen from above."""
    a, b = scene.find(query.sounds)
    said_deg = abs((azimuth_deg(a) - azimuth_deg(b) + 180) % 360 - 180)
    return Reply(f"{round(said_deg)} degrees", share_of(np.abs(_angles(scene, a, b) - said_deg) <= NEAR_DEG))


def _angles(scene: Scene, a: Heard, b: Heard) -> np.ndarray:
    apart: np.ndarray = (scene.worlds.azimuth_deg(a) - scene.worlds.azimuth_deg(b) + 180) % 360 - 180
    return np.abs(apart)


def same_side(scene: Scene, query: Query) -> Reply:
    """Whether two are on the same side, left or right, or on opposite sides."""
    a, b = (source.side("left") for source in scene.find(query.sounds))
    same = a * b + (1 - a) * (1 - b)
    return yes_no(same if query.kind == "same side" else 1 - same)


def am_between(scene: Scene, query: Query) -> Reply:
    """Whether the listener is between two."""
    a, b = scene.find(query.sounds)
    return yes_no(share_of(_angles(scene, a, b) > _BETWEEN_DEG))


def _inside(scene: Scene, source: Heard, ends: Sequence[Heard]) -> float:
    """How likely a direction lies in the smaller of the two angles between the ends, seen from above."""
    wide = _angles(scene, *ends)
    parts = sum(_angles(scene, source, end) for end in ends)
    return share_of(parts < wide + 1.0)


def is_between(scene: Scene, query: Query) -> Reply:
    """Whether the first is between the two others, seen from the listener."""
    source, *ends = scene.find(query.sounds)
    return yes_no(_inside(scene, source, ends))


def what_between(scene: Scene, query: Query) -> Reply:
    """What is between two, seen from the listener."""
    ends = scene.find(query.sounds)
    others = [source for source in scene.clip.sources if not any(source is end for end in ends)]
    shares = [_inside(scene, source, ends) for source in others]
    there = [source for source, share in zip(others, shares, strict=True) if share > 0.5]
    return named(there, math.prod(max(share, 1 - share) for share in shares))
