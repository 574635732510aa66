"""How far the direction of a source is spread: what both ears tell, and what they leave open.

Time and level between the ears give the angle to the side, and with it a cone around the axis through both ears: the
cone of confusion. Front and behind, above and below lie on the same cone and are told by the spectrum alone. So
the posterior of a direction often has two peaks, one the other's image in the plane through the ears, and the higher
one is a guess. Axes and angles as drawn in :mod:`bat_agent.scene`; azimuth and elevation count as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bat_agent.interfaces import NUM_AZIMUTH_BINS, NUM_ELEVATION_BINS

CONE_DEG = 15.0
NEAR_DEG = 20.0
_EVEN = 0.5

Floats = NDArray[np.float64]


def _share(towards: Floats) -> Floats:
    """How much of each bin lies on the side of positive ``towards``. A bin on the border lies half on either side; by
    a tiny rest right, front and above win a tie, as in :func:`bat_agent.scene.region`.
    """
    return np.where(np.abs(towards) < 1e-9, 0.5 - 1e-4, towards > 0)


_AZIMUTH = np.radians(np.arange(NUM_AZIMUTH_BINS))
_ELEVATION = np.radians(np.arange(NUM_ELEVATION_BINS) - 90.0)
LEFT, BEHIND, BELOW = _share(-np.cos(_AZIMUTH)), _share(-np.sin(_AZIMUTH)), _share(-np.sin(_ELEVATION))
"""Share of each bin of azimuth (twice) and of elevation that lies on that side."""

WORDS: dict[str, tuple[str, str]] = {
    "left_right": ("left", "right"),
    "front_behind": ("behind", "front"),
    "above_below": ("below", "above"),
}
"""Axis → its words: that of the share in :class:`Spread`, then its opposite. In the order of a region."""
_BETWEEN = {
    "left_right": ("in the middle", "left or right I cannot tell"),
    "front_behind": ("straight to the side", "in front or behind I cannot tell"),
    "above_below": ("level with the ears", "above or below I cannot tell"),
}
"""What is said of an axis that is left open: where the source lies on its border, and where it may be on both sides."""


@dataclass(frozen=True)
class Spread:
    """How the probability of a direction is spread; a part is ``None`` where the encoder lacks the head it needs."""

    left: float | None = None
    """Probability that it is on the left; the rest is on the right."""
    behind: float | None = None
    """Probability that it is behind; the rest is in front."""
    below: float | None = None
    """Probability that it is below the ears; the rest is above."""
    cone: float | None = None
    """Probability on the cone of confusion: that the angle to the side is within 15° of the one said."""
    mirrored: float | None = None
    """Probability within 20° of the image of what is said in the plane through the ears (front for behind)."""
    sigma_deg: float | None = None
    """One sigma of the direction: root of the mean square angle (great circle) to the one said, degrees."""
    lateral_sigma_deg: float | None = None
    """The same of the angle to the side alone, which both ears tell best, degrees."""
    borders: tuple[float | None, float | None, float | None] = (None, None, None)
    """Probability within 20° of the plane between left and right, front and behind, above and below."""

    def to_dict(self) -> dict[str, float | None]:
        """JSON-able, without the borders."""
        kept = {name: value for name, value in asdict(self).items() if name != "borders"}
        return {name: None if value is None else round(value, 4) for name, value in kept.items()}

    @property
    def shares(self) -> tuple[float | None, float | None, float | None]:
        """``left``, ``behind`` and ``below``."""
        return self.left, self.behind, self.below

    @property
    def sides(self) -> dict[str, tuple[str, float]]:
        """Axis → the likelier side and its probability, of the axes there are."""
        found = {}
        for (axis, (first, second)), share in zip(WORDS.items(), self.shares, strict=True):
            if share is not None:
                found[axis] = (first, share) if share > _EVEN else (second, 1 - share)
        return found

    def open_axes(self, least: dict[str, float]) -> tuple[str, ...]:
        """The axes on which no side is as likely as ``least`` says; 0.5 names a side always."""
        return tuple(axis for axis, (_, share) in self.sides.items() if share < least.get(axis, _EVEN))

    def about(self, axes: Sequence[str]) -> str:
        """What is said of axes that are left open."""
        return ", ".join(self._unsaid(axis) for axis in axes)

    def _unsaid(self, axis: str) -> str:
        border = self.borders[list(WORDS).index(axis)]
        return _BETWEEN[axis][0 if border is not None and border > _EVEN else 1]

    def in_words(self, undecided: Sequence[str]) -> str:
        """``left, above; in front or behind I cannot tell``: the sides but for the axes left open, and what those are.

        An axis that is open because the source lies on its border is said as that: ``level with the ears``.
        """
        said = {axis: self._unsaid(axis) if axis in undecided else word for axis, (word, _) in self.sides.items()}
        unknown = [text for axis, text in said.items() if text == _BETWEEN[axis][1]]
        named = [text for text in said.values() if text not in unknown]
        return "; ".join(part for part in (", ".join(named), ", ".join(unknown)) if part)


def spread_of(
    azimuth: tuple[float, NDArray[np.floating]] | None, elevation: tuple[float, NDArray[np.floating]] | None
) -> Spread | None:
    """The spread of one direction, from what is said of each angle (degrees) and the probabilities of its bins, (360,)
    and (180,); ``None`` without either.
    """
    if azimuth is None and elevation is None:
        return None
    left = behind = below = None
    borders: list[float | None] = [None, None, None]
    if azimuth is not None:
        left, behind = float(azimuth[1] @ LEFT), float(azimuth[1] @ BEHIND)
        borders[:2] = [float(azimuth[1] @ (np.abs(side) <= _BORDER)) for side in (np.cos(_AZIMUTH), np.sin(_AZIMUTH))]
    if elevation is not None:
        below = float(elevation[1] @ BELOW)
        borders[2] = float(elevation[1] @ (np.abs(np.sin(_ELEVATION)) <= _BORDER))
    if azimuth is None or elevation is None:
        return Spread(left, behind, below, borders=(borders[0], borders[1], borders[2]))
    directions, lateral_deg = sphere()
    probs = np.outer(azimuth[1], elevation[1])
    said, image = (_vector(turned, elevation[0]) for turned in (azimuth[0], -azimuth[0]))
    apart_deg = np.degrees(np.arccos(np.clip(along(directions, said), -1, 1)))
    aside_deg = np.abs(lateral_deg - np.degrees(np.arcsin(np.clip(said[0], -1, 1))))
    return Spread(
        left,
        behind,
        below,
        cone=float(probs[aside_deg <= CONE_DEG].sum()),
        mirrored=float(probs[along(directions, image) >= np.cos(np.radians(NEAR_DEG))].sum()),
        sigma_deg=float(np.sqrt((probs * apart_deg**2).sum())),
        lateral_sigma_deg=float(np.sqrt((probs * aside_deg**2).sum())),
        borders=(borders[0], borders[1], borders[2]),
    )


def along(directions: Floats, said: Floats) -> Floats:
    """Dot products (…) of unit vectors (…, 3) with one of them, on one thread: the product of numpy takes them all."""
    return np.asarray(directions[..., 0] * said[0] + directions[..., 1] * said[1] + directions[..., 2] * said[2])


_BORDER = np.sin(np.radians(NEAR_DEG))


def _vector(azimuth_deg: float, elevation_deg: float) -> Floats:
    azimuth, elevation = np.radians([azimuth_deg, elevation_deg])
    return np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])


@cache
def sphere() -> tuple[Floats, Floats]:
    """(360, 180, 3) unit vectors (right, front, up) of all bins, and their angle to the right in degrees (360, 180)."""
    level = np.cos(_ELEVATION)[None]
    right, front = level * np.cos(_AZIMUTH)[:, None], level * np.sin(_AZIMUTH)[:, None]
    directions = np.stack([right, front, np.broadcast_to(np.sin(_ELEVATION), right.shape)], axis=-1)
    return directions, np.degrees(np.arcsin(np.clip(right, -1, 1)))
