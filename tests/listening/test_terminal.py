"""The terminal views: what stands where, for people who see and for those who are read to."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bat_agent.listening.keys import Line
from bat_agent.listening.radar import Dot, draw
from bat_agent.listening.terminal import TerminalView


def console(width: int = 110, height: int = 34, encoding: str = "utf-8", terminal: bool = True) -> Console:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    return Console(width=width, height=height, file=stream, force_terminal=terminal, record=True, color_system=None)


def drawn(view: TerminalView, update: Any) -> list[str]:
    view.console.print(view.picture(update))
    return view.console.export_text().splitlines()


def place(lines: list[str], text: str) -> tuple[int, int]:
    """(row, column) of a text."""
    return next((row, line.index(text)) for row, line in enumerate(lines) if text in line)


@pytest.mark.parametrize(("width", "height"), [(60, 20), (110, 34), (200, 50)])
def test_the_radar_shows_left_on_the_left_and_front_at_the_top(
    control: Any, update: Any, width: int, height: int
) -> None:
    lines = drawn(
        TerminalView(control, console(width, height)),
        update(3.0, (1, "Dog", 180.0, 0.0, 4.0), (2, "Siren", 90.0, 0.0, 4.0), (3, "Bell", 270.0, 0.0, 4.0)),
    )
    middle = place(lines, "▲")
    dots = [(row, column) for row, line in enumerate(lines) for column, letter in enumerate(line) if letter == "●"]
    siren, dog, bell = sorted(dots)
    assert siren[0] < middle[0] < bell[0]
    assert siren[1] == pytest.approx(middle[1], abs=1)
    assert dog[1] < middle[1] - 3
    assert dog[0] == pytest.approx(middle[0], abs=1)
    assert max(map(len, lines)) <= width
    assert len(lines) <= height


def test_everything_that_matters_is_told(control: Any, update: Any, answered: Any, noted: Any) -> None:
    view = TerminalView(control, console())
    view._answers.append(answered("how far is the dog?", "2.0", sure=False))
    lines = drawn(
        view,
        update(
            42.0, (7, "Dog", 135.0, 40.0, 1.5), dropped=3, lost_s=1.5, peaks_dbfs=(0.0, -9.0),
            health=(noted("clipping", "the left ear clips"),), saving_to="/somewhere",
        ),
    )  # fmt: skip
    text = "\n".join(lines)
    status = "lag 0.20 s, 3 looks left out, 1.5 s of sound lost"
    where = ("front left above", "1.5", "93%", "batmic", "CLIP", ":q quit")
    for part in (*where, status, "not sure; perhaps 2.0", "the left ear clips", "SAVING INTO /somewhere"):
        assert part in text, part
    assert "▴" in text


def test_plain_letters_where_there_are_no_others(control: Any, update: Any) -> None:
    view = TerminalView(control, console(encoding="ascii"))
    assert all(line.isascii() for line in drawn(view, update(1.0, (1, "Dog", 90.0, 0.0, 2.0))))


def test_what_does_not_fit_into_such_a_terminal_does_not_end_listening(control: Any, update: Any, noted: Any) -> None:
    control.source_name = "Mikrofon für Köpfe" * 5
    view = TerminalView(control, console(60, 20, "ascii"))
    long = update(
        1.0, (1, "Café, with a name that is longer than its column", 90.0, 0.0, 2.0), health=(noted("x", "– " * 60),)
    )
    assert all(line.isascii() for line in drawn(view, long))


def test_a_source_without_direction_is_in_the_table_alone(control: Any, update: Any) -> None:
    lines = drawn(TerminalView(control, console()), update(1.0, (1, "Dog", None, None, None)))
    assert "somewhere" in "\n".join(lines)
    assert "●" not in "\n".join(lines)


def test_a_pipe_gets_one_line_for_each_change(control: Any, update: Any, answered: Any, noted: Any) -> None:
    view = TerminalView(control, console(terminal=False))
    with view:
        for number in range(4):
            view.show(update(number / 4, (1, "Dog", 180.0, 0.0, 2.0 + number / 100)))
        view.show(update(1.0, (1, "Dog", 90.0, 0.0, 2.0), answers=(answered("is it left?", "No"),)))
        view.show(update(1.25, health=(noted("lost", "batmic is gone"),)))
        view.show(update(1.5, health=(noted("lost", "batmic is gone"),)))
    lines = [line.strip() for line in view.console.export_text().splitlines()]
    assert lines == [
        "0.0 s  listening, nothing is saved",
        "0.0 s  Dog, left, 2.0 m",
        "1.0 s  Dog, front, 2.0 m",
        "1.0 s  is it left? No",
        "1.2 s  Dog is gone",
        "1.2 s  warning: batmic is gone",
    ]


def test_a_label_at_the_edge_is_written_towards_the_middle() -> None:
    for azimuth_deg in (0.0, 180.0):
        lines = [line.plain for line in draw([Dot(azimuth_deg, 10.0, "●", "Telephone", "red")], 60, 20)]
        assert any("Telephone" in line for line in lines), azimuth_deg
        assert all(len(line) == 60 for line in lines)


def test_what_is_typed(control: Any) -> None:
    line = Line(control)
    line.type("where is the dogg")
    line.type("\x7f?")
    assert line.text == "where is the dog?"
    line.type("\x1b[A")
    line.type("\n")
    assert control.asked == ["where is the dog?"]
    for typed in (":s\n", ":p\n", ":p\n", ":x\n", "pause here?\n", "\n", ":q\r"):
        line.type(typed)
    assert control.did == ["swap", "pause", "resume", "stop"]
    assert control.asked[1:] == ["pause here?"]
    line.type(":x\n")
    assert "is no command" in line.said


@pytest.mark.parametrize(("width", "height"), [(20, 8), (40, 12), (60, 20), (80, 24), (110, 34), (250, 70)])
@pytest.mark.parametrize("fields", [{"saving_to": "/a/folder/with/a/long/name"}, {"paused": True}])
def test_saving_and_pausing_are_seen_however_small_the_terminal(
    control: Any, update: Any, answered: Any, noted: Any, width: int, height: int, fields: dict[str, Any]
) -> None:
    view = TerminalView(control, console(width, height))
    view._answers.extend([answered("where is the dog that barks so loud?", "It is on the left.")] * 3)
    health = tuple(noted(str(number), "something is wrong with this input, and " * 3) for number in range(4))
    many = [(number, "Dog", 60.0 * number, 0.0, 1.0 + number) for number in range(6)]
    lines = drawn(view, update(42.0, *many, health=health, dropped=3, lost_s=1.5, **fields))
    text = "\n".join(lines)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    for part in ("SAVING" if "saving_to" in fields else "paused", "ask>", "lag 0.20 s", "batmic"):
        assert part in text, part
    if width >= 60:
        for part in ("3 looks left out", "1.5 s of sound lost", "dBFS", "what", "1.0"):
            assert part in text, part
    assert ("300°" in text) == (width >= 110)


def test_pipes_are_told_of_saving_and_not_of_each_new_number(control: Any, update: Any, noted: Any) -> None:
    view = TerminalView(control, console(terminal=False))
    with view:
        for number in range(3):
            health = (noted("drift", f"the sound is {number}.5 s behind the clock"),)
            view.show(update(float(number), saving_to="/somewhere", health=health))
        view.show(update(3.0, paused=True))
    assert [line.strip() for line in view.console.export_text().splitlines()] == [
        "0.0 s  SAVING INTO /somewhere",
        "0.0 s  warning: the sound is 0.5 s behind the clock",
        "3.0 s  paused, input closed",
    ]


def test_names_and_answers_cannot_steer_the_terminal(control: Any, update: Any, answered: Any) -> None:
    """Markup in the name of a file ended listening; an escape in an answer reached the terminal."""
    control.source_name = "take [/red] :dog: \x1b[2J.wav"
    for terminal in (True, False):
        view = TerminalView(control, console(terminal=terminal))
        view.plain = True
        said = answered("is [bold]it\nleft?\ud800", "\x1b]0;title\x07 No\n\nreally")
        with view:
            view.show(update(1.0, (1, "[/b]\x1b[31mDog", 90.0, 0.0, 1.0), answers=(said,)))
        plain = view.console.export_text()
        drawing = "\n".join(drawn(view, update(1.0, (1, "[/b]\x1b[31mDog", 90.0, 0.0, 1.0))))
        assert "take [/red] :dog:" in drawing
        for text in (plain, drawing):
            assert "\x1b" not in text.replace("\x1b[0m", "")
            assert "[/b]" in text
            assert "is [bold]it left?" in text


def test_angles_and_ages_where_there_is_room(control: Any, update: Any) -> None:
    lines = drawn(TerminalView(control, console()), update(1.0, (1, "Dog", 135.0, -40.0, 1.5)))
    row = next(line for line in lines if "front left" in line)
    for part in ("front left below", "135°", "-40°", "1.5", "93%", "4 s"):
        assert part in row, part


def test_a_frame_is_cheap(control: Any, update: Any) -> None:
    view = TerminalView(control, console(120, 36))
    said = update(1.0, *((number, "Dog", 60.0 * number, 0.0, 1.0 + number) for number in range(6)))
    costs_s = []
    for _ in range(20):
        began = time.thread_time()
        view.console.print(view.picture(said))
        costs_s.append(time.thread_time() - began)
    assert sorted(costs_s)[10] < 0.05  # 12 ms on an idle machine


def test_what_becomes_of_a_question(control: Any) -> None:
    view = TerminalView(control, console())
    waiting: Future[Any] = Future()
    control.ask = lambda question: waiting
    view.line.type("where is it?\n")
    assert view.line.said == "asked: where is it?"
    waiting.set_exception(RuntimeError("out of memory"))
    assert view.line.said == "the question could not be answered: out of memory"


TYPIST = """
    import sys
    sys.path.insert(0, {folder!r})
    from conftest import Controlled
    from rich.console import Console
    from bat_agent.listening.events import Update
    from bat_agent.listening.terminal import TerminalView
    import time
    control = Controlled()
    with TerminalView(control, Console()) as view:
        view.show(Update(1.0, 1.0, 0.1, 2.0, 0, 0.0, (-20.0, -20.0), (-9.0, -9.0)))
        while "stop" not in control.did:
            time.sleep(0.02)
        if control.asked != ["where is it?"]:
            raise SystemExit(3)
        raise ValueError("as if something had failed")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of our own")
def test_typing_is_seen_at_once_and_the_terminal_is_as_before_after_a_failure() -> None:
    import termios

    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    code = textwrap.dedent(TYPIST).format(folder=str(Path(__file__).parent))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=environment
    )
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        end_s = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < end_s, seen[-2000:]
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 65536)

    try:
        until(b"ask> _")
        assert not termios.tcgetattr(slave)[3] & termios.ICANON
        os.write(master, b"where is")
        until(b"ask> where is_")  # though nothing new was heard
        os.write(master, b" it?\n:q\n")
        until(b"\x1b[?1049l")  # the screen of before
        _, said = process.communicate(timeout=60)
        assert b"as if something had failed" in said
        assert process.returncode == 1
        assert termios.tcgetattr(slave) == before
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
