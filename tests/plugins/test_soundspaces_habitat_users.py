"""What users of habitat and SoundSpaces do, and what a real habitat-sim answered: each of these failed once."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from bat_agent.agent import Bat, ModelConfig
from bat_agent.datasets.placements import another_placement
from bat_agent.errors import BadInput
from bat_agent.scene import Source
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner
from bat_agent_envs import HabitatHearing
from bat_agent_envs.old_gym import SimulatorEnv, as_gymnasium, converted
from bat_agent_soundspaces import habitat_check, habitat_opening
from bat_agent_soundspaces.habitat import Habitat, HabitatConfig, report
from bat_agent_soundspaces.habitat_stage import rotation_of, upright_mesh
from bat_agent_soundspaces.library import open_mesh

stand_in: Any = importlib.import_module("habitat_stand_in")
lab: Any = importlib.import_module("habitat_stand_in.lab")
fixtures = importlib.import_module("habitat_stand_in.fixtures")
engines, live, mesh, real_engine = fixtures.engines, fixtures.live, fixtures.mesh, fixtures.real_engine
house = stand_in.house
Live = Callable[..., Any]
NOISE = (0.5 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)
TO_THE_RIGHT = (4.5, 1.5, 2.5)
"""Of the agent, who stands at (3, 0.2, 2.5) and faces −z."""
ACTIONS = {"stop": lab.EmptySpace(), "move_forward": lab.EmptySpace(), "turn_left": lab.EmptySpace()}
"""In the order of a configuration, which is not the alphabet's."""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> str:
    parts = {"name": "echo", "options": {"token_dim": 8}}
    encoder, reasoner = EchoEncoder(EchoEncoderConfig(token_dim=8)), EchoReasoner(EchoReasonerConfig(token_dim=8))
    folder = tmp_path_factory.mktemp("echo")
    Bat(ModelConfig("echo", parts, parts), encoder, reasoner).save_pretrained(folder / "echo")
    return str(folder / "echo")


# --- habitat-lab's environments ---


@pytest.mark.parametrize("outer", [lambda env: env, lab.RLEnv], ids=["Env", "RLEnv"])
def test_habitat_lab_s_named_actions_are_numbers(live: Live, echo: str, outer: Callable[[Any], Any]) -> None:
    """Their space was refused; and a number means another action to habitat than to its own space."""
    inner = lab.Env(live("0.3.4", audio=False), ACTIONS)
    env = HabitatHearing(outer(inner), [NOISE], [TO_THE_RIGHT], model=echo, window_s=0.25)
    assert env.action_space == gym.spaces.Discrete(3)
    assert env.get_wrapper_attr("actions") == ("move_forward", "stop", "turn_left")
    env.reset(seed=1)
    env.step(2)
    env.step(np.int64(0))
    *_, terminated, _, _ = env.step(1)
    assert inner.done == ["turn_left", "move_forward", "stop"]
    assert terminated


def test_actions_with_arguments_keep_them() -> None:
    inner = lab.Env(None, {"velocity_control": lab.Dict({"linear_velocity": lab.Box(-1, 1, (1,))}), **ACTIONS})
    env = as_gymnasium(inner)
    assert env.action_space["action"] == gym.spaces.Discrete(4)
    assert set(env.action_space["action_args"].spaces) == {"velocity_control"}
    arguments = {"velocity_control": {"linear_velocity": np.ones(1, np.float32)}}
    env.step({"action": 3, "action_args": arguments})
    assert inner.done == [{"action": "velocity_control", "action_args": arguments["velocity_control"]}]
    env.step({"action": 1, "action_args": arguments})
    assert inner.done[1:] == ["stop"]


def test_other_spaces_of_the_old_gym() -> None:
    binary, words, counted = lab.Discrete(3), lab.EmptySpace(), lab.Discrete(4)
    binary.shape, counted.start = (3,), 2
    words.space, words.max_seq_length = lab.Discrete(50), 20  # type: ignore[attr-defined]
    assert converted(binary) == gym.spaces.MultiBinary(3)
    assert converted(words) == gym.spaces.Sequence(gym.spaces.Discrete(50))
    assert converted(counted) == gym.spaces.Discrete(4, start=2)
    for nothing in (lab.EmptySpace(), lab.Discrete(0)):
        with pytest.raises(BadInput, match="no counterpart"):
            converted(nothing)


# --- SoundSpaces ---


def soundspaces(live: Live, rate_hz: int = 16_000, step_s: float = 0.25, **options: Any) -> Any:
    sound = np.random.default_rng(1).standard_normal(3 * rate_hz) * 0.1
    return lab.ContinuousSoundSpaces(lambda: live("0.2.2", audio=False), sound, rate_hz, step_s, **options)


@pytest.mark.parametrize(("rate_hz", "step_s"), [(16_000, 0.25), (44_100, 0.29)])
def test_continuous_mode_is_heard_at_its_rate_without_padding(
    live: Live, echo: str, rate_hz: int, step_s: float
) -> None:
    """The simulator inside was found first, whose configuration says neither; 74 % of the window was padding.

    At 44.1 kHz a step of 0.29 s is cut off to 12788 samples: one more would be a zero.
    """
    env = HabitatHearing(lab.SoundSpacesEnv(soundspaces(live, rate_hz, step_s), ACTIONS), model=echo, window_s=1.0)
    env.reset()
    for _ in range(4):
        observation, *_ = env.step(0)
    heard = env.hearing.window(0)
    assert heard.shape == (2, 32_000)
    # Noise has no zeros: neither a step's padding nor one sample of it.
    level = np.sqrt((heard[1].reshape(100, -1) ** 2).mean(axis=1))
    assert level.min() > 0.7 * level.max()
    intake = env.hearing._intakes[0]
    assert intake._taken == int(rate_hz * step_s)
    assert observation["audio/direction"][0, 0] > 0.9


def test_the_crossfade_of_continuous_mode_is_heard_as_it_is(live: Live, echo: str) -> None:
    """At its own 32 kHz the window is, sample for sample, what SoundSpaces faded; turning leaves no click."""
    sim = soundspaces(live, 32_000)
    env = HabitatHearing(lab.SoundSpacesEnv(sim, ACTIONS), model=echo, window_s=0.5)
    env.reset()
    env.step(2)
    heard = env.hearing.window(0)
    dry = sim.sound[:16_000]
    np.testing.assert_allclose(heard[1, :8_000], dry[:8_000] * 10**0.5, atol=1e-5)
    gain = heard[1, 8_000:] / dry[8_000:]
    fade = 10**0.5 + (1 - 10**0.5) * np.minimum(np.arange(8_000) / 1_600, 1)  # to the source straight behind: 1
    np.testing.assert_allclose(gain, fade, rtol=1e-3)


def test_settings_are_found_where_trainers_keep_them(live: Live, echo: str) -> None:
    class Config(dict):
        __getattr__ = dict.__getitem__

    sim = soundspaces(live)
    settings = Config(audio=Config(rir_sampling_rate=24_000), step_time=0.5)
    del sim.config, sim.habitat_config
    inner = lab.SoundSpacesEnv(sim, ACTIONS)
    inner.config = Config(habitat=Config(simulator=settings))
    env = HabitatHearing(inner, model=echo)
    assert env.hearing._intakes[0].sample_rate_hz == 24_000
    assert env.hearing._intakes[0]._taken == 12_000
    rendered = HabitatHearing(inner, [NOISE], [TO_THE_RIGHT], model=echo)
    assert rendered._audio.step_s == 0.5


def test_another_scene_has_another_simulator(live: Live, echo: str) -> None:
    """SoundSpaces closes its simulator and makes a new one; the old one was kept: "habitat has no agent 0"."""
    sim = lab.ContinuousSoundSpaces(lambda: live("branch"), NOISE, 16_000, 0.25)
    env = HabitatHearing(lab.SoundSpacesEnv(sim, ACTIONS), [NOISE], [TO_THE_RIGHT], model=echo, window_s=0.25)
    for _ in range(2):
        env.reset()
        observation, *_ = env.step(0)
        assert observation["audio/direction"][0, 0] > 0.9
        sim.change_scene()


def test_a_sensor_goes_with_its_simulator(live: Live) -> None:
    """The node it hung on is destroyed: to delete it there would end the process."""
    holder = type("Holder", (), {})()
    holder.sim = live("branch")
    habitat = Habitat.from_simulator(holder)
    habitat.listen([TO_THE_RIGHT])
    events = sys.modules["habitat_sim"].events  # type: ignore[attr-defined]
    events.clear()
    holder.sim.close()
    habitat.close()
    assert not any(event[0] == "delete" for event in events)
    holder.sim = live("branch")
    habitat.listen([TO_THE_RIGHT])
    holder.sim.close()
    holder.sim = live("branch")
    habitat.listen([TO_THE_RIGHT])
    habitat.close()


# --- simulators ---


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


# --- scenes ---


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


# --- doctor ---


def test_the_self_test_finds_in_the_stand_in_what_it_wants(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps that ``doctor --habitat`` and ``tests/habitat_real`` take with a real one."""
    live("branch")
    monkeypatch.setitem(sys.modules, "quaternion", sys.modules["habitat_sim"])
    for name, ok, what in habitat_check.steps(habitat_check.House(tmp_path)):
        assert ok, f"{name}: {what}"
    live("0.3.3")
    monkeypatch.setattr(sys.modules["habitat_sim"].Simulator, "close", lambda self: None)  # type: ignore[attr-defined]
    wrong = [name for name, ok, _ in habitat_check.steps(habitat_check.House(tmp_path)) if not ok]
    assert "a closed simulator" in wrong


def test_a_step_that_ends_the_process_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried in a process of its own, with a module that breaks when a simulator is made."""
    (tmp_path / "quaternion.py").write_text("")
    (tmp_path / "habitat_sim.py").write_text(
        "import os\n__version__ = '0'\nclass ShortestPath: pass\ndef SimulatorConfiguration(): os.abort()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    habitat_opening._try_import.cache_clear()
    found = habitat_check.try_habitat()
    habitat_opening._try_import.cache_clear()
    assert found[0][:2] == ("import", True)
    name, ok, what, todo = found[1]
    assert (name, ok) == ("a house", False)
    assert "it ends the process (SIGABRT)" in what
    assert todo.startswith("file an issue with these lines")
    assert len(found) == 2


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise ImportError('no module named magnum')", "cannot be imported: ImportError: no module named magnum"),
        ("import os; os.abort()", "cannot be imported: it ends the process by SIGABRT"),
        ("class ShortestPath:\n    @property\n    def requested_start(self): ...\n    @requested_start.setter\n"
         "    def requested_start(self, value):\n        import os; os.abort()",
         "cannot be given a vector: it ends the process by SIGABRT; its pybind11 is too old for numpy 2"),
        ("class ShortestPath: pass", None),
    ],
    ids=["import", "abort", "vector", "well"],
)  # fmt: skip
def test_what_is_installed_but_cannot_be_used_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, said: str | None
) -> None:
    """Doctor said "can run here" of a habitat_sim that cannot be imported."""
    (tmp_path / "habitat_sim.py").write_text(module)
    (tmp_path / "quaternion.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    habitat_opening._try_import.cache_clear()
    found = habitat_opening.missing_habitat()
    habitat_opening._try_import.cache_clear()
    assert (found is None) == (said is None)
    assert found is None or said in found[0]


# --- without torch ---


def test_a_process_without_torch_hears_through_a_server() -> None:
    """``model="http://…"`` ended in ModuleNotFoundError: torch."""
    code = """
import sys
sys.modules["torch"] = sys.modules["torchaudio"] = None
import numpy as np
import bat_agent_envs.client as client
from bat_agent.errors import BadInput

class Server:
    labels = ("dog", "cat")
    def __init__(self, url): pass
    def shapes(self): return {"slot_probs": (1, 2), "embedding": (3,)}
    def health(self): return {"model": {"clip_seconds": 10.0}}
    def arrays(self, sound):
        ahead = np.tile(np.array([[[0, 0, -1]]], np.float32), (len(sound), 1, 1))
        one = np.ones((len(sound), 1), np.float32)
        two = np.ones((len(sound), 2), np.float32)
        return dict(direction=ahead, distance=one, class_probs=two, slot_probs=two[:, None], valid=one > 0,
                    embedding=np.ones((len(sound), 3), np.float32))

client.HearingClient = Server
from habitat_stand_in import lab
from bat_agent_envs import HabitatHearing

class Sim:
    config = type("C", (), {"AUDIO": type("A", (), {"RIR_SAMPLING_RATE": 16000}), "STEP_TIME": 0.25})
    pathfinder = 1
    def get_agent(self, number): pass
    def reset(self): pass
    def step(self, action): pass

class Env(lab.Env):
    def _look(self): return {"audiogoal": np.full((2, 16000), 0.1, np.float32)}

inner = Env(Sim(), {"turn_left": lab.EmptySpace()}, {"audiogoal": lab.Box(-1, 1, (2, 16000))})
env = HabitatHearing(inner, model="http://127.0.0.1:1")
env.reset()
observation, *_, info = env.step(0)
assert observation["audio/direction"].tolist() == [[0, 0, -1]], observation
assert "dog" in info["bat"]["text"], info
try:
    HabitatHearing(inner, [np.ones(100, np.float32)], [(0, 0, 0)], model="http://127.0.0.1:1")
except BadInput as error:
    assert "needs torch" in str(error), error
else:
    raise AssertionError
"""
    folder = str(Path(__file__).parent)
    path = os.pathsep.join([entry or os.getcwd() for entry in sys.path] + [folder])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
