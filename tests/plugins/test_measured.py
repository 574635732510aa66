"""The simulator ``measured``: responses of a room come out where, when and as loud as they were measured."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bat_agent.errors import BadInput
from bat_agent.interfaces import DIRECT_GAIN_AT_1M, Simulator
from bat_agent.registry import components, load_simulator
from bat_agent.scene import Listener, MeshRoom, Position, Room, Scene, Source, point_at
from bat_agent.scenes.rendering import simulator_of
from bat_agent.sound.rir_measures import direct_sound, interaural_level_db, interaural_time_s, onset_sample
from bat_agent.testing.contracts import SimulatorContract
from bat_agent_measured.config import MeasuredConfig
from bat_agent_measured.simulator import Measured

RATE_HZ = 16_000
PLACES = [(90.0, 1.5), (120.0, 1.5), (0.0, 2.0), (180.0, 2.0), (270.0, 1.0)]


def response(azimuth_deg: float, gain: float = 0.4) -> np.ndarray:
    """(samples, 2) at 16 kHz: a pulse that the near ear hears 10 samples sooner and 6 dB louder at most, and a room."""
    aside = math.cos(math.radians(azimuth_deg))
    rng = np.random.default_rng(round(azimuth_deg))
    out = np.zeros((3000, 2))
    for ear, side in ((0, -1), (1, 1)):
        out[60 - round(5 * side * aside), ear] = gain * 2 ** (side * aside / 2)
    out[200:] += 0.02 * gain * rng.standard_normal((2800, 2)) * np.exp(-np.arange(2800) / 500)[:, None]
    return out


def write_folder(folder: Path, more: list[dict[str, Any]] | None = None) -> str:
    rows = []
    for room, head in (("hall", "dummy"), ("office", "person")):
        for azimuth_deg, distance_m in PLACES:
            file = f"{room}-{azimuth_deg:.0f}.wav"
            soundfile.write(folder / file, response(azimuth_deg), RATE_HZ, subtype="FLOAT")
            place = {"azimuth_deg": azimuth_deg, "elevation_deg": 0, "distance_m": distance_m}
            rows.append({"file": file, "room": room, "head": head, **place, "heading_deg": ""})
    rows += more or []
    with (folder / "manifest.csv").open("w", newline="") as text:
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_folder(tmp_path_factory.mktemp("rooms"))


class TestContract(SimulatorContract):
    @pytest.fixture
    def simulator(self, folder: str) -> Simulator:
        return Measured(MeasuredConfig(folder=folder))


def scene(folder: str, *azimuths_deg: float, room: str = "hall", heading_deg: float = 0.0, **more: Any) -> Scene:
    listener = Listener((0.0, 1.5, 0.0), heading_deg)
    distance = dict(PLACES)
    places = [Position(azimuth, 0.0, distance.get(azimuth, 1.5)) for azimuth in azimuths_deg]
    head = {"hall": "dummy", "office": "person"}.get(room, "dummy")
    return Scene(
        MeshRoom(folder, options={"room": room, "head": head}), listener,
        tuple(Source(point_at(listener, place)) for place in places), **more,
    )  # fmt: skip


def test_it_is_installed(folder: str) -> None:
    assert "measured" in components("simulator")
    drawn = load_simulator("measured", folder=folder).sample_scene(np.random.default_rng(0), 2)
    again = Scene.from_json(drawn.to_json())
    assert simulator_of(again).render(again)[1].equal(load_simulator("measured", folder=folder).render(drawn)[1])


@pytest.mark.parametrize("azimuth_deg", [90.0, 120.0, 0.0, 180.0, 270.0])
def test_ears_hear_what_was_measured(folder: str, azimuth_deg: float) -> None:
    rir = Measured(MeasuredConfig(folder=folder)).render(scene(folder, azimuth_deg))[0].double().numpy()
    measured = response(azimuth_deg).T
    assert interaural_level_db(direct_sound(rir)) == pytest.approx(interaural_level_db(measured[:, :100]), abs=0.2)
    assert interaural_time_s(direct_sound(rir)) == pytest.approx(
        interaural_time_s(measured[:, :100], RATE_HZ), abs=15e-6
    )


def test_the_spectrum_does_not_depend_on_the_rate(folder: str) -> None:
    """From 300 Hz to 7 kHz the response at 32 kHz has the spectrum of the file, as one gain for all frequencies."""
    ours = Measured(MeasuredConfig(folder=folder, level="file")).render(scene(folder, 120.0))[0].double().numpy()
    theirs = response(120.0).T
    at_32, at_16 = (np.abs(np.fft.rfft(x, rate)) for x, rate in ((ours, 32_000), (theirs, RATE_HZ)))
    ratio_db = 20 * np.log10(at_32[:, 300:7000] / at_16[:, 300:7000])
    np.testing.assert_allclose(ratio_db, ratio_db.mean(), atol=0.3)


@pytest.mark.parametrize(("onset", "start"), [("physical", 1.5 / 343 * 32_000), ("direct_at_zero", 32)])
def test_direct_sound_arrives_when_the_scene_says(folder: str, onset: Any, start: float) -> None:
    rir = Measured(MeasuredConfig(folder=folder)).render(scene(folder, 90.0, onset=onset))[0].numpy()
    assert abs(onset_sample(rir) - start) <= 4


def test_the_mean_level_is_the_convention_and_levels_between_places_stay(folder: str) -> None:
    simulator = Measured(MeasuredConfig(folder=folder))
    rirs = [simulator.render(scene(folder, azimuth))[0].double().numpy() for azimuth, _ in PLACES]
    energy = np.array([(direct_sound(rir) ** 2).sum(-1).mean() for rir in rirs])
    distance = np.array([metres for _, metres in PLACES])
    assert math.sqrt((energy * distance**2).mean()) == pytest.approx(DIRECT_GAIN_AT_1M, rel=0.02)
    files = np.array([(response(azimuth)[:200] ** 2).sum(0).mean() for azimuth, _ in PLACES])
    np.testing.assert_allclose(energy / files, (energy / files)[0], rtol=0.05)


def test_a_head_that_turned_is_found_by_its_heading(tmp_path: Path) -> None:
    """Two orientations in one room: the loudspeaker ahead is at the right of a head that turned left."""
    turned = tmp_path / "turned.wav"
    soundfile.write(turned, response(0.0), RATE_HZ, subtype="FLOAT")
    place = {"azimuth_deg": 0.0, "elevation_deg": 0, "distance_m": 1.5}
    folder = write_folder(
        tmp_path, [{"file": turned.name, "room": "hall", "head": "dummy", **place, "heading_deg": 90.0}]
    )
    simulator = Measured(MeasuredConfig(folder=folder))
    listener = Listener((0.0, 1.5, 0.0))
    source = Source(point_at(listener, Position(90.0, 0.0, 1.5)))
    for heading_deg, side in ((0.0, 0), (90.0, -1)):
        room = MeshRoom(folder, options={"room": "hall", "head": "dummy"})
        rir = simulator.render(Scene(room, Listener((0.0, 1.5, 0.0), heading_deg), (source,)))[0].numpy()
        assert np.sign(round(interaural_level_db(direct_sound(rir)))) == side
    with pytest.raises(BadInput, match="nothing was measured at"):
        simulator.render(Scene(room, Listener((0.0, 1.5, 0.0), 45.0), (source,)))


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("azimuth_deg", "room", "words"),
    [(45.0, "hall", "the nearest is at 90"), (90.0, "cellar", "no room 'cellar'")],
)
def test_what_was_not_measured_is_refused(folder: str, azimuth_deg: float, room: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Measured(MeasuredConfig(folder=folder)).render(scene(folder, azimuth_deg, room=room))


def test_other_rooms_and_folders_are_refused(folder: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="measured rooms alone"):
        Measured(MeasuredConfig(folder=folder)).render(
            Scene(Room((4.0, 3.0, 4.0)), Listener((1.0, 1.5, 1.0)), (Source((2.0, 1.5, 2.0)),))
        )
    with pytest.raises(BadInput, match="no measured rooms at"):
        load_simulator("measured", folder=str(tmp_path))
    with pytest.raises(BadInput, match="has no room"):
        load_simulator("measured", folder=folder, rooms=["attic"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,room\na.wav,x\n", "lacks the columns head"),
        ("file,room,head,azimuth_deg,elevation_deg,distance_m\n", "lists no response"),
        ("file,room,head,azimuth_deg,elevation_deg,distance_m\na.wav,x,y,left,0,1\n", ":2: azimuth_deg"),
        ("file,room,head,azimuth_deg,elevation_deg,distance_m\na.wav,x,y,0,0,0\n", ":2: elevation_deg"),
        ("file,room,head,azimuth_deg,elevation_deg,distance_m\na.wav,x,y,0,0,1\n", ":2: no file"),
    ],
)
def test_a_manifest_that_is_none_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(BadInput, match=words):
        load_simulator("measured", folder=str(tmp_path))


def test_the_rooms_of_surrey(shared: Path) -> None:
    """Two real rooms: the loudspeaker's side is the louder ear, and direct over reverberant is as published."""
    folder = shared / "data" / "brir"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    simulator = load_simulator("measured", folder=str(folder))
    assert len(simulator.rooms) == 2
    rng = np.random.default_rng(0)
    for _ in range(12):
        drawn = simulator.sample_scene(rng, 3)
        for position, rir in zip(drawn.positions(), simulator.render(drawn), strict=True):
            if abs(position.azimuth_deg - 90) > 10:
                assert (interaural_level_db(direct_sound(rir.numpy())) > 0) == (position.azimuth_deg > 90)
