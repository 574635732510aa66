"""How well a head that turns hears: rendered scenes in which it turns back and forth, heard step by step.

Each scene is a furnished room of ``AudioGoal-v0`` with one sound. The head turns by ±60° at one speed for 4 s; the
simulator renders each step with the head where it is. What is heard of the strongest sound is compared with the truth:

* at the end, the angle between (mean and median over scenes)
* from 2 s on, how often front and behind are told right
* between looks, how far what is held lies from what was said turned by the truth's turn (the largest)

``joined`` is the product with ``turn_key``, ``alone`` the same looks one by one, ``whole window`` without ``turn_key``;
``bat-listen`` hears the same sound as a file with its table of headings.

With ``--named`` rooms are those of ``SemanticAudioGoal-v0``, in which two sounds go on: the error is that of the one
that is named, where its class is likeliest, beside the same without the masks that tell what arrived of which sound.

With ``--head FILE`` (as the simulator ``shoebox`` takes it, such as the measured people of the CIPIC database) every
room is heard by one of these heads.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_turning.py [--scenes 100] [--steps 20,50,250] [--speeds 0,10,…]
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

import bat_agent
from bat_agent.scene import unit_vector
from bat_agent_envs import SpatialHearing
from bat_agent_envs.ears import hear_all, open_ears
from bat_agent_envs.heading import Head
from bat_agent_envs.navigation import DEFAULT_OPTIONS

SECONDS, SWING_DEG, HOP_S, WINDOW_S = 4.0, 60.0, 0.25, 2.0
FIRST_SEED = 0
Seen = dict[str, list[float]]


class Setting(NamedTuple):
    """Who hears, and where."""

    model: str
    rooms: dict[str, Any]
    """Options of the environments."""

    @classmethod
    def of(cls, model: str, head: str | None) -> Setting:
        """With rooms as they are unless a head is given."""
        options = {**DEFAULT_OPTIONS["shoebox"], "head": head}
        return cls(model, {} if head is None else {"simulator_options": options})


def heading_deg(t_s: float, speed: float) -> float:
    """Back and forth: a triangle that begins at 0 to the left."""
    place = (speed * t_s) % (4 * SWING_DEG)
    if place <= SWING_DEG:
        return place
    return 2 * SWING_DEG - place if place <= 3 * SWING_DEG else place - 4 * SWING_DEG


def steps_of(
    seed: int, step_s: float, speed: float, most_deg: float, ears: bool, setting: Setting
) -> Iterator[tuple[Any, Any, float]]:
    """Observation, info and heading of each step; ``most_deg`` is what an action of 1 turns."""
    room = gym.make(
        "bat_agent_envs/AudioGoal-v0", disable_env_checker=True, action_space="continuous", step_s=step_s,
        turn_deg=most_deg, forward_m=1e-9, max_steps=10**6, **setting.rooms,
    )  # fmt: skip
    every = max(round(HOP_S / step_s), 1)
    options: dict[str, Any] = {"turn_key": "pose"} if ears else {}
    env = SpatialHearing(room, setting.model, every_k_steps=every, window_s=WINDOW_S, keep_audio=True, **options)
    env.reset(seed=seed)
    now = 0.0
    for number in range(1, round(SECONDS / step_s) + 1):
        wanted = heading_deg(number * step_s, speed)
        turn = (wanted - now) / most_deg
        observation, _, _, _, info = env.step(np.array([0.0, -turn, 0.0], np.float32))
        now = wanted
        yield observation, info, wanted
    env.close()


def angle_deg(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(one @ other, -1, 1))))


def vector(truth: dict[str, Any]) -> np.ndarray:
    return np.array(unit_vector(truth["azimuth_deg"], truth["elevation_deg"]))


def turned(direction: np.ndarray, left_deg: float) -> np.ndarray:
    """A direction (x right, y up, z back) for a head that turned left by so much."""
    cosine, sine = np.cos(np.radians(left_deg)), np.sin(np.radians(left_deg))
    x, y, z = direction
    return np.array([cosine * x - sine * z, y, sine * x + cosine * z])


def walk(
    seed: int, step_s: float, speed: float, seen: Seen, how: str, setting: Setting
) -> tuple[np.ndarray, list[float], np.ndarray]:
    """Hear one scene; returns its sound (2, n), the heading of each step and the truth at the end."""
    sound, headings, held = [], [], 0.0
    before: tuple[np.ndarray, float] | None = None
    truth = said = np.zeros(3)
    for number, (observation, info, heading) in enumerate(
        steps_of(seed, step_s, speed, max(speed * step_s, 1e-3), how == "joined", setting), start=1
    ):
        sound.append(observation["audio"])
        headings.append(heading)
        truth, said = vector(info["truth"]), observation["audio/direction"][0]
        heard = observation["audio/valid"][0] > 0
        if heard and before is not None and not info["bat"]["fresh"]:
            held = max(held, angle_deg(said, turned(before[0], heading - before[1])))
        before = (said, heading) if heard else None
        if number * step_s >= 2.0 and info["bat"]["fresh"]:
            seen[f"{how} front"].append(float(heard and (said[2] < 0) == (truth[2] < 0)))
    seen[f"{how} error"].append(angle_deg(said, truth) if said.any() else 90.0)
    seen[f"{how} held"].append(held)
    return np.concatenate(sound, axis=1), headings, truth


def one_by_one(
    sound: np.ndarray, headings: list[float], truth: np.ndarray, step_s: float, seen: Seen, model: str
) -> None:
    """The last look alone, as ``joined_s=0`` has it."""
    head = Head(0.0)
    for number, heading in enumerate(headings, start=1):
        head.face(number * step_s, heading)
    newest = sound[:, -round(WINDOW_S * 32_000) :]
    window = newest[:, -round(head.steady_s(SECONDS, newest) * 32_000) :]
    heard = {name: values[0] for name, values in hear_all(open_ears(model), [window])[0].items()}
    head.look(heard, SECONDS, window, HOP_S)
    said = heard["direction"][0]
    seen["alone error"].append(angle_deg(said, truth) if said.any() else 90.0)


def as_file(sound: np.ndarray, headings: list[float], truth: np.ndarray, step_s: float, seen: Seen, model: str) -> None:
    """What bat-listen has at the end of the same sound."""
    with tempfile.TemporaryDirectory() as folder:
        wav, table = Path(folder) / "turning.wav", Path(folder) / "headings.csv"
        soundfile.write(wav, sound.T, 32_000, "FLOAT")
        with open(table, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("t_s", "heading_deg"))
            writer.writerows((f"{(n + 1) * step_s:.4f}", heading) for n, heading in enumerate(headings))
        *_, last = bat_agent.listen(wav, model=model, fast=True, headings=table, window_s=WINDOW_S, hop_s=HOP_S)
    source = last.sources[0].source if last.sources else None
    if source is None or source.azimuth_deg is None or source.elevation_deg is None:
        seen["bat-listen error"].append(90.0)
    else:
        said = np.array(unit_vector(source.azimuth_deg, source.elevation_deg))
        seen["bat-listen error"].append(angle_deg(said, truth))


class Unmasked:
    """Ears that do not tell which parts of the spectrogram are whose."""

    def __init__(self, ears: Any) -> None:
        self._ears = ears

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ears, name)

    def hear(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        """Without masks."""
        heard = self._ears.hear(windows)
        return {**heard, "masks": np.zeros_like(heard["masks"])}


def named_error_deg(seed: int, step_s: float, speed: float, masks: bool, setting: Setting) -> float:
    """At the end, of the one of two sounds that is named; 90 where nothing is heard."""
    most_deg = max(speed * step_s, 1e-3)
    room = gym.make(
        "bat_agent_envs/SemanticAudioGoal-v0", disable_env_checker=True, action_space="continuous", step_s=step_s,
        turn_deg=most_deg, forward_m=1e-9, max_steps=10**6, sounds_s=2 * SECONDS, sounds_s_most=2 * SECONDS,
        **setting.rooms,
    )  # fmt: skip
    env = SpatialHearing(
        room, setting.model, every_k_steps=max(round(HOP_S / step_s), 1), window_s=WINDOW_S, turn_key="pose",
        keys=("direction", "valid", "slot_probs"),
    )  # fmt: skip
    if not masks:
        env.hearing.ears = Unmasked(env.hearing.ears)  # type: ignore[assignment]
    observation, info = env.reset(seed=seed)
    now = 0.0
    for number in range(1, round(SECONDS / step_s) + 1):
        wanted = heading_deg(number * step_s, speed)
        observation, _, _, _, info = env.step(np.array([0.0, -(wanted - now) / most_deg, 0.0], np.float32))
        now = wanted
    env.close()
    heard = np.flatnonzero(observation["audio/valid"])
    if not len(heard):
        return 90.0
    likeliest = heard[observation["audio/slot_probs"][heard, observation["goal"]].argmax()]
    return angle_deg(observation["audio/direction"][likeliest], vector(info["truth"]))


def show_named(scenes: range, step_s: float, speeds: list[float], setting: Setting) -> None:
    """Both kinds of ears, side by side."""
    table = Table("turn", "without masks", "median", "with them", "median", title="joined, the named one of two sounds")
    for speed in speeds:
        errors = [[named_error_deg(seed, step_s, speed, masks, setting) for seed in scenes] for masks in (False, True)]
        cells = [f"{value:.1f}°" for kind in errors for value in (np.mean(kind), np.median(kind))]
        table.add_row(f"{speed:g}°/s", *cells)
        print(f"{speed:g}°/s", " | ".join(cells), flush=True)
    Console(width=150).print(table)


def row(step_ms: float, speed: float, seen: Seen) -> list[str]:
    """Cells; a dash for what was left out."""

    def degrees(name: str) -> str:
        return f"{np.mean(seen[name]):.1f}°" if seen[name] else "–"

    def percent(name: str) -> str:
        return f"{100 * np.mean(seen[name]):.0f} %" if seen[name] else "–"

    better = f"{np.mean(seen['whole error']) / np.mean(seen['joined error']):.1f}" if seen["whole error"] else "–"
    return [
        f"{step_ms:g} ms", f"{speed:g}°/s", degrees("whole error"), degrees("alone error"), degrees("joined error"),
        f"{np.median(seen['joined error']):.1f}°", degrees("bat-listen error"), better, percent("whole front"),
        percent("joined front"), f"{max(seen['joined held']):.2f}°",
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first scene")
    parser.add_argument("--steps", default="20,50,250", help="ms, separated by commas")
    parser.add_argument("--speeds", default="0,10,25,50,100,200", help="degrees a second")
    parser.add_argument("--only-joined", action="store_true", help="leave out what it is compared with")
    parser.add_argument("--named", action="store_true", help="two sounds; at the first of the steps alone")
    parser.add_argument("--model", default="bat-small")
    parser.add_argument("--head", help="file of heads, such as $BAT_SHARED/data/hrtf/cipic_30_heads_32k.npz")
    given = parser.parse_args()
    setting = Setting.of(given.model, given.head)
    if given.named:
        scenes = range(given.first, given.first + given.scenes)
        show_named(scenes, float(given.steps.split(",")[0]) / 1000, [*map(float, given.speeds.split(","))], setting)
        return
    columns = [
        "step", "turn", "whole window", "alone", "joined (≤ 12°)", "median", "bat-listen", "times better",
        "front, whole", "front, joined (≥ 97 %)", "held (≤ 2°)",
    ]  # fmt: skip
    table = Table(*columns, title=f"{given.model}, {given.scenes} scenes, error of the strongest source at the end")
    for step_ms in map(float, given.steps.split(",")):
        for speed in map(float, given.speeds.split(",")):
            seen: Seen = defaultdict(list)
            for seed in range(given.first, given.first + given.scenes):
                heard = walk(seed, step_ms / 1000, speed, seen, "joined", setting)
                if not given.only_joined:
                    one_by_one(*heard, step_ms / 1000, seen, given.model)
                    as_file(*heard, step_ms / 1000, seen, given.model)
                    walk(seed, step_ms / 1000, speed, seen, "whole", setting)
            cells = row(step_ms, speed, seen)
            table.add_row(*cells)
            print(" | ".join(cells), flush=True)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
