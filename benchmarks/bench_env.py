"""What ears cost an environment: steps a second with and without them, one by one and as a vector.

Sections: ``alone`` (AudioGoal-v0 that renders and hears in every step, and where its time goes), ``vector`` (several of
them as a vector next to the same ones in turn, in rounds that alternate), ``overhead`` (the wrapper without inference
around an environment that costs nothing), ``memory`` (resident set over many steps with a model that computes next to
nothing), ``builds`` (a look, and steps quiet and beside a busy process, of another commit, of this build, and of this
build with the export ``lite``; equal sounds). Who renders in workers has one thread of torch in each; the parent's
threads are named in each row.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_env.py [--sections alone,vector] [--steps 50000] [--envs 8]
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from builds import compare
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from rich.console import Console
from rich.table import Table

from bat_agent.agent import Bat, ModelConfig
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner
from bat_agent_envs import SpatialHearing, VectorSpatialHearing
from bat_agent_envs.options import DEFAULT_KEYS

console = Console(width=120)
STEPS_PER_S, TIMES_FASTER, OVERHEAD_MS, GROWTH_PERCENT = 20.0, 3.0, 0.5, 1.0
"""What is aimed at."""
NEVER = 10**9
SETTLED = 5_000
"""Steps after which memory should grow no more."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
asked = argparse.Namespace(
    against="838b0b4", rounds=5, threads=CORES, envs=8, steps=50_000, model="bat-small", window=2.0
)
Step = Callable[[], object]


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def audio_goal() -> gym.Env[Any, Any]:
    return gym.make("bat_agent_envs/AudioGoal-v0", disable_env_checker=True)


def moves(seed: int) -> Iterator[int]:
    """Ahead, left and right by lot; who stops hears no more."""
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.integers(3, size=1000).tolist()


class Walk:
    """Steps an environment for ever, with its resets."""

    def __init__(self, env: gym.Env[Any, Any], seed: int = 0) -> None:
        self.env, self._moves = env, moves(seed)
        env.reset(seed=seed)

    def __call__(self) -> dict[str, Any]:
        *_, terminated, truncated, info = self.env.step(next(self._moves))
        if terminated or truncated:
            self.env.reset()
        return info


# --- one environment ---


class Timed(gym.Wrapper[Any, Any, Any, Any]):
    """Adds up what the environment itself takes."""

    seconds = 0.0

    def _timed(self, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        found = work()
        self.seconds += time.perf_counter() - began
        return found

    def reset(self, **options: Any) -> Any:
        return self._timed(lambda: self.env.reset(**options))

    def step(self, action: Any) -> Any:
        return self._timed(lambda: self.env.step(action))


def split_of(walk: Walk, inner: Timed, count: int) -> np.ndarray:
    """(3,) ms a step over ``count`` steps: all of it, the environment, the model."""
    inner.seconds, heard_ms = 0.0, 0.0
    began = time.perf_counter()
    for _ in range(count):
        info = walk()
        heard_ms += float(info["bat"]["latency"]) if "bat" in info and info["bat"]["fresh"] else 0.0
    return np.array([1000 * (time.perf_counter() - began), 1000 * inner.seconds, heard_ms]) / count


def alone() -> None:
    """Rounds of one episode's length; of each row the fastest counts."""
    listening: dict[str, dict[str, Any] | None] = {
        "without ears": None,
        f"ears, {asked.window:g} s": {},
        f"ears, {asked.window:g} s, forgetting at turns": {"turn_key": "pose"},
        f"ears, {asked.window:g} s, every 4th step": {"every_k_steps": 4},
    }
    walks = {}
    for name, options in listening.items():
        inner = Timed(audio_goal())
        env = inner if options is None else SpatialHearing(inner, asked.model, window_s=asked.window, **options)
        walks[name] = (Walk(env), inner)
        split_of(*walks[name], 10)
    rounds = [{name: split_of(*walk, 150) for name, walk in walks.items()} for _ in range(asked.rounds)]
    rows = []
    for name in walks:
        whole, inside, model = min((found[name] for found in rounds), key=lambda found: float(found[0]))
        rate = 1000 / whole
        parts = [f"{part:.2f} ms" for part in (whole, inside, model, whole - inside - model)]
        rows.append([name, f"{rate:.1f}", *parts, f"{rate / STEPS_PER_S:.2f}"])
    columns = ["", "steps/s", "a step", "environment", "model", "rest", f"to {STEPS_PER_S:g} steps/s"]
    show(f"AudioGoal-v0, {asked.model}, 1 thread, resets included", columns, rows)


# --- many ---


@dataclass
class Contestant:
    """Takes a step of all environments, again and again."""

    name: str
    step: Step
    threads: int = 1
    workers: Sequence[int] = ()
    best_s: float = float("inf")
    here_s: float = 0.0
    """Processor time of this process, all rounds together; ``there_s`` that of the workers."""
    there_s: float = 0.0

    def play(self, steps: int) -> None:
        torch.set_num_threads(self.threads)
        here, there, began = time.process_time(), processor_s(self.workers), time.perf_counter()
        for _ in range(steps):
            self.step()
        self.best_s = min(self.best_s, (time.perf_counter() - began) / steps)
        self.here_s += time.process_time() - here
        self.there_s += processor_s(self.workers) - there


def processor_s(workers: Sequence[int]) -> float:
    """What processes have computed so far (Linux; 0 elsewhere)."""
    stats = [Path(f"/proc/{worker}/stat") for worker in workers]
    fields = [stat.read_text().rpartition(")")[2].split() for stat in stats if stat.exists()]
    return sum(int(found[11]) + int(found[12]) for found in fields) / os.sysconf("SC_CLK_TCK")


def in_turn(count: int) -> Step:
    walks = [Walk(SpatialHearing(audio_goal(), asked.model, window_s=asked.window), seed) for seed in range(count)]
    return lambda: [walk() for walk in walks]


def as_vector(envs: VectorEnv[Any, Any, Any], count: int) -> Step:
    acting = [moves(seed) for seed in range(count)]
    envs.reset(seed=0)
    return lambda: envs.step(np.array([next(each) for each in acting]))


def heard_audio_goal(model: str, window_s: float) -> gym.Env[Any, Any]:
    torch.set_num_threads(1)
    return SpatialHearing(audio_goal(), model, window_s=window_s)


def vector() -> None:
    """The same work by each contestant, in turns; of each the fastest round counts."""
    count, steps, threads = asked.envs, 12, asked.threads
    # Workers come first: they must not be forked from a process whose torch has started threads.
    rendering = AsyncVectorEnv([audio_goal] * count)
    hearing = AsyncVectorEnv([partial(heard_audio_goal, asked.model, asked.window)] * count)
    ears: dict[str, Any] = {"model": asked.model, "window_s": asked.window}
    one_by_one = in_turn(count)
    together = as_vector(VectorSpatialHearing(rendering, **ears), count)
    here = as_vector(VectorSpatialHearing(SyncVectorEnv([audio_goal] * count), **ears), count)
    apart = as_vector(hearing, count)
    pids, others = ([process.pid or 0 for process in envs.processes] for envs in (rendering, hearing))
    contestants = [Contestant("one by one, 1 thread", one_by_one)]
    if threads > 1:
        contestants.append(Contestant(f"one by one, {threads} threads", one_by_one, threads))
    contestants.append(Contestant("one batch, no workers, 1 thread", here))
    contestants.append(Contestant("one batch, workers render, 1 thread", together, 1, pids))
    if threads > 1:
        contestants.append(Contestant(f"one batch, workers render, {threads} threads", together, threads, pids))
    contestants.append(Contestant("workers render and hear, 1 thread", apart, 1, others))
    for contestant in contestants:
        contestant.play(steps)  # until windows are full
        contestant.best_s, contestant.here_s, contestant.there_s = float("inf"), 0.0, 0.0
    for _ in range(asked.rounds):
        for contestant in contestants:
            contestant.play(steps)
    torch.set_num_threads(1)
    show_vector(contestants, count, asked.rounds * steps)
    rendering.close()
    hearing.close()


def show_vector(contestants: list[Contestant], count: int, steps: int) -> None:
    """Beside what was measured, what it would be if nothing else ran and work in workers were shared out evenly.

    Threads of torch that wait for a busy core spin, which counts as work: the last column is then too low.
    """
    rows = []
    first = contestants[0]
    alone_s = first.here_s / steps
    for each in contestants:
        here_s, there_s = each.here_s / steps, each.there_s / steps
        free_s = here_s / each.threads + there_s / min(CORES, count)
        taken = [f"{1000 * taken_s:.0f} ms" for taken_s in (each.best_s, here_s, there_s)]
        rate, times, at_best = count / each.best_s, first.best_s / each.best_s, alone_s / free_s
        rows.append([each.name, *taken, f"{rate:.1f}", f"{times:.2f}", f"{at_best:.2f}"])
    columns = ["", "a step", "cpu here", "workers", "steps/s", f"faster (≥ {TIMES_FASTER:g})", "if cores were free"]
    show(f"{count} × AudioGoal-v0, {asked.model}, {asked.window:g} s, {CORES} cores", columns, rows)


# --- what the wrapper itself costs ---


class Cheap(gym.Env[Any, Any]):
    """Faint noise that is made once; episodes of 200 steps."""

    step_s = 0.25

    def __init__(self, rate_hz: int = 32_000) -> None:
        self.sample_rate_hz = rate_hz
        samples = round(self.step_s * rate_hz)
        self._sound = (0.1 * np.random.default_rng(0).standard_normal((3, 2, samples))).astype(np.float32)
        box = gym.spaces.Box(-np.inf, np.inf, (2, samples), np.float32)
        self.observation_space = gym.spaces.Dict({"audio": box})
        self.action_space = gym.spaces.Discrete(3)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._steps = 0
        return {"audio": self._sound[0]}, {}

    def step(self, action: int) -> Any:
        self._steps += 1
        return {"audio": self._sound[action]}, 0.0, self._steps >= 200, False, {}


def milliseconds(step: Step, count: int = 400) -> float:
    """Of a call: the fastest of several rounds."""
    found = []
    for _ in range(max(asked.rounds, 3)):
        began = time.perf_counter()
        for _ in range(count):
            step()
        found.append(1000 * (time.perf_counter() - began) / count)
    return min(found)


def overhead() -> None:
    """The model listens in the first step of an episode and never again; that step is paid for by 200 others."""
    unheard = {"every_k_steps": NEVER, "window_s": asked.window}
    kinds: dict[str, tuple[int, dict[str, Any]]] = {
        "as it comes": (32_000, {}),
        "sound of 48 kHz": (48_000, {}),
        "the waveform asked for, too": (32_000, {"keys": (*DEFAULT_KEYS, "waveform")}),
    }
    rows = []
    with stub() as model:
        for name, (rate_hz, options) in kinds.items():
            bare = milliseconds(Walk(Cheap(rate_hz)))
            wrapped = milliseconds(Walk(SpatialHearing(Cheap(rate_hz), model, **unheard, **options)))
            rows.append(overhead_row(f"SpatialHearing, {name}", bare, wrapped))
        count = asked.envs
        inner = SyncVectorEnv([Cheap] * count)
        bare = milliseconds(as_vector(SyncVectorEnv([Cheap] * count), count)) / count
        heard = VectorSpatialHearing(inner, model, **unheard)
        rows.append(overhead_row(f"one of {count}", bare, milliseconds(as_vector(heard, count)) / count))
    columns = ["", "bare step", "wrapped", "overhead", f"to {OVERHEAD_MS:g} ms"]
    show("an environment that costs nothing, and no inference", columns, rows)


def overhead_row(name: str, bare: float, wrapped: float) -> list[str]:
    cost = wrapped - bare
    return [name, f"{bare:.4f} ms", f"{wrapped:.4f} ms", f"{cost:.4f} ms", f"{cost / OVERHEAD_MS:.2f}"]


@contextmanager
def stub() -> Iterator[str]:
    """Folder of a model that hears from level alone."""
    parts = {"name": "echo", "options": {"token_dim": 8}}
    with tempfile.TemporaryDirectory() as folder:
        encoder, reasoner = EchoEncoder(EchoEncoderConfig(token_dim=8)), EchoReasoner(EchoReasonerConfig(token_dim=8))
        Bat(ModelConfig("echo", parts, parts), encoder, reasoner).save_pretrained(folder)
        yield folder


# --- memory ---


def resident_mib() -> float:
    """Of this process, now (Linux)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory() -> None:
    """Noise is heard in every step; the resident set is read at some of them."""
    marks = sorted({min(SETTLED, asked.steps // 2), *(round(asked.steps * share) for share in (0.25, 0.5, 0.75, 1.0))})
    seen: list[float] = []
    with stub() as model:
        walk = Walk(SpatialHearing(Cheap(48_000), model, window_s=asked.window))
        for number in range(1, asked.steps + 1):
            walk()
            if number in marks:
                seen.append(resident_mib())
    rows = [
        [f"{mark}", f"{mib:.1f} MiB", f"{100 * (mib / seen[0] - 1):+.2f} %"]
        for mark, mib in zip(marks, seen, strict=True)
    ]
    columns = ["steps", "resident set", f"growth (aim under {GROWTH_PERCENT:g} %)"]
    show("SpatialHearing, sound of 48 kHz, a model that computes next to nothing", columns, rows)


def builds() -> None:
    """This build and that of ``--against``, in processes of their own, one after the other."""
    columns = ["", asked.against, "this build", "with lite (int8)", "times better", "lite"]
    show(f"{asked.model}, {asked.against} and this build", columns, compare(asked.against, asked.model))


SECTIONS: dict[str, Callable[[], None]] = {
    "alone": alone, "vector": vector, "overhead": overhead, "memory": memory, "builds": builds,
}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", default=",".join(SECTIONS), help="separated by commas")
    parser.add_argument("--model", default=asked.model, help="a shipped model or a folder")
    parser.add_argument("--against", default=asked.against, help="commit of the other build in the section builds")
    parser.add_argument("--window", type=float, default=asked.window, help="seconds that are listened to")
    parser.add_argument("--rounds", type=int, default=asked.rounds)
    parser.add_argument("--threads", type=int, default=asked.threads, help="of torch in the section vector, beside one")
    parser.add_argument("--envs", type=int, default=asked.envs, help="environments of the section vector")
    parser.add_argument("--steps", type=int, default=asked.steps, help="of the section memory")
    parser.parse_args(namespace=asked)
    torch.set_num_threads(1)
    for section in asked.sections.split(","):
        SECTIONS[section]()


if __name__ == "__main__":
    main()
