"""Manifests of sounds that began before their clips: which, from where, and that the room still rings of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bat_agent.errors import BadInput
from bat_agent.evaluation.clips import ManifestClips
from bat_agent.evaluation.draw import DrawnPlaces, draw_clips, open_library
from bat_agent.evaluation.manifest import Clip, ClipSource, read_manifest, write_manifest
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.scene import Position

Run = Callable[..., tuple[int, str, str]]


def drawn(going_on: float, seconds: float = 0.2) -> list[Clip]:
    library, rooms = open_library("procedural:1", [1]), DrawnPlaces("echo", {})
    return list(draw_clips([library], rooms, 60, seed=5, two_sources=0.3, seconds=seconds, going_on=going_on))


def begins(clip: Clip) -> set[bool]:
    return {source.begin_s is None for source in clip.sources}


def test_the_share_changes_where_sounds_begin_and_nothing_else() -> None:
    none, half, every = drawn(0.0), drawn(0.5), drawn(1.0)
    assert all(begins(clip) == {True} for clip in none)
    assert all(begins(clip) == {False} for clip in every)
    assert 18 < sum(begins(clip) == {False} for clip in half) < 42
    assert all(len(begins(clip)) == 1 for clip in half)  # the sounds of a clip go on together, or none does
    for others in zip(none, half, every, strict=True):
        assert len({tuple((s.sound, s.position) for s in clip.sources) for clip in others}) == 1


def test_there_is_something_to_hear_where_a_clip_begins(tmp_path: Path) -> None:
    """Nine tenths of this sound are silent; a clip that began anywhere in it would mostly hold nothing."""
    wave = np.zeros(10 * SAMPLE_RATE_HZ, dtype=np.float32)
    wave[-SAMPLE_RATE_HZ:] = np.random.default_rng(0).normal(size=SAMPLE_RATE_HZ) * 0.1
    (tmp_path / "Dog").mkdir()
    soundfile.write(tmp_path / "Dog" / "a.wav", wave, SAMPLE_RATE_HZ, subtype="FLOAT")
    library = open_library(f"folder:{tmp_path}")
    clips = draw_clips([library], DrawnPlaces("echo", {}), 100, seconds=3.0, going_on=1.0)
    starts = np.array([clip.sources[0].begin_s for clip in clips], dtype=float)
    heard = (starts + 3.0 > 9.0).mean()
    # Of one lot in ten seconds 0.4 would do, of the four that are drawn all but 0.6⁴ = 0.13.
    assert heard > 0.75
    assert len(np.unique(starts)) > 50


def test_a_clip_is_cut_out_of_its_sound_repeated(tmp_path: Path, rng: np.random.Generator) -> None:
    """Against a file that holds the sound eight times over, heard from its first sample on."""
    once = (rng.normal(size=SAMPLE_RATE_HZ) * np.linspace(0.02, 0.3, SAMPLE_RATE_HZ)).astype(np.float32)
    soundfile.write(tmp_path / "once.wav", once, SAMPLE_RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "often.wav", np.tile(once, 8), SAMPLE_RATE_HZ, subtype="FLOAT")
    rir = rng.normal(size=(2, 2 * SAMPLE_RATE_HZ)) * np.exp(-np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ) * 0.01
    np.save(tmp_path / "room.npy", rir)
    where = Position(0.0, 0.0, 1.0)
    long = Clip("long", (ClipSource(("Dog",), where, audio="often.wav", rir="room.npy"),), 8.0)
    going = ClipSource(("Dog",), where, audio="once.wav", rir="room.npy", begin_s=0.75)
    write_manifest(tmp_path / "m.jsonl", [long, Clip("cut", (going,), 1.5)])
    clips = ManifestClips(tmp_path / "m.jsonl")
    assert clips.clips[1].sources[0] == going
    whole, cut = (clips.render(clip).numpy() for clip in clips.clips)
    first = round(5.75 * SAMPLE_RATE_HZ)
    np.testing.assert_allclose(cut, whole[:, first : first + cut.shape[1]], atol=2e-5 * np.abs(whole).max())
    # The rooms of the two are not told apart by the test alone: a sound that begins there has no reverberation yet.
    fresh = clips.render(Clip("new", (ClipSource(("Dog",), where, audio="once.wav", rir="room.npy"),), 1.5)).numpy()
    assert np.abs(fresh - cut).max() > 0.1 * np.abs(cut).max()


def test_without_reverberation_the_same_stretch_is_heard(tmp_path: Path, rng: np.random.Generator) -> None:
    wave = rng.normal(size=SAMPLE_RATE_HZ).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "a.wav", wave, SAMPLE_RATE_HZ, subtype="FLOAT")
    source = ClipSource(("Dog",), Position(0.0, 0.0, 1.0), audio="a.wav", rir="none.npy", begin_s=0.25)
    write_manifest(tmp_path / "m.jsonl", [Clip("a", (source,), 0.5)])
    clips = ManifestClips(tmp_path / "m.jsonl", normalise=False, reverberation="none")
    quarter = SAMPLE_RATE_HZ // 4
    np.testing.assert_array_equal(clips.render(clips.clips[0])[0].numpy(), wave[quarter : 3 * quarter])


@pytest.mark.parametrize("value", [-0.1, "soon", True, float("nan")], ids=str)
def test_a_begin_that_is_none_is_refused(tmp_path: Path, value: object) -> None:
    source = {"audio": "a.wav", "rir": "r.npy", "labels": ["Dog"], "azimuth_deg": 0, "elevation_deg": 0}
    line = {"id": "a", "sources": [{**source, "distance_m": 1, "begin_s": value}]}
    (tmp_path / "m.jsonl").write_text(json.dumps(line))
    with pytest.raises(BadInput, match="begin_s must be a number of seconds, 0 or more"):
        read_manifest(tmp_path / "m.jsonl")


def test_the_command_takes_the_share_of_the_recipe_or_its_own(run: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "name: r\nencoder: {name: echo}\nsounds: [{source: 'procedural:1', valid_folds: [1]}]\n"
        "rooms: [{simulator: echo, scenes: 4, valid_scenes: 4}]\nmixing: {going_on: 1.0}\n"
    )
    for words, share in (([], 1), (["--going-on", 0], 0)):
        out = tmp_path / f"{share}.jsonl"
        code, _, error = run("evaluate", "manifest", "--recipe", recipe, "--clips", 4, "-o", out, *words)
        assert code == 0, error
        assert sum(begins(clip) == {False} for clip in read_manifest(out)) == 4 * share
