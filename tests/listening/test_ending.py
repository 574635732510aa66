"""How ``bat-listen`` ends: well, whoever ends it and whatever it is computing, with the terminal as it was."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs terminals and signals of Unix")

COMPUTING = """
    import sys, time, threading
    import torch
    from bat_agent.listening import leaving
    began = threading.Event()
    def answer():
        end_s = time.monotonic() + {seconds}
        matrix = torch.rand(300, 300)
        while time.monotonic() < end_s:
            began.set()
            matrix = (matrix @ matrix).softmax(1)
    leaving.worker(answer, "bat-answers").start()
    began.wait()
    print("the end")
    {end}
"""


@pytest.mark.parametrize(("seconds", "end"), [(0.5, "pass"), (60, "leaving.leave(0)")])
def test_python_does_not_end_in_the_middle_of_an_answer(seconds: float, end: str) -> None:
    """A daemon thread that is in torch when Python ends aborts the process, exit code 134, in about half of the runs:
    it is waited for, or the process leaves without Python's end.
    """
    code = textwrap.dedent(COMPUTING).format(seconds=seconds, end=end)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "the end\n", "")


VIEWER = """
    import fcntl, signal, sys, termios, time
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which tests under nohup hand down ignored
    sys.path.insert(0, {folder!r})
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    from contextlib import ExitStack
    from conftest import Controlled
    from bat_agent.cli import listen
    from bat_agent.listening.events import Update
    control = Controlled()
    with ExitStack() as opened:
        opened.enter_context(listen._signals(control))
        show = opened.enter_context(listen._terminal(control, listen.View.radar, []))
        try:
            while "stop" not in control.did:
                show(Update(1.0, 1.0, 0.1, 2.0, 0, 0.0, (-20.0, -20.0), (-9.0, -9.0)))
                time.sleep(0.02)
        except OSError as error:
            assert error.errno in listen._NOBODY_READS
        time.sleep(0.3)
    time.sleep(0.3)
    print("set back", file=sys.stderr)
"""


class Screen:
    """A program in a terminal of its own."""

    def __init__(self) -> None:
        import termios

        self.master, self.slave = os.openpty()
        self.before = termios.tcgetattr(self.slave)
        code = textwrap.dedent(VIEWER).format(folder=str(Path(__file__).parent))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=self.slave, stdout=self.slave, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        )  # fmt: skip

    def wait_for(self, text: bytes) -> None:
        seen, end_s = b"", time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < end_s, seen[-2000:]
            if select.select([self.master], [], [], 0.1)[0]:
                seen += os.read(self.master, 65536)

    def ended(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def test_five_times_told_to_end_it_sets_the_terminal_back() -> None:
    """The second SIGTERM came while the terminal was being set back, and found no handler any more."""
    import termios

    screen = Screen()
    try:
        screen.wait_for(b"ask>")
        assert termios.tcgetattr(screen.slave) != screen.before
        for _ in range(5):
            screen.process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        screen.wait_for(b"\x1b[?1049l")
        assert screen.ended() == (0, "set back\n")
        assert termios.tcgetattr(screen.slave) == screen.before
    finally:
        screen.process.kill()
        os.close(screen.master)
        os.close(screen.slave)


def test_a_closed_terminal_ends_it_well() -> None:
    screen = Screen()
    try:
        screen.wait_for(b"ask>")
        os.close(screen.master)
        os.close(screen.slave)
        assert screen.ended() == (0, "set back\n")
    finally:
        screen.process.kill()


def test_who_told_it_to_ignore_a_closed_terminal_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    from bat_agent.listening.leaving import signals_that_end

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert signal.SIGHUP in signals_that_end()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        assert signal.SIGHUP not in signals_that_end()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_numbers_that_json_does_not_know_are_null(update: Any) -> None:
    import json

    inf, nan = float("inf"), float("nan")
    said = update(1.0, (1, "Dog", nan, 0.0, 2.0), lag_s=inf, levels_dbfs=(-inf, nan), class_probs={"Dog": nan})
    told = json.loads(said.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert told["lag_s"] is None
    assert told["levels_dbfs"] == [None, None]
    assert told["class_probs"] == {"Dog": None}
    assert told["sources"][0]["azimuth_deg"] is None
