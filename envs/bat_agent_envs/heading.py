"""The head of one agent: what it hears while it turns, in the frame of now."""

from __future__ import annotations

import math

import numpy as np

from bat_agent.hearing.arrivals import Masks, arrivals
from bat_agent.hearing.sphere import Floats, shifted
from bat_agent.hearing.spread import BEHIND, BELOW, LEFT
from bat_agent.hearing.turning import Look, Turning
from bat_agent.sound.ring import Waveform
from bat_agent_envs.client import SAMPLE_RATE_HZ

Arrays = dict[str, np.ndarray]


class Head:
    """Joins the looks of an agent whose heading is known, and turns what is held (:mod:`bat_agent.hearing.turning`).

    Arrays are those of :func:`bat_agent.hearing.arrays.hearing_arrays` for one clip, without the batch axis.
    """

    def __init__(self, joined_s: float) -> None:
        """``joined_s``: how long looks are joined; 0 leaves each by itself."""
        self._turning = Turning(jumps=True, memory_s=joined_s)
        self._azimuths: np.ndarray | None = None
        self._arrivals: dict[str, np.ndarray] = {}
        self._held_deg = self._shown_deg = 0.0

    def begin(self) -> None:
        """An episode begins: nothing is known."""
        self._turning.clear()
        self._azimuths, self._arrivals, self._held_deg, self._shown_deg = None, {}, 0.0, 0.0

    @property
    def faces(self) -> bool:
        """Whether its heading is known."""
        return len(self._turning.headings) > 0

    def face(self, t_s: float, heading_deg: float) -> None:
        """The heading of the sound that came up to ``t_s``, counter-clockwise from above."""
        self._turning.headings.say(t_s, heading_deg)

    def stand(self, place_m: tuple[float, float]) -> None:
        """Where the agent is now: metres to the right and back, as it would face with a heading of 0."""
        self._turning.stand(place_m[0], -place_m[1])

    def steady_s(self, t_s: float, newest: Waveform) -> float:
        """How much of the newest sound (2, N), which came up to ``t_s``, to look at."""
        return self._turning.headings.steady_s(t_s, newest)

    def look(self, heard: Arrays, t_s: float, window: Waveform, new_s: float) -> None:
        """What was heard in a window (2, N) becomes, in place, what all looks of this head tell together."""
        slots = np.flatnonzero(heard["valid"])
        looks = [_look(heard, int(slot)) for slot in slots]
        window_s = window.shape[1] / SAMPLE_RATE_HZ
        for slot, placed in zip(slots, self._turning.look(looks, t_s, window_s, new_s, window), strict=True):
            heard["direction"][slot] = _vector(placed.azimuth_deg, placed.elevation_deg)
            heard["azimuth_probs"][slot], heard["elevation_probs"][slot] = placed.azimuth, placed.elevation
            heard["distance"][slot] = placed.distance_m
        self._azimuths = heard["azimuth_probs"].copy()
        self._held_deg = self._shown_deg = self._turning.headings.now_deg
        _tell_sides(heard)

    def arrive(self, heard: Arrays, t_s: float, newest: Waveform, new_s: float, masks: np.ndarray) -> None:
        """Adds ``arrivals`` (360,): by how many standard deviations of chance each azimuth of now, on the level, sticks
        out of what arrived in the last ``new_s`` of a sound (2, N), which came up to ``t_s``; and ``slot_arrivals``
        (S, 360), of that what is each slot's by its mask of the sound (S, R, 128).
        """
        headings, azimuth = self._turning.headings, np.radians(np.arange(360))

        def faced_deg(before_s: Floats) -> Floats:
            return headings.at(t_s - before_s) - headings.now_deg

        shares = Masks(np.concatenate((np.ones_like(masks[:1]), masks)), newest.shape[1] / SAMPLE_RATE_HZ)
        whole, *slots = arrivals(newest, new_s, faced_deg, np.cos(azimuth), np.sin(azimuth), shares)
        self._arrivals = {"arrivals": whole, "slot_arrivals": np.stack(slots)}
        for name, values in self._arrivals.items():
            heard[name][:] = values

    def turn(self, held: Arrays) -> None:
        """What is held, in the frame that the head has turned to since, in place."""
        by_deg = self._shown_deg - self._turning.headings.now_deg
        if by_deg == 0 or self._azimuths is None:
            return
        self._shown_deg = self._turning.headings.now_deg
        x, z = held["direction"][:, 0].copy(), held["direction"][:, 2].copy()
        cosine, sine = math.cos(math.radians(by_deg)), math.sin(math.radians(by_deg))
        held["direction"][:, 0], held["direction"][:, 2] = cosine * x + sine * z, cosine * z - sine * x
        # From what was heard, not from what was turned before: steps of a fraction of a degree would wash it out.
        for slot in np.flatnonzero(held["valid"]):
            held["azimuth_probs"][slot] = shifted(self._azimuths[slot], self._held_deg - self._shown_deg)
        for name, values in self._arrivals.items():
            held[name][:] = shifted(values, self._held_deg - self._shown_deg)
        _tell_sides(held)


def heading_errors(heard: Arrays, named: tuple[int, ...]) -> np.ndarray:
    """(1 + named,) radians from straight ahead, left positive: of the strongest sound, then of each class of ``named``
    where it is likeliest; 0 where it is not heard.
    """
    found = np.zeros(1 + len(named))
    if heard["valid"][0]:
        found[0] = heading_error(heard["direction"][0])
    for place, number in enumerate(named, start=1):
        likely = heard["slot_probs"][:, number] * heard["valid"]
        if likely.max() >= LEAST:
            found[place] = heading_error(heard["direction"][int(likely.argmax())])
    return found


LEAST = 0.1
"""A named sound is taken to be in no slot where its class is less likely."""


def heading_error(direction: np.ndarray) -> float:
    """Radians to turn left until a direction (x right, y up, z back) lies straight ahead; negative to the right."""
    return math.atan2(-float(direction[0]), -float(direction[2]))


def _look(heard: Arrays, slot: int) -> Look:
    x, y, z = heard["direction"][slot].tolist()
    azimuth_deg, elevation_deg = math.degrees(math.atan2(-z, x)) % 360, math.degrees(math.asin(min(max(y, -1.0), 1.0)))
    mask = heard["masks"][slot]
    return Look(
        azimuth_deg, elevation_deg, heard["azimuth_probs"][slot], heard["elevation_probs"][slot],
        heard["slot_probs"][slot], float(heard["distance"][slot]), mask if mask.any() else None,
    )  # fmt: skip


def _vector(azimuth_deg: float, elevation_deg: float) -> tuple[float, float, float]:
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    across = math.cos(elevation)
    return across * math.cos(azimuth), math.sin(elevation), -across * math.sin(azimuth)


def _tell_sides(heard: Arrays) -> None:
    for slot in np.flatnonzero(heard["valid"]):
        azimuth, elevation = heard["azimuth_probs"][slot], heard["elevation_probs"][slot]
        sides = (azimuth @ LEFT, azimuth @ BEHIND, elevation @ BELOW)
        heard["sides"][slot] = np.clip(sides, 0, 1)
