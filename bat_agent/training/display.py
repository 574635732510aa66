"""What a run shows and logs while it trains."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

console = Console()
GIB = 2**30
SECONDS_BETWEEN_LINES = 60.0


class Lines(Progress):
    """Progress where nobody watches a bar, as in a log file: a line a minute."""

    def __init__(self, shown: bool) -> None:
        """Say nothing unless ``shown``."""
        super().__init__(console=console, disable=True)
        self._shown, self._begun = shown, time.monotonic()
        self._told = self._begun

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """Move a bar, and tell of it once a minute has passed since the last line."""
        super().update(task_id, **fields)
        now = time.monotonic()
        if self._shown and now - self._told >= SECONDS_BETWEEN_LINES:
            self._told = now
            task = self._tasks[task_id]
            total = "" if task.total is None else f" of {task.total:.0f}"
            say(f"{task.description}: {task.completed:.0f}{total}, {now - self._begun:.0f} s")


def progress_bar(shown: bool) -> Progress:
    """Bars of a run, or lines where no terminal shows them; nothing unless ``shown``."""
    if not console.is_terminal:
        return Lines(shown)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not shown)


def say(text: str) -> None:
    """A line of its own, never folded."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)
    console.file.flush()


def show(progress: Progress, task: TaskID, done: int, total: int) -> None:
    """Move a bar."""
    progress.update(task, completed=done, total=total)


def memory_gib(device: torch.device) -> float:
    """Largest memory so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / GIB if sys.platform == "darwin" else peak * 1024 / GIB


class Smooth:
    """Running means for the progress bar, and how much is done a second."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.done: dict[str, float] = {}
        self.since = time.monotonic()

    def add(self, log: dict[str, float], done: dict[str, float]) -> None:
        """Take in one step: what it measured, and how many clips, questions … it was made of."""
        for name, value in log.items():
            self.values[name] = 0.98 * self.values.get(name, value) + 0.02 * value
        for name, value in done.items():
            self.done[name] = self.done.get(name, 0.0) + value

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def rates(self) -> dict[str, float]:
        """``clips_per_second`` and so on, since the start of the stage."""
        seconds = max(time.monotonic() - self.since, 1e-6)
        return {f"{name}_per_second": value / seconds for name, value in self.done.items()}
