"""What one build of the project takes for a look and for a step; ``bench_env.py --sections builds`` runs it for two.

It knows of the project only what every build since 838b0b4 has. Prints one line of JSON: milliseconds of a look every
0.25 s over 2 s (of the clock and of the processor, the fastest of many), steps a second of ``AudioGoal-v0`` with ears
(median of rounds).

    PYTHONPATH=TREE:TREE/plugins:TREE/envs .venv/bin/python benchmarks/one_build.py looks|steps|steps-beside [MODEL]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np

WINDOW, HOP = 64_000, 8_000
BUSY = "while True: sum(range(100000))"


def looks(model: str, count: int = 40) -> dict[str, Any]:
    """Windows that follow one another, as an environment and bat-listen hear them."""
    import bat_agent

    try:
        from bat_agent.hearing.arrays import hearing_arrays
    except ModuleNotFoundError:  # builds of before
        from bat_agent.hearing_arrays import hearing_arrays  # type: ignore[import-not-found,no-redef]

    rng = np.random.default_rng(0)
    # Noise whose level and colour change: every look is of something else.
    gains = np.exp(rng.standard_normal((2, 1 + (WINDOW + count * HOP) // HOP))).repeat(HOP, axis=1)
    sound = (0.02 * gains * rng.standard_normal(gains.shape)).astype(np.float32)
    bat, clock_ms, processor_ms = bat_agent.load(model), [], []
    for number in range(count):
        window = sound[None, :, number * HOP : number * HOP + WINDOW]
        began, busy = time.perf_counter(), time.process_time()
        hearing_arrays(bat, window)
        clock_ms.append(1000 * (time.perf_counter() - began))
        processor_ms.append(1000 * (time.process_time() - busy))
    return {"clock_ms": min(clock_ms[5:]), "processor_ms": min(processor_ms[5:])}


def steps(model: str, rounds: int = 5, length: int = 30) -> dict[str, Any]:
    """Steps a second of an environment with ears that walks by lot."""
    import bat_agent_envs
    from bat_agent_envs import SpatialHearing

    assert bat_agent_envs.__name__  # registers the environments
    env = SpatialHearing(gym.make("bat_agent_envs/AudioGoal-v0", disable_env_checker=True), model)
    rng, found, busy = np.random.default_rng(0), [], []
    env.reset(seed=0)
    for number in range(rounds + 1):
        began, processor = time.perf_counter(), time.process_time()
        for _ in range(length):
            *_, terminated, truncated, _ = env.step(int(rng.integers(3)))
            if terminated or truncated:
                env.reset()
        if number:
            found.append(length / (time.perf_counter() - began))
            busy.append(length / (time.process_time() - processor))
    return {"steps_s": statistics.median(found), "steps_per_processor_s": statistics.median(busy)}


def main() -> None:
    """Measure what was asked for."""
    what, model = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "bat-small"
    if what == "looks":
        print(json.dumps(looks(model)))
        return
    other = subprocess.Popen([sys.executable, "-c", BUSY]) if what == "steps-beside" else None
    try:
        print(json.dumps(steps(model, *((3, 8) if other else ()))))
    finally:
        if other is not None:
            other.kill()


if __name__ == "__main__":
    main()
