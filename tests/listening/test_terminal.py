"""The terminal views: what stands where, for people who see and for those who are read to."""

from __future__ import annotations

import io
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
    lines = drawn(view, update(1.0, (1, "Dog", 90.0, 0.0, 2.0)))
    assert not any(letter in "●▲█┃" or "⠀" <= letter <= "⣿" for line in lines for letter in line)


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
    assert lines[1:] == [
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
