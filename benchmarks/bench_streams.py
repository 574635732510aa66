"""What a step costs an agent whose sound ``bat-agent serve --scenes`` renders, next to the same steps in one process.

A generated house, two sources. In each step of 0.25 s the agent stands, turns by 30°, or goes where it was not before;
the server renders, and perceives the last second. The client is its two files alone in the interpreters that
``--python`` names, such as those of habitat. Server and in-process run have one thread of torch.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_streams.py --python /path/to/python3.8 [--steps 20]
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import bat_agent
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, MeshRoom, Scene
from bat_agent.scenes.moving import Stream
from bat_agent_envs import client, served_sound

KINDS = ("stand", "turn", "walk")
STEP_S, WINDOW_S = 0.25, 1.0
RATE_HZ = 32_000
CLIENT = """
import json, platform, sys, time
import numpy as np
import bat_agent_client as client
from bat_agent_served_sound import HearingStream

assert "bat_agent" not in sys.modules
given = json.load(sys.stdin)
found = {"python": platform.python_version(), "numpy": np.__version__}
sounds = np.random.RandomState(0).randn(2, 64000).astype(np.float32) * np.float32(0.1)
with client.HearingClient(given["url"], given["token"], timeout_s=300.0) as ears:
    for kind, poses in given["poses"].items():
        with HearingStream(ears, given["scene"], sounds, window_s=given["window_s"]) as stream:
            waits = []
            for position, heading in poses:
                began = time.perf_counter()
                stream.step(position, heading, given["sources"], seconds=given["step_s"], want=given["want"])
                waits.append(1000 * (time.perf_counter() - began))
            found[kind] = waits[1:]
print(json.dumps(found))
"""


def poses_of(scene: Scene, steps: int) -> dict[str, list[tuple[tuple[float, float, float], float]]]:
    """Of each kind, as many steps and one to begin with; the walk stays within some centimetres, and in the room."""
    x, y, z = scene.listener.position_m
    walk = [((x + 0.002 * number, y, z), 0.0) for number in range(steps + 1)]
    return {
        "stand": [((x, y, z), 0.0)] * (steps + 1),
        "turn": [((x, y, z), 30.0 * number % 360) for number in range(steps + 1)],
        "walk": walk,
    }


def in_process(bat: Any, simulator: Any, scene: Scene, poses: list[Any], ask: bool) -> list[float]:
    sounds = np.random.RandomState(0).randn(2, 64_000).astype(np.float32) * np.float32(0.1)
    # As the server does it: each step is rendered anew.
    anew: Any = types.SimpleNamespace(sample_rate_hz=RATE_HZ, render=simulator.render)
    stream, heard, waits = Stream(anew, [torch.from_numpy(sound) for sound in sounds]), torch.zeros(2, 0), []
    for position, heading in poses:
        began = time.perf_counter()
        step = stream.step(Scene(scene.room, Listener(position, heading), scene.sources), STEP_S)
        heard = torch.cat([heard, step], dim=1)[:, -round(WINDOW_S * RATE_HZ) :]
        if ask:
            bat.perceive(heard)
        waits.append(1000 * (time.perf_counter() - began))
    return waits[1:]


def by_file(python: str, folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    for name, module in (("client", client), ("served_sound", served_sound)):
        shutil.copy(str(module.__file__), folder / f"bat_agent_{name}.py")
    done = subprocess.run(
        [python, "-c", CLIENT], input=json.dumps(asked), cwd=folder, env={"PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(given: argparse.Namespace, say: Callable[..., None]) -> None:
    bat = bat_agent.load(given.model, device="cpu")
    simulator: Any = load_simulator("soundspaces", houses=1, rooms_per_house=4)
    scene = simulator.sample_scene(np.random.default_rng(0), 2)
    assert isinstance(scene.room, MeshRoom)
    mesh, poses = Path(scene.room.path), poses_of(scene, given.steps)
    command = [sys.executable, "-c", "from bat_agent.cli import main; main()", "serve", "--port", "0", "--json"]
    command += ["--device", "cpu", "--model", given.model, "--scenes", str(mesh.parent)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        assert server.stdout is not None
        said = json.loads(server.stdout.readline())
        try:
            for want in (["audio"], ["audio", "perceptions"]):
                asked = {
                    "url": said["url"], "token": said["token"], "scene": mesh.name, "step_s": STEP_S, "want": want,
                    "window_s": WINDOW_S, "sources": [one.position_m for one in scene.sources], "poses": poses,
                }  # fmt: skip
                own = {kind: in_process(bat, simulator, scene, poses[kind], len(want) > 1) for kind in KINDS}
                say(" and ".join(want), own, [by_file(python, Path(folder), asked) for python in given.python])
        finally:
            server.send_signal(signal.SIGINT)
            simulator.close()


def show(title: str, own: dict[str, list[float]], others: list[dict[str, Any]]) -> None:
    table = Table("a step", *KINDS, *(f"{kind} to one process" for kind in KINDS), title=f"{title}: median (p90), ms")
    rows = [("one process", own)] + [(f"Python {one['python']}, numpy {one['numpy']}", one) for one in others]
    for name, waits in rows:
        said = [f"{np.median(waits[kind]):.0f} ({np.percentile(waits[kind], 90):.0f})" for kind in KINDS]
        table.add_row(name, *said, *(f"{np.median(waits[kind]) / np.median(own[kind]):.2f}" for kind in KINDS))
    Console(width=120).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="interpreter of the client; may be given again")
    parser.add_argument("--model", default="bat-small")
    parser.add_argument("--steps", type=int, default=20, help="of each kind")
    given = parser.parse_args()
    given.python = given.python or [sys.executable]
    torch.set_num_threads(1)
    measure(given, show)


if __name__ == "__main__":
    main()
