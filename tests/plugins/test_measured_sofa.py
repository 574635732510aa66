"""Measured rooms in SOFA files, written by netCDF4 and sofar: places, headings and ears come out as they went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.scene import Listener, MeshRoom, Position, Scene, Source, point_at
from bat_agent.sound.rir_measures import interaural_level_db
from bat_agent_measured.config import MeasuredConfig
from bat_agent_measured.simulator import Measured
from bat_agent_measured.sofa_rooms import read_sofa_rooms, sofa_response

sofar = pytest.importorskip("sofar")
netCDF4 = pytest.importorskip("netCDF4")
RATE_HZ = 48_000


def ears(side: float, taps: int = 600) -> np.ndarray:
    """(2, taps): a source at the left (side 1) to the right (−1), by level; and a reflection."""
    out = np.zeros((2, taps))
    out[:, 50] = 2.0**side, 2.0**-side
    out[:, 400] = 0.1
    return out


def multi_speaker(path: Path) -> Path:
    """MultiSpeakerBRIR 0.3, which sofar writes no more: loudspeakers ahead and at the left, three headings."""
    speakers = np.array([[2.0, 0.0, 0.0], [0.0, 1.5, 0.5]])
    headings = np.radians([0.0, 90.0, -45.0])
    with netCDF4.Dataset(path, "w") as file:
        file.Conventions, file.SOFAConventions, file.SOFAConventionsVersion = "SOFA", "MultiSpeakerBRIR", "0.3"
        file.DataType, file.RoomType, file.ListenerShortName = "FIRE", "reverberant", "dummy"
        for name, size in {"I": 1, "C": 3, "M": 3, "R": 2, "E": 2, "N": 600}.items():
            file.createDimension(name, size)

        def add(name: str, dimensions: tuple[str, ...], values: Any, **attributes: str) -> None:
            variable = file.createVariable(name, "f8", dimensions)
            variable[...] = values
            for key, value in attributes.items():
                setattr(variable, key, value)

        place = {"Type": "cartesian", "Units": "metre"}
        add("ListenerPosition", ("I", "C"), np.zeros((1, 3)), **place)
        view = np.stack([np.cos(headings), np.sin(headings), 0 * headings], 1)
        add("ListenerView", ("M", "C"), view, **place)
        add("ListenerUp", ("I", "C"), [[0, 0, 1]])
        add("SourcePosition", ("I", "C"), np.zeros((1, 3)), **place)
        add("EmitterPosition", ("E", "C", "I"), speakers[..., None], **place)
        add("ReceiverPosition", ("R", "C", "I"), np.array([[0, 0.09, 0], [0, -0.09, 0]])[..., None], **place)
        hrir = np.zeros((3, 2, 2, 600))
        for row, heading in enumerate(headings):
            for speaker, (x, y, _) in enumerate(speakers):
                hrir[row, :, speaker] = ears(np.sin(np.arctan2(y, x) - heading))
        add("Data.IR", ("M", "R", "E", "N"), hrir)
        add("Data.SamplingRate", ("I",), RATE_HZ, Units="hertz")
        add("Data.Delay", ("I", "R", "E"), np.zeros((1, 2, 2)))
    return path


def test_loudspeakers_around_a_head_that_turns(tmp_path: Path) -> None:
    found = read_sofa_rooms(multi_speaker(tmp_path / "hall.sofa"))
    assert [one.heading_deg for one in found] == pytest.approx([0, 0, 90, 90, 315, 315])
    assert [one.position.azimuth_deg for one in found] == pytest.approx([90, 180, 0, 90, 135, 225])
    assert [one.position.distance_m for one in found] == pytest.approx([2.0, 2.5**0.5] * 3)
    assert found[1].position.elevation_deg == pytest.approx(np.degrees(np.arctan2(0.5, 1.5)))
    assert {(one.room, one.head) for one in found} == {("hall", "dummy")}
    simulator = Measured(MeasuredConfig(folder=str(tmp_path)))
    ahead = Source(point_at(Listener((0.0, 1.5, 0.0)), Position(90.0, 0.0, 2.0)))
    room = MeshRoom(str(tmp_path), options={"room": "hall", "head": "dummy"})
    for heading_deg in (0.0, 90.0, 315.0):
        rir = simulator.render(Scene(room, Listener((0.0, 1.5, 0.0), heading_deg), (ahead,)))[0].numpy()
        want = ears(np.sin(np.radians(-heading_deg)))
        assert interaural_level_db(rir) == pytest.approx(interaural_level_db(want), abs=0.2)


def test_one_room_with_delays_and_the_right_ear_first(tmp_path: Path) -> None:
    data = sofar.Sofa("SingleRoomSRIR")
    places = np.array([[0.0, -2.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]])
    data.Data_IR = np.stack([ears(1.0), ears(-0.5), ears(0.0)])
    data.Data_SamplingRate, data.Data_Delay = RATE_HZ, np.array([[0.0, 30.0], [0, 0], [0, 0]])
    data.SourcePosition, data.ListenerPosition = places, np.zeros((3, 3))
    data.ReceiverPosition = np.array([[-90.0, 0, 0.09], [90, 0, 0.09]])
    # What sofar 1.3 itself puts there it cannot write (strings), or not for two ears.
    for optional in ("EmitterDescriptions", "ReceiverDescriptions", "ReceiverView", "ReceiverUp", "MeasurementDate"):
        data.delete(optional)
    data.GLOBAL_RoomShortName, data.GLOBAL_ListenerShortName = "attic", "anna"
    path = tmp_path / "room.sofa"
    sofar.write_sofa(str(path), data)
    found = read_sofa_rooms(path)
    assert [one.position.azimuth_deg for one in found] == pytest.approx([0, 135, 270])
    assert [one.position.elevation_deg for one in found] == pytest.approx([0, 0, 45])
    rir = sofa_response(path, 0)
    assert np.abs(rir).argmax(axis=1).tolist() == pytest.approx([80 * 2 / 3, 50 * 2 / 3], abs=1)
    assert interaural_level_db(rir) == pytest.approx(-12.04, abs=0.2)
    assert Measured(MeasuredConfig(folder=str(path))).rooms == [("attic", "anna")]


@pytest.mark.parametrize(("kind", "taken"), [("free field", False), ("reverberant", True)])
def test_a_head_is_a_room_only_where_the_file_says_so(tmp_path: Path, kind: str, taken: bool) -> None:
    data = sofar.Sofa("SimpleFreeFieldHRIR")
    data.Data_IR, data.Data_SamplingRate = ears(1.0)[None], RATE_HZ
    data.SourcePosition = np.array([[90.0, 0.0, 1.8]])
    path = tmp_path / "room.sofa"
    sofar.write_sofa(str(path), data)
    with netCDF4.Dataset(path, "a") as file:
        file.RoomType = kind
    if not taken:
        with pytest.raises(BadInput, match="no free field"):
            read_sofa_rooms(path)
    else:
        assert read_sofa_rooms(path)[0].position == pytest.approx((180.0, 0.0, 1.8))
