"""How long clients of ``bat-agent serve`` wait, next to the library called in process on the same clips.

Sixteen clients (threads of this process, each with a connection of its own) ask again as soon as they are answered.
Beside them, in process: one caller, sixteen threads that take turns at one model as they would without a server, and
batches of sixteen. The server is a process of its own with one thread of torch, as is this one.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_serve.py [--clients 16] [--rounds 10] [--seconds 1.0]
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import bat_agent
from bat_agent.agent import Bat
from bat_agent.hearing.arrays import hearing_arrays
from bat_agent_envs.client import HearingClient

RATE_HZ = 32_000
Hear = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Measured:
    name: str
    waits_ms: np.ndarray
    """Of every request."""
    clips_per_s: float


def clips(count: int, seconds: float, seed: int) -> np.ndarray:
    """(count, 2, N) noise, no clip twice: what is heard again is not computed again."""
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((count, 2, round(seconds * RATE_HZ)))).astype(np.float32)


def together(name: str, callers: list[Hear], rounds: int, seconds: float, per_call: int = 1) -> Measured:
    """All callers at once, each one call after the other."""
    waits_ms: list[float] = []
    begin = threading.Barrier(len(callers) + 1)

    def work(number: int, hear: Hear) -> None:
        waves = clips(rounds * per_call, seconds, seed=number).reshape(rounds, per_call, 2, -1)
        begin.wait()
        for wave in waves:
            began = time.perf_counter()
            hear(wave[0] if per_call == 1 else wave)
            waits_ms.append(1000 * (time.perf_counter() - began))

    threads = [threading.Thread(target=work, args=item) for item in enumerate(callers)]
    for thread in threads:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return Measured(name, np.array(waits_ms), len(waits_ms) * per_call / (time.perf_counter() - began))


def in_turn(hear: Hear) -> Hear:
    lock = threading.Lock()

    def locked(wave: np.ndarray) -> Any:
        with lock:
            return hear(wave)

    return locked


def measure(bat: Bat, url: str, token: str, method: str, clients: int, rounds: int, seconds: float) -> list[Measured]:
    own: Hear = bat.perceive if method == "perceive" else lambda wave: hearing_arrays(bat, wave)
    shared = in_turn(own)
    ears = [HearingClient(url, token, timeout_s=600.0) for _ in range(clients)]
    remote: list[Hear] = [getattr(each, method) for each in ears]
    for hear in (own, *remote):
        hear(clips(1, seconds, seed=10_000)[0])
    found = [
        together("in process, one caller", [own], 2 * rounds, seconds),
        together(f"in process, {clients} threads in turn", [shared] * clients, rounds, seconds),
        together(f"in process, batches of {clients}", [own], rounds, seconds, per_call=clients),
        together("server, one client", remote[:1], 2 * rounds, seconds),
        together(f"server, {clients} clients", remote, rounds, seconds),
    ]
    for each in ears:
        each.close()
    return found


def show(title: str, rows: list[Measured]) -> None:
    columns = ("", "p50", "p99", "clips/s", "p50 to one caller's", "clips/s to one caller's")
    table = Table(*columns, title=title)
    alone = rows[0]
    for row in rows:
        p50, p99 = np.percentile(row.waits_ms, (50, 99))
        slower = p50 / np.percentile(alone.waits_ms, 50)
        faster = row.clips_per_s / alone.clips_per_s
        table.add_row(
            row.name, f"{p50:.1f} ms", f"{p99:.1f} ms", f"{row.clips_per_s:.1f}", f"{slower:.2f}", f"{faster:.2f}"
        )
    Console(width=120).print(table)
    turns, served = rows[1], rows[-1]
    for share in (50, 99):
        ratio = np.percentile(served.waits_ms, share) / np.percentile(turns.waits_ms, share)
        print(f"p{share} of the server's clients to that of threads in turn: {ratio:.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bat-small", help="a shipped model or a folder")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=10, help="requests of each client")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a clip")
    given = parser.parse_args()
    torch.set_num_threads(1)
    bat = bat_agent.load(given.model, device="cpu")
    program = "from bat_agent.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", "--port", "0", "--json", "--device", "cpu"]
    command += ["--model", given.model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = json.loads(server.stdout.readline())
        try:
            for method in ("perceive", "arrays"):
                rows = measure(bat, said["url"], said["token"], method, given.clients, given.rounds, given.seconds)
                show(f"{given.model}, {method}, clips of {given.seconds:g} s", rows)
        finally:
            server.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
