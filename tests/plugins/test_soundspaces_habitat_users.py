"""What users of a bare habitat simulator do, and what a real habitat-sim answered: each of these failed once."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from typer.testing import CliRunner

from bat_agent.cli import app
from bat_agent.datasets.placements import another_placement
from bat_agent.errors import BadInput
from bat_agent.scene import Source
from bat_agent_envs import HabitatHearing
from bat_agent_envs.old_gym import SimulatorEnv, as_gymnasium
from bat_agent_soundspaces.habitat import Habitat, HabitatConfig, report
from bat_agent_soundspaces.habitat_stage import rotation_of, upright_mesh
from bat_agent_soundspaces.library import open_mesh

stand_in: Any = importlib.import_module("habitat_stand_in")
fixtures = importlib.import_module("habitat_stand_in.fixtures")
engines, live, mesh, real_engine = fixtures.engines, fixtures.live, fixtures.mesh, fixtures.real_engine
house = stand_in.house
Live = Callable[..., Any]
NOISE, TO_THE_RIGHT, echo = fixtures.NOISE, fixtures.TO_THE_RIGHT, fixtures.echo


@pytest.mark.parametrize(
    "use",
    [report, lambda sim: Habitat.from_simulator(sim).rooms(), HabitatHearing, SimulatorEnv],
    ids=["report", "rooms", "HabitatHearing", "SimulatorEnv"],
)
def test_a_simulator_that_is_closed_is_not_touched(live: Live, use: Callable[[Any], Any]) -> None:
    """A segmentation fault in ``report``; an Abort here is no Exception."""
    sim = live("0.2.2", audio=False)
    sim.close()
    with pytest.raises(BadInput, match="simulator is closed; open a new one"):
        use(sim)


@pytest.mark.parametrize(
    "use",
    [
        lambda habitat: habitat.listener(),
        lambda habitat: habitat.rooms(),
        lambda habitat: habitat.room(),
        lambda habitat: habitat.navmesh,
        lambda habitat: habitat.scene([TO_THE_RIGHT]),
        lambda habitat: habitat.listen([TO_THE_RIGHT]),
        lambda habitat: habitat.sample_scene(np.random.default_rng(0)),
        lambda habitat: habitat.test_sensor(),
    ],
)
def test_a_simulator_that_was_closed_meanwhile(live: Live, use: Callable[[Habitat], Any]) -> None:
    sim = live("branch")
    habitat = Habitat.from_simulator(sim)
    sim.close()
    with pytest.raises(BadInput, match="simulator is closed"):
        use(habitat)
    habitat.close()


def test_an_environment_of_a_simulator_that_was_closed(live: Live) -> None:
    """``reset`` raised an IndexError, or ended the process."""
    sim = live("0.3.4")
    env = SimulatorEnv(sim)
    sim.close()
    for call in (env.reset, lambda: env.step(0)):
        with pytest.raises(BadInput, match="simulator is closed"):
            call()


def test_keys_of_actions_are_numbers_if_habitat_has_them_so(live: Live) -> None:
    sim = live("0.3.3", actions={1: "move_forward", 2: "turn_left"})
    env = SimulatorEnv(sim)
    assert env.actions == [1, 2]
    before, _ = env.reset()
    after, *_ = env.step(0)
    assert after["position_m"][2] == pytest.approx(before["position_m"][2] - 0.25, abs=1e-3)


def test_one_agent_acts_and_hears(live: Live, echo: str) -> None:
    """Agent 0 acted and agent 1 heard."""
    sim = live("0.3.3", agents=2)
    env = HabitatHearing(sim, [NOISE], [TO_THE_RIGHT], model=echo, options={"agent_id": 1}, window_s=0.25)
    env.reset()
    left = env.get_wrapper_attr("actions").index("turn_left")
    observation, *_ = env.step(left)
    env.step(0)
    assert sim.get_agent(0).get_state().rotation.y == pytest.approx(0, abs=1e-4)
    assert sim.get_agent(1).get_state().rotation.y == pytest.approx(np.sqrt(0.5), abs=1e-4)
    assert observation["rotation_wxyz"][2] == pytest.approx(np.sqrt(0.5), abs=1e-4)
    with pytest.raises(BadInput, match="habitat has no agent 2; agents are counted from 0"):
        as_gymnasium(sim, agent_id=2)


@pytest.mark.parametrize(
    "sources",
    [
        np.array([TO_THE_RIGHT]),
        lambda env: np.array([TO_THE_RIGHT], np.float32),
        [house.Vector3(TO_THE_RIGHT)],
        lambda env: [Source(TO_THE_RIGHT)],
    ],
    ids=["array", "function", "magnum", "Source"],
)
def test_sources_come_in_any_form(live: Live, echo: str, sources: Any) -> None:
    """An array was asked whether it is true."""
    env = HabitatHearing(live("branch"), [NOISE], sources, model=echo, window_s=0.25)
    observation, _ = env.reset()
    assert observation["audio/direction"][0, 0] > 0.9


def test_sources_that_are_none_are_told(live: Live, echo: str) -> None:
    env = HabitatHearing(live("branch"), [NOISE], np.array(TO_THE_RIGHT), model=echo)
    with pytest.raises(BadInput, match=r"sources must be positions \(x, y, z\) in metres, one for each sound"):
        env.reset()
    with pytest.raises(BadInput, match="there are 0 sources but 1 sounds"):
        HabitatHearing(live("branch"), [NOISE], np.zeros((0, 3)), model=echo).reset()


def test_a_seed_reaches_the_simulator_and_cameras_stay(live: Live) -> None:
    sim = live("0.3.3")
    sim.add_sensor(stand_in.Camera())
    env = SimulatorEnv(sim)
    assert env.observation_space["color_sensor"] == gym.spaces.Box(0, 255, (4, 6, 4), np.uint8)
    first, _ = env.reset(seed=2**32 + 7)
    assert sim.seeds == [7], "habitat-sim takes seeds below 2³²"
    second, *_, info = env.step(0)
    assert second["color_sensor"][0, 0, 0] == first["color_sensor"][0, 0, 0] + 1, "one image a step"
    assert info == {"collided": False}
    assert env.observation_space.contains(second)


def test_cameras_of_habitat_lab_s_simulator_are_as_its_steps_show_them(live: Live) -> None:
    """Its sensors take the alpha away, so that the image of a reset and the simulator's own differ."""

    class Suite:
        def get_observations(self, shown: dict[str, Any]) -> dict[str, Any]:
            return {"rgb": shown["color_sensor"][..., :3]}

    class HabitatSim(type(live("0.3.4"))):  # type: ignore[misc]
        sensor_suite = Suite()

        def reset(self) -> dict[str, Any]:
            return self.sensor_suite.get_observations(super().reset())

        def step(self, action: Any) -> dict[str, Any]:
            found = super().step(action) if isinstance(action, dict) else super().step({0: action})[0]
            return found if isinstance(action, dict) else self.sensor_suite.get_observations(found)

    plain = live("0.3.4")
    sim = HabitatSim(plain.config)
    sim.add_sensor(stand_in.Camera())
    env = SimulatorEnv(sim)
    assert env.observation_space["rgb"].shape == (4, 6, 3)
    for observation in (env.reset()[0], env.step(0)[0]):
        assert env.observation_space.contains(observation)


def test_closing_ends_the_engine(live: Live, echo: str, engines: list[Any]) -> None:
    """Its worker process lived on; a new episode needs no new one."""
    env = HabitatHearing(live("0.3.3", audio=False), [NOISE], [TO_THE_RIGHT], model=echo)
    ended: list[bool] = []
    env.reset()
    engines[0].close = lambda: ended.append(True)
    env.reset()
    assert ended == []
    env.close()
    assert ended == [True]
    assert len(engines) == 1


def test_placements_stay_in_the_room(live: Live) -> None:
    """``dataset rirs --simulator habitat --rooms 2 --count 8`` was refused."""
    habitat = Habitat.from_simulator(live("0.3.3"), audio="engine")
    first = habitat.sample_scene(np.random.default_rng(5), 2)
    room = habitat.room_of(first.listener)
    placed = habitat.sample_placements(first, np.random.default_rng(1), 6)
    assert len({scene.listener.position_m for scene in (first, *placed)}) == 7
    for scene in placed:
        assert (scene.room, len(scene.sources)) == (first.room, 2)
        assert habitat.room_of(scene.listener) == room
        assert all(room.contains(source.position_m) for source in scene.sources)
    assert habitat.sample_placements(first, np.random.default_rng(1), 6) == placed
    assert another_placement(habitat, first, np.random.default_rng(1)) == placed[0]
    outside = dataclasses.replace(first, listener=dataclasses.replace(first.listener, position_m=(40.0, 1.7, 0.0)))
    with pytest.raises(BadInput, match="stands in no room of the habitat scene"):
        habitat.sample_placements(outside, np.random.default_rng(1), 1)


def test_a_set_of_rirs_is_made_by_the_command(
    live: Live, mesh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very command, in this process: two rooms, four placements in each."""
    live("0.3.4", audio=False)
    monkeypatch.setitem(sys.modules, "quaternion", sys.modules["habitat_sim"])
    (tmp_path / "house.scene_dataset_config.json").write_text("{}")
    command = ["dataset", "rirs", "--simulator", "habitat", "--rooms", "2", "--count", "8", "--seed", "3"]
    command += ["--simulator-option", f"scene={mesh}", "--out", str(tmp_path / "set"), "--workers", "1"]
    command += ["--simulator-option", f"dataset={tmp_path / 'house.scene_dataset_config.json'}"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    (table,) = (tmp_path / "set").rglob("*.json")
    rows = json.loads(table.read_text())["data"]
    assert len(rows) == 8
    assert len({(row["sensor_position"], row["source_position"]) for row in rows}) == 8
    assert {round(float(row["sensor_position"].split(",")[1]), 3) for row in rows} <= {1.7, 4.7}, "ears, on two floors"


def test_a_glb_that_habitat_laid_on_its_side_is_explained(live: Live, mesh: Path) -> None:
    """Without a data set configuration it does that to every .glb; the message said the opposite."""
    sim = live("0.3.4", audio=False)
    sim.config.sim_cfg.scene_dataset_config_file = "default"
    with pytest.raises(BadInput, match=r'on its side if y is up in it: .*"up": \[0, 1, 0\], "front": \[0, 0, -1\]'):
        Habitat.from_simulator(sim).scene([TO_THE_RIGHT])
    assert Habitat.from_simulator(sim, mesh=str(mesh)).scene([TO_THE_RIGHT]).room.path == str(mesh)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("up", "front", "corner"),
    [((0, 1, 0), (1, 0, 0), (2, 1, -3)), ((0, 0, 1), (0, 1, 0), (3, 2, -1)), ((0, 1, 0), (0, 0, -1), (3, 1, 2))],
)
def test_the_engine_s_mesh_is_turned_as_habitat_turned_it(
    live: Live, tmp_path: Path, up: Any, front: Any, corner: Any
) -> None:
    """The corner (3, 1, 2) of a box at the origin, by hand: what is front becomes −z, what is up +y."""
    trimesh = pytest.importorskip("trimesh")
    box = tmp_path / "box.glb"
    trimesh.creation.box(bounds=[(0, 0, 0), (3, 1, 2)]).export(box)
    sim = live("0.3.4", audio=False)
    settings = sim.config.sim_cfg
    settings.scene_id, settings.scene_dataset_config_file = str(box), "boxes.scene_dataset_config.json"
    settings.orient_up, settings.orient_front = up, front
    np.testing.assert_allclose(rotation_of(sim) @ (3, 1, 2), corner, atol=1e-6)
    turned = Path(upright_mesh(sim, str(box), str(tmp_path)))
    found = open_mesh(turned)[0].vertices
    np.testing.assert_allclose(sorted([*found.min(axis=0), *found.max(axis=0)]), sorted([0, 0, 0, *corner]), atol=1e-5)
    assert (turned == box) == (tuple(corner) == (3, 1, 2))
    assert Path(upright_mesh(sim, str(box), str(tmp_path))) == turned


def test_without_a_navmesh_the_advice_can_be_followed(live: Live) -> None:
    with pytest.raises(BadInput, match=r"\.navmesh file beside it, or pass a live simulator that has a camera"):
        Habitat.from_simulator(live("0.3.3", navmesh=False), audio="engine").sample_scene(np.random.default_rng(0))


def test_a_scene_that_habitat_cannot_open_is_told(live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live("0.3.4", audio=False)
    monkeypatch.setitem(sys.modules, "quaternion", sys.modules["habitat_sim"])
    broken = tmp_path / "broken.glb"
    broken.write_bytes(b"not a mesh")
    with pytest.raises(BadInput, match=r"cannot open scene '.*broken\.glb' \(ESP_CHECK failed: .*complete\?"):
        _ = Habitat(HabitatConfig(scene=str(broken))).sim
