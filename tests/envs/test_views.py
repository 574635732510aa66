"""Looking at an episode and keeping it: the view from above, videos, and the sound beside them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import soundfile

from bat_agent.errors import BadInput
from bat_agent_envs import registration
from bat_agent_envs.navigation import FORWARD, LEFT
from bat_agent_envs.record_sound import RecordSound, with_sound
from bat_agent_envs.world import ahead

registration.register()
GOAL = "bat_agent_envs/AudioGoal-v0"


def make(name: str = GOAL, **options: Any) -> gym.Env[Any, Any]:
    return gym.make(name, disable_env_checker=True, render_mode="rgb_array", sounds="procedural:2", **options)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Places (row, column) at which two pictures differ."""
    return np.argwhere((before.astype(int) - after.astype(int)).any(axis=-1))


@pytest.mark.parametrize("name", list(registration.ENVIRONMENTS))
def test_all_pictures_are_of_one_even_size(name: str) -> None:
    env = make(name)
    shapes = set()
    for seed in range(4):
        env.reset(seed=seed)
        picture: Any = env.render()
        assert picture.dtype == np.uint8
        shapes.add(picture.shape)
    (shape,) = shapes
    assert shape[0] % 2 == shape[1] % 2 == 0  # players of H.264 want it


def test_the_picture_moves_with_the_agent_and_shows_what_it_hears() -> None:
    env = make()
    env.reset(seed=0)
    inner: Any = env.unwrapped
    before: Any = env.render()
    # x grows to the right and z downwards, so a metre ahead is where the heading says.
    inner.world.x, inner.world.z = inner.world.x + 0.5, inner.world.z
    moved: Any = env.render()
    places = changed(before, moved)
    assert len(places) > 50
    inner.world.x -= 0.5
    assert len(changed(before, env.render())) == 0  # type: ignore[arg-type]
    # Something is heard ahead of it, a metre away: a line from the agent into its heading.
    env.get_wrapper_attr("show_heard")([{"direction": np.array([0.0, 0.0, -1.0]), "distance_m": 1.0, "label": "Dog"}])
    ray = changed(before, env.render())  # type: ignore[arg-type]
    assert len(ray) > 50
    start, (dx, dz) = inner._view._px(inner.world.x, inner.world.z), ahead(inner.world.heading_deg)
    end = inner._view._px(inner.world.x + dx, inner.world.z + dz)
    for share in (0.5, 0.7, 0.98):
        row, column = ((a + share * (b - a)) / 2 for a, b in zip(start[::-1], end[::-1], strict=True))
        assert np.abs(ray - (row, column)).max(axis=1).min() <= 2
    env.reset(seed=0)
    assert len(changed(before, env.render())) == 0  # type: ignore[arg-type]


def test_what_was_heard_is_scored() -> None:
    env = make()
    _, info = env.reset(seed=0)
    azimuth = math.radians(info["truth"]["azimuth_deg"] + 20)
    level = [math.cos(azimuth), 0.0, -math.sin(azimuth)]
    env.get_wrapper_attr("show_heard")([{"direction": np.array(level), "distance_m": 1.0, "label": "Dog"}])
    *_, info = env.step(3)
    true, up = info["truth"]["azimuth_deg"], math.radians(info["truth"]["elevation_deg"])
    off = math.degrees(math.acos(math.cos(up) * math.cos(math.radians(true) - azimuth)))
    assert info["episode_metrics"]["direction_error_deg"] == pytest.approx(off)


def test_without_a_render_mode_nothing_is_drawn() -> None:
    env = gym.make(GOAL, disable_env_checker=True, sounds="procedural:2").unwrapped
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


def test_the_sound_of_an_episode_is_written_as_it_was_heard(tmp_path: Path) -> None:
    env = RecordSound(make(max_steps=3), str(tmp_path), lambda number: number != 1, name_prefix="walk")
    heard = [env.reset(seed=0)[0]["audio"], *(env.step(LEFT)[0]["audio"] for _ in range(3))]
    written, rate_hz = soundfile.read(tmp_path / "walk-episode-0.wav", dtype="float32", always_2d=True)
    assert rate_hz == 32_000
    np.testing.assert_array_equal(written.T, np.concatenate(heard, axis=1))
    env.reset(seed=1), env.step(LEFT)  # not wanted
    heard = [env.reset(seed=2)[0]["audio"], env.step(FORWARD)[0]["audio"]]
    env.close()  # unfinished
    written, _ = soundfile.read(tmp_path / "walk-episode-2.wav", dtype="float32", always_2d=True)
    np.testing.assert_array_equal(written.T, np.concatenate(heard, axis=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["walk-episode-0.wav", "walk-episode-2.wav"]


def test_sound_is_recorded_before_it_is_taken_out() -> None:
    env = gym.wrappers.FilterObservation(make(), ["pose"])
    with pytest.raises(BadInput, match="RecordSound first"):
        RecordSound(env, "nowhere")


def test_video_and_sound_are_equally_long(tmp_path: Path) -> None:
    pytest.importorskip("moviepy", reason="videos need moviepy")
    from moviepy import VideoFileClip

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = gym.wrappers.RecordVideo(RecordSound(make(max_steps=7), str(tmp_path)), str(tmp_path))
        env.reset(seed=0)
        for _ in range(7):
            env.step(FORWARD)
        env.close()
        with VideoFileClip(str(tmp_path / "rl-video-episode-0.mp4")) as clip:
            seconds, size = clip.duration, clip.size
    assert seconds == pytest.approx(soundfile.info(tmp_path / "rl-video-episode-0.wav").duration, abs=0.05)
    assert size == [640, 544]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with VideoFileClip(str(with_sound(tmp_path / "rl-video-episode-0.mp4"))) as clip:
            assert clip.duration == pytest.approx(seconds, abs=0.05)
            assert clip.audio.duration == pytest.approx(seconds, abs=0.1)
            sound = clip.audio.to_soundarray(fps=32_000)
    written, _ = soundfile.read(tmp_path / "rl-video-episode-0.wav")
    levels = [np.sqrt(np.mean(part[:60_000] ** 2, axis=0)) for part in (sound, written)]
    np.testing.assert_allclose(levels[0], levels[1], rtol=0.1)
    soundfile.write(tmp_path / "short.wav", written[:39_000], 32_000)
    with pytest.raises(BadInput, match=r"lasts 2\.00 s, but short\.wav 1\.22 s"):
        with_sound(tmp_path / "rl-video-episode-0.mp4", tmp_path / "short.wav")
