"""Clips made of sounds and rooms: repeatable, true to their labels, and physically what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bat_agent.clips import mixtures
from bat_agent.clips.mixtures import Batch, Mixtures
from bat_agent.clips.room_bank import RoomBank, open_bank
from bat_agent.clips.sound_bank import SoundPool
from bat_agent.datasets.sound_libraries import open_sounds
from bat_agent.datasets.sounds import Sound
from bat_agent.errors import BadInput
from bat_agent.hearing.targets import targets_from_position
from bat_agent.labels import labels
from bat_agent.questions import Balance, HeardSource, compatible
from bat_agent.questions.curriculum import question_types
from bat_agent.recipes.schema import Mixing
from bat_agent.registry import load_simulator
from bat_agent.scene import Position, unit_vector
from bat_agent.sound.acoustics import rms_dbfs
from bat_agent_echo.config import EchoSimulatorConfig
from bat_agent_echo.echo import EchoSimulator

RATE_HZ = 32_000
LETTERS = ("A", "B", "C", "D", "E", "P")
QUIET = Mixing(window_seconds=[0.1], window_weights=[1.0], mirror=0.0)


class OneSound:
    """A sound set of one waveform under one label."""

    def __init__(self, waveform: np.ndarray, label: str = "Dog") -> None:
        self.waveform, self.label = waveform.astype(np.float32), label

    def sample(self, rng: np.random.Generator) -> Sound:
        """The one."""
        return Sound("one", (self.label,), None, lambda _: self.waveform)

    def labels(self) -> tuple[str, ...]:
        """Its label."""
        return (self.label,)


def pool_of(waveform: np.ndarray) -> SoundPool:
    return SoundPool([OneSound(waveform)], [1.0])  # type: ignore[list-item]


def hiss(seconds: float = 0.3) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(round(seconds * RATE_HZ))


@pytest.fixture(scope="module")
def pool() -> SoundPool:
    return SoundPool([open_sounds("procedural:2", cache=True)], [1.0])


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> list[RoomBank]:
    """Free field and the null plugin's head; two banks, as a recipe may name several."""
    folder, simulator = tmp_path_factory.mktemp("rooms"), EchoSimulator(EchoSimulatorConfig())
    return [
        open_bank(folder, simulator, {}, scenes=scenes, sources=4, seconds=0.05, seed=seed)
        for scenes, seed in ((6, 0), (9, 1))
    ]


Make = Callable[..., Mixtures]


@pytest.fixture
def make(pool: SoundPool, banks: list[RoomBank]) -> Make:
    def call(mixing: Mixing = QUIET, *, pool: SoundPool = pool, banks: list[RoomBank] = banks, **o: Any) -> Mixtures:
        return Mixtures(pool, banks, mixing, **{"seed": 5, "steps": 4, "seconds_per_step": 0.8, **o})

    return call


BUSY = Mixing(
    window_seconds=[0.1, 0.2],
    window_weights=[1.0, 1.0],
    two_sources=0.5,
    equalise_db=4.0,
    speed=0.15,
    noise_dbfs=[-90.0, -60.0],
    mismatch_db=1.0,
)


@pytest.fixture
def busy(make: Make) -> Mixtures:
    """With everything that is random."""
    return make(BUSY, question_types=question_types(LETTERS), questions_per_clip=3)


def same(one: Batch, other: Batch) -> bool:
    pairs = zip(vars(one.truth).values(), vars(other.truth).values(), strict=True)
    truth = [(a, b) for a, b in pairs if a is not None]
    return (
        torch.equal(one.waveform, other.waveform)
        and all(torch.equal(a, b) for a, b in truth)
        and one.heard == other.heard
        and one.questions == other.questions
    )


# --- repeatable ---


def test_a_batch_depends_on_seed_and_step_alone(busy: Mixtures, make: Make) -> None:
    forward = [busy[step] for step in range(3)]
    backward = [busy[step] for step in (2, 1, 0)][::-1]
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))
    again = make(BUSY, question_types=question_types(LETTERS), questions_per_clip=3, steps=999)
    assert same(again[1], forward[1])
    other = make(BUSY, question_types=question_types(LETTERS), questions_per_clip=3, seed=6)
    assert not same(other[1], forward[1])
    assert not same(forward[0], forward[1])


def test_the_number_of_workers_changes_nothing(busy: Mixtures) -> None:
    loaded = [list(DataLoader(busy, batch_size=None, num_workers=workers)) for workers in (0, 2)]
    assert len(loaded[0]) == len(loaded[1]) == len(busy) == 4
    assert all(same(a, b) for a, b in zip(*loaded, strict=True))


def test_nothing_global_is_read_or_changed(busy: Mixtures) -> None:
    torch.manual_seed(1)
    first, state = busy[0], torch.random.get_rng_state()
    torch.manual_seed(2)
    assert same(busy[0], first)
    torch.manual_seed(1)
    assert torch.equal(state, torch.random.get_rng_state())


# --- shapes and shares ---


def test_clips_of_every_length_fill_the_step(busy: Mixtures) -> None:
    shapes = {tuple(busy[step].waveform.shape) for step in range(8)}
    assert shapes == {(8, 2, 3200), (4, 2, 6400)}
    assert busy[0].waveform.dtype == torch.float32


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_two_sources_is_as_asked(make: Make, share: float) -> None:
    """400 clips: ±3 standard deviations, and a few rooms where no second position fits."""
    data = make(dataclasses.replace(QUIET, two_sources=share), steps=50)
    number = np.array([len(heard) for step in range(50) for heard in data[step].heard])
    assert set(number) <= {1, 2}
    assert share - 0.15 <= (number == 2).mean() <= share + 0.075
    assert share > 0 or (number == 1).all()


def test_a_stage_may_ask_for_its_own_share(make: Make) -> None:
    data = make(dataclasses.replace(QUIET, two_sources=1.0), two_sources=0.0)
    assert all(len(heard) == 1 for heard in data[0].heard)


def test_two_sources_share_neither_label_nor_region(make: Make) -> None:
    data = make(two_sources=1.0, steps=20)
    pairs = [heard for step in range(20) for heard in data[step].heard if len(heard) == 2]
    assert len(pairs) > 50
    assert all(compatible(*pair) for pair in pairs)
    assert all(a.position.region != b.position.region for a, b in pairs)


def test_sets_are_drawn_by_weight(banks: list[RoomBank]) -> None:
    sets = [OneSound(hiss(), "Dog"), OneSound(hiss(), "Siren"), OneSound(hiss(), "Rain")]
    both = SoundPool(sets, [3.0, 1.0, 0.0])  # type: ignore[arg-type]
    assert both.labels() == ("Dog", "Rain", "Siren")
    rng = np.random.default_rng(0)
    drawn = [both.sample(rng).labels[0] for _ in range(1000)]
    assert drawn.count("Dog") / 1000 == pytest.approx(0.75, abs=0.05)
    assert "Rain" not in drawn


def test_every_room_of_every_bank_is_used(make: Make, banks: list[RoomBank]) -> None:
    used = {h.position for step in range(60) for heard in make(steps=60)[step].heard for h in heard}
    known = {position for bank in banks for scene in bank.scenes for position in scene.positions()}
    assert used <= known
    assert len(used) > 0.95 * len(known)


# --- true ---


def test_targets_are_those_of_what_is_heard(busy: Mixtures) -> None:
    for step in range(4):
        batch = busy[step]
        for clip, heard in enumerate(batch.heard):
            assert batch.truth.active[clip].tolist() == [slot < len(heard) for slot in range(2)]
            for slot, source in enumerate(heard):
                bins = [int(getattr(batch.truth, n)[clip, slot]) for n in ("distance", "azimuth", "elevation")]
                assert tuple(bins) == targets_from_position(source.position)
                named = {labels()[i] for i in batch.truth.classes[clip, slot].nonzero().flatten().tolist()}
                assert named == set(source.labels)
            assert not batch.truth.classes[clip, len(heard) :].any()


def test_targets_can_be_moved_to_another_device(busy: Mixtures) -> None:
    moved = busy[0].truth.to("meta")
    assert all(tensor is None or tensor.device.type == "meta" for tensor in vars(moved).values())


def test_level_tells_the_distance(make: Make) -> None:
    """−14 dBFS, then 0.282/d (the level convention): mean of both ears in dB, as the head's shadow is symmetric."""
    data = make(pool=pool_of(hiss(3.0)), steps=3)
    for step in range(3):
        for wave, (source,) in zip(data[step].waveform, data[step].heard, strict=True):
            # Sound from 10 m away arrives 30 ms late; the end of the clip is full in any case.
            found = float(rms_dbfs(wave[:, 1600:]).mean())
            assert found == pytest.approx(-14 + 20 * np.log10(0.28209 / source.position.distance_m), abs=0.6)


def test_mirrored_clips_are_the_same_with_ears_and_azimuth_swapped(make: Make) -> None:
    straight, mirrored = (make(dataclasses.replace(QUIET, mirror=m, two_sources=0.5))[1] for m in (0.0, 1.0))
    torch.testing.assert_close(mirrored.waveform, straight.waveform.flip(1))
    for heard, was in zip(mirrored.heard, straight.heard, strict=True):
        for source, before in zip(heard, was, strict=True):
            x, y, z = unit_vector(before.position.azimuth_deg, before.position.elevation_deg)
            found = unit_vector(source.position.azimuth_deg, source.position.elevation_deg)
            assert found == pytest.approx((-x, y, z), abs=1e-9)
            assert source.position.distance_m == before.position.distance_m
            assert source.labels == before.labels


def test_half_of_the_clips_are_mirrored_by_default(make: Make) -> None:
    sides = [make(dataclasses.replace(QUIET, mirror=m), steps=40) for m in (0.0, 0.5)]
    pairs = [(a, b) for step in range(40) for a, b in zip(sides[0][step].heard, sides[1][step].heard, strict=True)]
    assert np.mean([a != b for a, b in pairs]) == pytest.approx(0.5, abs=0.1)


def test_the_ear_on_the_side_of_the_source_is_louder(tmp_path: Path) -> None:
    """In a real head and a fairly dead room, mirrored or not: what the label says is what the waveform says."""
    simulator = load_simulator("shoebox", order=2, median_rt60_s=0.13, max_rt60_s=0.15)
    bank = open_bank(tmp_path, simulator, {}, scenes=10, sources=4, seconds=0.1, seed=0)
    data = Mixtures(
        pool_of(hiss(1.0)),
        [bank],
        dataclasses.replace(QUIET, mirror=0.5, window_seconds=[0.2]),
        seed=1,
        steps=8,
        seconds_per_step=1.6,
    )
    lateral = 0
    for step in range(8):
        for wave, (source,) in zip(data[step].waveform, data[step].heard, strict=True):
            rightward = unit_vector(source.position.azimuth_deg, source.position.elevation_deg)[0]
            left_db, right_db = rms_dbfs(wave).tolist()
            if abs(rightward) > 0.6:
                lateral += 1
                assert (right_db > left_db) == (rightward > 0)
    assert lateral > 15


# --- augmentation ---


def test_without_augmentation_a_clip_depends_on_the_placement_only(make: Make) -> None:
    """Silence stays silence: nothing is added unless the recipe says so."""
    assert not make(pool=pool_of(np.zeros(RATE_HZ)))[0].waveform.any()


def test_equalising_keeps_the_level_of_each_clip_and_changes_its_colour(make: Make) -> None:
    plain, coloured = (make(dataclasses.replace(QUIET, equalise_db=db), pool=pool_of(hiss()))[0] for db in (0.0, 6.0))
    assert plain.heard != []
    levels = [rms_dbfs(batch.waveform).flatten().tolist() for batch in (plain, coloured)]
    assert levels[1] == pytest.approx(levels[0], abs=0.5)
    for before, after in zip(plain.waveform, coloured.waveform, strict=True):
        spectra = [torch.fft.rfft(wave[0]).abs()[10:1600].reshape(-1, 10).square().mean(1) for wave in (before, after)]
        change_db = 10 * (spectra[1] / spectra[0]).log10()
        assert float(change_db.std()) > 0.8
        assert float(change_db.max() - change_db.min()) < 12.5 + 1


def test_microphones_add_noise_of_the_given_level_to_seven_clips_in_ten(make: Make) -> None:
    data = make(dataclasses.replace(QUIET, noise_dbfs=[-60.0, -60.0]), pool=pool_of(np.zeros(RATE_HZ)), steps=40)
    levels = torch.cat([rms_dbfs(data[step].waveform) for step in range(40)])
    noisy = levels.isfinite().all(dim=1)
    assert noisy.float().mean() == pytest.approx(0.7, abs=0.09)
    assert levels[noisy].flatten().tolist() == pytest.approx([-60.0] * int(2 * noisy.sum()), abs=0.6)
    waves = torch.cat([data[step].waveform for step in range(40)])[noisy]
    correlation = (waves[:, 0] * waves[:, 1]).mean() / waves.square().mean()
    assert abs(float(correlation)) < 0.02  # the two microphones hiss independently


def test_microphones_differ_in_gain_only(make: Make) -> None:
    plain, differ = (make(dataclasses.replace(QUIET, mismatch_db=db), pool=pool_of(hiss()))[0] for db in (0.0, 1.0))
    gain = rms_dbfs(differ.waveform) - rms_dbfs(plain.waveform)
    assert float(gain.abs().max()) <= 1.0 + 1e-4
    assert float((gain[:, 0] - gain[:, 1]).std()) > 0.1
    scaled = plain.waveform * 10 ** (gain[..., None] / 20)
    torch.testing.assert_close(differ.waveform, scaled, atol=1e-6, rtol=1e-4)


# --- questions ---


def test_every_clip_is_asked_equally_much(busy: Mixtures) -> None:
    for step in range(4):
        batch = busy[step]
        assert [len(asked) for asked in batch.questions] == [3] * len(batch.heard)
        for asked, heard in zip(batch.questions, batch.heard, strict=True):
            assert all(q.type.num_sources in (None, len(heard)) for q in asked)


def test_without_question_types_nothing_is_asked(make: Make) -> None:
    assert make()[0].questions == [[] for _ in range(8)]


def test_answers_follow_the_mirror(make: Make) -> None:
    """Left becomes right in the answers as in the sound, because questions are asked of the mirrored clip."""
    data = make(dataclasses.replace(QUIET, mirror=1.0), question_types=question_types(["B"]), questions_per_clip=1)
    batch = data[0]
    for (question,), (source,) in zip(batch.questions, batch.heard, strict=True):
        assert question.answer.startswith(source.position.region)


def test_a_clip_whose_every_answer_is_ahead_is_asked_all_the_same(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Balance may refuse all that a clip admits, once in a thousand clips; dividing by zero then ended the run."""
    monkeypatch.setattr(mixtures, "Balance", partial(Balance, slack=0))
    data = make(two_sources=1.0, question_types=question_types(["E", "P"]), questions_per_clip=2)
    assert [len(asked) for asked in data[0].questions] == [2] * 8


def test_questions_about_two_sources_get_two_in_every_clip(make: Make) -> None:
    """Where no second position fits one source is left, and a stage of such questions alone ended there."""
    options: dict[str, Any] = {"question_types": question_types(["E"]), "questions_per_clip": 1, "steps": 20}
    plain = make(two_sources=1.0, steps=20)
    assert any(len(heard) == 1 for step in range(20) for heard in plain[step].heard)
    data = make(two_sources=1.0, **options)
    assert all(len(heard) == 2 for step in range(20) for heard in data[step].heard)
    with pytest.raises(BadInput, match=r"need two sources.*raise two_sources"):
        make(two_sources=0.0, **options)[0]


def test_truth_holds_two_slots_whatever_is_heard() -> None:
    dog = HeardSource(("Dog",), Position(359.7, 89.9, 30.0))
    truth = mixtures.truth_of([[dog], []])
    assert truth.active.tolist() == [[True, False], [False, False]]
    assert (truth.azimuth[0, 0], truth.elevation[0, 0], truth.distance[0, 0]) == (0, 179, 20)


def test_a_stage_may_ask_some_kinds_in_simple_words(make: Make) -> None:
    asked = {"question_types": question_types(["P"]), "questions_per_clip": 3, "two_sources": 0.0}
    data = make(question_kinds=["is_side"], simple_words=True, word_dropout=1.0, **asked)
    questions = [q for row in data[0].questions for q in row]
    assert {q.kind.split(".")[0] for q in questions} == {"is_side"}
    assert all(q.text.endswith("?") and q.text.startswith("Is the ") for q in questions)
    with pytest.raises(BadInput, match="no kind of question begins with 'nothing'"):
        make(question_kinds=["nothing"], **asked)
