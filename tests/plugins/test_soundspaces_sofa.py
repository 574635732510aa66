"""SOFA heads that the engine would misread, and what it hears after they are rewritten; ``shoebox`` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.registry import missing
from bat_agent.scene import Listener, Position, Room, Scene, Source, point_at
from bat_agent.sound.rir_measures import interaural_level_db, interaural_time_s
from bat_agent.sound.sofa import read_sofa
from bat_agent_shoebox.config import ShoeboxConfig
from bat_agent_shoebox.hrtf import sphere_response
from bat_agent_shoebox.simulator import Shoebox
from bat_agent_soundspaces.config import SoundspacesConfig
from bat_agent_soundspaces.heads import engine_head, with_delays

sofar = pytest.importorskip("sofar")
netCDF4 = pytest.importorskip("netCDF4")
needs_engine = pytest.mark.skipif(missing("simulator", "soundspaces") is not None, reason="needs the engine")
RATE_HZ, TAPS = 32_000, 256
AZIMUTH, ELEVATION = (part.ravel() for part in np.meshgrid(np.arange(0, 360, 10.0), np.arange(-90, 91, 10.0)))
FLAT = np.cos(np.radians(ELEVATION))
DIRECTIONS = np.stack(
    [FLAT * np.cos(np.radians(AZIMUTH)), FLAT * np.sin(np.radians(AZIMUTH)), np.sin(np.radians(ELEVATION))], 1
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def sphere_hrir() -> np.ndarray:
    """(M, 2, TAPS) of a rigid sphere with ears 100° aside, sound at the centre after 2 ms."""
    hz, ears = np.fft.rfftfreq(TAPS, 1 / RATE_HZ), []
    for azimuth in np.radians([100.0, -100.0]):
        incidence = np.degrees(np.arccos(np.clip(DIRECTIONS @ [np.cos(azimuth), np.sin(azimuth), 0.0], -1, 1)))
        spectrum = sphere_response(incidence, hz) * np.exp(-2j * np.pi * hz * 0.002)
        spectrum[:, 0], spectrum[:, -1] = 1, np.abs(spectrum[:, -1])
        ears.append(np.fft.irfft(spectrum, TAPS))
    return np.stack(ears, 1)


def write(path: Path, hrir: np.ndarray, **fields: Any) -> str:
    data = sofar.Sofa("SimpleFreeFieldHRIR")
    data.Data_IR, data.Data_SamplingRate = hrir, RATE_HZ
    data.SourcePosition = np.stack([AZIMUTH, ELEVATION, np.full(len(hrir), 1.4)], 1)
    for name, value in fields.items():
        setattr(data, name, value)
    sofar.write_sofa(str(path), data)
    return str(path)


def flawed(folder: Path) -> dict[str, str]:
    """The same head as the engine reads it, and as it does not."""
    hrir = sphere_hrir()
    late = np.stack([12 - 9 * DIRECTIONS[:, 1], 12 + 9 * DIRECTIONS[:, 1]], 1)
    turn = np.exp(2j * np.pi * late[..., None] * np.fft.rfftfreq(TAPS))
    cartesian = {
        "SourcePosition": 1.4 * DIRECTIONS, "SourcePosition_Type": "cartesian", "SourcePosition_Units": "metre",
    }  # fmt: skip
    right_first = {"ReceiverPosition": np.array([[0, -0.09, 0], [0, 0.09, 0]])}
    return {
        "spherical": write(folder / "spherical.sofa", hrir),
        "cartesian": write(folder / "cartesian.sofa", hrir, **cartesian),
        "right first": write(folder / "right.sofa", hrir[:, ::-1], **right_first),
        "delays": write(folder / "delays.sofa", np.fft.irfft(np.fft.rfft(hrir) * turn, TAPS), Data_Delay=late),
    }


def at_the_left(simulator: Any) -> tuple[float, float]:
    listener = Listener((4.0, 1.5, 4.0))
    source = Source(point_at(listener, Position(180.0, 0.0, 2.0)))
    rir = simulator.render(Scene(Room((8.0, 3.0, 8.0), None), listener, (source,)))[0].numpy()
    return interaural_level_db(rir), interaural_time_s(rir)


@needs_engine
@pytest.mark.filterwarnings("ignore")
def test_both_simulators_hear_the_same_head_however_it_is_written(tmp_path: Path) -> None:
    from bat_agent_soundspaces.simulator import SoundSpaces

    files = flawed(tmp_path)
    heard: dict[str, dict[str, tuple[float, float]]] = {"shoebox": {}, "soundspaces": {}}
    for name, path in files.items():
        heard["shoebox"][name] = at_the_left(Shoebox(ShoeboxConfig(head=path, air_absorption=False)))
        with SoundSpaces(SoundspacesConfig(hrtf=path)) as engine:
            heard["soundspaces"][name] = at_the_left(engine)
    row = int(np.flatnonzero((AZIMUTH == 90) & (ELEVATION == 0))[0])
    want = sphere_hrir()[row]
    for simulator, found in heard.items():
        for name, (ild, itd) in found.items():
            assert ild == pytest.approx(found["spherical"][0], abs=0.5), (simulator, name)
            assert itd == pytest.approx(found["spherical"][1], abs=20e-6), (simulator, name)
        assert found["spherical"][0] == pytest.approx(interaural_level_db(want), abs=1.0), simulator
        assert found["spherical"][1] == pytest.approx(interaural_time_s(want), abs=30e-6), simulator


def test_what_the_engine_gets_is_plain(tmp_path: Path) -> None:
    """32 kHz, spherical, left first, no delays; written once."""
    files = flawed(tmp_path)
    path = engine_head(files["delays"], 1.5, False)
    assert engine_head(files["delays"], 1.5, False) == path
    with netCDF4.Dataset(path) as file:
        assert file["SourcePosition"].Type == "spherical"
        assert not file["Data.Delay"][...].any()
        assert file["ReceiverPosition"][0, 1, 0] > 0
        assert file["Data.SamplingRate"][...] == RATE_HZ
    plain, original = read_sofa(path, RATE_HZ), read_sofa(files["spherical"], RATE_HZ)
    for row in range(0, len(AZIMUTH), 37):
        if abs(ELEVATION[row]) < 90:
            got, want = plain.hrir[row], original.hrir[row]
            assert interaural_level_db(got) == pytest.approx(interaural_level_db(want), abs=0.1)
            assert interaural_time_s(got) == pytest.approx(interaural_time_s(want), abs=5e-6)


def test_delays_by_parts_of_a_sample_are_exact() -> None:
    """Against scipy's own: a pulse of a low band, moved by 3.25 samples."""
    from bat_agent.sound.sofa import MeasuredHead

    pulse = np.exp(-(((np.arange(128) - 40) / 6.0) ** 2))
    hrir = np.stack([pulse, pulse])[None]
    moved = with_delays(MeasuredHead(hrir, np.array([[0.0, 3.25]]), np.array([[1.0, 0.0, 0.0]])))[0]
    want = np.exp(-(((np.arange(moved.shape[-1]) - 40 - 16 - 3.25) / 6.0) ** 2))
    np.testing.assert_allclose(moved[1], want, atol=1e-6)


def test_a_head_that_sounds_like_none_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mirrored.sofa", sphere_hrir()[:, ::-1])
    with pytest.raises(BadInput, match="ears exchanged"):
        engine_head(path, 1.5, False)
    with pytest.warns(UserWarning, match="ears exchanged"):
        engine_head(path, 1.5, True)
