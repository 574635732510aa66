"""Sets of heads for ``shoebox``: which of them hears a room, and what a file of many heads sounds like."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, Position, Room, Scene, Source, azimuth_to_ccw_from_front, point_at, unit_vector
from bat_agent.scenes.rendering import simulator_of
from bat_agent.sound.rir_measures import interaural_level_db, interaural_time_s
from bat_agent_shoebox.config import ShoeboxConfig
from bat_agent_shoebox.heads import single_heads
from bat_agent_shoebox.hrtf import sphere_response
from bat_agent_shoebox.simulator import Shoebox

RATE_HZ = 32_000


def polar_directions() -> np.ndarray:
    """(M, 3) in project axes: 25 lateral angles, 25 turns about the ears' axis from −45° over the top to 225°."""
    aside = np.radians([-80, -65, -55, *range(-45, 46, 5), 55, 65, 80])
    turn = np.radians(-45 + 11.25 * np.arange(25))
    aside, turn = (part.ravel() for part in np.meshgrid(aside, turn))
    return np.stack([np.sin(aside), np.cos(aside) * np.sin(turn), -np.cos(aside) * np.cos(turn)], 1)


def sphere_ears(directions: np.ndarray, right_gain: float = 1.0) -> np.ndarray:
    """(M, 2, 256) of a rigid sphere with ears 100° aside of the front, arriving at the centre after 2 ms."""
    frequency = np.fft.rfftfreq(256, 1 / RATE_HZ)
    ears = []
    for azimuth_deg, gain in ((190.0, 1.0), (350.0, right_gain)):
        incidence = np.degrees(np.arccos(np.clip(directions @ unit_vector(azimuth_deg, 0.0), -1, 1)))
        spectrum = sphere_response(incidence, frequency) * np.exp(-2j * np.pi * frequency * 0.002) * gain
        spectrum[:, 0], spectrum[:, -1] = gain, np.abs(spectrum[:, -1])
        ears.append(np.fft.irfft(spectrum, 256))
    return np.stack(ears, 1)


def write_set(path: Path, heads: dict[str, np.ndarray], directions: np.ndarray, **more: Any) -> str:
    scale = np.array([np.abs(hrir).max() / 32767 for hrir in heads.values()])
    hrir = np.stack([np.round(h / s) for h, s in zip(heads.values(), scale, strict=True)]).astype(np.int16)
    arrays = {"hrir_int16": hrir, "scale": scale, "direction": directions, "subject": np.array(list(heads))}
    np.savez(path, **(arrays | more))
    return str(path)


@pytest.fixture(scope="module")
def spheres(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three spheres, measured as people are: nothing below. Their right ears are 0, 6 and 12 dB deaf."""
    directions = polar_directions()
    heads = {name: sphere_ears(directions, gain) for name, gain in (("a", 1.0), ("b", 0.5), ("c", 0.25))}
    return write_set(tmp_path_factory.mktemp("heads") / "set.npz", heads, directions)


@pytest.fixture(scope="module")
def one(spheres: str) -> Shoebox:
    return Shoebox(ShoeboxConfig(head=f"{spheres}#a", air_absorption=False))


def free_field(simulator: Any, position: Position) -> np.ndarray:
    listener = Listener((15.0, 15.0, 15.0))
    scene = Scene(Room((30.0, 30.0, 30.0), None), listener, (Source(point_at(listener, position)),))
    return simulator.render(scene)[0].double().numpy()


def deafness_db(rir: Any) -> int:
    """How deaf the right ear is to the tail, to the next 6 dB."""
    return 6 * round(interaural_level_db(rir[:, 4000:]) / 6)


# --- what is heard --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elevation_deg", [0, 30])
@pytest.mark.parametrize("azimuth_deg", range(0, 360, 30))
def test_a_head_of_a_set_is_heard_as_it_was_measured(one: Shoebox, azimuth_deg: float, elevation_deg: float) -> None:
    want = sphere_ears(np.array([unit_vector(azimuth_deg, elevation_deg)]))[0]
    got = free_field(one, Position(azimuth_deg, elevation_deg, 2.0))
    assert interaural_time_s(got) == pytest.approx(interaural_time_s(want), abs=40e-6)
    assert interaural_level_db(got) == pytest.approx(interaural_level_db(want), abs=2)


@pytest.mark.parametrize("elevation_deg", [-55, -70, -88])
@pytest.mark.parametrize("azimuth_deg", range(0, 360, 45))
def test_what_was_not_measured_below_is_filled(one: Shoebox, azimuth_deg: float, elevation_deg: float) -> None:
    """Of a sphere the rest is known: the ears get what the sphere gives there, in every octave."""
    want = sphere_ears(np.array([unit_vector(azimuth_deg, elevation_deg)]))[0]
    got = free_field(one, Position(azimuth_deg, elevation_deg, 2.0)) / (0.2821 / 2)
    assert interaural_time_s(got) == pytest.approx(interaural_time_s(want), abs=45e-6)
    front = 10 * math.log10((sphere_ears(np.array([[0.0, 0.0, -1.0]])) ** 2).sum() / 2)
    for low in (250, 500, 1000, 2000, 4000, 8000):
        band = slice(low, 2 * low)
        have, should = (10 * np.log10((np.abs(np.fft.rfft(x, RATE_HZ))[:, band] ** 2).sum(1)) for x in (got, want))
        np.testing.assert_allclose(have, should - front, atol=2.5)


def test_people_are_heard_as_they_were_measured(shared: Path) -> None:
    """Two of CIPIC: ITD and ILD of the direct sound of measured directions all around."""
    place = shared / "data" / "hrtf" / "cipic_30_heads_32k.npz"
    if not place.is_file():
        pytest.skip(f"needs {place}")
    with np.load(place) as data:
        directions, names = data["direction"].astype(float), list(data["subject"])
        for subject in ("003", "163"):
            row = names.index(subject)
            hrir = data["hrir_int16"][row] * float(data["scale"][row])
            simulator = load_simulator("shoebox", head=f"{place}#{subject}", air_absorption=False)
            for number in range(7, len(directions), 61):
                x, y, z = directions[number]
                position = Position(math.degrees(math.atan2(-z, x)), math.degrees(math.asin(y)), 2.0)
                got = free_field(simulator, position)
                assert interaural_level_db(got) == pytest.approx(interaural_level_db(hrir[number]), abs=2)
                if abs(azimuth_to_ccw_from_front(position.azimuth_deg)) < 90:  # behind, people's ITDs are ambiguous
                    assert interaural_time_s(got) == pytest.approx(interaural_time_s(hrir[number]), abs=60e-6)


# --- which head hears a room ----------------------------------------------------------------------------------------


def test_each_room_gets_a_head_by_its_own_seed_and_its_scene_says_which(spheres: str) -> None:
    many = load_simulator("shoebox", head=spheres, median_rt60_s=0.6, min_rt60_s=0.5)
    scenes = [many.sample_scene(np.random.default_rng(seed)) for seed in range(24)]
    heads = [scene.simulator["options"]["head"] for scene in scenes]
    assert set(heads) == {f"{spheres}#{name}" for name in "abc"}
    again = load_simulator("shoebox", head=spheres, median_rt60_s=0.6, min_rt60_s=0.5)
    assert again.sample_scene(np.random.default_rng(7)) == scenes[7]
    unnamed = [dataclasses.replace(scene, simulator={}) for scene in scenes]
    together = many.render_batch(scenes, 16_000)
    assert together.equal(many.render_batch(unnamed, 16_000))
    for scene, head, rir in zip(scenes[:6], heads, together, strict=False):
        saved = Scene.from_json(scene.to_json())
        assert simulator_of(saved).render(saved)[0][:, :8000].equal(rir[:, :8000])
        assert deafness_db(rir) == {"a": 0, "b": 6, "c": 12}[head[-1]]


def test_all_but_the_head_is_drawn_as_with_one_head(spheres: str) -> None:
    many, kemar = load_simulator("shoebox", head=spheres), load_simulator("shoebox")
    drawn = [simulator.sample_scene(np.random.default_rng(3), 2) for simulator in (many, kemar)]
    assert dataclasses.replace(drawn[0], simulator={}) == dataclasses.replace(drawn[1], simulator={})


def test_heads_can_be_held_back(spheres: str) -> None:
    train = load_simulator("shoebox", head=["kemar", spheres], without_subjects=["b"])
    valid = load_simulator("shoebox", head=["kemar", spheres], subjects=["b"])
    assert train.heads == ("kemar", f"{spheres}#a", f"{spheres}#c")
    assert valid.heads == (f"{spheres}#b",)
    assert {train.sample_scene(np.random.default_rng(n)).simulator["options"]["head"] for n in range(30)} == set(
        train.heads
    )
    scene = train.sample_scene(np.random.default_rng(0))
    options = load_simulator("shoebox", **train.options)
    assert options.sample_scene(np.random.default_rng(0)) == scene


def test_folders_and_patterns_name_every_file_once(tmp_path: Path) -> None:
    for name in ("b.sofa", "a.sofa", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    both = (f"{tmp_path}/a.sofa", f"{tmp_path}/b.sofa")
    assert single_heads([str(tmp_path)]) == single_heads([f"{tmp_path}/*.sofa"]) == both
    assert single_heads([f"{tmp_path}/?.sofa", str(tmp_path)], without=["a"]) == both[1:]


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subjects": ["z"]}, "no subject 'z'; known are a, b, c"),
        ({"without_subjects": ["a", "b", "c"]}, "no head of .* is left"),
        ({"head": "set.wav"}, "head must be"),
        ({"head": "none.npz"}, "cannot be read"),
        ({"head": []}, "head must be"),
    ],
)
def test_bad_sets_are_refused_in_one_sentence(spheres: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        load_simulator("shoebox", **({"head": spheres} | options))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"direction": np.ones((3, 3))}, "of length 1"),
        ({"scale": np.ones(2)}, "shapes"),
        ({"hrir_int16": np.zeros((1, 1, 1, 9), np.int16)}, "shapes"),
    ],
)
def test_a_set_that_does_not_fit_together_is_refused(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    directions = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    path = write_set(tmp_path / "odd.npz", {"a": np.ones((3, 2, 4))}, directions, **more)
    with pytest.raises(BadInput, match=words):
        load_simulator("shoebox", head=path)


def test_an_unknown_subject_and_a_changed_file_are_told(tmp_path: Path, spheres: str) -> None:
    with pytest.raises(BadInput, match="no subject 'x'"):
        load_simulator("shoebox", head=f"{spheres}#x")
    with pytest.raises(BadInput, match="is not the one these scenes were rendered with"):
        load_simulator("shoebox", head=f"{spheres}#a", head_sha256="0" * 64)
