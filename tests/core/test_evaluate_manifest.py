"""The clips that encoders are compared on: manifests are drawn, read back and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from bat_agent.clips.batch import Batch
from bat_agent.errors import BadInput
from bat_agent.evaluation.clips import ManifestClips
from bat_agent.evaluation.draw import DrawnPlaces, ReleasedPlaces, draw_clips, open_library
from bat_agent.evaluation.hearing import Heard
from bat_agent.evaluation.manifest import read_manifest, write_manifest
from bat_agent.questions import compatible


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 clips of 0.2 s in free field, a quarter with two sources."""
    file = tmp_path_factory.mktemp("manifest") / "clips.jsonl"
    library = open_library("procedural:1", [1])
    clips = draw_clips([library], DrawnPlaces("echo", {}), 64, seed=3, two_sources=0.25, seconds=0.2)
    write_manifest(file, clips)
    return file


@pytest.fixture(scope="module")
def every(manifest: Path) -> list[Batch]:
    return batches_of(ManifestClips(manifest))


@pytest.fixture(scope="module")
def one(every: list[Batch]) -> list[Batch]:
    """The clips with one source; rendered once for all tests."""
    return [some(batch, 1) for batch in every]


def batches_of(clips: ManifestClips) -> list[Batch]:
    return [clips[step] for step in range(len(clips))]


def some(batch: Batch, sources: int) -> Batch:
    rows = [clip for clip, heard in enumerate(batch.heard) if len(heard) == sources]
    truth = batch.truth[rows]
    return Batch(batch.waveform[rows], truth, [batch.heard[row] for row in rows], [[] for _ in rows])


def heard(rng: np.random.Generator, clips: int = 300, classes: int = 12) -> Heard:
    """Random truth and hearing of it; one class never sounds."""
    truth = rng.random((clips, classes)) < 0.2
    truth[:, 0], truth[:, -1] = True, False
    directions = [np.stack((rng.uniform(0, 360, clips), rng.uniform(-80, 80, clips)), 1) for _ in range(2)]
    bins = rng.integers(0, 21, (2, clips))
    true_bins = np.column_stack((bins[0], directions[0].round() + np.array([0, 90]))).astype(int)
    scores = rng.normal(size=(clips, classes)) + truth
    return Heard(directions[0], true_bins, truth, scores, {"kernel": directions[1]}, {"kernel": bins[1]})


def test_a_manifest_reads_back_and_renders_the_same(manifest: Path, every: list[Batch], tmp_path: Path) -> None:
    clips = read_manifest(manifest)
    write_manifest(tmp_path / "again.jsonl", clips)
    assert (tmp_path / "again.jsonl").read_bytes() == manifest.read_bytes()
    again = ManifestClips(tmp_path / "again.jsonl", clips_per_batch=7)
    waves = torch.cat([batch.waveform for batch in every])
    assert len(waves) == sum(len(again[step].waveform) for step in range(len(again))) == 64
    assert torch.equal(torch.cat([again[0].waveform, again[1].waveform]), waves[:14])
    kinds = [len(heard) for batch in every for heard in batch.heard]
    only = ManifestClips(manifest).only(2)
    assert [len(heard) for heard in only[0].heard] == [2] * kinds.count(2)


def test_every_sound_comes_once_before_any_comes_twice(manifest: Path) -> None:
    sounds = [clip.sources[0].sound for clip in read_manifest(manifest)]
    library = len(open_library("procedural:1", [1]).sounds)
    assert len(set(sounds[:library])) == min(library, len(sounds))
    pairs = [clip.sources for clip in read_manifest(manifest) if len(clip.sources) == 2]
    assert 6 < len(pairs) < 26
    assert all(compatible(a.heard, b.heard) for a, b in pairs)


def test_released_sets_are_rendered_as_the_released_loader_does(tmp_path: Path, rng: np.random.Generator) -> None:
    """Against scipy in float64: −14 dBFS over the whole sound, full convolution, cut to ten seconds, mean of two."""
    folder = tmp_path / "mp3d_reverb"
    (folder / "binaural" / "house").mkdir(parents=True)
    entries = []
    for n, (x, z) in enumerate(((1.0, -1.0), (-1.0, 1.5))):
        np.save(folder / "binaural" / "house" / f"{n}.npy", rng.normal(size=(2, 500)) * 0.1)
        entries.append({"fname": f"house/{n}.npy", "sensor_position": "0,1.5,0", "source_position": f"{x},{1 + n},{z}"})
    (folder / "eval_reverberation.json").write_text(json.dumps({"data": entries}))
    for name, level in (("Dog", 0.3), ("Rain", 0.01)):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        soundfile.write(tmp_path / "sounds" / name / "a.wav", level * rng.normal(size=40_000), 32_000, subtype="FLOAT")
    library = open_library(f"folder:{tmp_path / 'sounds'}")
    file = tmp_path / "m.jsonl"
    write_manifest(file, draw_clips([library], ReleasedPlaces(str(tmp_path)), 3, two_sources=1.0, seconds=1.0))
    clip = read_manifest(file)[0]
    expected = []
    for source in clip.sources:
        dry, _ = soundfile.read(tmp_path / "sounds" / str(source.sound))
        dry = dry * 10 ** (-14 / 20) / np.sqrt(np.mean(dry**2))
        rir = np.load(folder / "binaural" / str(source.rir))
        expected.append(scipy.signal.fftconvolve(dry[None], rir, axes=1)[:, :32_000])
        number = int(str(source.rir)[-5])
        assert source.position.azimuth_deg == pytest.approx((45.0, 236.31)[number], abs=0.01)
    wave = ManifestClips(file)[0].waveform[0].numpy()
    np.testing.assert_allclose(wave, np.mean(expected, axis=0), atol=2e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": ["Dgo"]}, "unknown sound class 'Dgo'"),
        ({"labels": []}, "labels must be a list"),
        ({"azimuth_deg": "left"}, "must be numbers"),
        ({"elevation_deg": 91}, "must be numbers"),
        ({"distance_m": 0}, "must be numbers"),
        ({"azimuth": 3}, "unknown keys ['azimuth']"),
        ({"rir": "a.npy"}, "needs rir (with or without rirs), or scene alone"),
        ({"audio": "a.wav"}, "needs library and sound, or audio alone"),
        ({"distance_m": 99.0}, "the scene puts the source at"),
    ],
    ids=str,
)
def test_a_broken_line_is_named(manifest: Path, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    lines = manifest.read_text().splitlines()
    data = json.loads(lines[1])
    data["sources"][0] |= change
    broken = tmp_path / "broken.jsonl"
    broken.write_text("\n".join([lines[0], json.dumps(data)]))
    with pytest.raises(BadInput) as error:
        read_manifest(broken)
    assert str(error.value).startswith(f"{broken}:2: ")
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "holds no clip"), ("{", ":1: is no JSON"), ("[]", "must be a JSON object"), ('{"id": 1}', "lacks sources")],
)
def test_files_that_are_no_manifest(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "m.jsonl"
    file.write_text(text)
    with pytest.raises(BadInput, match=says):
        read_manifest(file)
    with pytest.raises(BadInput, match="no manifest at"):
        read_manifest(tmp_path / "none.jsonl")


def test_missing_sounds_and_rirs_are_told_before_anything_is_heard(manifest: Path, tmp_path: Path) -> None:
    data = json.loads(manifest.read_text().splitlines()[0])
    source = data["sources"][0]
    for change, says in (
        ({"sound": "procedural/Dog/99"}, "lacks 1 of 1 sounds"),
        ({"library": None, "sound": None, "audio": "none.wav"}, "audio files are not there"),
        ({"scene": None, "rir": "none.npy"}, "RIRs are not there"),
    ):
        changed = {key: value for key, value in (source | change).items() if value is not None}
        file = tmp_path / "m.jsonl"
        file.write_text(json.dumps(data | {"sources": [changed]}))
        with pytest.raises(BadInput, match=says):
            ManifestClips(file)
