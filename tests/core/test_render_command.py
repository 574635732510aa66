"""``bat-agent render``: a scene file becomes the sound that the library's own parts make of it, or one sentence."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from bat_agent import load_simulator
from bat_agent.errors import BadInput
from bat_agent.evaluation.plotting import render_figure
from bat_agent.scene import Listener, Scene
from bat_agent.scenes.scene_file import Playing, read_scene_file
from bat_agent.sound.acoustics import mix, spatialise

Run = Callable[..., tuple[int, str, str]]
EXAMPLE = Path(__file__).parents[2] / "examples" / "room.yaml"
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


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    file = tmp_path / "noise.wav"
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(RATE_HZ // 2), RATE_HZ, subtype="FLOAT")
    return file


def heard(file: Path) -> torch.Tensor:
    samples, rate_hz = soundfile.read(file, dtype="float32")
    assert rate_hz == RATE_HZ
    return torch.from_numpy(samples.T)


# --- what is rendered ---


def test_files_are_heard_as_spatialise_and_mix_make_them(run: Run, write: Any, noise: Path, tmp_path: Path) -> None:
    """−14 dBFS before, the mean after; a sound named in the scene is looked for beside it, --sound beside the user."""
    other = tmp_path / "other.flac"
    soundfile.write(other, 0.3 * np.sin(np.arange(9000) / 20), RATE_HZ)
    scene = write(changed(source={"sound": "../sounds/absent.wav"}))
    code, _, err = run("render", scene, "-o", tmp_path / "o.wav", "--sound", noise, "--sound", other, "--seconds", 1)
    assert (code, err) == (0, "")
    rirs = load_simulator("shoebox").render(Scene.from_dict(SCENE))
    dry = [torch.from_numpy(soundfile.read(file, dtype="float64")[0]) for file in (noise, other)]
    wanted = mix([spatialise(sound, rir, RATE_HZ) for sound, rir in zip(dry, rirs, strict=True)])
    assert torch.allclose(heard(tmp_path / "o.wav"), wanted.float(), atol=1e-5)
    scene = write(changed(source={"sound": noise.name}))
    assert run("render", scene, "-o", tmp_path / "p.wav", "--sound", noise, "--seconds", 1)[0] == 0
    assert run("render", scene, "-o", tmp_path / "q.wav", "--seconds", 1)[0] == 0
    assert torch.equal(heard(tmp_path / "p.wav"), heard(tmp_path / "q.wav"))


def test_a_label_is_synthesised_and_the_seed_makes_it_again(run: Run, write: Any, tmp_path: Path) -> None:
    files = [tmp_path / f"{n}.wav" for n in range(3)]
    for file, seed in zip(files, (3, 3, 4), strict=True):
        assert run("render", write(changed(seed=seed)), "-o", file, "--seconds", "0.5")[0] == 0
    first, again, other = map(heard, files)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)
    info = soundfile.info(files[0])
    assert (info.channels, info.subtype, info.frames) == (2, "FLOAT", RATE_HZ // 2)


def test_yaml_and_json_are_the_same(run: Run, write: Any, tmp_path: Path) -> None:
    for name in ("s.yaml", "s.json"):
        assert run("render", write(SCENE, name), "-o", tmp_path / f"{name}.wav", "--seconds", "0.3")[0] == 0
    assert torch.equal(heard(tmp_path / "s.yaml.wav"), heard(tmp_path / "s.json.wav"))


def test_a_saved_scene_renders(run: Run, write: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    """What ``Scene.to_json`` writes is a scene file, too."""
    scene = load_simulator("shoebox").sample_scene(rng)
    data = json.loads(scene.to_json())
    data["sources"][0]["labels"] = ["Bell"]
    code, out, _ = run("render", write(data, "s.json"), "-o", tmp_path / "o.wav", "--json", "--seconds", 1)
    assert code == 0
    again = Scene.from_dict(json.loads(out)["scene"])
    assert (again.room, again.listener, again.seed) == (scene.room, scene.listener, scene.seed)


@pytest.mark.parametrize(
    ("source", "asked", "seconds"),
    [
        ({}, (), 10.0),
        ({}, ("--seconds", "0.25"), 0.25),
        ({"sound": "noise.wav"}, (), 0.7),  # half a second and the room's 0.2 s
        ({"sound": "noise.wav", "start_s": 1.0}, (), 1.7),
        ({"sound": "noise.wav", "loop": True}, (), 10.0),
        ({"path": {0.5: [2.0, 1.2, 2.0]}}, (), 0.5),
    ],
)
def test_how_long_it_lasts(
    run: Run, write: Any, noise: Path, tmp_path: Path, source: dict[str, Any], asked: tuple[str, ...], seconds: float
) -> None:
    assert noise.name == "noise.wav"
    scene = write(changed(source=source))
    code, out, _ = run("render", scene, "-o", tmp_path / "o.wav", "--json", *asked)
    assert code == 0
    assert json.loads(out)["seconds"] == pytest.approx(seconds)
    assert heard(tmp_path / "o.wav").shape[-1] == round(seconds * RATE_HZ)


def test_rirs_are_those_of_the_simulator(run: Run, write: Any, tmp_path: Path) -> None:
    for name in ("rir.npy", "rir.wav"):
        code, out, _ = run(
            "render", write(SCENE), "-o", tmp_path / "o.wav", "--rir", tmp_path / name, "--seconds", ".1", "--json"
        )
        assert code == 0
        assert str(tmp_path / name) in json.loads(out)["files"]
    rirs = torch.stack(load_simulator("shoebox").render(Scene.from_dict(SCENE)))
    assert np.array_equal(np.load(tmp_path / "rir.npy"), rirs.numpy())
    assert np.array_equal(soundfile.read(tmp_path / "rir.wav", dtype="float32")[0].T, rirs.numpy().reshape(4, -1))


def test_options_and_simulators_from_the_command_line(run: Run, write: Any, tmp_path: Path) -> None:
    scene = write(changed(simulator="shoebox"))
    arguments = ("--simulator", "shoebox", "--simulator-option", "head=sphere", "--simulator-option", "order=3")
    code, out, _ = run(
        "render", scene, "-o", tmp_path / "o.wav", "--rir", tmp_path / "r.npy", "--seconds", ".1", "--json", *arguments
    )
    assert code == 0
    used = json.loads(out)["scene"]["simulator"]
    assert used["name"] == "shoebox"
    assert used["options"].items() >= {"head": "sphere", "order": 3}.items()
    rirs = torch.stack(load_simulator("shoebox", head="sphere", order=3).render(Scene.from_dict(SCENE)))
    assert np.array_equal(np.load(tmp_path / "r.npy"), rirs.numpy())
    again = write(json.loads(out)["scene"], "again.json")  # the scene that was printed makes the same sound
    assert run("render", again, "-o", tmp_path / "p.wav", "--seconds", ".1")[0] == 0
    assert torch.equal(heard(tmp_path / "o.wav"), heard(tmp_path / "p.wav"))


# --- what moves ---


def test_a_way_moves_the_sound_from_ear_to_ear(run: Run, write: Any, noise: Path, tmp_path: Path) -> None:
    way = {0: [1.0, 1.5, 1.5], 1: [4.0, 1.5, 1.5]}
    scene = changed(sources=[{"path": way, "sound": noise.name, "loop": True}])
    code, out, _ = run("render", write(scene), "-o", tmp_path / "o.wav", "--json")
    assert code == 0
    left, right = heard(tmp_path / "o.wav").unfold(-1, 4000, 4000).square().mean(-1).log10() * 10
    ild = left - right
    assert ild[:2].min() > 2
    assert ild[-2:].max() < -2
    start, end = json.loads(out)["sources"][0], json.loads(out)["sources_at_end"][0]
    assert start["ild_db"] > 2 > -2 > end["ild_db"]
    assert start["azimuth_deg"] == pytest.approx(180 - end["azimuth_deg"])
    assert start["itd_s"] > 0.0002 > -0.0002 > end["itd_s"]


def test_a_way_that_rests_sounds_like_no_way(run: Run, write: Any, tmp_path: Path) -> None:
    """The moving path of the command and the one at rest are one and the same in level and mixing."""
    at_rest = {"path": {0: SCENE["sources"][0]["position_m"], 1: SCENE["sources"][0]["position_m"]}}
    for name, source in (("a", {}), ("b", at_rest)):
        assert run("render", write(changed(source=source)), "-o", tmp_path / f"{name}.wav", "--seconds", 1)[0] == 0
    assert torch.allclose(heard(tmp_path / "a.wav"), heard(tmp_path / "b.wav"), atol=1e-6)


def test_a_listener_walks_and_turns(write: Any) -> None:
    path = {0: {"heading_deg": 0}, 2: [3.5, 1.5, 2.5], 4: {"position_m": [3.5, 1.5, 3.5], "heading_deg": 360}}
    moving = read_scene_file(write(changed(listener={"position_m": [2.5, 1.5, 2.5], "path": path}))).moving
    assert [moving.at(t).listener for t in (0, 1, 3, 9)] == [
        Listener((2.5, 1.5, 2.5), 0.0),
        Listener((3.0, 1.5, 2.5), 90.0),
        Listener((3.5, 1.5, 3.0), 270.0),
        Listener((3.5, 1.5, 3.5), 360.0),
    ]
    assert moving.scene == moving.at(0)


def test_start_stop_and_loop_are_read(write: Any) -> None:
    source = {"start_s": -1, "stop_s": 2.5, "loop": True, "sound": "a/b.wav"}
    file = write(changed(source=source))
    first, second = read_scene_file(file).playing
    assert first == Playing(file.parent / "a" / "b.wav", -1.0, 2.5, True)
    assert second == Playing()


def test_a_source_sounds_from_start_to_stop(run: Run, write: Any, tmp_path: Path) -> None:
    scene = changed(sources=[{"position_m": [1, 1, 1], "labels": ["Siren"], "start_s": 0.2, "stop_s": 0.5}])
    assert run("render", write(scene), "-o", tmp_path / "o.wav", "--seconds", 1)[0] == 0
    sound = heard(tmp_path / "o.wav").abs().amax(0)
    assert sound[: int(0.2 * RATE_HZ)].max() < 1e-12  # in single precision there would be 1e-8
    assert sound[int(0.25 * RATE_HZ) : int(0.5 * RATE_HZ)].max() > 0.01
    assert sound[int(0.85 * RATE_HZ) :].max() < 1e-4 * sound.max()


# --- what is told ---


def test_the_table_says_what_the_geometry_is(run: Run, write: Any, tmp_path: Path) -> None:
    code, out, _ = run("render", write(SCENE), "-o", tmp_path / "o.wav", "--seconds", 1, "--json")
    assert code == 0
    rows = json.loads(out)["sources"]
    for row, position in zip(rows, Scene.from_dict(SCENE).positions(), strict=True):
        assert row["azimuth_deg"] == pytest.approx(position.azimuth_deg)
        assert row["distance_m"] == pytest.approx(position.distance_m)
        assert row["region"] == position.region
        assert row["rt60_s"] == pytest.approx(0.2, rel=0.25)
        assert (row["ild_db"] > 0) == (row["itd_s"] > 0) == ("left" in row["region"])
    assert json.loads(out)["sources_at_end"] is None
    code, out, _ = run("render", write(SCENE), "-o", tmp_path / "o.wav", "--seconds", 1)
    assert all(part in out for part in ("Siren", "Knock", "synthesised", "162°", f"{tmp_path / 'o.wav'}: 1.00 s"))
    assert "32-bit float" in out


def test_free_field_has_no_reverberation_time(run: Run, write: Any, tmp_path: Path) -> None:
    scene = write(changed(room={"size_m": [5, 2.6, 4], "rt60_s": None}))
    code, out, _ = run("render", scene, "-o", tmp_path / "o.wav", "--seconds", 1, "--json")
    assert code == 0
    assert [row["rt60_s"] for row in json.loads(out)["sources"]] == [None, None]
    assert "–" in run("render", scene, "-o", tmp_path / "o.wav", "--seconds", 1)[1]


def test_more_than_full_scale_is_kept_and_remarked_on(run: Run, write: Any, noise: Path, tmp_path: Path) -> None:
    near = changed(sources=[{"position_m": [2.4, 1.5, 2.4], "sound": noise.name}])
    code, out, err = run("render", write(near), "-o", tmp_path / "o.wav")
    assert code == 0
    assert "above full scale" in err
    peak = float(heard(tmp_path / "o.wav").abs().max())
    assert peak > 1.2
    assert f"peak {20 * np.log10(peak):.1f} dBFS" in out


def test_remarks_on_files_and_silence(run: Run, write: Any, tmp_path: Path) -> None:
    stereo = tmp_path / "stereo.wav"
    soundfile.write(stereo, np.random.default_rng(0).standard_normal((4410, 2)) * 0.1, 44_100)
    scene = changed(sources=[{"position_m": [1, 1, 1], "sound": "stereo.wav"}])
    _, _, err = run("render", write(scene), "-o", tmp_path / "o.wav")
    assert "resampled from 44100 Hz to 32000 Hz" in err
    assert "only the first of 2 channels" in err
    scene["sources"][0]["start_s"] = 5.0
    code, out, err = run("render", write(scene), "-o", tmp_path / "o.wav", "--seconds", 1)
    assert code == 0
    assert "nothing is heard" in err
    assert "silent" in out


# --- the picture ---


def test_the_picture_is_drawn(run: Run, tmp_path: Path) -> None:
    """The example of the documentation, as it stands there."""
    plot = tmp_path / "room.png"
    code, out, err = run("render", EXAMPLE, "-o", tmp_path / "room.wav", "--plot", plot)
    assert (code, err) == (0, "")
    assert str(plot) in out
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert heard(tmp_path / "room.wav").shape == (2, 5 * RATE_HZ)


def test_the_picture_shows_places_ways_decay_and_level() -> None:
    """A RIR that falls 60 dB in 300 ms is a straight line; a tone of known level lies at its level."""
    scene = Scene.from_dict(SCENE)
    time_s = np.arange(16_000) / RATE_HZ
    rir = np.random.default_rng(0).standard_normal((2, 16_000)) * 10 ** (-3 * time_s / 0.3)
    tone = np.stack([np.sin(2 * np.pi * 1000 * time_s), 0.1 * np.sin(2 * np.pi * 1000 * time_s)])
    figure = render_figure(scene, [rir, rir], tone, ways=[[(1, 1, 1), (4, 1, 3)]])
    above, decays, levels = figure.axes
    markers = [tuple(line.get_xydata()[0]) for line in above.lines if line.get_marker() == "o"]
    assert markers == [(1.0, 2.0), (4.0, 1.0)]
    (way,) = [line for line in above.lines if line.get_linestyle() == ":"]
    assert np.array_equal(way.get_xydata(), [(1, 1), (4, 3)])
    milliseconds, decibel = decays.lines[0].get_xydata().T
    assert np.allclose(decibel[:9000], -60 * milliseconds[:9000] / 300, atol=1.0)
    assert [np.median(line.get_ydata()) for line in levels.lines] == pytest.approx([-3.01, -23.01], abs=0.05)
    assert [text.get_text() for text in decays.get_legend().get_texts()] == ["Siren", "Knock"]


# --- bad input ---


def test_a_mesh_is_looked_for_beside_the_scene(write: Any, tmp_path: Path) -> None:
    (tmp_path / "house.glb").touch()
    room = read_scene_file(write(changed(room={"path": "house.glb"}))).moving.scene.room
    assert Path(room.path) == tmp_path / "house.glb"  # type: ignore[union-attr]
    with pytest.raises(BadInput, match="the room has no field 'pat'"):
        read_scene_file(write(changed(room={"pat": "house.glb"})))


def test_the_command_is_listed_without_torch() -> None:
    code = "import sys, bat_agent.cli; sys.exit(bool({'torch', 'matplotlib', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
