"""The spread of a direction, against drawing directions from the posterior, and how it is put into words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bat_agent.hearing.perception import Thresholds, perceive
from bat_agent.hearing.spread import Spread, spread_of
from bat_agent.interfaces import Encoding
from bat_agent.labels import labels
from bat_agent.scene import unit_vector

TOLD = Thresholds(front_behind=0.65, above_below=0.65, left_right=0.65)


def peaks(bins: int, *at: tuple[float, float], width: float = 4.0) -> np.ndarray:
    """Gaussian peaks (bin, weight) on a ring of bins."""
    apart = [(np.arange(bins) - where + bins / 2) % bins - bins / 2 for where, _ in at]
    probs = sum(weight * np.exp(-0.5 * (turn / width) ** 2) for turn, (_, weight) in zip(apart, at, strict=True))
    return np.asarray(probs / probs.sum())


def heard(azimuth: np.ndarray | None, elevation: np.ndarray | None) -> Encoding:
    logits = [
        None if probs is None else torch.from_numpy(np.log(probs + 1e-12))[None] for probs in (azimuth, elevation)
    ]
    classes = torch.full((1, 355), -9.0)
    classes[0, 3] = 9.0
    return Encoding(torch.zeros(1, 2, 4), classes, -((torch.arange(21.0) - 5) ** 2)[None], *logits)


def test_every_part_agrees_with_directions_drawn_from_the_posterior(rng: np.random.Generator) -> None:
    azimuth, elevation = peaks(360, (130, 0.6), (230, 0.4), width=9), peaks(180, (105, 0.7), (60, 0.3), width=7)
    spread = spread_of((130.0, azimuth), (15.0, elevation))
    assert spread is not None
    drawn = 40_000
    azimuth_deg, elevation_deg = rng.choice(360, drawn, p=azimuth), rng.choice(180, drawn, p=elevation) - 90.0
    points = np.array([unit_vector(*pair) for pair in zip(azimuth_deg, elevation_deg, strict=True)])  # x right, y up
    said, image = (np.array(unit_vector(turned, 15.0)) for turned in (130.0, 230.0))
    apart, from_image = (np.degrees(np.arccos(np.clip(points @ one, -1, 1))) for one in (said, image))
    lateral = np.degrees(np.arcsin(points[:, 0])) - np.degrees(np.arcsin(said[0]))
    assert spread.left == pytest.approx((points[:, 0] < 0).mean(), abs=0.01)
    assert spread.behind == pytest.approx((points[:, 2] > 0).mean(), abs=0.01)
    assert spread.below == pytest.approx((points[:, 1] < 0).mean(), abs=0.01)
    assert spread.cone == pytest.approx((np.abs(lateral) <= 15).mean(), abs=0.01)
    assert spread.mirrored == pytest.approx((from_image <= 20).mean(), abs=0.01)
    assert spread.sigma_deg == pytest.approx(np.sqrt((apart**2).mean()), rel=0.02)
    assert spread.lateral_sigma_deg == pytest.approx(np.sqrt((lateral**2).mean()), rel=0.02)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "where"),
    [
        (peaks(360, (150, 1)), peaks(180, (120, 1)), "left, front, above"),
        (peaks(360, (150, 0.55), (210, 0.45)), peaks(180, (120, 1)), "left, above; in front or behind I cannot tell"),
        (peaks(360, (30, 0.45), (330, 0.55)), peaks(180, (120, 0.5), (60, 0.5)),
         "right; in front or behind I cannot tell, above or below I cannot tell"),
        (peaks(360, (90, 1)), peaks(180, (90, 1)), "in the middle, front, level with the ears"),
        (peaks(360, (181, 1)), peaks(180, (150, 1)), "left, straight to the side, above"),
    ],
)  # fmt: skip
def test_where_says_what_cannot_be_told(azimuth: np.ndarray, elevation: np.ndarray, where: str) -> None:
    (source,) = perceive(heard(azimuth, elevation), labels(), TOLD)[0].sources
    assert source.where == where
    assert source.region is not None
    assert source.region.count(",") == 2  # the best guess keeps its form
    assert source.to_dict()["where"] == where
    assert source.text.startswith(f"{labels()[3]}: ")
    named, _, unknown = where.partition("; ")
    assert source.text.endswith(f": {named}, 2.5 m" + (f"; {unknown}" if unknown else ""))
    assert perceive(heard(azimuth, elevation), labels(), Thresholds())[0].sources[0].undecided == ()


def test_a_mirrored_clip_has_a_mirrored_spread() -> None:
    """Ears swapped: left is what was right, all else stays."""
    elevation = peaks(180, (105, 0.7), (60, 0.3))
    own = spread_of((130.0, peaks(360, (130, 0.7), (230, 0.3))), (15.0, elevation))
    other = spread_of((50.0, peaks(360, (50, 0.7), (310, 0.3))), (15.0, elevation))
    assert own is not None
    assert other is not None
    assert (own.left or 0) + (other.left or 0) == pytest.approx(1, abs=1e-3)
    for name in ("behind", "below", "cone", "mirrored", "sigma_deg", "lateral_sigma_deg"):
        assert getattr(own, name) == pytest.approx(getattr(other, name), abs=1e-3)


def test_a_head_that_is_missing_leaves_its_parts_out() -> None:
    assert spread_of(None, None) is None
    flat = spread_of((150.0, peaks(360, (150, 0.5), (210, 0.5))), None)
    assert flat is not None
    assert (flat.below, flat.cone, flat.mirrored, flat.sigma_deg) == (None, None, None, None)
    assert flat.in_words(("front_behind",)) == "left; in front or behind I cannot tell"
    (source,) = perceive(heard(None, None), labels(), TOLD)[0].sources
    assert (source.spread, source.undecided, source.to_dict()["spread"]) == (None, (), None)
    assert source.text == f"{labels()[3]}: 2.5 m"
    assert Spread().to_dict()["left"] is None
