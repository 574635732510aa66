"""An encoder that lacks a head says nothing in its place: no label, no angle and no metre is made up."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bat_agent.agent import Bat, ModelConfig
from bat_agent.evaluation.plotting import perception_figure
from bat_agent.hearing.arrays import hearing_arrays
from bat_agent.hearing.perception import PerceivedSource
from bat_agent.interfaces import Encoding
from bat_agent.listening import words
from bat_agent.listening.events import TrackedSource
from bat_agent.listening.tracker import Tracker
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner
from bat_agent_envs.ears import in_words

HEADS = ("class_logits", "distance_logits", "azimuth_logits", "elevation_logits")
# 20 dB louder on the left, and no copy of one another: azimuth 180°, elevation 0°.
LEFT = (np.random.default_rng(0).standard_normal((2, 32_000)) * [[0.1], [0.01]]).astype(np.float32)


class Partial(EchoEncoder):
    """An encoder with some of the heads."""

    def __init__(self, *heads: str) -> None:
        super().__init__(EchoEncoderConfig())
        self.missing = dict.fromkeys(name for name in HEADS if name.removesuffix("_logits") not in heads)

    def forward(self, waveform: Tensor) -> Encoding:
        return dataclasses.replace(super().forward(waveform), **self.missing)


def bat_with(*heads: str) -> Bat:
    parts: dict[str, Any] = {"name": "echo", "options": {}}
    return Bat(ModelConfig("partial", parts, parts), Partial(*heads), EchoReasoner(EchoReasonerConfig()))


def only(*heads: str) -> PerceivedSource:
    (source,) = bat_with(*heads).perceive(LEFT).sources
    return source


def test_azimuths_alone_tell_half_a_region() -> None:
    """It was "left, front, above", 0.0 m, and the first class."""
    source = only("azimuth")
    assert (source.azimuth_deg, source.region) == (180.0, source.region)
    assert source.region is not None
    assert source.region.split(", ")[0] == "left"
    assert len(source.region.split(", ")) == 2
    assert (source.labels, source.elevation_deg, source.distance_m) == ((), None, None)
    assert "direction" not in source.confidences


@pytest.mark.parametrize(
    ("azimuth_deg", "elevation_deg", "region"),
    [(120.0, None, "left, front"), (None, -5.0, "below"), (None, None, None), (300.0, 10.0, "right, behind, above")],
)
def test_a_region_names_what_is_known(
    azimuth_deg: float | None, elevation_deg: float | None, region: str | None
) -> None:
    assert PerceivedSource(("Dog",), azimuth_deg, elevation_deg, None, 1.0).region == region


@pytest.mark.parametrize("missing", ["class", "distance", "azimuth", "elevation"])
def test_every_head_may_be_missing_and_leaves_the_others(missing: str) -> None:
    heads = [name.removesuffix("_logits") for name in HEADS if not name.startswith(missing)]
    whole, source = only(*(name.removesuffix("_logits") for name in HEADS)).to_dict(), only(*heads).to_dict()
    lost = {"class": "labels", "distance": "distance_m"}.get(missing, f"{missing}_deg")
    assert source[lost] in (None, [])
    for name in ("labels", "azimuth_deg", "elevation_deg", "distance_m"):
        assert name == lost or source[name] == whole[name]


@pytest.mark.parametrize("heads", [("class", "azimuth", "distance"), ("class", "elevation"), ("class",), ("azimuth",)])
def test_half_a_direction_is_no_valid_one(heads: tuple[str, ...]) -> None:
    heard = hearing_arrays(bat_with(*heads), LEFT)
    assert not heard["valid"].any()
    assert not heard["direction"].any()
    said = in_words({name: values[0] for name, values in heard.items()}, bat_with().encoder.labels)
    assert "0.0 m" not in said
    assert ("Speech: somewhere" in said) == ("class" in heads), said


def test_a_direction_without_class_or_distance_is_valid() -> None:
    heard = hearing_arrays(bat_with("azimuth", "elevation"), LEFT)
    assert heard["valid"].all()
    np.testing.assert_allclose(heard["direction"][0, 0], [-1, 0, 0], atol=1e-6)
    said = in_words({name: values[0] for name, values in heard.items()}, bat_with().encoder.labels)
    assert said.startswith("something: left")
    assert " m" not in said


def test_a_track_of_azimuths_has_no_height() -> None:
    """Followed as vectors, an unknown elevation came out as 0.0°."""
    tracker = Tracker()
    for step in range(3):
        told = tracker.look([PerceivedSource(("Dog",), 90.0, None, None, 0.9)], 0.25 * step)
    (tracked,) = told
    assert tracked.source.azimuth_deg == pytest.approx(90.0)
    assert tracked.source.elevation_deg is None
    assert words.sentence(TrackedSource(1, "steady", tracked.source, 1.0, 0.0)) == "Dog, front"


def test_the_picture_names_what_is_heard_without_a_place() -> None:
    """It was titled "Nothing heard"."""
    perception = bat_with("class").perceive(LEFT)
    titles = [axes.get_title() for axes in perception_figure(perception, torch.from_numpy(LEFT)).axes]
    assert "Heard, but not from where:\nSpeech" in titles
