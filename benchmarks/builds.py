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
    """Rows: what, the build of ``commit``, this one with the same model and with ``lite``, and how many times better
    each is.
    """
    rows: list[Row] = []

    def add(name: str, unit: str, was: float, *now: float) -> None:
        better = [was / value if unit == "ms" else value / was for value in now]
        rows.append([name, *(f"{value:.1f} {unit}" for value in (was, *now)), *(f"{times:.2f}" for times in better)])

    with tree_of(commit) as old:
        contestants = ((old, model), (ROOT, model), (ROOT, "lite"))
        looks = [measured(tree, "looks", heard_by, one_thread=True) for tree, heard_by in contestants]
        for name, key in (("a look, by the clock", "clock_ms"), ("a look, of the processor", "processor_ms")):
            add(name, "ms", *(found[key] for found in looks))
        for what, name, one_thread in (
            ("steps", "AudioGoal-v0 with ears, OMP_NUM_THREADS=1", True),
            ("steps", "the same, no variable set", False),
            ("steps-beside", "the same beside a busy process", False),
        ):
            walks = [measured(tree, what, heard_by, one_thread=one_thread) for tree, heard_by in contestants]
            for key, said in (("steps_s", ""), ("steps_per_processor_s", ", per second of processor")):
                add(name + said, "steps/s", *(found[key] for found in walks))
    return rows
