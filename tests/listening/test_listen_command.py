"""``bat-listen`` as a user runs it: events, errors, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.cli.entry import run_app
from bat_agent.cli.listen import app
from bat_agent.datasets.sound_libraries import MissingSounds, open_sounds, procedural
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, Room, Scene, Source, angle_between_deg
from bat_agent.scenes.moving import MovingScene, Track, Waypoints, render_moving
from bat_agent.sound.audio import write_wav

WALK_S = 10.0


def walk(folder: Path, fixed: str | None = None) -> tuple[MovingScene, Path]:
    """A dog of fold 4, never trained on, walks from left to right; perhaps a siren stays on the right."""
    import torch

    from bat_agent.sound.acoustics import rms_normalise

    try:
        sounds = open_sounds("manifest:$BAT_SHARED/data/sounds/manifest.csv").filter(folds=[4])
    except MissingSounds:
        pytest.skip("needs the recordings of BAT_SHARED")

    def track(label: str) -> Track:
        known = sounds if label in sounds.labels() else procedural(variants_per_class=100).filter(folds=[4])
        return Track(rms_normalise(torch.from_numpy(known.filter(labels=[label])[0].waveform())))

    begin, end = (1.5, 1.4, 2.3), (5.5, 1.4, 2.3)
    sources = [Source(begin, labels=("Dog",))] + ([Source((6.0, 1.4, 3.0), labels=(fixed,))] if fixed else [])
    scene = Scene(Room((7.0, 2.8, 6.0), 0.3), Listener((3.5, 1.5, 3.5)), tuple(sources), seed=1)
    ways = (Waypoints((0.0, WALK_S), (begin, end if fixed is None else begin)), *([None] if fixed else []))
    moving = MovingScene(scene, sources_m=ways)
    tracks = [track("Dog")] + ([track(fixed)] if fixed else [])
    heard = render_moving(load_simulator("shoebox"), moving.at, tracks, WALK_S) / len(tracks)
    return moving, write_wav(folder / "walk.wav", heard)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as ended:
        run_app(app, "bat-listen", list(arguments))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_a_dog_that_walks_by_is_tracked_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moving, file = walk(tmp_path)
    before = set(tmp_path.iterdir())
    code, out, err = run(capsys, "--file", str(file), "--fast", "--jsonl", "-", "--ask", "where is the dog?")
    assert code == 0
    assert "nothing is saved" in err
    assert set(tmp_path.iterdir()) == before
    events: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert [event["t_s"] for event in events] == pytest.approx(np.arange(0.25, WALK_S + 0.01, 0.25))
    errors, tracks, right = [], set(), []
    for event in events:
        if event["t_s"] > 1.5 and event["sources"]:
            heard, true = event["sources"][0], moving.at(event["t_s"]).positions()[0]
            errors.append(
                angle_between_deg(
                    (heard["azimuth_deg"], heard["elevation_deg"]), (true.azimuth_deg, true.elevation_deg)
                )
            )
            tracks.add(heard["track"])
            right.append("Dog" in heard["labels"])
    assert len(errors) > 25
    assert np.median(errors) <= 20
    assert np.mean(right) > 0.9
    assert len(tracks) <= 2
    (answer,) = [answer for event in events for answer in event["answers"]]
    assert "left" in answer["answer"]
    again = run(capsys, "--file", str(file), "--fast", "--jsonl", "-", "--ask", "where is the dog?")
    assert again[1] == out


def test_is_the_dog_left_of_the_siren(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, file = walk(tmp_path, "Siren")
    code, out, _ = run(
        capsys, "--file", str(file), "--fast", "--jsonl", "-", "--window", "4", "--ask",
        "is the dog left of the siren?", "--ask-every", "2",
    )  # fmt: skip
    answers = [a["answer"] for line in out.splitlines() for a in json.loads(line)["answers"]]
    assert code == 0
    assert len(answers) == 4
    assert sum(answer.lower().startswith("yes") for answer in answers) >= 3


def test_saving_is_asked_for_private_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    file = write_wav(tmp_path / "a.wav", (0.1 * rng.standard_normal((2, 32_000))).astype(np.float32))
    folder = tmp_path / "kept"
    code, out, err = run(capsys, "--file", str(file), "--fast", "--jsonl", "-", "--save", str(folder))
    assert code == 0
    assert "SAVING" in err
    assert json.loads(out.splitlines()[0])["saving_to"] == str(folder)
    (kept,) = folder.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


BAD: list[tuple[list[str], str]] = [
    (["--file", "no.wav"], "there is no file no.wav"),
    (["--file", "a.wav", "--walk", "Siren"], "only one thing can be listened to"),
    (["--walk", "Dragon"], "unknown sound class 'Dragon'"),
    (["--walk", "Siren", "--hop", "3"], "a hop must be above 0"),
    (["--walk", "Siren", "--channels", "1"], "two numbers from 1, left first"),
    (["--walk", "Siren", "--channels", "1,1"], "two different numbers"),
    (["--walk", "Siren", "--only", "Dragon"], "unknown sound class 'Dragon'"),
    (["--walk", "Siren", "--jsonl", "/no/such/folder/x"], "choose another place"),
    (["--walk", "Siren", "--model", "no-such-model"], "no-such-model"),
    (["--tcp", "x"], "--tcp must be a port"),
    (["--tcp", "0.0.0.0:0"], "can be reached by other machines"),
    (["--raw", "--format", "u8"], "raw samples of form 'u8' are unknown"),
    (["--walk", "Siren", "--loop"], "are for --file"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD)
def test_one_sentence_for_what_cannot_be(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_at_once_and_well(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "bat_agent.cli.listen", "--walk", "Siren", "--jsonl", "-"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it is listening
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)  # raises where it hangs; a second on an idle machine
    assert process.returncode == 0, errors
    assert b"Traceback" not in errors
