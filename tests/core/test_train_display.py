"""What a training run says of itself where no terminal shows bars."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from bat_agent.training import display


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The log file that standard output is."""
    file = io.StringIO()
    monkeypatch.setattr(display, "console", Console(file=file))
    return file


@pytest.mark.parametrize("leads", [True, False])
def test_a_line_a_minute_and_only_of_the_process_that_leads(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch, leads: bool
) -> None:
    """Ten steps of 25 s each: after 75, 150 and 225 s. Nothing was printed between two validations, hours apart."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with display.progress_bar(leads) as progress:
        task = progress.add_task("listen", total=10)
        for step in range(10):
            now[0] += 25.0
            progress.update(task, completed=step + 1, description=f"listen loss {0.1 * step:.1f}")
    said = ["listen loss 0.2: 3 of 10, 75 s", "listen loss 0.5: 6 of 10, 150 s", "listen loss 0.8: 9 of 10, 225 s"]
    assert log.getvalue().splitlines() == (said if leads else [])


def test_a_terminal_has_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "console", Console(file=io.StringIO(), force_terminal=True))
    assert not isinstance(display.progress_bar(True), display.Lines)
