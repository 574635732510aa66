"""Logits to words and degrees: what is certain is decoded exactly, what is spread where most of it lies."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch

from bat_agent.hearing.perception import (
    PerceivedSource,
    Perception,
    Thresholds,
    decode_azimuth_deg,
    decode_distance_m,
    decode_elevation_deg,
    exclusive_directions,
    hears_nothing,
    perceive,
)
from bat_agent.hearing.targets import decode_bins
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.labels import labels
from bat_agent.scene import region

SURE = 20.0
BINS = {"distance": 21, "azimuth": 360, "elevation": 180}


def one_hot(index: int | list[int], bins: int) -> torch.Tensor:
    return SURE * torch.nn.functional.one_hot(torch.as_tensor(index), bins).float()


def bump(bins: int, **weights: float) -> torch.Tensor:
    """Log probabilities with the given mass in the given bins, e.g. ``b40=0.3``."""
    probs = torch.full((bins,), 1e-9)
    for name, mass in weights.items():
        probs[int(name[1:])] += mass
    return probs.log()


@pytest.mark.parametrize(
    ("decode", "name"),
    [(decode_distance_m, "distance"), (decode_azimuth_deg, "azimuth"), (decode_elevation_deg, "elevation")],
)
def test_every_single_bin_is_decoded_as_itself(decode: Any, name: str) -> None:
    """Compared with :func:`bat_agent.hearing.targets.decode_bins`, which knows nothing of smoothing."""
    every = torch.eye(BINS[name]) * SURE
    number = ("distance", "azimuth", "elevation").index(name)
    wanted = []
    for index in range(BINS[name]):
        bins = [0, 0, 0]
        bins[number] = index
        position = decode_bins(*bins)
        wanted.append((position.distance_m, position.azimuth_deg, position.elevation_deg)[number])
    np.testing.assert_array_equal(decode(every), wanted)


@pytest.mark.parametrize(
    ("decode", "bins"), [(decode_distance_m, 21), (decode_azimuth_deg, 360), (decode_elevation_deg, 180)]
)
def test_leading_axes_are_kept_and_a_missing_head_stays_missing(decode: Any, bins: int) -> None:
    assert decode(torch.zeros(3, 2, bins)).shape == (3, 2)
    assert decode(None) is None


def test_the_heavier_mode_wins_over_the_highest_bin() -> None:
    """0.3 in one bin against 0.7 spread over 40° … 50°: the single best bin would be the wrong one."""
    spread = {f"b{k}": 0.07 for k in range(41, 50)}
    logits = bump(360, b200=0.3, **spread)
    assert int(logits.argmax()) == 200
    assert decode_azimuth_deg(logits) == pytest.approx(45)


def test_azimuth_wraps_around_and_elevation_does_not() -> None:
    """Mass at 355…359° and at 1…5° belongs together at 0°; −90° and +89° are as far apart as can be."""
    weights = {f"b{k}": 0.06 for k in (355, 356, 357, 358, 359, 1, 2, 3, 4, 5)}
    found = float(decode_azimuth_deg(bump(360, b180=0.2, **weights)))  # type: ignore[arg-type]
    assert min(found, 360 - found) <= 1
    assert decode_elevation_deg(bump(180, b0=0.35, b179=0.3, b90=0.35)) != pytest.approx(89)


def test_distance_is_smoothed_too() -> None:
    assert decode_distance_m(bump(21, b16=0.3, b4=0.24, b5=0.24, b6=0.22)) == pytest.approx(2.5)


def single(
    azimuth: int = 90, elevation: int = 90, distance: int = 4, classes: tuple[tuple[int, float], ...] = ((0, 3.0),)
) -> Encoding:
    class_logits = torch.full((1, 355), -6.0)
    for number, logit in classes:
        class_logits[0, number] = logit
    return Encoding(
        torch.zeros(1, 3, 4), class_logits, one_hot([distance], 21), one_hot([azimuth], 360), one_hot([elevation], 180)
    )


def test_one_source_in_words_and_numbers() -> None:
    encoding = single(azimuth=135, elevation=120, distance=5, classes=((7, 2.0), (3, 4.0), (9, -1.0)))
    (perception,) = perceive(encoding, labels(), Thresholds(), ("a note",))
    (source,) = perception.sources
    assert source.labels == (labels()[3], labels()[7])
    assert (source.azimuth_deg, source.elevation_deg, source.distance_m) == (135.0, 30.0, 2.5)
    assert source.region == region(135, 30) == "left, front, above"
    assert source.confidence == pytest.approx(1 / (1 + np.exp(-4)))
    assert perception.notes == ("a note",)
    assert perception.class_probs[labels()[9]] == pytest.approx(1 / (1 + np.e), abs=1e-6)


def test_without_slots_there_is_always_one_source_with_one_label() -> None:
    """A clip that is not silent holds something, however unsure the encoder is; it has no way to say nothing."""
    (perception,) = perceive(single(classes=((11, -3.0),)), labels(), Thresholds())
    assert [source.labels for source in perception.sources] == [(labels()[11],)]


def test_the_label_threshold_decides_what_is_named() -> None:
    encoding = single(classes=((1, 3.0), (2, 0.1), (3, -0.1)))
    for threshold, number in ((0.5, 2), (0.4, 3), (0.9, 1)):
        (perception,) = perceive(encoding, labels(), Thresholds(label=threshold))
        assert len(perception.sources[0].labels) == number


def several(activity: list[float]) -> Encoding:
    slots = len(activity)
    class_logits = torch.full((1, slots, 355), -6.0)
    class_logits[0, range(slots), range(slots)] = 5.0
    separate = SlotEncoding(
        torch.tensor([activity]),
        class_logits,
        one_hot([list(range(slots))], 21),
        one_hot([[100 * s for s in range(slots)]], 360),
        one_hot([[10 * s for s in range(slots)]], 180),
    )
    return Encoding(torch.zeros(1, 3, 4), class_logits.amax(dim=1), slots=separate)


def test_slots_come_strongest_first_and_only_if_active() -> None:
    (perception,) = perceive(several([0.3, -2.0, 4.0]), labels(), Thresholds())
    assert [source.azimuth_deg for source in perception.sources] == [200.0, 0.0]
    assert [source.elevation_deg for source in perception.sources] == [-70.0, -90.0]
    assert [source.labels for source in perception.sources] == [(labels()[2],), (labels()[0],)]
    assert perception.sources[0].confidence == pytest.approx(1 / (1 + np.exp(-4)))


def test_where_all_slots_are_inactive_nothing_sounds() -> None:
    encoding = several([-5.0, -2.0])
    (perception,) = perceive(encoding, labels(), Thresholds())
    assert perception.sources == ()
    assert hears_nothing(encoding, Thresholds()) == [pytest.approx(1 / (1 + np.exp(-2.0)))]
    assert hears_nothing(encoding, Thresholds(activity=0.1)) == [None]
    assert hears_nothing(single(), Thresholds()) == [None]


def test_the_activity_threshold_decides_how_many() -> None:
    for threshold, number in ((0.5, 1), (0.1, 2), (0.001, 3)):
        (perception,) = perceive(several([-4.0, 2.0, -2.0]), labels(), Thresholds(activity=threshold))
        assert len(perception.sources) == number


def test_clips_of_a_batch_do_not_mix() -> None:
    first, second = single(azimuth=10), single(azimuth=250, classes=((5, 4.0),))
    both = Encoding(*(torch.cat((getattr(first, n), getattr(second, n))) for n in list(vars(first))[:5]))
    together = perceive(both, labels(), Thresholds())
    assert together == [perceive(one, labels(), Thresholds())[0] for one in (first, second)]


def test_missing_heads_are_none() -> None:
    (perception,) = perceive(Encoding(torch.zeros(1, 3, 4), torch.zeros(1, 355)), labels(), Thresholds())
    source = perception.sources[0].to_dict()
    assert [source[name] for name in ("azimuth_deg", "elevation_deg", "distance_m", "region")] == [None] * 4
    assert source["confidences"] == {"label": 0.5}


def test_an_encoder_of_direction_alone_names_no_labels() -> None:
    encoding = dataclasses.replace(single(azimuth=200, elevation=110), class_logits=None, distance_logits=None)
    (perception,) = perceive(encoding, labels(), Thresholds())
    (source,) = perception.sources
    assert (source.labels, source.azimuth_deg, source.elevation_deg, source.distance_m) == ((), 200.0, 20.0, None)
    assert perception.class_probs == {}
    assert set(source.confidences) == {"direction"}


def test_half_precision_logits_decode_alike() -> None:
    encoding = single(azimuth=271, elevation=33, distance=20)
    halved = Encoding(*(getattr(encoding, n).bfloat16() for n in list(vars(encoding))[:5]))
    (exact,), (rough,) = (perceive(e, labels(), Thresholds()) for e in (encoding, halved))
    assert exact.sources[0].azimuth_deg == rough.sources[0].azimuth_deg == 271
    assert exact.sources[0].distance_m == rough.sources[0].distance_m == 10


def test_to_dict_is_json_in_the_shape_of_the_contract() -> None:
    source = PerceivedSource(("Dog", "Bark"), 100.0, -20.0, 3.5, 0.87654321, {"direction": 0.123456})
    perception = Perception((source,), {"Dog": 0.123456}, ("n",))
    assert json.loads(json.dumps(perception.to_dict())) == {
        "sources": [
            {
                "labels": ["Dog", "Bark"],
                "azimuth_deg": 100.0,
                "elevation_deg": -20.0,
                "distance_m": 3.5,
                "region": "left, front, below",
                "confidence": 0.8765,
                "confidences": {"direction": 0.1235},
                "guessed": False,
                "where": "left, front, below",
                "undecided": [],
                "spread": None,
            }
        ],
        "class_probs": {"Dog": 0.1235},
        "notes": ["n"],
    }


def test_what_is_perceived_is_json_too() -> None:
    (perception,) = perceive(single(), labels(), Thresholds())
    assert json.loads(json.dumps(perception.to_dict()))["sources"][0]["azimuth_deg"] == 90.0


# --- slots told apart ---


def slots_at(*peaks: dict[int, float], activity: tuple[float, ...] = (3.0, 2.0)) -> SlotEncoding:
    """One clip whose slots have the given mass at the given degrees."""
    azimuth = torch.stack([bump(360, **{f"b{angle}": mass for angle, mass in slot.items()}) for slot in peaks])
    return SlotEncoding(
        torch.tensor([activity[: len(peaks)]]), torch.zeros(1, len(peaks), 355), azimuth_logits=azimuth[None]
    )


def azimuths(slots: SlotEncoding) -> list[float]:
    found = decode_azimuth_deg(exclusive_directions(slots).azimuth_logits)
    assert found is not None
    return found[0].tolist()


def test_slots_that_hear_both_directions_name_one_each() -> None:
    both = {40: 0.55, 200: 0.45}
    assert decode_azimuth_deg(slots_at(both, both).azimuth_logits)[0].tolist() == [40, 40]  # type: ignore[index]
    assert azimuths(slots_at(both, both)) == [40, 200]
    assert azimuths(slots_at(both, both, activity=(1.0, 4.0))) == [200, 40], "the most active one chooses"


def test_slots_that_are_sure_keep_what_they_say() -> None:
    assert azimuths(slots_at({40: 0.9, 200: 0.1}, {42: 0.9, 200: 0.1})) == [40, 42]
    assert azimuths(slots_at({10: 1.0}, {190: 1.0})) == [10, 190]
    assert azimuths(slots_at({350: 0.6, 90: 0.4}, {10: 0.6, 90: 0.4})) == [350, 90], "0° lies between 350° and 10°"


def test_a_third_slot_avoids_both_others_and_clips_do_not_mix() -> None:
    three = {0: 0.4, 120: 0.35, 240: 0.25}
    slots = slots_at(three, three, three, activity=(3.0, 2.0, 1.0))
    assert azimuths(slots) == [0, 120, 240]
    other = slots_at({77: 1.0}, {78: 1.0}, {79: 1.0}, activity=(3.0, 2.0, 1.0))
    joined = SlotEncoding(
        *(torch.cat((getattr(slots, n), getattr(other, n))) for n in ("activity_logits", "class_logits"))
    )
    joined.azimuth_logits = torch.cat((slots.azimuth_logits, other.azimuth_logits))  # type: ignore[arg-type]
    together = exclusive_directions(joined).azimuth_logits
    assert together is not None
    torch.testing.assert_close(together[:1], exclusive_directions(slots).azimuth_logits)
    torch.testing.assert_close(together.exp().sum(dim=-1), torch.ones(2, 3))
    assert exclusive_directions(SlotEncoding(torch.zeros(1, 2), torch.zeros(1, 2, 355))).azimuth_logits is None
