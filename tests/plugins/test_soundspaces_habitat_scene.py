"""What ``habitat`` reads from a simulator and the scenes it draws, with a stand-in of each habitat-sim generation.

What is true of the house (walls, floors, where a sound comes from) is worked out here from its measures, not from the
code under test.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from bat_agent.errors import BadInput, PluginError
from bat_agent.scene import Listener, MeshRoom, Room, Scene, Source
from bat_agent.testing import SimulatorContract
from bat_agent_soundspaces import habitat_api, habitat_opening
from bat_agent_soundspaces.habitat import Habitat, HabitatConfig, report
from bat_agent_soundspaces.habitat_navmesh import Navmesh

stand_in: Any = importlib.import_module("habitat_stand_in")
fixtures = importlib.import_module("habitat_stand_in.fixtures")
engines, live, mesh, real_engine = fixtures.engines, fixtures.live, fixtures.mesh, fixtures.real_engine
Live = Callable[..., Any]

RATE_HZ = 32_000
# --- pose, rooms, navmesh ---


def test_pose_becomes_a_listener(live: Live) -> None:
    sim = live()
    half = math.radians(130) / 2
    rotations = [
        stand_in.house.Quaternion(math.cos(half), 0.0, math.sin(half), 0.0),
        types.SimpleNamespace(scalar=math.cos(half), vector=(0.0, math.sin(half), 0.0)),
        [0.0, math.sin(half), 0.0, math.cos(half)],
    ]
    for rotation in rotations:
        sim.get_agent(0).set_state(stand_in.house.AgentState(np.array([1.0, 0.2, -2.0]), rotation))
        listener = Habitat.from_simulator(sim, ear_height_m=1.25).listener()
        assert listener.position_m == pytest.approx((1.0, 1.45, -2.0))
        assert listener.heading_deg == pytest.approx(130)


@pytest.mark.parametrize("generation", ["0.3.0", "0.3.4"])
def test_rooms_are_read_from_both_kinds_of_box(live: Live, generation: str) -> None:
    rooms = {room.name: room for room in Habitat.from_simulator(live(generation)).rooms()}
    assert set(rooms) == {"0_0", "0_1", "0_5", "1_2", "0_9"}, "a region without extent is none"
    assert rooms["0_1"].low_m == pytest.approx((6, 0, 0))
    assert rooms["0_1"].high_m == pytest.approx((12, 3, 5))
    assert rooms["0_0"].category == "familyroom/lounge"
    assert rooms["1_2"].category == "unknown", "habitat-sim raises for a label outside its table"


@pytest.mark.parametrize(
    ("point", "room"),
    [
        ((3, 0.05, 2), "0_0"),
        ((9, 0.05, 2), "0_1"),
        ((3, 3.05, 2), "1_2"),
        ((3, 2.9, 2), "1_2"),
        ((1, 0.05, 4.5), "0_5"),
        ((30, 0, 2), None),
    ],
)
def test_a_point_is_in_the_smallest_room_of_its_level(live: Live, point: Any, room: str | None) -> None:
    """Boxes overlap: the attic's begins below its floor, and one of both storeys covers all."""
    found = habitat_api.room_at(Habitat.from_simulator(live()).rooms(), point)
    assert (found.name if found else None) == room


def same_room(a: Any, b: Any) -> bool:
    return (a[0] < 6) == (b[0] < 6) and (a[1] < 3) == (b[1] < 3) and in_closet(a) == in_closet(b)


def in_closet(point: Any) -> bool:
    return point[0] < 1.5 and point[2] > 3.5 and point[1] < 3


@pytest.mark.parametrize("generation", list(stand_in.GENERATIONS))
def test_drawn_scenes_are_in_one_room(live: Live, generation: str) -> None:
    """Ears 1.5 m above the navmesh, never on the table, sources inside the walls of the same room."""
    habitat = Habitat.from_simulator(live(generation), audio="engine", random_heading=True)
    scenes = [habitat.sample_scene(np.random.default_rng(seed), 2) for seed in range(40)]
    floors = set()
    for scene in scenes:
        ears = scene.listener.position_m
        floors.add((ears[0] > 6, round(ears[1] - 1.5, 2)))
        for source in scene.sources:
            assert same_room(ears, source.position_m)
            assert 0.3 <= math.dist(ears, source.position_m) <= 10
            assert not stand_in.house.in_wardrobe(source.position_m), "the engine's mesh has furniture there"
            x, _, z = source.position_m
            assert any(rect.holds(x, z) for rect in stand_in.house.FLOORS), "a source above no floor is in a wall"
    # The navmesh lies 0.2 m above the floor, and roofs are part of it.
    assert floors == {(False, 0.2), (True, 0.2), (False, 3.2)}
    heights = np.array([source.position_m[1] % 3 for scene in scenes for source in scene.sources])
    assert heights.min() < 0.5
    assert heights.max() > 2.5
    assert len({scene.listener.heading_deg for scene in scenes}) == 40


def test_without_rooms_no_wall_is_in_between(live: Live) -> None:
    habitat = Habitat.from_simulator(live("0.3.0", semantics=False), audio="engine")
    for seed in range(40):
        scene = habitat.sample_scene(np.random.default_rng(seed), 1)
        ears, source = np.array(scene.listener.position_m), np.array(scene.sources[0].position_m)
        assert abs((ears[1] - 1.7) - (source[1] - source[1] % 3)) < 0.1, "on the same storey, and none on the roof"
        assert not stand_in.house.occluded(ears, source)


def test_a_stage_that_lies_on_its_side_needs_its_semantic_files(live: Live, mesh: Path) -> None:
    """Matterport3D is Z-up; habitat-sim turns it when it loads it, and so must whoever renders."""
    sim = live("0.3.3")
    sim.config.sim_cfg.scene_dataset_config_file = "default"
    habitat = Habitat.from_simulator(sim)
    with pytest.raises(BadInput, match=r'lies .*house\.glb on its side .*"up": \[0, 1, 0\], "front": \[0, 0, -1\]'):
        habitat.scene([(4.0, 1.5, 2.5)])
    for name in ("house_semantic.ply", "house.house"):
        mesh.with_name(name).write_bytes(b"")
    assert isinstance(habitat.scene([(4.0, 1.5, 2.5)]).room, MeshRoom)


def test_scenes_say_how_to_render_them_again(live: Live, mesh: Path) -> None:
    with_engine = Habitat.from_simulator(live("0.3.3")).sample_scene(np.random.default_rng(0))
    assert with_engine.simulator["name"] == "soundspaces"
    assert with_engine.simulator["options"]["rays"] == 500
    assert isinstance(with_engine.room, MeshRoom)
    assert with_engine.room.options["mesh_sha256"] == "f" * 64
    habitat = Habitat.from_simulator(live("branch"), max_seconds=2.5)
    with_sensor = habitat.sample_scene(np.random.default_rng(0))
    assert with_sensor.simulator["name"] == "habitat"
    options = with_sensor.simulator["options"]
    assert (options["scene"], options["audio"], options["max_seconds"]) == (str(mesh), "sensor", 2.5)
    assert HabitatConfig(**options) is not None
    assert Scene.from_json(with_sensor.to_json()) == with_sensor


def test_the_agent_stays_where_it_is_and_is_listened_from(live: Live, engines: list[Any]) -> None:
    sim = live("0.3.3")
    habitat = Habitat.from_simulator(sim)
    habitat.sample_scene(np.random.default_rng(0))
    assert sim.get_agent(0).get_state().position == pytest.approx([3.0, 0.2, 2.5])
    before = habitat.scene([Source((4.0, 1.5, 2.5), ("Speech",))])
    sim.get_agent(0).get_state().position[0] = 2.0
    habitat.listen(before.sources)
    sim.get_agent(0).get_state().position[2] = 2.0
    habitat.listen(before.sources)
    now = engines[0].scenes[0]
    assert not engines[0].followed, "each step is rendered anew: what is decoded for a turned head is heard worse"
    assert now.listener.position_m == pytest.approx((2.0, 1.7, 2.5))
    assert now.sources == before.sources
    room = habitat.room()
    assert room is not None
    assert room.category == "familyroom/lounge"


def test_nan_points_are_drawn_again_and_at_last_an_error(live: Live) -> None:
    often = Navmesh(live(nan_share=0.9).pathfinder)
    rng = np.random.default_rng(0)
    assert all(np.isfinite(often.random_point(rng, 1.0)).all() for _ in range(20))
    with pytest.raises(BadInput, match="no point on an island"):
        Navmesh(live(nan_share=1.0).pathfinder).random_point(rng, 1.0)


def test_a_navmesh_that_is_not_loaded_is_never_asked(live: Live) -> None:
    """In C++ that is a segmentation fault for most queries."""
    sim = live("branch", navmesh=False)
    habitat = Habitat.from_simulator(sim)
    with pytest.raises(BadInput, match="no navmesh"):
        habitat.sample_scene(np.random.default_rng(0))
    assert habitat.renderer == "sensor", "the test is then made where the agent stands"
    assert "navmesh: not loaded, so no scenes can be drawn" in report(sim)


# --- whatever holds a simulator ---


class Inner:
    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)


class Stubborn:
    """A wrapper that raises for what it does not pass on, and has a circle."""

    def __init__(self, env: Any) -> None:
        self.env, self.unwrapped = env, self

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(name)


class Env(gymnasium.Env):
    def __init__(self, held: Any) -> None:
        self.habitat_env = held


def test_the_simulator_is_found_in_environments(live: Live) -> None:
    sim = live()
    wrapped = gymnasium.Wrapper(gymnasium.Wrapper(Env(Inner(sim=sim))))
    # SoundSpaces keeps its simulator in a simulator of habitat-lab's kind.
    like_soundspaces = Inner(_sim=sim, pathfinder=sim.pathfinder, get_agent=lambda agent_id: None)
    for holder in (sim, Inner(sim=sim), wrapped, Stubborn(Inner(_env=Inner(sim=like_soundspaces)))):
        assert habitat_api.find_simulator(holder) is sim
    alike = Inner(get_agent=sim.get_agent, pathfinder=sim.pathfinder)
    assert habitat_api.find_simulator(Inner(sim=alike)) is alike
    assert not habitat_api.build_of(alike).audio


@pytest.mark.parametrize(
    "thing", ["house.glb", 3, None, Inner(sim=7), Stubborn(None)], ids=["str", "int", "none", "inner", "stubborn"]
)
def test_anything_else_is_refused_in_one_sentence(thing: Any) -> None:
    with pytest.raises(BadInput, match=r"neither is nor holds a habitat simulator; pass a"):
        Habitat.from_simulator(thing)


# --- opening a scene; errors ---


def test_a_scene_is_opened_with_quaternion_first(live: Live, mesh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round, the process ends with "free(): invalid pointer"."""
    live("branch")
    asked: list[str] = []

    def import_module(name: str) -> Any:
        asked.append(name)
        return sys.modules["habitat_sim"] if name == "habitat_sim" else None

    monkeypatch.setattr(habitat_opening, "importlib", types.SimpleNamespace(import_module=import_module))
    habitat = Habitat(HabitatConfig(scene=str(mesh)))
    assert asked == [], "nothing is opened before it is needed"
    assert habitat.renderer == "sensor"
    assert asked == ["quaternion", "habitat_sim"]
    sim = habitat.sim
    assert sim.config.sim_cfg.load_semantic_mesh is True
    habitat.close()
    assert sim.closed
    with pytest.raises(BadInput, match=r"'nowhere\.glb' does not exist"):
        _ = Habitat(HabitatConfig(scene="nowhere.glb")).sim


def test_missing_things_are_named(live: Live, mesh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "habitat_sim", None)
        with pytest.raises(PluginError, match="needs habitat-sim, which is on no package index"):
            _ = Habitat(HabitatConfig(scene=str(mesh))).sim
        lacking = habitat_opening.missing_habitat()
        assert lacking is not None
        assert lacking[0].startswith("habitat_sim is not installed")
    with pytest.raises(BadInput, match="has no scene; give option scene"):
        _ = Habitat().sim
    sim = live()
    with pytest.raises(BadInput, match="no option 'rays', expected one of scene"):
        Habitat.from_simulator(sim, rays=3)
    with pytest.raises(BadInput, match="has no agent 4"):
        Habitat.from_simulator(sim, agent_id=4).listener()
    habitat = Habitat.from_simulator(sim)
    here = Listener((3.0, 1.5, 2.5))
    with pytest.raises(BadInput, match=r"at least 0\.2 m"):
        habitat.render(Scene(MeshRoom(str(mesh)), here, (Source((3.1, 1.5, 2.5)),)))
    for room in (MeshRoom("elsewhere.glb"), Room((6.0, 3.0, 5.0))):
        with pytest.raises(BadInput, match="open that scene first"):
            habitat.render(Scene(room, here, (Source((4.0, 1.5, 2.5)),)))
    sim.config.sim_cfg.scene_id = "a scene of the data set"
    with pytest.raises(BadInput, match="give it as option mesh"):
        habitat.scene([(4.0, 1.5, 2.5)])
    assert Habitat.from_simulator(sim, mesh=str(mesh)).scene([(4.0, 1.5, 2.5)]).room == MeshRoom(str(mesh))


@pytest.mark.parametrize(
    "wrong",
    [{"audio": "habitat"}, {"quality": "best"}, {"onset": "never"}, {"ear_height_m": 0}, {"min_distance_m": 20.0},
     {"threads": 0}, {"max_seconds": 0.0}],
)  # fmt: skip
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="habitat"):
        HabitatConfig(**wrong)


def test_report_says_it_line_by_line(live: Live, mesh: Path) -> None:
    good, wrong = report(live("branch")), report(live("0.3.4", semantics=False))
    assert good[0] == "habitat-sim: audio (branch RLRAudioPropagationUpdate)"
    assert "self-test passed" in good[1]
    assert "right -12.0, left +12.0, front +0.0" in good[1]
    assert good[2:4] == ["renders with: habitat audio sensor", "navmesh: loaded"]
    assert good[4] == "rooms: 5"
    assert good[5] == f"mesh: {mesh}"
    assert wrong[0] == "habitat-sim: audio (main, 0.3.4 or later)"
    assert "self-test failed" in wrong[1]
    assert wrong[2] == "renders with: SoundSpaces engine"
    assert wrong[4].startswith("rooms: none")


class TestContract(SimulatorContract):
    @pytest.fixture
    def simulator(self, live: Live) -> Habitat:
        return Habitat.from_simulator(live("branch"))


class TestContractOfTheEngine(SimulatorContract):
    @pytest.fixture
    def simulator(self, live: Live) -> Habitat:
        return Habitat.from_simulator(live("0.3.3"))
