"""Encoders in measured rooms: what is counted, by hand on few clips, and the command with the null encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bat_agent.evaluation.hearing import Heard
from bat_agent.evaluation.pictures import turn_and_side_deg
from bat_agent.evaluation.real_rooms import by_room, room_name, rooms_data, where_figures
from bat_agent.evaluation.runs import Run as Facts

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rooms of three places each, and four recordings of two classes; two of the recordings are of fold 4."""
    folder = tmp_path_factory.mktemp("measured")
    rng = np.random.default_rng(0)
    lines = ["file,room,head,azimuth_deg,elevation_deg,distance_m"]
    for room in ("a", "b"):
        for azimuth_deg in (0, 90, 180):
            rir = np.zeros((800, 2))
            rir[[40, 44], [0, 1] if azimuth_deg > 90 else [1, 0]] = 1.0, 0.5
            soundfile.write(folder / f"{room}{azimuth_deg}.wav", rir, 16_000)
            lines.append(f"{room}{azimuth_deg}.wav,{room},dummy,{azimuth_deg},0,1.5")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    sounds = folder / "sounds"
    sounds.mkdir()
    lines = ["file,labels,fold"]
    for number, label in enumerate(("Dog", "Bell", "Dog", "Bell")):
        soundfile.write(sounds / f"{number}.wav", 0.1 * rng.standard_normal(16_000), 32_000)
        lines.append(f"{number}.wav,{label},{4 if number < 2 else 1}")
    (sounds / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_what_is_counted_by_hand() -> None:
    """Right; front for behind; 30° too high straight ahead; the other side; at the ear, where nothing is in front."""
    true = np.array([[60.0, 0.0], [60.0, 0.0], [90.0, 0.0], [30.0, 0.0], [0.0, 0.0]])
    said = np.array([[60.0, 0.0], [300.0, 0.0], [90.0, 30.0], [150.0, 0.0], [350.0, 0.0]])
    bins = np.array([[3, 60, 90]] * 5)
    classes = np.eye(5, 3, dtype=bool) | np.array([[False, False, True]])
    scores = np.array([[9.0, 0, 0], [0, 0, 9.0], [9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]])
    told = {"kernel": np.array([3, 5, 3, 6, 3])}
    found = where_figures(Heard(true, bins, classes, scores, {"kernel": said}, distances=told))
    value = {name: figure.value for name, figure in found.items()}
    count = {name: figure.count for name, figure in found.items()}
    assert (value["left_right"], count["left_right"]) == (3 / 4, 4)
    assert (value["front_behind"], count["front_behind"]) == (3 / 4, 4)
    assert "above_below" not in value
    assert value["lateral_mae_deg"] == pytest.approx((0 + 0 + 0 + 120 + 10) / 5)
    assert value["elevation_mae_deg"] == pytest.approx(6)
    assert value["elevation_er20"] == pytest.approx(1 / 5)
    assert value["on_cone"] == pytest.approx(2 / 3)
    assert value["distance_mae_m"] == pytest.approx((1.0 + 1.5) / 5)
    assert value["label_right"] == pytest.approx(3 / 5)


def test_two_draws_hear_the_same_clips_in_both_rooms(folder: Path) -> None:
    facts = Facts("echo", "echo", {}, None)
    library = f"manifest:{folder / 'sounds' / 'manifest.csv'}"
    first, again = (
        rooms_data(f"measured:{folder}", facts, clips=12, seconds=0.5, batch=5, sounds=[library], folds=[4])
        for _ in range(2)
    )
    names = [room_name(clip) for clip in first.one.clips]
    assert set(names) == {"a, dummy", "b, dummy"}
    assert {clip.sources[0].sound for clip in first.one.clips} == {"0.wav", "1.wav"}
    assert all(first.one[step].waveform.equal(again.one[step].waveform) for step in range(len(first.one)))


@pytest.mark.usefixtures("_echo")
def test_the_command_prints_each_room(run: Run, folder: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "evaluate", "encoder", "--encoder", "echo", "--rooms", f"measured:{folder}", "--sounds",
        f"manifest:{folder / 'sounds' / 'manifest.csv'}", "--folds", "4", "--clips", "24", "--seconds", "0.5",
        "--no-swap", "--json", "--out", tmp_path,
    )  # fmt: skip
    assert code == 0
    assert (tmp_path / "figures.json").is_file()
    assert (tmp_path / "cone.png").is_file()
    figures = json.loads(out)["figures"]
    assert {"where", "a, dummy", "b, dummy"} <= set(figures)
    assert figures["where"]["left_right"]["value"] == 1.0  # the null encoder tells the louder ear
    assert sum(figures[room]["mae_deg"]["count"] for room in ("a, dummy", "b, dummy")) == 24


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--rooms", "shoebox:here"], "shoebox takes no place"),
        (["--rooms", "measured:nowhere"], "no measured rooms at"),
        (["--rooms", "nosuch"], "unknown simulator 'nosuch'"),
        (["--rooms", "measured:x", "--recipe", "bat-small"], "--rooms names its clips itself"),
        (["--folds", "4", "--recipe", "bat-small"], "belong to --rooms"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(run: Run, folder: Path, more: list[str], words: str) -> None:
    sounds = ["--sounds", f"manifest:{folder / 'sounds' / 'manifest.csv'}"] if "--rooms" in more else []
    sounds = sounds if "--recipe" not in more else []
    code, _, err = run("evaluate", "encoder", "--encoder", "echo", *more, *sounds)
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_the_turn_about_the_ears_axis() -> None:
    """Front, above, behind, below, and 60° to the right in front and behind, 30° up at the left."""
    directions = [[90, 0], [90, 90], [270, 0], [10, -90], [30, 0], [330, 0], [180, 30]]
    turn, side = turn_and_side_deg(directions).T
    assert turn[:6] == pytest.approx([0, 90, 180, -90, 0, 180], abs=1e-6)
    assert side == pytest.approx([0, 0, 0, 0, 60, 60, -60], abs=1e-6)
    assert turn[6] == pytest.approx(90)


def test_rooms_are_told_apart(folder: Path) -> None:
    facts = Facts("echo", "echo", {}, None)
    library = f"manifest:{folder / 'sounds' / 'manifest.csv'}"
    clips = rooms_data(f"measured:{folder}", facts, clips=10, seconds=0.2, batch=5, sounds=[library]).one.clips
    true = np.array([(c.sources[0].position.azimuth_deg, 0.0) for c in clips])
    wrong = np.array([room_name(clip).startswith("b") for clip in clips])
    said = true + np.outer(wrong, [0.0, 40.0])
    bins = np.array([[3, round(azimuth), 90] for azimuth, _ in true])
    found = by_room(Heard(true, bins, np.ones((10, 1), bool), None, {"kernel": said}), clips)
    assert found["a, dummy"]["mae_deg"].value == 0
    assert found["b, dummy"]["elevation_mae_deg"].value == pytest.approx(40)
