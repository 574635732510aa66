"""What joining looks gives an agent that walks: the same looks alone, joined with its place known, and without.

The scripted agent, which hears each look alone, walks through episodes of ``AudioGoal-v0``; the joined directions are
made beside, of the same looks, and change nothing. Of each: how far the strongest source's direction is off, and by
what part its distance, over all steps in which something is heard.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_walking.py [--episodes 50] [--first 1040] [--farthest 12]

With ``--head FILE`` every room is heard by one of these heads.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.table import Table

from bat_agent.hearing.turning import MEMORY_S
from bat_agent.scene import unit_vector
from bat_agent_envs import SpatialHearing
from bat_agent_envs.heading import Arrays, Head
from bat_agent_envs.navigation import DEFAULT_OPTIONS
from bat_agent_envs.scripted import ScriptedAgent

FAR_DEG = 45.0
Off = tuple[float, float]
"""Degrees, and the absolute natural logarithm of a distance by what it truly is."""


class Beside(Head):
    """The head of an agent that hears each look alone, with other heads that hear what it hears."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.others = {"joined, place known": Head(MEMORY_S), "joined, no place": Head(MEMORY_S)}
        self.said: dict[str, tuple[np.ndarray, float]] = {}

    def begin(self) -> None:
        super().begin()
        for other in self.others.values():
            other.begin()

    def face(self, t_s: float, heading_deg: float) -> None:
        super().face(t_s, heading_deg)
        for other in self.others.values():
            other.face(t_s, heading_deg)

    def stand(self, place_m: tuple[float, float]) -> None:
        super().stand(place_m)
        self.others["joined, place known"].stand(place_m)

    def look(self, heard: Arrays, t_s: float, window: Any, new_s: float) -> None:
        raw = {name: values.copy() for name, values in heard.items()}
        super().look(heard, t_s, window, new_s)
        self.said = {"alone": (heard["direction"][0].copy(), float(heard["distance"][0]))}
        for name, other in self.others.items():
            arrays = {key: values.copy() for key, values in raw.items()}
            other.look(arrays, t_s, window, new_s)
            self.said[name] = arrays["direction"][0], float(arrays["distance"][0])


def walk(env: SpatialHearing, agent: ScriptedAgent, head: Beside, seed: int, off: dict[str, list[Off]]) -> None:
    """One episode; adds how far each is off in each step that heard something new."""
    observation, _ = env.reset(seed=seed)
    agent.reset(seed)
    ended = False
    while not ended:
        observation, _, terminated, truncated, info = env.step(agent.act(observation))
        ended = terminated or truncated
        truth = np.array(unit_vector(info["truth"]["azimuth_deg"], info["truth"]["elevation_deg"]))
        if info["bat"]["fresh"] and observation["audio/valid"][0] > 0:
            for name, (said, distance_m) in head.said.items():
                deg = float(np.degrees(np.arccos(np.clip(said @ truth, -1, 1))))
                off[name].append((deg, abs(float(np.log(distance_m / info["truth"]["distance_m"])))))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--first", type=int, default=1040, help="seed of the first episode")
    parser.add_argument("--farthest", type=float, default=12.0, help="metres of way to the goal at most")
    parser.add_argument("--head", help="file of heads, such as $BAT_SHARED/data/hrtf/cipic_30_heads_32k.npz")
    given = parser.parse_args()
    heads = None if given.head is None else {**DEFAULT_OPTIONS["shoebox"], "head": given.head}
    room = gym.make(
        "bat_agent_envs/AudioGoal-v0", disable_env_checker=True, most_way_m=given.farthest, simulator_options=heads
    )
    env = SpatialHearing(room, keys=ScriptedAgent.keys, turn_key="pose", place_key="pose", joined_s=0)
    agent, head = ScriptedAgent(env), Beside()
    env.hearing._heads[0] = head
    off: dict[str, list[Off]] = defaultdict(list)
    for seed in range(given.first, given.first + given.episodes):
        walk(env, agent, head, seed, off)
    table = Table(
        "",
        "looks",
        "mean",
        "median",
        f"over {FAR_DEG:g}°",
        "distance off by",
        title=f"{given.episodes} walks, bat-small",
    )
    for name, found in off.items():
        deg, times = np.array(found).T
        far, away = f"{100 * np.mean(deg > FAR_DEG):.0f} %", f"{100 * np.expm1(np.mean(times)):.0f} %"
        table.add_row(name, f"{len(found)}", f"{np.mean(deg):.1f}°", f"{np.median(deg):.1f}°", far, away)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
