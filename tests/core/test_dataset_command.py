"""``bat-agent dataset``: what it prints, and every misuse in one sentence with exit code 2."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer.main

from bat_agent.cli import app, progress

Run = Callable[..., tuple[int, str, str]]
MAKE = ("dataset", "rirs", "--simulator", "echo", "--rooms", 2, "--count", 6)
JSON = "mp3d_reverb/train_reverberation.json"


def test_a_set_is_made_replayed_checked_and_described(run: Run, tmp_path: Path) -> None:
    code, out, err = run(
        *MAKE, "--out", tmp_path / "a", "--simulator-option", "head_shadow_db=3", "--sources", 2, "--json"
    )
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert {key: told[key] for key in ("json", "rirs", "made")} == {
        "json": str(tmp_path / "a" / JSON),
        "rirs": 6,
        "made": 6,
    }
    options = json.loads((tmp_path / "a" / JSON).read_text())["arguments"]["options"]
    assert options == {"head_shadow_db": 3}
    code, out, _ = run("dataset", "rirs", "--replay", tmp_path / "a" / JSON, "--check", "--json")
    assert (code, json.loads(out)) == (0, {"rirs": 6, "differing": []})
    code, out, _ = run("dataset", "rirs", "--replay", tmp_path / "a" / JSON, "--out", tmp_path / "b")
    assert (code, out) == (0, "6 RIRs made again, 6 of them the same bit for bit\n")
    code, out, _ = run("dataset", "stats", tmp_path / "b", "--plot", tmp_path / "p.png", "--json")
    assert code == 0
    assert json.loads(out)["rirs"] == 6
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_check_that_fails_names_the_file_and_ends_with_1(run: Run, tmp_path: Path) -> None:
    run(*MAKE, "--out", tmp_path)
    changed = tmp_path / "mp3d_reverb/binaural/echo-train-00001/1.npy"
    np.save(changed, np.load(changed) * 1.5)
    replay = ("dataset", "rirs", "--replay", tmp_path / JSON, "--check")
    code, out, _ = run(*replay)
    assert code == 1
    assert out.splitlines() == [
        "echo-train-00001/1.npy: binaural file differs by up to 5.0e-01 of the peak",
        "6 RIRs made again, 5 of them the same bit for bit",
    ]
    assert run(*replay, "--json")[0] == 1
    assert run(*replay, "--only", "echo-train-00001/0.npy")[0] == 0


def test_stats_prints_tables_and_says_what_a_released_set_lacks(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "train_reverberation.json"
    entry = {"fname": "house/0.npy", "sensor_position": "1,1.5,1", "source_position": "1,1.5,-1"}
    file.write_text(json.dumps({"data": [entry]}))
    code, out, err = run("dataset", "stats", file)
    assert code == 0
    assert "note: the entries name no heading" in err
    assert "note: 1 RIR files are not there" in err
    rows = [re.split(r" {2,}", line.strip()) for line in out.splitlines()]
    assert ["distance, most frequent", "2 m", "1.5–2.5 m"] in rows
    assert ["DER of 1, 1.5 and 2 m", "33 %", "53 %"] in rows
    assert ["right, front, above", "100.0 %"] in rows
    assert "RT60" not in out


def test_the_same_command_again_makes_nothing(run: Run, tmp_path: Path) -> None:
    run(*MAKE, "--out", tmp_path)
    code, out, _ = run(*MAKE, "--out", tmp_path)
    assert (code, out) == (0, f"6 RIRs in {tmp_path / JSON}, 0 of them made now\n")


def test_progress_is_told_in_lines_where_nobody_watches(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    code, out, err = run(*MAKE, "--out", tmp_path, "--json")
    assert code == 0
    assert json.loads(out)["made"] == 6
    assert re.fullmatch(r"0 of 6 RIRs, \d+ s\n3 of 6 RIRs, \d+ s\n6 of 6 RIRs, \d+ s\n", err)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*MAKE, "--simulator", "ecco"), "unknown simulator 'ecco', expected one of 'echo'"),
        ((*MAKE, "--simulator-option", "colour=red"), "simulator 'echo' has no option 'colour'"),
        (
            (*MAKE, "--simulator-option", "head_shadow_db=loud"),
            "simulator 'echo': option 'head_shadow_db' must be of type float, got 'loud'",
        ),
        ((*MAKE, "--simulator-option", "loud"), "--simulator-option 'loud' was not understood, expected KEY=VALUE"),
        ((*MAKE, "--simulator-option", "a=[1"), "--simulator-option 'a=[1' was not understood"),
        ((*MAKE, "--rooms", 0), "--rooms must be 1 or more, got 0"),
        ((*MAKE, "--count", 0), "--count must be 1 or more, got 0"),
        ((*MAKE, "--rooms", 7), "--count 6 is less than --rooms 7, expected a RIR in every room; ask for more RIRs"),
        ((*MAKE, "--sources", 0), "--sources must be 1 or more, got 0"),
        ((*MAKE, "--seed", -1), "--seed must be 0 or more, got -1"),
        ((*MAKE, "--seconds", 0), "--seconds must lie in (0, 60], got 0.0"),
        ((*MAKE, "--split", "test"), "--split must be one of train, eval, got 'test'"),
        ((*MAKE, "--workers", 0), "--workers must be 1 or more, got 0"),
        ((*MAKE, "--workers", 2, "--ray", "local"), "--workers and --ray were both given"),
        ((*MAKE, "--check"), "--check goes with --replay JSON; name the reverberation file"),
        ((*MAKE, "--only", "a/0.npy"), "--only goes with --replay JSON"),
        (("dataset", "rirs", "--rooms", 3), "--simulator, --count missing; write bat-agent dataset rirs --simulator"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_misuse_is_one_sentence_before_anything_is_made(
    run: Run, tmp_path: Path, arguments: tuple[object, ...], says: str
) -> None:
    code, out, err = run(*arguments, "--out", tmp_path / "set")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {says}")
    assert err.count("\n") == 1
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--check", "--out", "x"), "--replay wants either --out DIR, to write there, or --check"),
        ((), "--replay wants either --out DIR, to write there, or --check"),
        (("--check", "--simulator", "echo"), "--replay takes simulator, options and scenes from the file"),
        (("--check",), "{file}, line 2: Expecting"),
    ],
)
def test_misuse_of_replay(run: Run, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    file = tmp_path / "broken.json"
    file.write_text('{"data":\n[{]}')
    code, out, err = run("dataset", "rirs", "--replay", file, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {says.format(file=file)}")
    assert err.count("\n") == 1


def test_a_file_in_the_place_of_the_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = run(*MAKE, "--out", tmp_path / "file")
    assert (code, err) == (
        2,
        f"error: --out {tmp_path / 'file'} is no folder that can be written (Not a directory); choose another\n",
    )
    code, _, err = run("dataset", "stats", tmp_path / "file")
    assert code == 2
    assert "line 1: expected '{' and found 'the end of the file'" in err
    code, _, err = run("dataset", "stats", tmp_path, "--plot", tmp_path / "p.gif")
    assert code == 2
    assert "must end in one of .png, .pdf, .svg" in err


def test_every_option_is_documented() -> None:
    """The page of commands holds all subcommands under one heading."""
    page = (Path(__file__).parents[2] / "docs/commands.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", page.partition("## `bat-agent dataset`")[2], flags=re.MULTILINE)[0]
    group = typer.main.get_group(app).commands["dataset"]
    assert set(group.commands) == {"rirs", "stats", "qa", "check", "audioset"}  # type: ignore[attr-defined]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert f"bat-agent dataset {name}" in section
        for parameter in command.params:
            for option in parameter.opts:
                assert not option.startswith("--") or option in section, f"{option} of dataset {name}"
