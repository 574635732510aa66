"""Heads of ``shoebox`` from SOFA files that are written here, from heads whose answers are known."""

from __future__ import annotations

import math
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import resample_poly

from bat_agent.errors import BadInput
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, Position, Room, Scene, Source, point_at
from bat_agent.scenes.rendering import simulator_of
from bat_agent.sound.rir_measures import interaural_level_db, interaural_time_s
from bat_agent_shoebox.config import ShoeboxConfig
from bat_agent_shoebox.hrtf import sphere_response
from bat_agent_shoebox.materials import BANDS_HZ, MATERIALS
from bat_agent_shoebox.simulator import Shoebox
from bat_agent_shoebox.sofa import read_sofa

sofar = pytest.importorskip("sofar")

RATE_HZ = 32_000
Directions = list[tuple[float, float]]


def unit(lateral_deg: np.ndarray, elevation_deg: np.ndarray) -> np.ndarray:
    lateral, elevation = np.radians(lateral_deg), np.radians(elevation_deg)
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(lateral), flat * np.sin(lateral), np.sin(elevation)], -1)


def sphere_hrir(directions: np.ndarray, rate_hz: float, ears_deg: tuple[float, float] = (100, -100)) -> np.ndarray:
    """(M, 2, 256) of a rigid sphere with its ears at these lateral angles, arriving at the centre after 2 ms."""
    frequency = np.fft.rfftfreq(256, 1 / rate_hz)
    ears = []
    for ear in ears_deg:
        towards = unit(np.array(float(ear)), np.array(0.0))
        incidence = np.degrees(np.arccos(np.clip(directions @ towards, -1, 1)))
        spectrum = sphere_response(incidence, frequency) * np.exp(-2j * np.pi * frequency * 0.002)
        spectrum[:, 0], spectrum[:, -1] = 1, np.abs(spectrum[:, -1])
        ears.append(np.fft.irfft(spectrum, 256))
    return np.stack(ears, 1)


def grid(step: float) -> tuple[np.ndarray, np.ndarray]:
    lateral, elevation = np.meshgrid(np.arange(0, 360, step), np.arange(-90, 91, step))
    return lateral.ravel(), elevation.ravel()


def write(path: Path, hrir: np.ndarray, lateral: Any, elevation: Any, rate_hz: float, **fields: Any) -> str:
    data = sofar.Sofa("SimpleFreeFieldHRIR")
    data.Data_IR, data.Data_SamplingRate = hrir, rate_hz
    data.SourcePosition = np.stack([lateral, elevation, np.full(len(hrir), 1.4)], 1)
    for name, value in fields.items():
        setattr(data, name, value)
    sofar.write_sofa(str(path), data)
    return str(path)


@pytest.fixture(scope="module")
def omni(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ears without a head: one unit impulse, from one direction."""
    return write(tmp_path_factory.mktemp("sofa") / "omni.sofa", np.ones((1, 2, 1)), [0.0], [0.0], RATE_HZ)


@pytest.fixture(scope="module")
def sphere_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    lateral, elevation = grid(5)
    hrir = sphere_hrir(unit(lateral, elevation), 48_000)
    return write(tmp_path_factory.mktemp("sofa") / "sphere.sofa", hrir, lateral, elevation, 48_000)


@pytest.fixture(scope="module")
def from_sphere(sphere_file: str) -> Shoebox:
    return Shoebox(ShoeboxConfig(head=sphere_file, air_absorption=False))


@pytest.fixture(scope="module")
def sphere() -> Shoebox:
    return Shoebox(ShoeboxConfig(head="sphere", air_absorption=False))


def free_field(simulator: Any, lateral: float, elevation: float = 0.0, distance_m: float = 2.0) -> np.ndarray:
    listener = Listener((15.0, 15.0, 15.0))
    source = Source(point_at(listener, Position(lateral + 90, elevation, distance_m)))
    return simulator.render(Scene(Room((30.0, 30.0, 30.0), None), listener, (source,)))[0].double().numpy()


# --- what is heard --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lateral", range(0, 360, 15))
def test_sphere_comes_back_from_a_file_of_another_rate(from_sphere: Shoebox, sphere: Shoebox, lateral: int) -> None:
    """48 kHz, 5° grid: ITD within 40 µs, ILD within 2 dB, level within 0.5 dB of the built-in sphere, all around."""
    for elevation in (0, 35):
        ours, theirs = (free_field(simulator, lateral, elevation) for simulator in (sphere, from_sphere))
        assert interaural_time_s(theirs) == pytest.approx(interaural_time_s(ours), abs=40e-6)
        assert interaural_level_db(theirs) == pytest.approx(interaural_level_db(ours), abs=2)
        assert 10 * math.log10((theirs**2).sum() / (ours**2).sum()) == pytest.approx(0, abs=0.5)


def test_direct_sound_of_a_file_arrives_on_time_and_at_the_agreed_level(from_sphere: Shoebox) -> None:
    ears = free_field(from_sphere, 0, 0, 3.0)
    assert np.abs(np.abs(resample_poly(ears, 16, 1, axis=1)).argmax(1) / 16 - 3 / 343 * RATE_HZ).max() <= 1
    np.testing.assert_allclose(np.sqrt((ears**2).sum(1)), 0.2821 / 3, rtol=0.03)


@pytest.mark.parametrize("rate", [24_000, 44_100, 96_000])
def test_spectrum_does_not_depend_on_the_rate_of_the_file(tmp_path: Path, rate: int) -> None:
    """At 1 kHz in each direction: resampled but not rescaled, a 96 kHz response would be 9.5 dB too loud at 32 kHz."""
    lateral, elevation = grid(30)
    hrir = sphere_hrir(unit(lateral, elevation), rate)
    read = read_sofa(write(tmp_path / "head.sofa", hrir, lateral, elevation, rate), RATE_HZ)
    (before, after) = (
        np.fft.rfft(responses, hertz // 10)[..., 100] for responses, hertz in ((hrir, rate), (read.hrir, RATE_HZ))
    )
    np.testing.assert_allclose(20 * np.log10(np.abs(after) / np.abs(before)), 0, atol=0.1)


@pytest.fixture(scope="module")
def kemar() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measured responses (M, 2, taps), lateral azimuths and elevations."""
    with resources.files("bat_agent_shoebox.data").joinpath("mit_kemar_normal_32k.npz").open("rb") as file:
        data = np.load(file)
        return data["hrir"].astype(float), data["azimuth_ccw_deg"], data["elevation_deg"]


@pytest.fixture(scope="module")
def from_kemar(tmp_path_factory: pytest.TempPathFactory, kemar: Any) -> Shoebox:
    path = tmp_path_factory.mktemp("sofa") / "kemar.sofa"
    return Shoebox(ShoeboxConfig(head=write(path, *kemar, RATE_HZ), air_absorption=False))


@pytest.mark.parametrize("elevation", [0, 30])
@pytest.mark.parametrize("lateral", range(0, 360, 15))
def test_measured_head_round_trip(from_kemar: Shoebox, kemar: Any, lateral: int, elevation: int) -> None:
    """ITD within 40 µs and broadband ILD within 2 dB of what was written into the file, all around."""
    hrir, azimuths, elevations = kemar
    off = np.abs((azimuths - lateral + 180) % 360 - 180) + 100 * np.abs(elevations - elevation)
    here = int(off.argmin())
    measured, ears = hrir[here], free_field(from_kemar, float(azimuths[here]), elevation)
    assert interaural_time_s(ears) == pytest.approx(interaural_time_s(measured), abs=40e-6)
    assert interaural_level_db(ears) == pytest.approx(interaural_level_db(measured), abs=2)


def test_ears_that_differ_are_both_kept(tmp_path: Path, sphere: Shoebox) -> None:
    """Left ear at 100°, right ear at −60°: each must sound like that sphere's ear, and the tail must hear both."""
    lateral, elevation = grid(5)
    hrir = sphere_hrir(unit(lateral, elevation), RATE_HZ, (100, -60))
    hrir[:, 1] *= 0.5
    odd = Shoebox(ShoeboxConfig(head=write(tmp_path / "odd.sofa", hrir, lateral, elevation, RATE_HZ)))
    for direction in (0, 50, 130, 250, 300):
        want = sphere_hrir(unit(np.array([float(direction)]), np.array([0.0])), RATE_HZ, (100, -60))[0]
        want[1] *= 0.5
        got = free_field(odd, direction)
        assert interaural_time_s(got) == pytest.approx(interaural_time_s(want), abs=40e-6)
        assert interaural_level_db(got) == pytest.approx(interaural_level_db(want), abs=1)
    scene = Scene(Room((4.0, 2.6, 5.0), 0.6), Listener((2.0, 1.5, 2.0)), (Source((1.0, 1.0, 4.0)),))
    assert interaural_level_db(odd.render(scene)[0][:, 4000:]) == pytest.approx(6.02, abs=0.7)


def test_cartesian_positions_exchanged_ears_and_given_delays_are_understood(
    tmp_path: Path, from_sphere: Shoebox
) -> None:
    lateral, elevation = grid(15)
    directions = unit(lateral, elevation)
    hrir = sphere_hrir(directions, RATE_HZ)[:, ::-1]
    late = 6.25 * (directions @ [0.0, 1.0, 0.0])  # the file keeps some of each ear's delay apart
    frequency = np.fft.rfftfreq(256)
    moved = [np.fft.rfft(hrir[:, k]) * np.exp(2j * np.pi * np.outer(late, frequency)) for k in (0, 1)]
    fields = {
        "SourcePosition": directions * 2, "SourcePosition_Type": "cartesian", "SourcePosition_Units": "metre",
        "ReceiverPosition": np.array([[0, -0.09, 0], [0, 0.09, 0]]), "Data_Delay": np.stack([late, late], 1) + 20,
    }  # fmt: skip
    path = write(tmp_path / "c.sofa", np.fft.irfft(np.stack(moved, 1), 256), lateral, elevation, RATE_HZ, **fields)
    other = Shoebox(ShoeboxConfig(head=path, air_absorption=False))
    for direction in (0, 45, 90, 210, 300):
        ours, theirs = free_field(from_sphere, direction), free_field(other, direction)
        assert interaural_time_s(theirs) == pytest.approx(interaural_time_s(ours), abs=40e-6)
        assert interaural_level_db(theirs) == pytest.approx(interaural_level_db(ours), abs=2)


@pytest.mark.parametrize("floor", ["carpet", "plywood"])
def test_a_reflection_has_the_spectrum_of_the_wall(omni: str, floor: str) -> None:
    """One bounce off the floor, the other walls too far to be heard in time: gain 0.282/d · √(1 − α) in each octave."""
    simulator = Shoebox(ShoeboxConfig(head=omni, air_absorption=False))
    materials = ("marble", "marble", floor, "marble", "marble", "marble")
    listener, source = Listener((15.0, 2.0, 15.0)), Source((15.0, 2.0, 12.0))
    rir = simulator.render(Scene(Room((30, 30, 30), None, materials), listener, (source,)))[0][0].double().numpy()
    distance = 5.0
    start = int(distance / 343 * RATE_HZ) - 40
    spectrum = np.abs(np.fft.rfft(rir[start : start + 600], RATE_HZ))
    for band in range(1, 7):
        level = 20 * math.log10(spectrum[int(BANDS_HZ[band])] * distance / 0.2821)
        assert level == pytest.approx(10 * math.log10(1 - MATERIALS[floor][band]), abs=0.5), BANDS_HZ[band]


# --- options and input ----------------------------------------------------------------------------------------------


def test_another_file_in_the_same_place_is_noticed(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "head.sofa"
    write(path, np.ones((1, 2, 1)), [0.0], [0.0], RATE_HZ)
    first = Shoebox(ShoeboxConfig(head=str(path)))
    scene = Scene.from_json(first.sample_scene(rng).to_json())
    again = simulator_of(scene)
    assert again.render(scene)[0].numpy().tobytes() == first.render(scene)[0].numpy().tobytes()
    write(path, np.ones((1, 2, 1)) * [[1.0], [0.5]], [0.0], [0.0], RATE_HZ)
    with pytest.raises(BadInput, match="is not the one these scenes were rendered with"):
        simulator_of(scene)
    assert interaural_level_db(simulator_of(scene, head_sha256="").render(scene)[0]) == pytest.approx(6.02, abs=0.1)


def test_missing_and_broken_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.sofa cannot be read \(No such file"):
        load_simulator("shoebox", head=str(tmp_path / "none.sofa"))
    broken = tmp_path / "broken.sofa"
    broken.write_bytes(b"not a SOFA file")
    with pytest.raises(BadInput, match="is no SOFA file that can be read"):
        load_simulator("shoebox", head=str(broken))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Data_IR": np.full((1, 2, 4), np.nan)}, "not finite"),
        ({"Data_IR": np.zeros((1, 2, 4))}, "silence"),
        ({"Data_SamplingRate": 10.0}, "sampling rates"),
        ({"ReceiverPosition": np.array([[0, 0.1, 0], [0, 0.1, 0]])}, "ears"),
        ({"SourcePosition": np.zeros((1, 3))}, "length 0"),
    ],
)
def test_files_that_hold_no_head_are_refused(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    path = write(tmp_path / "bad.sofa", np.ones((1, 2, 4)), [0.0], [0.0], RATE_HZ, **fields)
    with pytest.raises(BadInput, match=words):
        Shoebox(ShoeboxConfig(head=path))


def test_another_convention_is_refused(tmp_path: Path) -> None:
    sofar.write_sofa(str(tmp_path / "fir.sofa"), sofar.Sofa("GeneralFIR"))
    with pytest.raises(BadInput, match="GeneralFIR; a head needs SimpleFreeFieldHRIR"):
        Shoebox(ShoeboxConfig(head=str(tmp_path / "fir.sofa")))


def test_missing_reader_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "head.sofa", np.ones((1, 2, 2)), [0.0], [0.0], RATE_HZ)
    monkeypatch.setitem(sys.modules, "sofar", None)
    with pytest.raises(BadInput, match=r"needs the package sofar, .*'\.\[sofa\]'"):
        Shoebox(ShoeboxConfig(head=path))
