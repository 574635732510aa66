"""Measures of RIRs against decays and delays that are known, and against pyroomacoustics."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bat_agent.sound import rir_measures as measures

RATE = 32_000


def decaying_noise(rt60_s: float, seconds: float = 1.0, seed: int = 0, channels: int = 1) -> np.ndarray:
    """Noise whose energy falls by 60 dB in ``rt60_s``."""
    t = np.arange(round(seconds * RATE)) / RATE
    return np.random.default_rng(seed).standard_normal((channels, len(t))) * 10 ** (-3 * t / rt60_s)


def delayed(delay_samples: float, taps: int = 2000, at: float = 100.0) -> np.ndarray:
    """A band-limited click whose centre falls ``at`` + delay, between samples if need be."""
    f = np.fft.rfftfreq(taps)
    window = np.exp(-((f / 0.03) ** 2))
    return np.fft.irfft(window * np.exp(-2j * np.pi * f * (at + delay_samples)), taps)


def with_direct(tail: np.ndarray, drr_db: float, gap_s: float = 0.01) -> np.ndarray:
    """A click before the tail, so much stronger than all of it."""
    energy = np.square(tail).sum() / len(tail)
    click = np.zeros((len(tail), round(gap_s * RATE)))
    click[:, 0] = math.sqrt(energy * 10 ** (drr_db / 10))
    return np.concatenate([click, tail], axis=1)


def test_decay_of_an_exponential_is_a_straight_line() -> None:
    """Schroeder's integral of exp(−t/τ) is exp(−t/τ) itself: −60·t/T dB."""
    t = np.arange(4 * RATE) / RATE
    decay = measures.energy_decay_db(10 ** (-3 * t / 0.4))
    assert decay[0] == 0
    assert decay[: RATE // 2] == pytest.approx(-60 * t[: RATE // 2] / 0.4, abs=1e-6)


@pytest.mark.parametrize("rt60_s", [0.15, 0.3, 0.8])
@pytest.mark.parametrize("drr_db", [-20.0, 0.0, 15.0, 30.0])
def test_reverberation_time_is_that_of_the_room_however_strong_the_direct_sound(rt60_s: float, drr_db: float) -> None:
    """A click 30 dB above the room, as in the released RIRs, once gave a T20 of 3 ms: the end of the click itself."""
    rir = with_direct(decaying_noise(rt60_s, 1.5 * rt60_s, channels=2), drr_db)
    assert measures.reverberation_time_s(rir) == pytest.approx(rt60_s, rel=0.06)


def test_reverberation_time_agrees_with_pyroomacoustics() -> None:
    """The image sources of a real (if rectangular) room, T20 by both."""
    pra = pytest.importorskip("pyroomacoustics")
    room = pra.ShoeBox([4.0, 5.0, 2.7], fs=RATE, materials=pra.Material(0.35), max_order=20)
    room.add_source([1.0, 1.2, 1.3])
    room.add_microphone([2.9, 3.6, 1.5])
    room.compute_rir()
    rir = room.rir[0][0]
    theirs = pra.experimental.measure_rt60(rir, fs=RATE, decay_db=20)
    assert measures.reverberation_time_s(rir) == pytest.approx(theirs, rel=0.05)


def test_reverberation_time_is_no_number_without_a_room() -> None:
    """Silence, a click, a head in free field (rings for a few ms), and one too short."""
    rng = np.random.default_rng(0)
    ringing = rng.standard_normal((2, 256)) * np.exp(-np.arange(256) / 20)
    for rir in (np.zeros((2, 3000)), np.eye(1, 3000), ringing, np.ones((2, 20))):
        assert math.isnan(measures.reverberation_time_s(rir))


@given(drr_db=st.floats(-20, 30), peak=st.integers(0, 500))
def test_direct_to_reverberant_ratio_is_the_one_put_in(drr_db: float, peak: int) -> None:
    rir = np.zeros((2, 4000))
    rir[0, peak], rir[1, peak + 5] = 1.0, 0.3
    late = np.random.default_rng(peak).standard_normal((2, 2000))
    late *= math.sqrt(1.09 / np.square(late).sum() * 10 ** (-drr_db / 10))
    if np.abs(late).max() < 0.9:  # else a reflection is the loudest sample, which the definition takes for direct
        rir[:, 2000:] = late
        assert measures.direct_to_reverberant_db(rir) == pytest.approx(drr_db, abs=1e-6)
        assert measures.direct_sound(rir).shape == (2, peak + 81)


def test_direct_to_reverberant_ratio_is_infinite_in_free_field() -> None:
    assert measures.direct_to_reverberant_db(np.eye(2, 100)) == math.inf


@pytest.mark.parametrize("rt60_s", [0.2, 0.6])
def test_clarity_of_an_exponential_decay(rt60_s: float) -> None:
    """C50 = 10·log10(exp(6·ln 10·0.05/T) − 1) for an ideal decay that starts at once (Barron)."""
    t = np.arange(4 * RATE) / RATE
    expected = 10 * math.log10(math.exp(6 * math.log(10) * 0.05 / rt60_s) - 1)
    assert measures.clarity_db(10 ** (-3 * t / rt60_s)) == pytest.approx(expected, abs=0.01)


def test_onset_is_the_first_sample_within_20_db_of_the_loudest_of_either_ear() -> None:
    rir = np.zeros((2, 1000))
    rir[0, 40], rir[1, 60], rir[0, 80] = 0.09, -0.11, 1.0
    assert measures.onset_sample(rir) == 60
    assert measures.onset_sample(rir, threshold_db=-21) == 40
    assert measures.onset_sample(np.zeros((2, 10))) == 0


@given(level_db=st.floats(-30, 30))
def test_level_difference_is_the_gain_between_the_ears(level_db: float) -> None:
    right = decaying_noise(0.1, 0.1)[0]
    assert measures.interaural_level_db(np.stack([right * 10 ** (level_db / 20), right])) == pytest.approx(level_db)


@given(delay=st.floats(-30, 30))
def test_time_difference_is_the_delay_between_the_ears_to_a_twentieth_of_a_sample(delay: float) -> None:
    """Positive where the left ear leads."""
    ears = np.stack([delayed(0), delayed(delay)])
    assert measures.interaural_time_s(ears) * RATE == pytest.approx(delay, abs=0.05)


@pytest.mark.parametrize("at", [0, 500, 3960])
def test_time_difference_does_not_depend_on_where_the_clicks_stand(at: int) -> None:
    """The band filter's edge once turned 10 samples at the very start into 8."""
    rir = np.zeros((2, 4000))
    rir[0, at], rir[1, at + 10] = 1.0, 0.5
    assert measures.interaural_time_s(rir) * RATE == pytest.approx(10, abs=0.02)
    assert measures.interaural_time_s(rir[::-1]) * RATE == pytest.approx(-10, abs=0.02)
    assert measures.interaural_time_s(rir[:, max(0, at - 3) : at + 13]) * RATE == pytest.approx(10, abs=0.02)


def test_silence_has_no_measures() -> None:
    """NaN, and no warning on the way."""
    silence = np.zeros((2, 500))
    for measure in (
        measures.reverberation_time_s,
        measures.direct_to_reverberant_db,
        measures.clarity_db,
        measures.interaural_level_db,
        measures.interaural_time_s,
    ):
        assert math.isnan(measure(silence)), measure.__name__


def test_the_released_rir_measures_as_published(shared: Path) -> None:
    """What was found by hand in ``74.npy``: direct sound at sample 32, left ear 14 dB louder, 29.6 dB above a room of
    0.19 s (late T20), left ear first."""
    rir = np.load(shared / "data/spatialsoundqa/mp3d_reverb/binaural/sample/74.npy")
    assert measures.onset_sample(rir) == pytest.approx(32, abs=2)
    assert measures.interaural_level_db(rir) == pytest.approx(14, abs=0.5)
    assert measures.direct_to_reverberant_db(rir) == pytest.approx(29.6, abs=0.5)
    assert measures.reverberation_time_s(rir) == pytest.approx(0.19, abs=0.03)
    assert 0.0003 < measures.interaural_time_s(measures.direct_sound(rir)) < 0.0008
