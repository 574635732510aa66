"""``RecordSound``: what an agent heard in an episode as a WAV file, beside the video of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import soundfile
from gymnasium.utils.save_video import capped_cubic_video_schedule

from bat_agent.errors import BadInput
from bat_agent.extras import needed
from bat_agent.sound.audio import write_wav
from bat_agent_envs.intake import rate_of


class RecordSound(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Writes the sound of whole episodes, stereo, left ear first, at the rate of the environment.

    The companion of :class:`gymnasium.wrappers.RecordVideo`: with the same ``episode_trigger`` and ``name_prefix`` it
    writes ``<prefix>-episode-<n>.wav`` where that writes ``<prefix>-episode-<n>.mp4``, both as long as the episode;
    :func:`with_sound` makes one file of both. It must wrap the environment before anything that takes the sound out
    of the observation, such as :class:`~bat_agent_envs.SpatialHearing`.

    Args:
        env: Its observations bring the chunk of each step, (2, samples).
        folder: Where files go; made if need be.
        episode_trigger: Which episodes to record, by their number from 0; by default those of ``RecordVideo``.
        name_prefix: What names of files begin with.
        audio: Key of the sound in the observation.
        sample_rate_hz: Its rate, if the environment has no attribute of that name.

    Raises :class:`~bat_agent.errors.BadInput` for an environment without such a key or rate.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        folder: str,
        episode_trigger: Callable[[int], bool] | None = None,
        name_prefix: str = "rl-video",
        audio: str = "audio",
        sample_rate_hz: int | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, folder=folder, episode_trigger=episode_trigger, name_prefix=name_prefix, audio=audio,
            sample_rate_hz=sample_rate_hz,
        )  # fmt: skip
        gym.Wrapper.__init__(self, env)
        space = env.observation_space
        if not isinstance(space, gym.spaces.Dict) or audio not in space.spaces:
            raise BadInput(
                f"the observation has no {audio!r} to record: wrap the environment with RecordSound first and with "
                "SpatialHearing after, or name the key with audio="
            )
        self._rate_hz = rate_of(env, sample_rate_hz)
        self.episode_id = -1
        self._folder, self._prefix, self._key = Path(folder), name_prefix, audio
        self._trigger = episode_trigger or capped_cubic_video_schedule
        self._chunks: list[np.ndarray] = []
        self._recording = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Write the last episode, begin the next."""
        self._write()
        observation, info = self.env.reset(seed=seed, options=options)
        self.episode_id += 1
        self._recording = self._trigger(self.episode_id)
        self._keep(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act; the episode is written as soon as it is over."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._keep(observation)
        if terminated or truncated:
            self._write()
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Write what there is of an unfinished episode."""
        self._write()
        super().close()

    def _keep(self, observation: Any) -> None:
        if self._recording:
            self._chunks.append(np.array(observation[self._key], np.float32))

    def _write(self) -> None:
        if self._chunks:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{self._prefix}-episode-{self.episode_id}.wav"
            write_wav(path, np.concatenate(self._chunks, axis=1), self._rate_hz)
        self._chunks, self._recording = [], False


LATE_S = 0.1
"""By so much, or one frame, picture and sound may differ in length."""


def with_sound(video: str | Path, sound: str | Path | None = None, out: str | Path | None = None) -> Path:
    """One file of a video of ``RecordVideo`` and the sound of the same episode; the pictures are not encoded again.

    ``sound`` is the WAV of :class:`RecordSound` beside it unless given, ``out`` is ``<video>-heard.mp4``; returned is
    where it was written. Needs ffmpeg, which comes with ``moviepy``, as does ``RecordVideo``.

    Raises :class:`~bat_agent.errors.BadInput` for files that are missing or differ in length: ``render_fps`` of the
    environment must be one over the seconds of its steps.
    """
    video = Path(video)
    sound = video.with_suffix(".wav") if sound is None else Path(sound)
    out = video.with_name(f"{video.stem}-heard.mp4") if out is None else Path(out)
    for path in (video, sound):
        if not path.is_file():
            raise BadInput(f"there is no file {path}: give the video of RecordVideo and the sound of RecordSound")
    with needed("video", "joining video and sound"):
        import imageio_ffmpeg
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(video))
    heard_s = soundfile.info(sound).duration
    if abs(seconds - heard_s) > max(LATE_S, 1.5 * seconds / max(frames, 1)):
        raise BadInput(
            f"{video.name} lasts {seconds:.2f} s, but {sound.name} {heard_s:.2f} s: they are of one episode only if "
            "render_fps in the environment's metadata is one over the seconds of a step"
        )
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-i", str(video), "-i", str(sound),
        "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", "-b:a", "192k", str(out),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = re.sub(r"\s+", " ", ended.stderr).strip()
        raise BadInput(
            f"{video.name} and {sound.name} cannot be joined ({said}): give files of RecordVideo, RecordSound"
        )
    return out
