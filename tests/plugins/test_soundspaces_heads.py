"""The head of SoundSpaces: its level, and measured ones from SOFA files."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.scene import Listener, Position, Room, Scene, Source, point_at
from bat_agent.sound.rir_measures import interaural_level_db, interaural_time_s
from bat_agent_soundspaces.config import SoundspacesConfig
from bat_agent_soundspaces.simulator import SoundSpaces

needs_engine = pytest.mark.skipif(
    find_spec("rlr_audio_propagation") is None or find_spec("trimesh") is None,
    reason="needs rlr-audio-propagation and trimesh (pip install bat-agent[soundspaces])",
)

RATE_HZ = 32_000


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("houses")


@pytest.fixture(scope="module")
def simulator(cache: Path) -> Iterator[SoundSpaces]:
    with SoundSpaces(SoundspacesConfig(houses=3, cache=str(cache))) as simulator:
        yield simulator


def frontal_gain_db(rir: np.ndarray, distance_m: float) -> float:
    """Energy at each ear re the free field by the convention, 0.282/d."""
    return float(10 * np.log10(np.square(rir, dtype=np.float64).sum() / 2 * distance_m**2 * 4 * np.pi))


@needs_engine
@pytest.mark.parametrize(("head_level", "gain_db"), [("unity", 0.0), ("engine", 7.5)])
def test_level_of_the_head(head_level: Any, gain_db: float) -> None:
    listener = Listener((3.0, 1.5, 3.0))
    front = Scene(Room((6.0, 3.0, 6.0), None), listener, (Source((3.0, 1.5, 1.0)),))
    with SoundSpaces(SoundspacesConfig(head_level=head_level)) as simulator:
        assert frontal_gain_db(simulator.render(front)[0].numpy(), 2.0) == pytest.approx(gain_db, abs=0.5)
        assert frontal_gain_db(simulator.render_next(front)[0].numpy(), 2.0) == pytest.approx(gain_db, abs=0.5)


def write_sofa(path: Path, delay_samples: int = 20) -> None:
    """Two opposite ears: 0.7 ms and 10 dB between them at the sides, everywhere in between by the sine."""
    sofar = pytest.importorskip("sofar", reason="needs sofar to write a SOFA file")
    azimuth, elevation = (grid.ravel() for grid in np.meshgrid(np.arange(0, 360, 10.0), np.arange(-90, 91, 10.0)))
    lateral = np.sin(np.radians(azimuth)) * np.cos(np.radians(elevation))  # +1 on the left
    responses = np.zeros((len(azimuth), 2, 128))
    for ear, side in ((0, 1), (1, -1)):
        late = np.round(delay_samples + 24 - side * 0.00035 * RATE_HZ * lateral).astype(int)
        responses[np.arange(len(azimuth)), ear, late] = 10 ** (side * 5 * lateral / 20)
    sofa = sofar.Sofa("SimpleFreeFieldHRIR")
    sofa.Data_IR, sofa.Data_SamplingRate = responses, RATE_HZ
    sofa.SourcePosition = np.stack([azimuth, elevation, np.full(len(azimuth), 1.4)], axis=1)
    sofa.ReceiverPosition = np.array([[0, 0.09, 0], [0, -0.09, 0]])
    sofar.write_sofa(str(path), sofa)


@needs_engine
@pytest.mark.filterwarnings("ignore")
def test_a_sofa_head_is_heard_at_the_promised_time(tmp_path: Path) -> None:
    """ITD and ILD written into the file come out; its own latency does not move the onset."""
    path = tmp_path / "ears.sofa"
    write_sofa(path)
    listener = Listener((3.0, 1.5, 3.0))
    free = Room((6.0, 3.0, 6.0), None)
    with SoundSpaces(SoundspacesConfig(hrtf=str(path))) as simulator:
        rirs = {
            azimuth: simulator.render(Scene(free, listener, (Source(point_at(listener, Position(azimuth, 0, 2.0))),)))
            for azimuth in (0.0, 90.0, 180.0)
        }
    right, front, left = (rir[0].numpy() for rir in rirs.values())
    assert abs(int(np.abs(front).max(axis=0).argmax()) - 2.0 / 343 * RATE_HZ) <= 1
    assert interaural_time_s(left) == pytest.approx(0.0007, abs=0.00004)
    assert interaural_time_s(right) == pytest.approx(-0.0007, abs=0.00004)
    assert interaural_level_db(left) == pytest.approx(10, abs=2)
    assert interaural_level_db(front) == pytest.approx(0, abs=0.2)
    assert frontal_gain_db(front, 2.0) == pytest.approx(0, abs=0.6)


@needs_engine
def test_a_sofa_file_that_the_engine_ignores_is_an_error(tmp_path: Path) -> None:
    """HDF5 by its first bytes, but nothing the engine can read: it prints a line and keeps its own head."""
    path = tmp_path / "broken.sofa"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    scene = Scene(Room((6.0, 3.0, 5.0), 0.3), Listener((3.0, 1.5, 2.5)), (Source((4.5, 1.5, 2.5)),))
    with (
        SoundSpaces(SoundspacesConfig(hrtf=str(path))) as simulator,
        pytest.raises(BadInput, match="cannot read HRTF"),
    ):
        simulator.render(scene)


@needs_engine
def test_a_missing_sofa_file_is_an_error_at_once() -> None:
    with pytest.raises(BadInput, match="does not exist"):
        SoundSpaces(SoundspacesConfig(hrtf="/nowhere/head.sofa"))
