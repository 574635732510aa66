"""One word for one thing in all commands: encoders, weights, options, threads, channels; and what old words become."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import typer.main

from bat_agent import threads
from bat_agent.cli import app
from bat_agent.cli.entry import run_app
from bat_agent.cli.listen import app as listen_app
from bat_agent.cli.renamed import BAT_AGENT, BAT_LISTEN, with_new_names
from bat_agent.errors import BadInput, OldNameWarning
from bat_agent.sound.audio import read_audio

Run = Callable[..., tuple[int, str, str]]
RATE_HZ = 32_000
ENCODER = {"--encoder", "--encoder-option", "--weights"}
LISTEN = {"ask", "perceive", "serve", "evaluate encoder", "evaluate qa", "bat-listen"}
"""Commands that hear with any encoder."""
COMPUTE = LISTEN | {"demo", "train", "evaluate calibrate", "evaluate free", "evaluate run"}


def options() -> dict[str, set[str]]:
    """Every command → its long options."""

    def walk(command: Any, name: str) -> Iterator[tuple[str, set[str]]]:
        yield name, {o for p in command.params for o in p.opts if o.startswith("--")}
        for word, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{name} {word}".strip())

    return dict(walk(typer.main.get_group(app), "")) | dict(walk(typer.main.get_command(listen_app), "bat-listen"))


def test_the_same_names_for_encoders_weights_and_threads_in_all_commands() -> None:
    known = options()
    assert {name for name, there in known.items() if there >= ENCODER} == LISTEN | {"export"}
    assert {name for name, there in known.items() if "--threads" in there} == COMPUTE
    for name, there in known.items():
        # serve renders by soundspaces alone.
        assert ("--simulator-option" in there) == ("--simulator" in there) or name == "serve", name
        assert not there & {"--encoder-weights", "--option", "--compute"}, f"{name} has a name of before"


@pytest.mark.parametrize("command", ["bat-agent", "bat-listen"])
def test_old_names_are_read_and_told_once(command: str) -> None:
    table = BAT_AGENT if command == "bat-agent" else BAT_LISTEN
    old, new = {
        "bat-agent": (
            "evaluate manifest --option a=1 --option=b=2 --encoder-weights w -- --option",
            "evaluate manifest --simulator-option a=1 --simulator-option=b=2 --weights w -- --option",
        ),
        "bat-listen": (
            "--device USB --compute cuda:1 --device cpu",
            "--microphone USB --device cuda:1 --device cpu",
        ),
    }[command]
    with pytest.warns(OldNameWarning) as told:
        assert with_new_names(old.split(), table) == new.split()
    assert len(told) == 2
    rest = new.removeprefix("--microphone USB").split()
    assert with_new_names(rest, table) == rest


def test_encoders_and_simulators_have_each_their_own_option() -> None:
    with pytest.warns(OldNameWarning, match="--option is called --encoder-option now"):
        assert with_new_names(["evaluate", "encoder", "--option", "a=1"], BAT_AGENT)[2] == "--encoder-option"


@pytest.fixture
def six(tmp_path: Path) -> Path:
    """Six channels of noise, each 6 dB louder than the one before."""
    noise = np.random.default_rng(0).standard_normal((RATE_HZ, 6)) * 0.003 * 2.0 ** np.arange(6)
    soundfile.write(tmp_path / "six.wav", noise, RATE_HZ, subtype="FLOAT")
    return tmp_path / "six.wav"


def test_channels_are_counted_from_1_in_python_and_0_is_told(six: Path) -> None:
    samples, _ = soundfile.read(six, dtype="float32")
    np.testing.assert_array_equal(read_audio(six, channels=(2, 5)).numpy(), samples[:, [1, 4]].T)
    with pytest.warns(OldNameWarning, match="counted from 1: 0,4 was read as 1,5"):
        np.testing.assert_array_equal(read_audio(six, channels=(0, 4)).numpy(), samples[:, [0, 4]].T)
    with pytest.raises(BadInput, match=r"6 channels.*--channels 1,2"):
        read_audio(six)


@pytest.mark.usefixtures("_echo")
@pytest.mark.filterwarnings("default::bat_agent.errors.OldNameWarning")
@pytest.mark.parametrize(("channels", "side"), [("1,6", 0.0), ("6,1", 180.0), ("5,0", 180.0)])
def test_perceive_takes_the_channels_it_is_told(run: Run, six: Path, channels: str, side: float) -> None:
    code, out, err = run("perceive", six, "--channels", channels, "--json")
    assert code == 0
    assert json.loads(out)["sources"][0]["azimuth_deg"] == side
    assert err.count("channels are counted from 1: 5,0 was read as 6,1") == ("0" in channels)


def listen(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run_app(listen_app, "bat-listen", [str(a) for a in arguments], BAT_LISTEN)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.usefixtures("_echo")
def test_six_channels_are_refused_unless_two_are_named(six: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first two were taken without a word."""
    code, out, err = listen(capsys, "--file", six, "--fast", "--jsonl", "-")
    assert (code, out) == (2, "")
    assert "the input has 6 channels, expected 2 (left and right ear); choose two with --channels 1,2" in err
    code, out, _ = listen(capsys, "--file", six, "--fast", "--jsonl", "-", "--channels", "6,1", "--window", "0.5")
    assert code == 0
    heard = [source for line in out.splitlines() for source in json.loads(line)["sources"]]
    assert {source["azimuth_deg"] for source in heard} == {180.0}


@pytest.mark.usefixtures("_echo")
def test_bat_listen_hears_with_any_encoder_and_its_options(left: Path, capsys: pytest.CaptureFixture[str]) -> None:
    another = ("--encoder", "echo", "--encoder-option", "token_seconds=0.5", "--threads", 1)
    code, out, err = listen(capsys, "--file", left, "--fast", "--jsonl", "-", "--window", "0.5", *another)
    assert code == 0
    assert "with echo;" in err  # not echo+rules
    assert json.loads(out.splitlines()[-1])["sources"][0]["azimuth_deg"] == 180.0
    code, _, err = listen(capsys, "--file", left, "--encoder", "echo", "--encoder-option", "colour=red")
    assert code == 2
    assert "encoder 'echo' has no option 'colour'" in err


def test_threads_are_what_torch_computes_with(run: Run, left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(threads, "_CHOSEN", [])
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    run("perceive", left, "--encoder", "echo", "--threads", "3")
    assert told[0] == 3
    assert threads.fastest(1.0) is None  # whatever is computed, 3 it is
    code, _, err = run("perceive", left, "--threads", "0")
    assert code == 2
    assert "threads" in err


@pytest.mark.parametrize(
    ("name", "words", "completed"),
    [
        ("bat-agent", "bat-agent per", "perceive"),
        ("bat-agent", "bat-agent perceive --encoder spatial-ast-", "spatial-ast-slots"),
        ("bat-agent", "bat-agent ask --model bat", "bat-small"),
        ("bat-listen", "bat-listen --micro", "--microphone"),
    ],
)
def test_a_shell_completes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, words: str, completed: str
) -> None:
    """As bash asks for it, by the variables of its protocol."""
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    for key, value in ((variable, "complete_bash"), ("COMP_WORDS", words), ("COMP_CWORD", str(words.count(" ")))):
        monkeypatch.setenv(key, value)
    with pytest.raises(SystemExit) as ended:
        run_app(app if name == "bat-agent" else listen_app, name, [])
    assert ended.value.code == 0
    assert completed in capsys.readouterr().out.split()


def test_bat_agent_train_is_the_module(run: Run) -> None:
    code, _, err = run("train", "no-such-recipe")
    assert code == 2
    assert "no-such-recipe" in err
    assert options()["train"] >= {"--dry-run", "--threads"}
