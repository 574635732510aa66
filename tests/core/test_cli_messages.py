"""Misuse of the commands: one line on standard error, exit code 2, and nothing computed before it is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer

import bat_agent
from bat_agent.cli import ask, output
from bat_agent.cli.entry import run_app
from bat_agent.errors import BatAgentError
from bat_agent_rules import reasoner

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ask",), "missing argument 'AUDIO'; see 'bat-agent ask --help'"),
        (
            ("ask", "a.wav"),
            'no question was given, expected at least one; write bat-agent ask AUDIO "Where is',
        ),
        (("ask", "What is it?"), "no audio file at 'What is it?'; the recording comes first, then the questions"),
        (("ask", "Where?", "a.wav"), "no audio file at 'Where?'; the recording comes first, then the questions"),
        (("perceive",), "no recording was given, expected an audio file: write bat-agent perceive AUDIO, or --known"),
        (("perceive", "a.wav", "--jsn"), "no such option: --jsn"),
        (("perceive", "a.wav", "--mono", "both"), "'refuse', 'duplicate'; see 'bat-agent perceive --help'"),
        (("perceive", "a.wav", "--ambisonics", "b"), "invalid value for '--ambisonics': 'b' is not one of 'auto'"),
        (("demo", "--seed", "-1"), "'--seed'"),
        (("demo", "--seed", "x"), "'--seed'"),
        (("no-such-command",), "no such command 'no-such-command'; see 'bat-agent --help'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_misuse_is_one_line_that_says_where_help_is(run: Run, arguments: tuple[str, ...], says: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


def with_output(to: Any, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error of the command where its standard output goes there, through Python's buffer."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", "from bat_agent.cli import main; main()", *arguments]
    done = subprocess.run(command, stdout=to, stderr=subprocess.PIPE, env=environment, text=True)
    return done.returncode, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [("plugins",), ("plugins", "--json"), ("--version",), ("--help",)], ids=" ".join)
def test_a_full_disk_below_the_output_is_one_line(arguments: tuple[str, ...]) -> None:
    """It was "[Errno 28]" or, with what Python still held, "Exception ignored in …" and exit code 120."""
    with open("/dev/full", "w") as full:
        code, err = with_output(full, *arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: cannot write standard output (No space left on device); free some space there")


@pytest.mark.parametrize("arguments", [("plugins",), ("plugins", "--json")], ids=" ".join)
def test_who_reads_no_more_is_told_nothing(arguments: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    code, err = with_output(write, *arguments)
    os.close(write)
    assert (code, err) == (1, "")


def test_a_command_runs_without_a_standard_output() -> None:
    command = [sys.executable, "-c", "from bat_agent.cli import main; main()", "plugins"]
    script = 'exec "$@" >&-'
    done = subprocess.run(["sh", "-c", script, "sh", *command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_of_several_recordings_that_are_not_there_has_its_line(run: Run) -> None:
    code, out, err = run("perceive", "a.wav", "b.wav")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "error: no audio file at a.wav; check the name",
        "error: no audio file at b.wav; check the name",
        "error: none of 2 recordings could be heard",
    ]


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    code, out, err = run()
    assert code == 2
    assert "Start with: bat-agent demo" in out + err
    assert "error" not in out + err


def _run(action: Callable[[], object]) -> None:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(action)
    run_app(app, "program", [])


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (BatAgentError("it broke"), 1, "error: it broke\n"),
        (
            FileNotFoundError(2, "No such file", "a/b"),
            2,
            "error: cannot use a/b (No such file); choose another place\n",
        ),
        (OSError("odd"), 2, "error: odd\n"),
        (typer.Abort(), 130, "error: interrupted\n"),
        (typer.Exit(3), 3, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_end_has_its_code(capsys: pytest.CaptureFixture[str], error: Exception, code: int, says: str) -> None:
    def action() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        _run(action)
    assert ended.value.code == code
    assert capsys.readouterr() == ("", says)


def test_a_mistake_of_ours_is_not_hidden() -> None:
    def action() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _run(action)


def test_a_folder_that_is_a_file_is_told_before_the_model_is_loaded(
    run: Run, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bat_agent, "load", lambda *_, **__: pytest.fail("the model was loaded first"), raising=False)
    code, out, err = run("demo", "--out", left)
    assert (code, out) == (2, "")
    assert err == f"error: cannot use {left} as a folder: it is a file; choose another --out\n"


@pytest.mark.usefixtures("_echo")
def test_a_picture_that_cannot_be_written_is_one_line(run: Run, left: Path, tmp_path: Path) -> None:
    (tmp_path / "p.png").mkdir()
    code, out, err = run("perceive", left, "--plot", tmp_path / "p.png")
    assert (code, out) == (2, "")
    assert f"error: cannot write {tmp_path / 'p.png'} (Is a directory); choose another place\n" in err


@pytest.mark.usefixtures("_echo")
def test_silence_has_no_table_of_classes(run: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros((32_000, 2)), 32_000)
    code, out, _ = run("perceive", tmp_path / "silence.wav")
    assert (code, out) == (0, "no source heard\n")


@pytest.mark.usefixtures("_echo")
def test_classes_that_are_all_but_impossible_are_not_listed(run: Run, left: Path) -> None:
    probabilities = json.loads(run("perceive", left, "--json")[1])["class_probs"]
    table = run("perceive", left)[1].split("Likeliest classes")[1]
    shown = [float(number) for number in re.findall(r" (\d\.\d\d)", table)]
    assert len(shown) == min(5, sum(p >= 0.01 for p in probabilities.values()))
    assert min(shown) >= 0.01


@pytest.mark.usefixtures("_echo")
def test_who_is_not_understood_is_shown_what_is(run: Run, left: Path) -> None:
    assert reasoner.NOT_UNDERSTOOD == ask.NOT_UNDERSTOOD
    _, out, err = run("ask", left, "purple?", "Where is the sound?", "--encoder", "echo")
    assert out.startswith(ask.NOT_UNDERSTOOD)
    assert err.count('note: try "Where is the dog?" or "What do you hear?"') == 1
    assert "note: try" not in run("ask", left, "Where is the sound?", "--encoder", "echo")[2]


HEADERS = ("sound", "azimuth", "elevation", "distance", "region", "confidence")
ROW = ("Male goat", "143°", "+12°", "2.5 m", "left, front, above", "0.71")


@pytest.mark.parametrize("width", [58, 60, 70, 200])
def test_a_narrow_table_folds_cells_and_never_headers(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    output.print_table("", HEADERS, [ROW])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.split() == list(HEADERS) for line in lines)
    words = set(" ".join(lines).split())
    assert words >= {"143°", "+12°", "0.71", "left,", "front,", "above", "goat"}


def test_a_table_wider_than_its_terminal_loses_no_cell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    output.print_table("", HEADERS, [ROW])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 40
    assert sorted(c for c in text.split("─")[-1] if c.strip()) == sorted(c for cell in ROW for c in cell if c != " ")


def test_errors_are_not_wrapped_or_coloured(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    err = run("perceive", tmp_path / ("long" * 30 + ".wav"))[2]
    assert err.count("\n") == 1
    assert "\x1b" not in err
