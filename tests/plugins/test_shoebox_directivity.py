"""Sources that radiate to one side: geometry and levels worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from bat_agent.errors import BadInput
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, Room, Scene, Source
from bat_agent_shoebox.directivity import Directivity, facing
from bat_agent_shoebox.image_sources import Paths, find_images

SIZE_M, LISTENER_M, SOURCE_M = (5.0, 3.0, 4.0), (1.5, 1.4, 2.5), (3.4, 1.8, 1.1)


def _scene(seed: int, rt60_s: float | None) -> Scene:
    room = Room(SIZE_M, rt60_s=rt60_s)
    return Scene(room, Listener(LISTENER_M), (Source(SOURCE_M),), seed=seed)


def _level_db(rir: torch.Tensor, low_hz: float, high_hz: float) -> float:
    power = torch.fft.rfft(rir.double(), 8192).abs().square().sum(0)
    hertz = torch.fft.rfftfreq(8192, 1 / 32000)
    return float(10 * power[(hertz > low_hz) & (hertz < high_hz)].sum().log10())


def test_the_direct_sound_loses_what_the_angle_says() -> None:
    """In free field, for any facing, 20 dB times (1 − cos θ)/2 are missing near 8 kHz, and nothing near 125 Hz."""
    plain, radiates = load_simulator("shoebox"), load_simulator("shoebox", directivity_db=20.0)
    towards = np.array(LISTENER_M) - SOURCE_M
    for seed in range(4):
        scene = _scene(seed, None)
        lost = [
            _level_db(plain.render(scene)[0], *band) - _level_db(radiates.render(scene)[0], *band)
            for band in ((90, 150), (960, 1040), (7900, 8100))
        ]
        cosine = facing([seed], [0])[0] @ towards / np.linalg.norm(towards)
        away = (1 - cosine) / 2
        assert lost == pytest.approx([0.0, 10 * away, 20 * away], abs=0.4)


def test_a_reflection_carries_what_was_sent_to_the_wall() -> None:
    """Gain of each of the six first reflections: that of the direction from the source to the point of the wall where
    angle in and angle out are alike."""
    numbers = [torch.tensor([part], dtype=torch.float64) for part in (SIZE_M, LISTENER_M, SOURCE_M)]
    faces = np.array([[0.6, 0.0, -0.8]])
    paths = Paths(
        *numbers,
        heading_deg=torch.zeros(1, dtype=torch.float64),
        shift_s=torch.zeros(1, dtype=torch.float64),
        loss=torch.full((1, 6, 7), 0.2, dtype=torch.float64),
        rate=torch.full((1, 7), 20.0, dtype=torch.float64),
    )
    found = find_images(replace(paths, directivity=Directivity.of(faces, 24.0, "cpu")), order=6)
    without = find_images(paths, order=6)
    assert found.log_gain is not None
    assert without.log_gain is not None
    lost_db = (without.log_gain - found.log_gain)[:, -1] * 20 / math.log(10)
    source, listener = np.array(SOURCE_M), np.array(LISTENER_M)
    for axis in range(3):
        for wall in (0.0, SIZE_M[axis]):
            share = abs(source[axis] - wall) / (abs(source[axis] - wall) + abs(listener[axis] - wall))
            point = source + share * (listener - source)
            point[axis] = wall
            leaving = (point - source) / np.linalg.norm(point - source)
            delay_s = (np.linalg.norm(point - source) + np.linalg.norm(listener - point)) / 343.0
            (which,) = (abs(found.delay_s - delay_s) < 1e-9).nonzero()[:, 0].tolist()
            assert lost_db[which].item() == pytest.approx(24 * (1 - leaving @ faces[0]) / 2, abs=1e-6)


def test_the_mean_over_all_sides() -> None:
    """Power over the sphere, by a sum over directions that are spread evenly."""
    pattern = Directivity.of(np.array([[0.0, 0.0, -1.0]]), 18.0, "cpu")
    cosine = torch.linspace(-1, 1, 20001, dtype=torch.float64)
    leaving = torch.stack((torch.sqrt(1 - cosine.square()), torch.zeros_like(cosine), -cosine), dim=-1)
    power = (2 * pattern.log_gain(leaving[None])).exp().mean(dim=1)[0]
    assert pattern.mean_power().numpy() == pytest.approx(power.numpy(), rel=1e-4)


def test_the_room_decays_as_before_and_half_of_the_talkers_turn_away() -> None:
    """Reverberation time is the room's own; direct over reverberant sound falls for who faces away."""
    plain, radiates = load_simulator("shoebox"), load_simulator("shoebox", directivity_db=20.0)
    towards = np.array(LISTENER_M) - SOURCE_M
    seeds = sorted(range(40), key=lambda seed: float(facing([seed], [0])[0] @ towards))
    clarity = []
    for seed in (seeds[0], seeds[-1]):
        rir, same = radiates.render(_scene(seed, 0.4))[0], plain.render(_scene(seed, 0.4))[0]
        tail_db = [
            _level_db(one[:, 4800:6400], 500, 2000) - _level_db(one[:, 8000:9600], 500, 2000) for one in (rir, same)
        ]
        assert tail_db[0] == pytest.approx(tail_db[1], abs=1.0)
        clarity.append(_level_db(rir[:, :400], 4000, 9000) - _level_db(rir[:, 400:], 4000, 9000))
    assert clarity[1] > clarity[0] + 8


def test_without_it_nothing_changes_and_with_it_scenes_say_so() -> None:
    """Scenes drawn before are drawn and rendered the same; one drawn with it carries the option."""
    plain = load_simulator("shoebox").sample_scene(np.random.default_rng(1))
    assert "directivity_db" not in plain.simulator["options"]
    drawn = load_simulator("shoebox", directivity_db=15.0).sample_scene(np.random.default_rng(1))
    assert drawn.simulator["options"]["directivity_db"] == 15.0
    with pytest.raises(BadInput, match="directivity_db"):
        load_simulator("shoebox", directivity_db=-3.0)
