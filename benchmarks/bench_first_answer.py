"""How long a newcomer waits: from nothing to the first answer, to the next one, and to one about another clip.

Every round is a fresh process: import, load, first answer about a clip of ten seconds, the next question about it,
then a question about a clip that was not heard yet. Beside each stands how long Python takes to import torch alone, so
that what the package adds can be told from what it stands on.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_first_answer.py [--model bat-small] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

ROUND = """
import json, sys, time
began = time.perf_counter()
import bat_agent, numpy as np
loaded_at = time.perf_counter()
bat = bat_agent.load(sys.argv[1], device="cpu")
clip = np.random.default_rng(0).standard_normal((2, 320_000)).astype(np.float32) * [[0.1], [0.05]]
marks = [time.perf_counter()]
for sound, question in ((clip, "Where is the sound?"), (clip, "How far away is it?"), (clip[:, ::-1], "Where is it?")):
    bat.ask(sound, question)
    marks.append(time.perf_counter())
steps = [b - a for a, b in zip(marks, marks[1:])]
print(json.dumps([loaded_at - began, marks[0] - loaded_at, *steps]))
"""
STEPS = ("import", "load", "first answer", "next question", "another clip")


def seconds_of(code: str, *arguments: str) -> tuple[float, list[float]]:
    """Wall time of a fresh interpreter, and what it printed."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return time.perf_counter() - began, json.loads(done.stdout or "[]")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bat-small", help="a shipped model or a folder")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch_s = [seconds_of("import torch")[0] for _ in range(given.rounds)]
    rounds = [seconds_of(ROUND, given.model)[1] for _ in range(given.rounds)]
    table = Table("step", "median", "slowest", "to torch's import", title=f"{given.model}, a clip of 10 s")
    rows = list(zip(STEPS, zip(*rounds, strict=True), strict=True))
    rows.append(("from nothing to the first answer", tuple(sum(times[:3]) for times in rounds)))
    alone = statistics.median(torch_s)
    table.add_row("import torch alone", f"{alone:.3f} s", f"{max(torch_s):.3f} s", "1.00")
    for name, times in rows:
        median = statistics.median(times)
        table.add_row(name, f"{median:.3f} s", f"{max(times):.3f} s", f"{median / alone:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
