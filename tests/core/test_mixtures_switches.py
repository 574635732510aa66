"""The switches of a recipe's mixing: each changes what it says, in sound and truth, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from bat_agent.clips.mixtures import Batch, Mixtures, truth_of
from bat_agent.clips.room_bank import RoomBank, open_bank
from bat_agent.clips.sound_bank import SoundPool
from bat_agent.clips.spatialise import apart, render
from bat_agent.datasets.sound_libraries import open_sounds
from bat_agent.questions import HeardSource
from bat_agent.questions.curriculum import question_types
from bat_agent.recipes.schema import Mixing
from bat_agent.scene import Position
from bat_agent.sound.acoustics import rms_dbfs
from bat_agent.sound.features import band_energies_db, num_frames
from bat_agent_echo.config import EchoSimulatorConfig
from bat_agent_echo.echo import EchoSimulator

PLAIN = Mixing(window_seconds=[0.1], two_sources=0.4)
Make = Callable[..., Mixtures]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> RoomBank:
    simulator = EchoSimulator(EchoSimulatorConfig())
    return open_bank(tmp_path_factory.mktemp("rooms"), simulator, {}, scenes=12, sources=4, seconds=0.05, seed=0)


@pytest.fixture
def make(bank: RoomBank) -> Make:
    pool = SoundPool([open_sounds("procedural:3", cache=True)], [1.0])

    def call(options: dict[str, Any] | None = None, **switches: Any) -> Mixtures:
        mixing = replace(PLAIN, **switches)
        return Mixtures(pool, [bank], mixing, **{"seed": 3, "steps": 30, "seconds_per_step": 1.6, **(options or {})})

    return call


def heard_alike(one: Batch, other: Batch) -> bool:
    return one.heard == other.heard and one.ids == other.ids and torch.equal(one.truth.classes, other.truth.classes)


@pytest.mark.parametrize(
    "switch",
    [
        {"equalise_db": 4.0},
        {"speed": 0.2},
        {"noise_dbfs": [-60.0, -60.0]},
        {"mismatch_db": 1.0},
        {"level_jitter_db": 10.0},
        {"normalise": False},
        {"roll": True},
        {"gain": True},
        {"going_on": 1.0},
        {"reverberation": "direct"},
        {"reverberation": "none"},
    ],
    ids=str,
)
def test_a_switch_changes_the_sound_and_nothing_else(make: Make, switch: dict[str, Any]) -> None:
    """So that two runs of an ablation differ in what is studied."""
    plain, switched = make()[0], make(**switch)[0]
    assert heard_alike(plain, switched)
    # The rooms of the null plugin are free fields: there the direct sound is everything.
    assert torch.equal(plain.waveform, switched.waveform) == (switch == {"reverberation": "direct"})


def test_switches_do_not_disturb_each_other(make: Make) -> None:
    """The gain of a clip is the same whether or not there is noise."""
    jitter = {"level_jitter_db": 10.0}
    gained, noisy = make(**jitter)[0], make(**jitter, noise_dbfs=[-200.0, -200.0])[0]
    torch.testing.assert_close(noisy.waveform, gained.waveform, atol=1e-8, rtol=0)


def test_level_jitter_is_one_gain_for_both_ears_within_its_bounds(make: Make) -> None:
    plain, loud = make({"seconds_per_step": 12.8})[0], make({"seconds_per_step": 12.8}, level_jitter_db=12.0)[0]
    gain_db = rms_dbfs(loud.waveform) - rms_dbfs(plain.waveform)
    torch.testing.assert_close(gain_db[:, 0], gain_db[:, 1], atol=1e-3, rtol=0)
    found = gain_db[:, 0]
    assert float(found.abs().max()) <= 12.0
    # Uniform: mean 0, standard deviation 12/√3, 128 clips.
    assert float(found.mean()) == pytest.approx(0, abs=2.5)
    assert float(found.std()) == pytest.approx(12 / 3**0.5, rel=0.15)


def test_without_a_room_both_ears_are_alike(make: Make) -> None:
    batch = make(reverberation="none")[0]
    assert torch.equal(batch.waveform[:, 0], batch.waveform[:, 1])
    assert batch.waveform.any()


# --- mixup ---


def test_mixed_up_sounds_have_soft_labels_that_name_both(make: Make) -> None:
    batch = make({"two_sources": 0.0, "seconds_per_step": 6.4}, mixup=1.0)[0]
    classes = batch.truth.classes[:, 0]
    assert classes.sum(1).tolist() == pytest.approx([1.0] * 64, abs=1e-6)  # synthesised sounds have one label each
    soft = [row[row > 0].tolist() for row in classes]
    pairs = [shares for shares in soft if len(shares) == 2]
    assert len(pairs) > 50  # the same class twice is left as one
    first = np.array([max(shares) for shares in pairs])
    assert 0.5 <= first.min() <= first.max() < 0.9  # Beta(10, 10)
    assert all(" + " in line for line in batch.ids)
    for heard, row in zip(batch.heard, classes, strict=True):
        assert len(set(heard[0].labels)) == int((row > 0).sum())


def test_the_share_of_mixed_up_clips_is_as_asked(make: Make) -> None:
    data = make({"two_sources": 0.0}, mixup=0.5)
    mixed = [" + " in line for step in range(25) for line in data[step].ids]
    assert np.mean(mixed) == pytest.approx(0.5, abs=0.08)  # 400 clips, three standard deviations


def test_the_shares_of_the_labels_are_those_of_the_sounds(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dog that is silence and a siren that is a constant: the level tells λ, and it is the siren's label."""
    from bat_agent.datasets.sounds import Sound

    waves = {"Dog": np.zeros(9000, np.float32), "Siren": np.ones(9000, np.float32)}
    turns = iter(["Dog", "Siren"] * 100)

    def sample(self: SoundPool, rng: np.random.Generator) -> Sound:
        name = next(turns)
        return Sound(name, (name,), None, lambda _: waves[name])

    monkeypatch.setattr(SoundPool, "sample", sample)
    batch = make({"two_sources": 0.0}, mixup=1.0, reverberation="none")[0]
    siren = truth_of([[HeardSource(("Siren",), Position(0, 0, 1))]]).classes[0, 0].argmax()
    shares = batch.truth.classes[:, 0, siren]
    assert float(shares.std()) > 0.05
    torch.testing.assert_close(batch.waveform[:, 0, 100], shares * 10 ** (-14 / 20), atol=1e-4, rtol=0)


def test_where_questions_are_asked_sounds_are_not_mixed_up(make: Make) -> None:
    asking = {"question_types": question_types(["A"]), "questions_per_clip": 1, "two_sources": 0.0}
    batch = make(asking, mixup=1.0)[0]
    assert not any(" + " in line for line in batch.ids)
    assert set(batch.truth.classes.unique().tolist()) == {0.0, 1.0}


def test_the_truth_of_a_label_given_twice_is_one() -> None:
    twice = truth_of([[HeardSource(("Dog", "Dog"), Position(10, 0, 1))]])
    assert float(twice.classes.sum()) == 1.0


# --- names, levelled questions ---


def test_every_clip_can_be_named(make: Make, bank: RoomBank) -> None:
    batch = make()[0]
    for line, heard in zip(batch.ids, batch.heard, strict=True):
        assert line.count(" in rooms 0 scene ") == len(heard)
        assert all(label in line for source in heard for label in source.labels)
        scene, source = (int(word) for word in (line.split()[-3], line.split()[-1].rstrip(",")))
        distance = bank.scenes[scene].positions()[source].distance_m
        assert distance == heard[-1].position.distance_m


def test_yes_and_no_are_level_over_the_clips_of_a_step(make: Make) -> None:
    """Whoever draws the questions; most sources lie below the ears, so unlevelled "is it below?" is mostly yes."""
    asking = {"question_types": question_types(["P", "E"]), "questions_per_clip": 4, "two_sources": 0.7}
    data = make({**asking, "seconds_per_step": 6.4})
    answers: Counter[str] = Counter(
        question.answer for step in range(3) for asked in data[step].questions for question in asked
    )
    said = answers["Yes"] + answers["No"]
    assert said > 150
    assert answers["Yes"] / said == pytest.approx(0.5, abs=0.08)


def test_a_pool_draws_as_each_set_says() -> None:
    """By clip, a class with three times the clips comes three times as often; by class, as often as the other."""
    sounds = open_sounds("procedural:6")
    label = sounds.labels()[0], sounds.labels()[1]
    few = sounds.filter(labels=[label[0]])[:2]
    from bat_agent.datasets.sounds import combine

    both = combine(few, sounds.filter(labels=[label[1]]))
    for balance, share in (("none", 0.25), ("class", 0.5)):
        pool = SoundPool([both], [1.0], [balance])  # type: ignore[list-item]
        rng = np.random.default_rng(0)
        drawn = [pool.sample(rng).labels[0] for _ in range(600)]
        assert drawn.count(label[0]) / 600 == pytest.approx(share, abs=0.06)
    assert len(pool) == 8
    assert len(SoundPool([both, few], [1.0, 0.0])) == 8


def test_energies_are_those_of_each_source_alone(make: Make) -> None:
    """Of two sources: their sounds apart add up to the clip, and so nearly do energies. One source has them all."""
    batch = make({"energies": True, "seconds_per_step": 3.2}, mirror=0.5, equalise_db=3.0)[0]
    energy = batch.truth.energy_db
    assert energy is not None
    assert energy.shape == (32, 2, num_frames(batch.waveform.shape[-1]), 128)
    whole = band_energies_db(batch.waveform)
    one = ~batch.truth.active[:, 1]
    assert bool(one.any())
    assert not bool(one.all())
    assert bool((energy[one, 0] == 0).all())
    assert bool((energy[one, 1] == -100).all())
    total = (10 ** (energy.float() / 10)).sum(dim=(1, 2, 3))
    measured = (10 ** (whole / 10)).sum(dim=(1, 2))
    assert float((10 * torch.log10(total / measured))[~one].abs().mean()) < 1.0
    again = make({"energies": True, "seconds_per_step": 3.2, "render_on": "device"}, mirror=0.5, equalise_db=3.0)
    late = again.finish(again[0], "cpu").truth.energy_db
    assert late is not None
    assert torch.equal(late, energy)


def test_some_clips_have_no_source_at_all(make: Make) -> None:
    """As many as asked for, with noise or without; they are nobody's, and no question is asked about one."""
    data = make({"seconds_per_step": 6.4}, no_source=0.5, noise_dbfs=[-60.0, -60.0])
    batch = data[0]
    nothing = ~batch.truth.active.any(dim=1)
    assert float(nothing.float().mean()) == pytest.approx(0.5, abs=0.2)
    assert bool((batch.truth.classes[nothing] == 0).all())
    level = 10 * torch.log10(batch.waveform[nothing].square().mean(dim=(1, 2)).clamp(min=1e-12))
    assert {round(float(value)) for value in level} == {-60, -120}
    kept = make({"seconds_per_step": 6.4}, noise_dbfs=[-60.0, -60.0])[0]
    torch.testing.assert_close(batch.waveform[~nothing], kept.waveform[~nothing])
    asking = {"question_types": question_types(["A"]), "questions_per_clip": 1, "two_sources": 0.0}
    assert bool(make(asking, no_source=1.0)[0].truth.active.any(dim=1).all())


def test_sound_that_goes_on_is_the_end_of_a_longer_clip(make: Make) -> None:
    """What is heard is what scipy makes of the sound from before the clip, cut where the clip begins."""
    switches = {"going_on": 0.5, "lead_in_seconds": 0.08, "two_sources": 0.0, "mirror": 0.0}
    data = make({"render_on": "device", "seconds_per_step": 6.4}, **switches)
    batch = data[0]
    clips = batch.dry
    assert clips is not None
    assert clips.samples == 3200
    rirs = data._rirs(clips, torch.device("cpu"))
    assert rirs is not None
    found = data.finish(batch, "cpu").waveform
    assert torch.equal(found, make({"seconds_per_step": 6.4}, **switches)[0].waveform)
    assert found.shape[-1] == 3200
    whole = fftconvolve(clips.sounds.numpy()[:, None], rirs.numpy(), axes=-1)[..., 2560 : 2560 + 3200]
    np.testing.assert_allclose(found.numpy(), whole, atol=1e-5 * np.abs(whole).max())
    assert float((clips.sounds[:, :2560] != 0).any(dim=1).float().mean()) == pytest.approx(0.5, abs=0.2)


def test_energies_are_of_the_clip_alone_where_sound_goes_on(make: Make) -> None:
    batch = make({"energies": True, "seconds_per_step": 3.2}, going_on=1.0, two_sources=1.0)[0]
    assert batch.truth.energy_db is not None
    assert batch.truth.energy_db.shape[2] == num_frames(batch.waveform.shape[-1])


def test_a_source_alone_is_its_part_of_the_mixture(make: Make) -> None:
    data = make({"render_on": "device"}, two_sources=1.0, mirror=0.5)
    clips = data[0].dry
    assert clips is not None
    rirs = data._rirs(clips, torch.device("cpu"))
    alone, mixed = render(apart(clips), rirs, "cpu"), render(clips, rirs, "cpu")
    summed = torch.zeros_like(mixed).index_add_(0, clips.clip, alone)
    torch.testing.assert_close(summed, mixed, atol=1e-6, rtol=1e-4)
