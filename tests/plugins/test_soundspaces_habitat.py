"""Simulator ``habitat`` against a stand-in of each habitat-sim generation; habitat-sim itself is run nowhere here.

What is true of the house (walls, floors, where a sound comes from) is worked out here from its measures, not from the
code under test.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bat_agent.errors import BadInput
from bat_agent.scene import Listener, MeshRoom, Position, Scene, Source, point_at
from bat_agent.sound.rir_measures import interaural_level_db
from bat_agent_soundspaces.config import SoundspacesConfig
from bat_agent_soundspaces.engine import Acoustics, Trace, missing_engine
from bat_agent_soundspaces.habitat import Habitat, report
from bat_agent_soundspaces.simulator import SoundSpaces
from bat_agent_soundspaces.worker import Pool

stand_in: Any = importlib.import_module("habitat_stand_in")
fixtures = importlib.import_module("habitat_stand_in.fixtures")
engines, live, mesh, real_engine = fixtures.engines, fixtures.live, fixtures.mesh, fixtures.real_engine
Live = Callable[..., Any]

RATE_HZ = 32_000
WITH_SENSOR = ["0.2.2", "0.3.0", "0.3.4 mended", "branch"]
WITH_BUG = ["0.3.1", "0.3.3", "0.3.4"]


def heard_at(
    habitat: Habitat, mesh: Path, position: Position, head: Listener | None = None, **scene: Any
) -> np.ndarray:
    head = head or Listener((2.5, 1.5, 2.5))
    room = MeshRoom(str(mesh))
    return habitat.render(Scene(room, head, (Source(point_at(head, position)),), **scene))[0].numpy()


# --- which of the two renders ---


@pytest.mark.parametrize("generation", WITH_SENSOR)
def test_a_sound_sensor_is_used_and_said_once(live: Live, generation: str, caplog: pytest.LogCaptureFixture) -> None:
    habitat = Habitat.from_simulator(live(generation))
    with caplog.at_level(logging.INFO):
        assert [habitat.renderer, habitat.renderer] == ["sensor", "sensor"]
    assert len(caplog.records) == 1
    assert "audio sensor renders" in caplog.text
    # The stand-in's head gives 12 dB to the side.
    assert habitat.test_sensor().ild_db == pytest.approx(
        {"right": -12, "left": 12, "front": 0, "turned": -12}, abs=0.01
    )


@pytest.mark.parametrize("generation", WITH_BUG)
def test_a_sensor_that_misplaces_the_source_is_not_used(
    live: Live, generation: str, engines: list[Any], mesh: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """0.3.1 … 0.3.4 take the wrong coordinates of the source, wherever they stand; 0.3.4 even calls itself 0.3.3."""
    sim = live(generation)
    habitat = Habitat.from_simulator(sim, quality="high", engine={"transmission": False})
    scene = habitat.scene([(4.0, 1.5, 2.5)])
    with caplog.at_level(logging.INFO):
        rirs = [habitat.render(scene), habitat.render(scene)]
    assert habitat.renderer == "engine"
    assert "wrong place" in habitat.test_sensor().reason
    assert all(torch.equal(rir, torch.full((2, 9), 0.5)) for (rir,) in rirs)
    assert len(engines) == 1
    assert engines[0].name == "soundspaces"
    assert engines[0].given["quality"] == "high"
    assert engines[0].given["transmission"] is False
    assert engines[0].scenes == [scene, scene]
    assert isinstance(scene.room, MeshRoom)
    assert scene.room.path == str(mesh)


def test_the_choice_is_logged_once_as_a_warning(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    habitat = Habitat.from_simulator(live("0.3.3"))
    for _ in range(2):
        habitat.listen([(4.0, 1.5, 2.5)])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "wrong place" in caplog.text


@pytest.mark.parametrize("generation", list(stand_in.GENERATIONS))
def test_a_build_without_audio_is_never_touched(live: Live, generation: str) -> None:
    """Its classes exist, but creating a sensor ends the process: Abort would pass through every handler here."""
    sim = live(generation, audio=False)
    habitat = Habitat.from_simulator(sim)
    habitat.render(habitat.sample_scene(np.random.default_rng(0), 2))
    assert habitat.renderer == "engine"
    assert report(sim)[0].startswith("habitat-sim: no audio")
    with pytest.raises(BadInput, match="built without audio"):
        _ = Habitat.from_simulator(sim, audio="sensor").renderer


def test_engine_on_request_leaves_the_sensor_alone(live: Live) -> None:
    sim = live("branch")
    assert Habitat.from_simulator(sim, audio="engine").renderer == "engine"
    assert sys.modules["habitat_sim"].events == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda sensor: lambda self: [[0.0, 0.0], [0.0, 0.0]], "silent"),
        (lambda sensor: lambda self: sensor.getIR(self)[::-1], "not the louder"),
        (lambda sensor: lambda self: [[v * 2 for v in sensor.getIR(self)[0]], *sensor.getIR(self)[1:]], "in front"),
        (lambda sensor: lambda self: [row[60:] + [0.0] * 60 for row in sensor.getIR(self)], "late"),
        (lambda sensor: lambda self: [[float("nan")], [0.0]], "finite"),
        (lambda sensor: lambda self: [], "finite"),
    ],
    ids=["silent", "swapped", "lopsided", "early", "nan", "empty"],
)
def test_self_test_refuses_other_faults(live: Live, monkeypatch: pytest.MonkeyPatch, spoil: Any, reason: str) -> None:
    sim = live("branch")
    sensor = sys.modules["habitat_sim"].AudioSensor  # type: ignore[attr-defined]
    original = types.SimpleNamespace(getIR=sensor.getIR)
    monkeypatch.setattr(sensor, "getIR", spoil(original))
    test = Habitat.from_simulator(sim).test_sensor()
    assert not test.passed
    assert reason in test.reason


def test_self_test_refuses_sound_without_travel_time_or_turning_head(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = stand_in.sound.impulse_response

    def no_travel(*parts: Any) -> list[list[float]]:
        rows = original(*parts)
        start = int(np.abs(rows).max(axis=0).argmax())
        return [[0.0] * 120 + row[start:] for row in rows]

    monkeypatch.setattr(stand_in.sound, "impulse_response", no_travel)
    assert "time to travel" in Habitat.from_simulator(live("branch")).test_sensor().reason
    monkeypatch.setattr(
        stand_in.sound, "impulse_response", lambda at, q, *rest: original(at, (1.0, 0.0, 0.0, 0.0), *rest)
    )
    assert "turn of the head" in Habitat.from_simulator(live("branch")).test_sensor().reason


def test_an_error_of_the_sensor_is_a_reason_not_an_end(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = live("0.3.0")
    monkeypatch.delattr(sys.modules["habitat_sim"].AudioSensor, "runSimulation")  # type: ignore[attr-defined]
    habitat = Habitat.from_simulator(sim)
    assert habitat.renderer == "engine"
    assert "AttributeError" in habitat.test_sensor().reason


def test_the_self_test_draws_no_random_points(live: Live) -> None:
    """Random points come from the C library's generator; asking whether the sensor is sound must not change them."""
    sim = live("0.3.0")
    state = sim.pathfinder._rand.getstate()
    assert Habitat.from_simulator(sim).renderer == "sensor"
    assert sim.pathfinder.seeds == []
    assert sim.pathfinder._rand.getstate() == state


# --- what its sensor is told, and what comes out ---


@pytest.mark.parametrize("generation", WITH_SENSOR)
@pytest.mark.parametrize(
    ("azimuth", "distance", "ild"), [(0.0, 2.0, -12), (180.0, 1.0, 12), (90.0, 2.2, 0), (270.0, 1.5, 0)]
)
def test_sensor_rirs_follow_the_library_s_conventions(
    live: Live, mesh: Path, generation: str, azimuth: float, distance: float, ild: float
) -> None:
    """Direct sound at distance/343 with gain 0.282/d, though two of the generations are 6 dB quieter at volume 1."""
    habitat = Habitat.from_simulator(live(generation), max_seconds=1.0)
    for heading in (0.0, 70.0):
        rir = heard_at(habitat, mesh, Position(azimuth, 0.0, distance), Listener((2.5, 1.5, 2.5), heading))
        assert rir.dtype == np.float32
        assert rir.shape[0] == 2
        peaks = np.abs(rir).max(axis=1)
        assert 20 * math.log10(peaks[0] / peaks[1]) == pytest.approx(ild, abs=0.1)
        assert math.sqrt(peaks[0] * peaks[1]) == pytest.approx(0.2821 / distance, rel=0.02)
        assert abs(int(np.abs(rir).max(axis=0).argmax()) - distance / 343 * RATE_HZ) <= 1
    at_zero = heard_at(habitat, mesh, Position(azimuth, 0.0, distance), onset="direct_at_zero")
    assert int(np.abs(at_zero).max(axis=0).argmax()) == 32


@pytest.mark.parametrize("generation", WITH_SENSOR)
def test_every_field_is_set_as_no_default_holds(live: Live, generation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = live(generation)
    module: Any = sys.modules["habitat_sim"]
    made: list[Any] = []
    fields = stand_in.sound.BRANCH_FIELDS if generation == "branch" else stand_in.sound.MAIN_FIELDS
    without_defaults = stand_in.sound.closed_class("Configuration", dict.fromkeys(fields))
    monkeypatch.setattr(module, "RLRAudioPropagationConfiguration", without_defaults)
    original = module.SensorFactory.create_sensors

    def note(node: Any, specs: list[Any]) -> Any:
        made.extend(specs)
        return original(node, specs)

    monkeypatch.setattr(module.SensorFactory, "create_sensors", staticmethod(note))
    habitat = Habitat.from_simulator(sim, quality="high", max_seconds=1.5, threads=3)
    habitat.listen([(4.0, 1.5, 2.5)])
    spec, acoustics = made[-1], made[-1].acousticsConfig
    branch = generation == "branch"
    written = {name: getattr(acoustics, name) for name in type(acoustics).__slots__}
    assert written == {
        **fields,
        "sampleRate": RATE_HZ,
        "globalVolume": 1.0,
        "threadCount": 3,
        "indirectRayCount": 5000,
        "indirectRayDepth": 200,
        "maxIRLength" if branch else "irTime": 1.5,
        **({} if branch else {"enableMaterials": False}),
    }
    assert spec.uuid == "audio_sensor"
    assert getattr(spec.channelLayout, "type" if branch else "channelType").name == "Binaural"
    assert spec.channelLayout.channelCount == 2
    # Nothing was written that the class does not have: it would have been swallowed.
    known = {name for name in dir(type(spec)) if not name.startswith("__")}
    assert {name.removeprefix("_") for name in vars(spec)} <= known
    # The self-test hears direct sound only.
    assert [tested.acousticsConfig.indirect for tested in made] == [False, False, True]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda module: delattr(module.RLRAudioPropagationChannelLayout, "type"), "channelType or type"),
        (lambda module: delattr(module.AudioSensorSpec, "enableMaterials"), "enableMaterials"),
        (lambda module: delattr(module, "SensorFactory"), "SensorFactory"),
        (
            lambda module: setattr(
                module.RLRAudioPropagationConfiguration, "globalVolume", property(lambda _: 0.25, lambda _, value: None)
            ),
            "globalVolume stays 0.25",
        ),
    ],
    ids=["layout", "materials", "factory", "stuck"],
)
def test_an_interface_that_is_not_understood_is_not_used(live: Live, spoil: Any, reason: str) -> None:
    sim = live("branch")
    module: Any = sys.modules["habitat_sim"]
    if reason == "channelType or type":
        blank = type("RLRAudioPropagationChannelLayout", (), {"channelCount": 2})
        module.RLRAudioPropagationChannelLayout = blank
    else:
        spoil(module)
    habitat = Habitat.from_simulator(sim)
    assert habitat.renderer == "engine"
    assert reason in habitat.test_sensor().reason


@pytest.mark.parametrize("generation", WITH_SENSOR)
def test_materials_come_before_the_mesh_in_every_context(live: Live, mesh: Path, generation: str) -> None:
    """Set later they are ignored, and a sensor that was reset has lost them."""
    mesh.with_name("house_semantic.ply").write_bytes(b"ply")
    table = str(mesh.with_name("table.json"))
    sim = live(generation)
    habitat = Habitat.from_simulator(sim, materials=table)
    scene = habitat.scene([(4.0, 1.5, 2.5)])
    assert habitat.renderer == "sensor"
    events = sys.modules["habitat_sim"].events  # type: ignore[attr-defined]
    events.clear()
    for _ in range(2):
        habitat.render(scene)
    once = [("materials", table), ("upload", table), ("run", True)]
    assert events == [*once, ("delete", "audio_sensor"), *once]


def test_without_vertex_semantics_there_are_no_materials(live: Live) -> None:
    """Asked for them, Replica crashes and HM3D gives direct sound alone."""
    habitat = Habitat.from_simulator(live("branch"), materials="table.json")
    habitat.listen([(4.0, 1.5, 2.5)])
    assert not any(event[0] == "materials" for event in sys.modules["habitat_sim"].events)  # type: ignore[attr-defined]


def test_a_step_keeps_the_context_and_a_render_starts_a_fresh_one(live: Live) -> None:
    habitat = Habitat.from_simulator(live("0.3.0"))
    scene = habitat.scene([(4.0, 1.5, 2.5), (1.0, 1.2, 1.0)])
    first, again = habitat.render(scene), habitat.render(scene)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    events = sys.modules["habitat_sim"].events  # type: ignore[attr-defined]
    events.clear()
    follow = habitat.render_next(scene, scene)
    assert not any(event[0] == "upload" for event in events)
    # Reflections are drawn anew in a used context; the direct sound stays.
    assert follow[0].abs().max() == first[0].abs().max()


@pytest.mark.parametrize("generation", WITH_SENSOR)
def test_no_sensor_is_registered_or_left_behind(live: Live, generation: str) -> None:
    """A registered one would be rendered at every step of the environment."""
    sim = live(generation)
    habitat = Habitat.from_simulator(sim)
    habitat.listen([(4.0, 1.5, 2.5)])
    assert sim.get_sensor_observations() == {}
    assert sim.get_agent(0).scene_node.subtree_sensors == {}
    habitat.close()
    assert sim._root.subtree_sensors == {}
    assert not sim.closed


def test_a_sensor_of_a_scene_that_is_gone_is_not_touched(live: Live, mesh: Path) -> None:
    """habitat-sim destroys the nodes of a scene when it opens the next one."""
    sim = live("branch")
    habitat = Habitat.from_simulator(sim)
    habitat.listen([(4.0, 1.5, 2.5)])
    other = mesh.with_name("other.glb")
    other.write_bytes(b"glTF")
    sim.config.sim_cfg.scene_id = str(other)
    events = sys.modules["habitat_sim"].events  # type: ignore[attr-defined]
    events.clear()
    habitat.listen([(4.0, 1.5, 2.5)])
    habitat.render(habitat.scene([(4.0, 1.5, 2.5)]))
    assert [event[0] for event in events] == ["upload", "run", "delete", "upload", "run"]


class TestWithTheEngineItself:
    """The house as one hall, in a generation whose own sensor cannot be used."""

    @pytest.fixture
    def real_engine(self) -> bool:
        return True

    def test_the_mesh_is_heard_from_where_the_agent_stands(self, live: Live, mesh: Path) -> None:
        if missing_engine() is not None:
            pytest.skip("needs the SoundSpaces engine")
        trimesh = pytest.importorskip("trimesh")
        trimesh.creation.box(bounds=[(0, 0, 0), (12, 6, 5)]).export(mesh)
        sim = live("0.3.4")
        turned = stand_in.house.Quaternion(math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0)  # faces −x, so −z is its right
        sim.get_agent(0).set_state(stand_in.house.AgentState(np.array([6.0, 0.05, 3.5]), turned))
        habitat = Habitat.from_simulator(sim)
        (rir,) = habitat.listen([(6.0, 1.55, 1.0)])
        direct = rir[:, : round(2.5 / 343 * RATE_HZ) + 60].numpy()
        assert interaural_level_db(direct) < -6
        assert abs(int(np.abs(direct).max(axis=0).argmax()) - 2.5 / 343 * RATE_HZ) < 12  # to the side, not in front
        scene = habitat.sample_scene(np.random.default_rng(0))
        assert scene.simulator["name"] == "soundspaces"
        again = SoundSpaces(SoundspacesConfig(**scene.simulator["options"]))
        replayed = again.render(Scene.from_json(scene.to_json()))
        assert torch.equal(habitat.render(scene)[0], replayed[0])
        again.close()
        habitat.close()

    def test_the_self_test_takes_the_real_engine_for_sound(
        self, live: Live, mesh: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A sensor that is the engine itself passes, with the ILD of its head (11 dB at 90°) and its level."""
        if missing_engine() is not None:
            pytest.skip("needs the SoundSpaces engine")
        pool = Pool(1, 60.0, 4 * 2**30)

        def trace(at: Any, wxyz: Any, source: Any, config: Any, kind: str, *_: Any) -> list[list[float]]:
            heading = math.degrees(2 * math.atan2(wxyz[2], wxyz[0]))
            output = "binaural" if kind == "Binaural" else "ambisonics"
            acoustics = Acoustics(config.indirectRayCount, config.indirectRayDepth, output, indirect=False)
            made = pool.trace(Trace(acoustics, None, tuple(at), heading, (tuple(source),), "free field"))
            return made.rirs[0][: 2 if kind == "Binaural" else 1].tolist()

        monkeypatch.setattr(stand_in.sound, "impulse_response", trace)
        habitat = Habitat.from_simulator(live("branch"))
        test = habitat.test_sensor()
        assert test.passed, test.reason
        assert test.ild_db == pytest.approx({"right": -11.1, "left": 11.1, "front": 0, "turned": -11.1}, abs=0.5)
        assert test.latency_samples == 32
        assert test.scale == 1, "so that sensor and engine give the same level"
        for distance in (1.0, 3.0, 8.0):
            rir = heard_at(habitat, mesh, Position(90.0, 0.0, distance))
            assert abs(int(np.abs(rir).max(axis=0).argmax()) - distance / 343 * RATE_HZ) <= 1
        pool.close()
