"""Two builds of the project in one table; see :func:`compare`, which ``bench_env.py --sections builds`` calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
Row = list[str]


@contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """A worktree of a commit, removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--detach", str(tree), commit], check=True, capture_output=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True, capture_output=True)


def measured(tree: Path, what: str, model: str, *, one_thread: bool) -> dict[str, Any]:
    """What ``one_build.py`` prints of a tree; without ``one_thread`` no variable says how many threads there are."""
    paths = os.pathsep.join(str(tree / part) for part in ("", "plugins", "envs"))
    variables = {name: value for name, value in os.environ.items() if name not in THREADS}
    variables |= {"PYTHONPATH": paths, **({"OMP_NUM_THREADS": "1"} if one_thread else {})}
    command = [sys.executable, str(ROOT / "benchmarks/one_build.py"), what, model]
    ended = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def compare(commit: str, model: str) -> list[Row]:
    """Rows: what, the build of ``commit``, this one, how many times better, and by how much they differ."""
    rows: list[Row] = []
    with tree_of(commit) as old:
        one, other = (measured(tree, "looks", model, one_thread=True) for tree in (old, ROOT))
        apart = float(np.abs(np.array(one["heard"]) - np.array(other["heard"])).max())
        for name, key in (("a look, by the clock", "clock_ms"), ("a look, of the processor", "processor_ms")):
            times = one[key] / other[key]
            rows.append([name, f"{one[key]:.1f} ms", f"{other[key]:.1f} ms", f"{times:.2f}", f"{apart:.1e}"])
        for what, name, one_thread in (
            ("steps", "AudioGoal-v0 with ears, OMP_NUM_THREADS=1", True),
            ("steps", "the same, no variable set", False),
            ("steps-beside", "the same beside a busy process", False),
        ):
            was, is_now = (measured(tree, what, model, one_thread=one_thread) for tree in (old, ROOT))
            for key, said in (("steps_s", ""), ("steps_per_processor_s", ", per second of processor")):
                times = is_now[key] / was[key]
                rows.append([name + said, f"{was[key]:.1f} steps/s", f"{is_now[key]:.1f} steps/s", f"{times:.2f}", ""])
    return rows
