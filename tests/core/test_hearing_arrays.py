"""Arrays for learning programs: they say what ``perceive`` says, in the frame of the scene, for any encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import bat_agent
from bat_agent.agent import Bat, ModelConfig
from bat_agent.errors import BadInput
from bat_agent.hearing.arrays import HEARING_KEYS, hearing_arrays, hearing_shapes
from bat_agent.hearing.perception import Perception, Thresholds
from bat_agent.interfaces import Encoding, HeadsOnly, SlotEncoding
from bat_agent.labels import labels
from bat_agent.scene import Listener, relative_position, unit_vector
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner

RATE_HZ = 32_000
CONFIG = ModelConfig("echo", {"name": "echo", "options": {}}, {"name": "echo", "options": {}})


def bat_of(encoder: EchoEncoder, **thresholds: float) -> Bat:
    return Bat(replace(CONFIG, thresholds=Thresholds(**thresholds)), encoder, EchoReasoner(EchoReasonerConfig()))


@pytest.fixture
def echo() -> Bat:
    return bat_of(EchoEncoder(EchoEncoderConfig(token_dim=8)))


def clip(left: float, right: float, seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((2, round(seconds * RATE_HZ)))
    return (noise * [[left], [right]]).astype(np.float32)


class ScriptedEncoder(EchoEncoder):
    """Says the same of every clip: slots with these activities and places; the class is the azimuth's number."""

    said: tuple[tuple[float, int, int, int], ...] = ((0.3, 10, 95, 3), (0.9, 200, 60, 8), (0.7, 300, 110, 15))
    """Activity, azimuth bin, elevation bin, distance bin."""
    heads = ("distance_logits", "azimuth_logits", "elevation_logits")

    def forward(self, waveform: torch.Tensor) -> Encoding:
        encoding = super().forward(waveform)
        activity, *bins = (torch.tensor(column) for column in zip(*self.said, strict=True))
        azimuth, elevation, distance = (
            20 * torch.nn.functional.one_hot(index, size).float().expand(len(waveform), -1, -1)
            for index, size in zip(bins, (360, 180, 21), strict=True)
        )
        heads = {"azimuth_logits": azimuth, "elevation_logits": elevation, "distance_logits": distance}
        encoding.slots = SlotEncoding(
            activity.logit().expand(len(waveform), -1),
            20 * torch.nn.functional.one_hot(bins[0], 355).float().expand(len(waveform), -1, -1) - 10,
            **{name: heads[name] for name in self.heads},
        )
        return encoding


def agrees(arrays: dict[str, np.ndarray], clip_number: int, perception: Perception) -> None:
    """The arrays of one clip say what the perception says."""
    heard = len(perception.sources)
    valid = arrays["valid"][clip_number]
    assert valid.tolist() == [True] * heard + [False] * (len(valid) - heard)
    for slot, source in enumerate(perception.sources):
        assert source.azimuth_deg is not None
        assert source.elevation_deg is not None
        wanted = unit_vector(source.azimuth_deg, source.elevation_deg)
        np.testing.assert_allclose(arrays["direction"][clip_number, slot], wanted, atol=1e-6)
        assert arrays["distance"][clip_number, slot] == pytest.approx(source.distance_m)
        assert labels()[arrays["slot_probs"][clip_number, slot].argmax()] == source.labels[0]
        assert source.spread is not None
        np.testing.assert_allclose(arrays["sides"][clip_number, slot], source.spread.shares, atol=1e-5)
    np.testing.assert_array_equal(arrays["direction"][clip_number, heard:], 0)
    np.testing.assert_array_equal(arrays["distance"][clip_number, heard:], 0)
    np.testing.assert_array_equal(arrays["slot_probs"][clip_number, heard:], 0)
    np.testing.assert_allclose(arrays["class_probs"][clip_number], list(perception.class_probs.values()), atol=1e-5)


def test_slots_come_strongest_first_and_only_active_ones_are_valid() -> None:
    bat = bat_of(ScriptedEncoder(EchoEncoderConfig(token_dim=8)))
    arrays = hearing_arrays(bat, clip(0.1, 0.1)[None])
    assert arrays["valid"].tolist() == [[True, True, False]]
    np.testing.assert_allclose(arrays["distance"], [[4.0, 7.5, 0.0]])
    wanted = [unit_vector(200, -30), unit_vector(300, 20), (0, 0, 0)]
    np.testing.assert_allclose(arrays["direction"][0], wanted, atol=1e-6)
    assert arrays["slot_probs"].argmax(axis=2).tolist() == [[200, 300, 0]]
    agrees(arrays, 0, bat.perceive(clip(0.1, 0.1)))


def test_the_direction_is_that_of_the_scene_not_another_frame() -> None:
    """The vector times the distance is the point, in metres, whose place the scene gives back."""
    encoder = ScriptedEncoder(EchoEncoderConfig(token_dim=8))
    encoder.said = ((0.9, 200, 60, 8),)
    arrays = hearing_arrays(bat_of(encoder), clip(0.1, 0.1)[None])
    x, y, z = (float(v) for v in arrays["direction"][0, 0] * arrays["distance"][0, 0])
    place = relative_position(Listener((0.0, 0.0, 0.0)), (x, y, z))
    assert tuple(place) == pytest.approx((200.0, -30.0, 4.0), abs=1e-3)


def test_what_the_encoder_cannot_say_is_zero() -> None:
    encoder = ScriptedEncoder(EchoEncoderConfig(token_dim=8))
    encoder.heads = ("distance_logits",)
    arrays = hearing_arrays(bat_of(encoder), clip(0.1, 0.1)[None])
    assert not arrays["valid"].any()  # which is what a learning program masks directions with
    assert not arrays["direction"].any()
    assert arrays["slot_probs"][0].any(axis=1).tolist() == [True, True, False]
    assert arrays["distance"][0, 0] == 4.0


def test_an_encoder_without_slots_has_one_that_is_valid_wherever_there_is_sound(echo: Bat) -> None:
    batch = np.stack((clip(0.5, 0.1), clip(0.1, 0.5), clip(0.0, 0.0)))
    arrays = hearing_arrays(echo, batch)
    assert arrays["valid"].tolist() == [[True], [True], [False]]
    np.testing.assert_allclose(arrays["direction"][:, 0], [(-1, 0, 0), (1, 0, 0), (0, 0, 0)], atol=1e-6)
    for number, perception in enumerate(echo.perceive(batch)):
        agrees(arrays, number, perception)
    assert all(not arrays[key][2].any() for key in HEARING_KEYS)


def test_shapes_and_types_are_fixed_and_told_beforehand(echo: Bat) -> None:
    shapes = hearing_shapes(echo)
    assert set(shapes) == set(HEARING_KEYS)
    for seconds, clips in ((0.5, 1), (1.3, 3)):
        arrays = hearing_arrays(echo, np.stack([clip(0.1, 0.2, seconds, seed) for seed in range(clips)]))
        assert {key: array.shape for key, array in arrays.items()} == {
            key: (clips, *shape) for key, shape in shapes.items()
        }
        assert {array.dtype for key, array in arrays.items() if key != "valid"} == {np.dtype(np.float32)}
        assert arrays["valid"].dtype == bool
    np.testing.assert_array_equal(hearing_arrays(echo, clip(0.1, 0.2))["distance"].shape, (1, 1))


class ThriftyEncoder(EchoEncoder):
    """Has fewer tokens where only heads are wanted."""

    def perceive(self, waveform: torch.Tensor) -> Encoding:
        encoding = self(waveform)
        return HeadsOnly(**{**vars(encoding), "tokens": encoding.tokens[:, :1]})


def test_the_embedding_does_not_depend_on_what_was_asked_before() -> None:
    rising = clip(0.1, 0.1, 2.0) * np.linspace(0.01, 1, 2 * RATE_HZ, dtype=np.float32)
    bat = bat_of(ThriftyEncoder(EchoEncoderConfig(token_dim=8)))
    bat.perceive(rising)
    after_perceiving = hearing_arrays(bat, rising)["embedding"]
    bat.perceive(clip(0.2, 0.2))
    bat.ask(rising, "Where?")
    np.testing.assert_array_equal(after_perceiving, hearing_arrays(bat, rising)["embedding"])


@pytest.mark.parametrize("waveform", [np.zeros((1, 16_000), np.float32), np.full((1, 2, 16_000), np.nan), [], "ears"])
def test_bad_waveforms_are_refused_in_the_words_of_perceive(echo: Bat, waveform: Any) -> None:
    with pytest.raises(BadInput) as said:
        echo.perceive(waveform)
    with pytest.raises(BadInput) as again:
        hearing_arrays(echo, waveform)
    assert str(again.value) == str(said.value)


def test_the_shipped_model_says_in_arrays_what_it_says_in_words() -> None:
    """Mixtures of two synthesised sounds, one of the clips silent."""
    bat = bat_agent.load("bat-small", device="cpu")
    from bat_agent.sound.synthesis import synthesise

    rng = np.random.default_rng(5)
    clips = []
    for first, second, gain in (("Siren", "Knock", 1.0), ("Rain", "Whistle", 0.3), ("Cricket", "Buzzer", 0.0)):
        a, b = (0.1 * synthesise(name, rng, 1.0) for name in (first, second))
        clips.append(np.stack((a + gain * np.roll(b, 20), 0.4 * np.roll(a, 12) + gain * b)).astype(np.float32))
    batch = np.stack([*clips, np.zeros_like(clips[0])])
    arrays = hearing_arrays(bat, batch)
    for number, perception in enumerate(bat.perceive(batch)):
        agrees(arrays, number, perception)
    assert arrays["valid"][:3].any(axis=1).all()
    assert arrays["embedding"].shape == (4, bat.encoder.token_dim)
    norms = np.linalg.norm(arrays["direction"], axis=-1)
    np.testing.assert_allclose(norms, arrays["valid"].astype(float), atol=1e-6)
