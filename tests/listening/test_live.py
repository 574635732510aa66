"""The whole chain on a real device: a rendered walk is played into a microphone, heard, tracked and asked about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent import listen
from bat_agent.datasets.sound_libraries import open_sounds
from bat_agent.listening.devices import refresh
from bat_agent.listening.events import Update
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, Room, Scene, Source, angle_between_deg
from bat_agent.scenes.moving import MovingScene, Track, Waypoints, render_moving

WALK_S = 8.0
LOUD_DBFS = -60.0
pytestmark = pytest.mark.skipif(
    not (Path(os.environ.get("BAT_SHARED", "../shared")) / "data/sounds/manifest.csv").is_file(),
    reason="needs the recordings of BAT_SHARED",
)


@pytest.fixture(scope="module")
def walk() -> tuple[MovingScene, np.ndarray]:
    """A dog of fold 4 walks by from left to right; and what is heard, (n, 2) 16-bit samples."""
    import torch

    from bat_agent.sound.acoustics import rms_normalise

    sounds = open_sounds("manifest:$BAT_SHARED/data/sounds/manifest.csv").filter(folds=[4], labels=["Dog"])
    sound = rms_normalise(torch.from_numpy(sounds[0].waveform()))
    begin, end = (1.5, 1.4, 2.3), (5.5, 1.4, 2.3)
    scene = Scene(Room((7.0, 2.8, 6.0), 0.3), Listener((3.5, 1.5, 3.5)), (Source(begin),), seed=1)
    moving = MovingScene(scene, sources_m=(Waypoints((0.0, WALK_S), (begin, end)),))
    heard = render_moving(load_simulator("shoebox"), moving.at, [Track(sound)], WALK_S)
    return moving, (heard.clamp(-1, 1).numpy().T * 32767).astype(np.int16)


def hear(microphone: Any, device: str, samples: np.ndarray, **settings: Any) -> tuple[list[Update], float]:
    """Everything said while it plays; and when, by the clock of the sound, it began to."""
    refresh()
    updates: list[Update] = []
    player, begin_s = None, None
    for update in listen(device, level_known=True, **settings):
        player = player or microphone.play(samples)
        updates.append(update)
        if begin_s is None and max(update.levels_dbfs) > LOUD_DBFS:
            begin_s = update.t_s - 0.25
        if begin_s is not None and update.t_s > begin_s + WALK_S + 0.5:
            break
        assert update.t_s < WALK_S + 10, "nothing was heard of what was played"
    assert player is not None
    assert begin_s is not None
    assert player.wait(10) == 0
    return updates, begin_s


def test_a_walk_played_into_the_microphone_is_tracked_and_named(
    microphone: Any, walk: tuple[MovingScene, np.ndarray]
) -> None:
    moving, samples = walk
    updates, begin_s = hear(microphone, "batmic", samples, questions=("where is the dog?",), ask_every_s=3.0)
    errors, right = [], []
    for update in updates:
        now_s = update.t_s - begin_s
        if 1.5 < now_s < WALK_S and update.sources:
            source, true = update.sources[0].source, moving.at(now_s).positions()[0]
            assert source.azimuth_deg is not None
            here = (source.azimuth_deg, source.elevation_deg or 0.0)
            errors.append(angle_between_deg(here, (true.azimuth_deg, true.elevation_deg)))
            right.append("Dog" in source.labels)
    assert len(errors) > 10
    assert np.median(errors) <= 20
    assert np.mean(right) > 0.9
    assert updates[-1].lost_s == 0
    assert [answer.answer.question for update in updates for answer in update.answers]


def test_one_microphone_opened_in_stereo_gets_no_direction(
    microphone: Any, walk: tuple[MovingScene, np.ndarray]
) -> None:
    updates, begin_s = hear(microphone, "batmono", walk[1])
    later = [update for update in updates if update.t_s > begin_s + 2.0 and update.sources]
    assert later
    assert all(source.source.azimuth_deg is None for update in later for source in update.sources)
    assert any(note.kind == "identical" for update in later for note in update.health)
