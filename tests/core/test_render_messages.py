"""``bat-agent render``: scenes and options that cannot be are one sentence each."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

Run = Callable[..., tuple[int, str, str]]

RATE_HZ = 32_000

SCENE: dict[str, Any] = {
    "room": {"size_m": [5.0, 2.6, 4.0], "rt60_s": 0.2},
    "listener": {"position_m": [2.5, 1.5, 2.5]},
    "sources": [
        {"position_m": [1.0, 1.2, 2.0], "labels": ["Siren"]},
        {"position_m": [4.0, 1.8, 1.0], "labels": ["Knock"]},
    ],
    "seed": 3,
}


def changed(**changes: Any) -> dict[str, Any]:
    """The scene with some fields replaced; ``None`` drops one; ``source`` changes the first source."""
    scene = copy.deepcopy(SCENE)
    for name, value in changes.items():
        place, key = (scene["sources"][0], value) if name == "source" else (scene, {name: value})
        place.update(key)
    return {key: value for key, value in scene.items() if value is not None}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(scene: Any, name: str = "scene.yaml") -> Path:
        file = tmp_path / name
        text = scene if isinstance(scene, str) else json.dumps(scene) if ".json" in name else yaml.safe_dump(scene)
        file.write_text(text, encoding="utf-8")
        return file

    return write


def is_one_sentence(code: int, out: str, err: str) -> bool:
    return (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize(
    ("scene", "says"),
    [
        ("room: {size_m: [1, 2\nlistener: x", "scene.yaml, line 2: this is no YAML"),
        ("room: 1\nroom: 2", "scene.yaml, line 2: this is no YAML (found 'room' twice in one place)"),
        ("", "scene.yaml: the scene must be a mapping"),
        ("- a", "scene.yaml: the scene must be a mapping"),
        (changed(listener=None), "scene.yaml: the scene lacks listener"),
        (changed(sources=[]), "sources must be a list with at least one source"),
        (changed(sources={"a": 1}), "sources must be a list with at least one source"),
        (changed(sorces=[]), "the scene has no field 'sorces'; did you mean 'sources'?"),
        (changed(room={"size": [1, 2, 3]}), "the room has no field 'size'; did you mean 'size_m'?"),
        (changed(room={"rt60_s": 0.3}), "the room lacks size_m"),
        (changed(room=[5, 3, 4]), "the room must be a mapping"),
        (changed(listener={"heading_deg": 3}), "the listener lacks position_m"),
        (changed(source={"postion_m": [1, 1, 1]}), "source 0 has no field 'postion_m'; did you mean 'position_m'?"),
        (changed(source={"position_m": [1, 1]}), "source position_m must be three numbers"),
        (changed(source={"position_m": [7, 1, 1]}), "source 0 at (7.0, 1.0, 1.0) lies outside the room"),
        (changed(source={"position_m": [1, 1, float("nan")]}), "must be finite"),
        (changed(source={"labels": ["Dog"]}), "source 0 has the labels Dog and no sound, expected an audio file"),
        (changed(source={"labels": []}), "source 0 has no label and no sound"),
        (changed(source={"sound": 3}), "sound of source 0 must be the name of an audio file, got 3"),
        (changed(source={"sound": "absent.wav"}), "absent.wav; check the name"),
        (changed(source={"loop": "yes please"}), "loop of source 0 must be true or false"),
        (changed(source={"start_s": "soon"}), "start_s of source 0 must be a number of seconds, got 'soon'"),
        (changed(source={"start_s": 2, "stop_s": 1}), "stop_s of source 0 must come after its start_s"),
        (changed(source={"path": [[1, 1, 1]]}), "path of source 0 must map seconds to places"),
        (changed(source={"path": {}}), "path of source 0 must map seconds to places"),
        (changed(source={"path": {"now": [1, 1, 1]}}), "a time in the path of source 0 must be a number of seconds"),
        (changed(source={"path": {-1: [1, 1, 1]}}), "must be a number of seconds, 0 or more, got -1"),
        (changed(source={"path": {1: [1, 1]}}), "the path of source 0 at 1 s: source position_m must be three"),
        (changed(source={"path": {1: {"heading_deg": 1}}}), "the path of source 0 at 1 s has no field 'heading_deg'"),
        (changed(source={"path": {0: [2, 1, 1]}}), "source 0 has one position_m and its path another at 0 s"),
        (changed(source={"path": {2: [9, 1, 1]}}), "at 2 s: source 0 at (9.0, 1.0, 1.0) lies outside the room"),
        (changed(source={"position_m": [2.5, 1.5, 2.5]}), "error: source 0 is 0.000 m from the centre of the head"),
        (changed(seed="x"), "seed must be a whole number, got 'x'"),
        (changed(onset="late"), "scene onset must be 'physical' or 'direct_at_zero', got 'late'"),
        (changed(simulator="shoebux"), "unknown simulator 'shoebux', expected one of 'shoebox'"),
        (changed(simulator={"name": "shoebox", "options": {"ordr": 3}}), "has no option 'ordr'"),
        (changed(room={"size_m": [5, 2.6, 4], "rt60_s": 0.001}), "rt60_s"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_a_scene_that_cannot_be_is_one_sentence(run: Run, write: Any, tmp_path: Path, scene: Any, says: str) -> None:
    outputs = [tmp_path / name for name in ("o.wav", "r.npy", "p.png")]
    code, out, err = run(
        "render", write(scene), "-o", outputs[0], "--rir", outputs[1], "--plot", outputs[2], "--seconds", ".2"
    )
    assert is_one_sentence(code, out, err), err
    assert says in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scene.yaml"]  # nothing half-written


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("absent.yaml", "-o", "o.wav"), "no scene file at absent.yaml; check the name"),
        ((".", "-o", "o.wav"), "cannot read . as a scene"),
        (("binary.yaml", "-o", "o.wav"), "it is no UTF-8 text"),
        (("broken.json", "-o", "o.wav"), "broken.json, line 2: this is no JSON"),
        (("s.yaml",), "missing option '--out' / '-o'"),
        (("s.yaml", "-o", "o.mp3"), "cannot write sound to 'o.mp3': the file name must end in .wav"),
        (("s.yaml", "-o", "nowhere/o.wav"), "the folder nowhere does not exist; make it first"),
        (("s.yaml", "-o", "folder.wav"), "cannot write folder.wav: it is a folder"),
        (("s.yaml", "-o", "o.wav", "--rir", "r.mat"), "must end in .npy or .wav"),
        (("s.yaml", "-o", "o.wav", "--rir", "nowhere/r.npy"), "the folder nowhere does not exist"),
        (("s.yaml", "-o", "o.wav", "--rir", "./o.wav"), "must all be different files"),
        (("s.yaml", "-o", "o.wav", "--plot", "p.bmp"), "must end in one of .png"),
        (("s.yaml", "-o", "o.wav", "--plot", "nowhere/p.png"), "does not exist"),
        (
            ("s.yaml", "-o", "dry.wav", "--sound", "dry.wav"),
            "dry.wav is the sound of a source and would be overwritten",
        ),
        (("s.yaml", "-o", "o.wav", *("--sound", "dry.wav") * 3), "--sound was given 3 times, but the scene has 2"),
        (("s.yaml", "-o", "o.wav", "--sound", "s.yaml"), "cannot read s.yaml as audio"),
        (("s.yaml", "-o", "o.wav", "--seconds", "0"), "--seconds must lie in (0, 3600], got 0"),
        (("s.yaml", "-o", "o.wav", "--seconds", "nan"), "--seconds must lie in (0, 3600], got nan"),
        (("s.yaml", "-o", "o.wav", "--simulator", "x"), "unknown simulator 'x', expected one of"),
        (
            ("s.yaml", "-o", "o.wav", "--simulator-option", "order"),
            "--simulator-option 'order' was not understood, expected KEY=VALUE",
        ),
        (
            ("s.yaml", "-o", "o.wav", "--simulator-option", "order=[1"),
            "--simulator-option 'order=[1' was not understood",
        ),
        (
            ("s.yaml", "-o", "o.wav", "--simulator-option", "order=high"),
            "option 'order' must be of type int, got 'high'",
        ),
        (("s.yaml", "-o", "o.wav", "--simulator-option", "ordr=3"), "has no option 'ordr', expected one of 'order'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_misuse_is_one_sentence(
    run: Run, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(SCENE, "s.yaml")
    write("{\n,", "broken.json")
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
    Path("folder.wav").mkdir()
    soundfile.write("dry.wav", np.ones(100) * 0.1, RATE_HZ)
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    code, out, err = run("render", *arguments)
    assert is_one_sentence(code, out, err), err
    assert says in err
    assert {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


def test_a_way_through_the_head_is_told_with_the_time(run: Run, write: Any, tmp_path: Path) -> None:
    way = {"position_m": [2.0, 1.5, 2.5], "path": {2: [3.0, 1.5, 2.5]}}
    code, out, err = run("render", write(changed(source=way)), "-o", tmp_path / "o.wav")
    assert is_one_sentence(code, out, err), err
    assert "at 0.85 s: source 0 is 0." in err  # half a metre a second, and 0.1 m before the head
    assert not (tmp_path / "o.wav").exists()
