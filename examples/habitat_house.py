"""A furnished house, rendered by the SoundSpaces engine, is walked by an agent that PPO trains on what it hears.

``HabitatHearing`` wraps what gives the poses. Here that is a stand-in, ``Poses``, that walks in the mesh of a
generated house, so the example runs without habitat-sim: put your ``habitat_sim.Simulator`` in its place. A vacuum
cleaner sounds in the room where an episode begins; nearer is rewarded. Walls stop the agent, and an episode lasts
until it is within a metre, or 50 steps. It prints how fast that is and what was heard.

Run: python examples/habitat_house.py [--steps 2000] [--model bat-small]
Needs: pip install '.[soundspaces]' stable-baselines3
"""

from __future__ import annotations

import argparse
import math
import time
import types
from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO

from bat_agent.errors import BadInput
from bat_agent.registry import load_simulator
from bat_agent.scene import MeshRoom, heading_to_habitat_quaternion
from bat_agent.sound.synthesis import synthesise
from bat_agent_envs import HabitatHearing
from bat_agent_soundspaces.library import open_mesh, room_file
from bat_agent_soundspaces.placement import check_position

STEP_S, STRIDE_M, TURN_DEG = 0.5, 0.25, 30.0
EARS = np.array([0.0, 1.5, 0.0])
CHEST = np.array([0.0, 0.5, 0.0])
NEAR_M, LONGEST = 1.0, 50
SOUND = "Vacuum cleaner"


class Poses:
    """In place of a ``habitat_sim.Simulator``: one agent, who walks where the mesh of a generated house is air."""

    pathfinder = object()
    config = None

    def __init__(self, house: int) -> None:
        self.rng = np.random.default_rng(house)
        self.simulator = load_simulator("soundspaces", houses=1, houses_seed=house, rooms_per_house=4)
        self.scene = self.simulator.sample_scene(self.rng)
        assert isinstance(self.scene.room, MeshRoom)
        self.mesh_file = room_file(self.scene.room, None)
        self.mesh, _ = open_mesh(self.mesh_file)
        self.position, self.heading_deg = np.zeros(3), 0.0

    def seed(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def reset(self) -> None:
        scenes: Any = self.simulator.sample_placements(self.simulator.sample_scene(self.rng), self.rng, 1)  # type: ignore[attr-defined]
        self.scene = scenes[0]
        self.position = np.array(self.scene.listener.position_m) - EARS
        self.heading_deg = float(self.rng.uniform(0, 360))

    def step(self, action: str) -> dict[str, Any]:
        if action != "move_forward":
            self.heading_deg += TURN_DEG if action == "turn_left" else -TURN_DEG
            return {"collided": False}
        angle = math.radians(self.heading_deg)
        there = self.position + STRIDE_M * np.array([-math.sin(angle), 0.0, -math.cos(angle)])
        try:
            for part in (CHEST, EARS):
                check_position(self.mesh, there + part, "the agent")
        except BadInput:
            return {"collided": True}
        self.position = there
        return {"collided": False}

    def get_agent(self, number: int) -> Any:
        w, x, y, z = heading_to_habitat_quaternion(self.heading_deg)
        rotation = types.SimpleNamespace(w=w, x=x, y=y, z=z)
        state = types.SimpleNamespace(position=self.position, rotation=rotation)
        return types.SimpleNamespace(get_state=lambda: state)


class Nearer(gym.Wrapper[Any, Any, Any, Any]):
    """The task: metres nearer to the source are rewarded. It notes what was heard beside what was true."""

    def __init__(self, env: gym.Env[Any, Any], poses: Poses) -> None:
        super().__init__(env)
        self.poses, self.steps, self.before_m = poses, 0, 0.0
        self.errors_deg: list[float] = []
        self.labels: Counter[str] = Counter()
        self.metres: list[tuple[float, float]] = []
        self.found: list[bool] = []

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        found = self.env.reset(**options)
        self.steps, self.before_m = 0, self._metres()
        return found

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, _, _, _, info = self.env.step(action)
        self.steps += 1
        now_m = self._metres()
        reward, self.before_m = self.before_m - now_m - 0.01, now_m
        self._note(observation, info, now_m)
        near, late = now_m < NEAR_M, self.steps >= LONGEST
        if near or late:
            self.found.append(near)
        return observation, reward + 2.0 * near, near, late and not near, info

    def _to_source(self) -> np.ndarray:
        return np.subtract(self.poses.scene.sources[0].position_m, self.poses.position + EARS)

    def _metres(self) -> float:
        return float(np.linalg.norm(self._to_source()))

    def _note(self, observation: Any, info: dict[str, Any], true_m: float) -> None:
        if not observation["audio/valid"][0]:
            return
        angle = math.radians(self.poses.heading_deg)
        x, y, z = self._to_source() / true_m
        true = (x * math.cos(angle) - z * math.sin(angle), y, x * math.sin(angle) + z * math.cos(angle))
        self.errors_deg.append(math.degrees(math.acos(np.clip(observation["audio/direction"][0] @ true, -1, 1))))
        self.metres.append((true_m, float(observation["audio/distance"][0])))
        if info["bat"]["labels"]:
            self.labels[info["bat"]["labels"][0][0]] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--model", default="bat-small")
    parser.add_argument("--house", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    poses = Poses(given.house)
    ears = HabitatHearing(
        poses, [synthesise(SOUND, np.random.default_rng(0), 4.0)], lambda env: poses.scene.sources,
        step_s=STEP_S, model=given.model, window_s=STEP_S, keys=("direction", "distance", "valid"),
        options={"audio": "engine", "mesh": str(poses.mesh_file)},
    )  # fmt: skip
    # A window of one step: the head turns between steps, and what it heard before came from elsewhere.
    task = Nearer(ears, poses)
    heard = gym.wrappers.FilterObservation(task, ["audio/direction", "audio/distance", "audio/valid"])
    ppo = PPO("MultiInputPolicy", heard, n_steps=200, batch_size=100, gamma=0.98, seed=0, device="cpu")
    began = time.perf_counter()
    ppo.learn(given.steps)
    seconds = time.perf_counter() - began
    errors, metres = np.array(task.errors_deg), np.array(task.metres)
    print(f"{ppo.num_timesteps} steps in {seconds:.0f} s: {ppo.num_timesteps / seconds:.1f} a second")
    print(f"house: {len(poses.mesh.regions)} rooms, {len(poses.mesh.faces)} faces; {SOUND} at 1 to 10 m")
    print(
        f"heard in {len(errors)} steps; most often as {', '.join(f'{a} ({n})' for a, n in task.labels.most_common(3))}"
    )
    print(f"direction: {errors.mean():.1f}° off in the mean, {np.median(errors):.1f}° in the median")
    print(f"distance: {np.abs(metres[:, 0] - metres[:, 1]).mean():.2f} m off in the mean")
    print(f"episodes: {len(task.found)}, the source reached in {sum(task.found)}; last heard: {poses_text(ears)}")
    ears.close()


def poses_text(ears: HabitatHearing) -> str:
    """The last hearing in words."""
    said: str = ears.hearing.info(0, {})["text"]
    return said


if __name__ == "__main__":
    main()
