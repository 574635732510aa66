"""A real habitat-sim, of any build, wherever one can be imported: the self-test of doctor, and what users do.

Nothing here is a stand-in. Elsewhere it skips and says why; what was run with which build stands in docs/habitat.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent_envs.old_gym import SimulatorEnv, as_gymnasium
from bat_agent_soundspaces.habitat import Habitat, report
from bat_agent_soundspaces.habitat_check import NAMES, House, try_habitat
from bat_agent_soundspaces.habitat_opening import missing_habitat

LACKING = missing_habitat()
pytestmark = pytest.mark.skipif(LACKING is not None, reason=f"no habitat-sim to run: {(LACKING or ('',))[0]}")


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[bool, str]]:
    return {name: (ok, what) for name, ok, what, _ in try_habitat()}


@pytest.mark.parametrize("name", NAMES)
def test_the_self_test_passes(found: dict[str, tuple[bool, str]], name: str) -> None:
    ok, what = found[name]
    print(f"{name}: {what}")
    assert ok, what


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("house"))


@pytest.fixture
def sim(house: House) -> Iterator[Any]:
    opened = house.open()
    yield opened
    opened.close()


def open_with(house: House, agents: int = 1, actions: dict[Any, Any] | None = None) -> Any:
    import habitat_sim

    settings = habitat_sim.SimulatorConfiguration()
    settings.scene_id, settings.scene_dataset_config_file = str(house.mesh), str(house.dataset)
    configs = [habitat_sim.agent.AgentConfiguration() for _ in range(agents)]
    for config in configs if actions else ():
        config.action_space = actions
    return habitat_sim.Simulator(habitat_sim.Configuration(settings, configs))


def test_a_bare_simulator_walks_and_is_seeded(sim: Any) -> None:
    env = SimulatorEnv(sim)
    first, _ = env.reset(seed=2**32 + 1)
    ahead, *_, info = env.step(env.actions.index("move_forward"))
    assert np.linalg.norm(ahead["position_m"] - first["position_m"]) == pytest.approx(0.25, abs=0.01)
    assert "collided" in info
    assert env.observation_space.contains(ahead)
    again, _ = env.reset()
    np.testing.assert_allclose(again["position_m"], first["position_m"], atol=1e-5)


def test_one_of_two_agents_acts(house: House) -> None:
    sim = open_with(house, agents=2)
    env = as_gymnasium(sim, agent_id=1)
    env.reset()
    before = [sim.get_agent(agent).get_state().position.copy() for agent in (0, 1)]
    env.step(0)
    after = [sim.get_agent(agent).get_state().position for agent in (0, 1)]
    assert np.linalg.norm(after[0] - before[0]) < 1e-6 < np.linalg.norm(after[1] - before[1])
    sim.close()


def test_actions_may_have_numbers_for_keys(house: House) -> None:
    from habitat_sim.agent import ActionSpec, ActuationSpec

    sim = open_with(house, actions={7: ActionSpec("move_forward", ActuationSpec(amount=0.5))})
    env = SimulatorEnv(sim)
    assert env.actions == [7]
    first, _ = env.reset()
    after, *_ = env.step(0)
    assert np.linalg.norm(after["position_m"] - first["position_m"]) == pytest.approx(0.5, abs=0.01)
    sim.close()


def test_a_closed_simulator_is_told(house: House) -> None:
    sim = open_with(house)
    env, habitat = SimulatorEnv(sim), Habitat.from_simulator(sim)
    sim.close()
    for use in (env.reset, lambda: env.step(0), habitat.listener, habitat.rooms, lambda: report(sim)):
        with pytest.raises(BadInput, match="simulator is closed"):
            use()


def test_a_replaced_simulator_is_found(house: House) -> None:
    holder = type("Holder", (), {})()
    holder.sim = open_with(house)
    habitat = Habitat.from_simulator(holder)
    habitat.listener()
    holder.sim.close()
    holder.sim = open_with(house)
    assert np.isfinite(habitat.listener().position_m).all()
    holder.sim.close()


@pytest.mark.skipif("BAT_HABITAT_NAVMESH" not in os.environ, reason="BAT_HABITAT_NAVMESH=scene.glb with a .navmesh")
def test_scenes_are_drawn_where_there_is_a_navmesh() -> None:
    scene = Path(os.environ["BAT_HABITAT_NAVMESH"])
    import bat_agent

    habitat = bat_agent.load_simulator("habitat", scene=str(scene), audio="engine")
    first = habitat.sample_scene(np.random.default_rng(0), 2)
    assert len(habitat.sample_placements(first, np.random.default_rng(1), 4)) == 4  # type: ignore[attr-defined]
