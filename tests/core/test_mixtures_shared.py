"""Clips shared out over processes and devices: the same clips whoever makes them, and wherever."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bat_agent.clips.mixtures import Batch, Mixtures
from bat_agent.clips.room_bank import FreshRooms, open_bank
from bat_agent.clips.sound_bank import SoundPool
from bat_agent.datasets.rooms import Rooms
from bat_agent.datasets.sound_libraries import open_sounds
from bat_agent.errors import BadInput
from bat_agent.questions.curriculum import question_types
from bat_agent.recipes.schema import Mixing
from bat_agent_echo.config import EchoSimulatorConfig
from bat_agent_echo.echo import EchoSimulator

BUSY = Mixing(
    window_seconds=[0.1],
    two_sources=0.5,
    equalise_db=4.0,
    speed=0.15,
    noise_dbfs=[-90.0, -60.0],
    mismatch_db=1.0,
    level_jitter_db=6.0,
    roll=True,
    gain=True,
)
ASKING: dict[str, Any] = {"question_types": question_types(["A", "B", "E", "P"]), "questions_per_clip": 3}
Make = Callable[..., Mixtures]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rooms]:
    simulator = EchoSimulator(EchoSimulatorConfig())
    folder = tmp_path_factory.mktemp("rooms")
    options = {"order": 1, "median_rt60_s": 0.13, "max_rt60_s": 0.15}
    return {
        "bank": open_bank(folder, simulator, {}, scenes=8, sources=4, seconds=0.05, seed=0),
        "short bank": open_bank(folder, simulator, {}, scenes=8, sources=4, seconds=0.03, seed=1),
        "fresh": FreshRooms("shoebox", options, sources=3, seconds=0.05, weight=8),
    }


@pytest.fixture
def make(places: dict[str, Rooms]) -> Make:
    pool = SoundPool([open_sounds("procedural:2", cache=True)], [1.0])

    def call(rooms: tuple[str, ...] = ("bank", "fresh", "short bank"), mixing: Mixing = BUSY, **o: Any) -> Mixtures:
        banks = [places[name] for name in rooms]
        return Mixtures(pool, banks, mixing, **{"seed": 5, "steps": 4, "seconds_per_step": 0.6, **o})

    return call


def rows(batch: Batch, clip: int) -> tuple[Any, ...]:
    truth = tuple(tensor.tolist() for tensor in vars(batch.truth[clip : clip + 1]).values() if tensor is not None)
    return (batch.waveform[clip].numpy().tobytes(), truth, batch.heard[clip], batch.questions[clip], batch.ids[clip])


@pytest.mark.parametrize("world", [1, 2, 3, 6])
@pytest.mark.parametrize("asking", [{}, ASKING], ids=["silent", "asking"])
def test_the_shares_of_all_processes_are_the_whole_step(make: Make, world: int, asking: dict[str, Any]) -> None:
    whole = make(**asking)[1]
    for rank in range(world):
        share = make(shard=(rank, world), **asking)[1]
        assert [rows(share, n) for n in range(6 // world)] == [rows(whole, n) for n in range(rank, 6, world)]


def test_a_step_that_cannot_be_shared_evenly_is_refused_with_one_that_can(make: Make) -> None:
    with pytest.raises(BadInput, match=r"a step of 6 clips of 0\.1 s .* by 4 processes; .* e\.g\. to 0\.4") as refused:
        make(shard=(0, 4))
    assert make(shard=(0, 4), seconds_per_step=float(str(refused.value).split("to ")[1].split(",")[0]))[0].ids
    with pytest.raises(BadInput, match="0 <= rank < world"):
        make(shard=(2, 2))


@pytest.mark.parametrize("reverberation", ["full", "direct", "none"])
def test_a_device_renders_what_a_worker_renders(make: Make, reverberation: str) -> None:
    """To 1e-6 of the peak; RIRs travel with the batch, or are looked up by number where they are rendered."""
    mixing = Mixing(**{**vars(BUSY), "reverberation": reverberation})
    worker = make(mixing=mixing)[2]
    for kept in (False, True):
        data = make(mixing=mixing, render_on="device", rirs_on_device=kept)
        left = data[2]
        assert left.waveform.shape == (6, 2, 0)
        assert left.dry is not None
        done = data.finish(left, "cpu")
        peak = float(worker.waveform.abs().max())
        torch.testing.assert_close(done.waveform, worker.waveform, atol=1e-6 * peak, rtol=0)
        assert done.dry is None
        assert (done.heard, done.ids) == (worker.heard, worker.ids)


def test_where_the_bank_is_kept_on_the_device_no_rir_travels(make: Make) -> None:
    kept, sent = (make(("bank",), render_on="device", rirs_on_device=k)[0].dry for k in (True, False))
    assert kept is not None
    assert sent is not None
    assert [part.rirs for part in kept.rirs] == [None]
    assert [part.rirs.shape[1:] for part in sent.rirs if part.rirs is not None] == [(2, 1600)]


@pytest.mark.parametrize("energies", [False, True])
def test_a_device_that_holds_the_sounds_is_sent_numbers_and_cuts_the_same(make: Make, energies: bool) -> None:
    """To 1e-3 of the peak: places between two samples are rounded otherwise."""
    worker = make(energies=energies)[1]
    data = make(render_on="device", energies=energies)
    data.pool.preload(0)
    data.sounds_on_device = True  # as preload says where there is a GPU
    [batch] = list(DataLoader(data, batch_size=None, sampler=[1], num_workers=1))
    assert batch.dry is not None
    assert batch.dry.sounds.shape == (0, 3200)
    done = data.finish(batch, "cpu")
    peak = float(worker.waveform.abs().max())
    torch.testing.assert_close(done.waveform, worker.waveform, atol=1e-3 * peak, rtol=0)
    assert (done.truth.energy_db is None) is not energies
    assert done.heard == worker.heard


def test_without_a_gpu_sounds_are_cut_where_they_are_drawn(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make(render_on="device")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    data.preload(0)
    assert not data.sounds_on_device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    data.preload(0)
    assert data.sounds_on_device


def test_what_is_rendered_already_is_only_moved(make: Make) -> None:
    data = make()
    batch = data[0]
    assert torch.equal(data.finish(batch, "cpu").waveform, batch.waveform)
    assert data.finish(batch, "meta").waveform.device.type == "meta"


@pytest.mark.parametrize("render_on", ["worker", "device"])
def test_worker_processes_send_the_same(make: Make, render_on: str) -> None:
    data = make(render_on=render_on)
    here = [data.finish(data[step], "cpu").waveform for step in range(4)]
    loader = DataLoader(data, batch_size=None, num_workers=1)
    there = [data.finish(batch, "cpu").waveform for batch in loader]
    assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


def test_a_process_that_is_spawned_gets_the_same_clips(make: Make) -> None:
    """Fresh rooms once took their simulator along, with whatever lies on a GPU in it."""
    data = make(("bank", "fresh"))
    before = data[1]
    sent = pickle.loads(pickle.dumps(data))
    assert rows(sent[1], 3) == rows(before, 3)


def test_fresh_rooms_are_never_the_same_and_sound_as_they_are_labelled(make: Make) -> None:
    """Level falls with distance as 1/d in rooms this dead; each clip has a room of its own."""
    plain = Mixing(window_seconds=[0.4], mirror=0.0)
    rain = open_sounds("procedural:2", cache=True).filter(labels=["Rain"])
    data = Mixtures(
        SoundPool([rain], [1.0]),
        [FreshRooms("shoebox", {"order": 1, "head": "sphere", "max_rt60_s": 0.15}, sources=1, seconds=0.2, weight=1)],
        plain,
        seed=1,
        steps=1,
        seconds_per_step=16.0,
    )
    batch = data[0]
    positions = [source.position for (source,) in batch.heard]
    assert len(set(positions)) == len(set(batch.ids)) == 40
    level = 20 * batch.waveform.square().mean((1, 2)).sqrt().log10().numpy()
    logs = np.log10([position.distance_m for position in positions])
    assert np.corrcoef(logs, level)[0, 1] < -0.8
    right = np.array([np.cos(np.radians(p.azimuth_deg)) * np.cos(np.radians(p.elevation_deg)) for p in positions])
    ears = batch.waveform.square().mean(2)
    louder = 10 * (ears[:, 1] / ears[:, 0]).log10().numpy()
    assert np.corrcoef(right, louder)[0, 1] > 0.8


def test_two_sources_of_a_fresh_room_lie_in_the_same_room(make: Make, tmp_path: Path) -> None:
    data = make(("fresh",), mixing=Mixing(window_seconds=[0.1], two_sources=1.0), render_on="device")
    batch = data[0]
    assert batch.dry is not None
    (part,) = batch.dry.rirs
    assert [len(scene.sources) for scene in part.scenes] == [len(heard) for heard in batch.heard]
    for scene, heard in zip(part.scenes, batch.heard, strict=True):
        found = scene.positions()
        expected = [source.position for source in heard]
        mirrored = [(180 - p.azimuth_deg) % 360 for p in found]
        azimuths = [p.azimuth_deg for p in expected]
        assert azimuths == pytest.approx([p.azimuth_deg for p in found]) or azimuths == pytest.approx(mirrored)
        assert [p.distance_m for p in expected] == [p.distance_m for p in found]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_renders_what_a_cpu_renders(make: Make) -> None:
    quiet = Mixing(**{**vars(BUSY), "noise_dbfs": None})
    worker = make(("bank", "short bank"), mixing=quiet)[2].waveform
    for kept in (False, True):
        data = make(("bank", "short bank"), mixing=quiet, render_on="device", rirs_on_device=kept)
        done = data.finish(data[2], "cuda").waveform.cpu()
        torch.testing.assert_close(done, worker, atol=1e-5 * float(worker.abs().max()), rtol=0)
