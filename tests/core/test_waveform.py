"""What becomes of a waveform before an encoder sees it, and what is said of one that cannot be used."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from bat_agent.errors import BadInput
from bat_agent.sound import acoustics, audio
from bat_agent.sound.waveform import Prepared, fit, prepare

RATE_HZ = 32_000


def encoder(**changes: Any) -> Any:
    """As much of an encoder as preparing needs."""
    return SimpleNamespace(**{"sample_rate_hz": RATE_HZ, "clip_seconds": 2.0, "fixed_length": False, **changes})


def noise(seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    shape = (2, round(seconds * RATE_HZ))
    return (level * np.random.default_rng(1).standard_normal(shape)).astype(np.float32)


def notes(prepared: Prepared) -> str:
    (found,) = prepared.notes
    return " | ".join(found)


def test_a_good_clip_passes_as_it_is() -> None:
    wave = noise()
    prepared = prepare(wave, encoder())
    np.testing.assert_array_equal(prepared.waveform, wave[None])
    assert prepared.waveform.dtype == np.float32
    assert (prepared.batched, prepared.silent, prepared.notes) == (False, (False,), ((),))


@pytest.mark.parametrize(
    "same",
    [
        lambda w: torch.from_numpy(w),
        lambda w: torch.from_numpy(w).double().requires_grad_(),
        lambda w: w.astype(np.float64),
        lambda w: w.astype(">f4"),
        lambda w: w.tolist(),
        lambda w: list(torch.from_numpy(w)),
        lambda w: np.ascontiguousarray(w[::-1])[::-1],
        lambda w: np.asfortranarray(w),
    ],
    ids=["tensor", "double tensor with gradient", "double", "big-endian", "lists", "tensors", "flipped", "fortran"],
)
def test_every_way_to_hold_the_same_numbers_gives_the_same(same: Any) -> None:
    """Swapping ears by ``wave[::-1]`` once failed inside torch: negative strides; big-endian files likewise."""
    wave = noise(0.6)
    np.testing.assert_array_equal(prepare(same(wave), encoder()).waveform, wave[None])


def test_read_only_memory_is_taken_and_the_users_array_is_never_shared() -> None:
    wave = noise()
    before = wave.copy()
    wave.flags.writeable = False
    prepare(wave, encoder()).waveform.fill(0)
    np.testing.assert_array_equal(wave, before)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros(32_000, np.float32), r"\(32000,\); a mono sound carries no direction"),
        (np.zeros((1, 32_000), np.float32), "mono sound carries no direction"),
        (np.zeros((32_000, 2), np.float32), r"\(32000, 2\); transpose it"),
        (np.zeros((6, 32_000), np.float32), r"\(2, samples\) or \(batch, 2, samples\), got \(6, 32000\)$"),
        (np.zeros((1, 1, 2, 32_000), np.float32), "must have shape"),
        (np.zeros((2, 32_000), np.int16), "must hold floats in ±1, got int16: divide integers"),
        (np.full((2, 32_000), np.nan, np.float32), "NaN or infinite"),
        (np.full((2, 32_000), np.inf, np.float32), "NaN or infinite"),
        (np.zeros((2, 600), np.float32), "lasts 19 ms, expected at least 20 ms"),
        (np.zeros((2, 0), np.float32), "lasts 0 ms"),
        (np.zeros((0, 2, 32_000), np.float32), "batch of waveforms is empty"),
        ([[0.0, 1.0], [0.0]], "must be numbers of shape"),
        ([["a"], ["b"]], "must be numbers of shape"),
        ("sound.wav", "tensor or numpy array, got str"),
        (None, "tensor or numpy array, got NoneType"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(wrong: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        prepare(wrong, encoder())
    assert "\n" not in str(refused.value)


def test_one_nan_in_one_clip_of_a_batch_is_found() -> None:
    batch = np.stack([noise(), noise()])
    batch[1, 0, 17] = np.nan
    with pytest.raises(BadInput, match="NaN"):
        prepare(batch, encoder())


def test_too_long_a_clip_is_cut_and_it_is_said() -> None:
    wave = noise(5)
    prepared = prepare(wave, encoder(clip_seconds=2.0))
    np.testing.assert_array_equal(prepared.waveform[0], wave[:, : 2 * RATE_HZ])
    assert "only the first 2 s of 5.0 s were heard" in notes(prepared)


def test_exactly_the_longest_clip_needs_no_note() -> None:
    assert notes(prepare(noise(2), encoder(clip_seconds=2.0))) == ""


@pytest.mark.parametrize("fixed_length", [True, False])
def test_a_tenth_of_a_second_is_heard_with_a_note(fixed_length: bool) -> None:
    wave = noise(0.1)
    prepared = prepare(wave, encoder(fixed_length=fixed_length))
    assert "very short (0.10 s)" in notes(prepared)
    assert prepared.waveform.shape[-1] == (2 * RATE_HZ if fixed_length else RATE_HZ // 2)
    np.testing.assert_array_equal(prepared.waveform[0, :, : wave.shape[1]], wave)
    assert not prepared.waveform[0, :, wave.shape[1] :].any()


def test_a_short_clip_is_never_made_longer_than_the_encoder_takes() -> None:
    assert prepare(noise(0.1), encoder(clip_seconds=0.2)).waveform.shape[-1] == round(0.2 * RATE_HZ)


def test_an_encoder_of_fixed_length_gets_it() -> None:
    assert prepare(noise(0.7), encoder(fixed_length=True)).waveform.shape == (1, 2, 2 * RATE_HZ)


def test_another_rate_keeps_pitch_and_duration() -> None:
    """1 kHz stays 1 kHz: half the samples, and the peak of the spectrum in the same place."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    wave = prepare(np.stack((0.1 * tone, 0.2 * tone)), encoder(sample_rate_hz=16_000)).waveform
    assert wave.shape == (1, 2, 16_000)
    assert np.abs(np.fft.rfft(wave[0, 0])).argmax() == 1000
    assert wave[0, 1].std() / wave[0, 0].std() == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize(("level_dbfs", "silent"), [(-200, True), (-93, True), (-87, False), (-20, False)])
def test_silence_is_what_stays_under_90_decibels(level_dbfs: float, silent: bool) -> None:
    prepared = prepare(noise(level=10 ** (level_dbfs / 20)), encoder())
    assert prepared.silent == (silent,)
    assert ("silence" in notes(prepared)) == silent


def test_one_ear_that_hears_is_no_silence() -> None:
    wave = noise()
    wave[0] = 0
    assert prepare(wave, encoder()).silent == (False,)


def test_identical_channels_are_noted_but_not_for_silence() -> None:
    wave = noise()
    wave[1] = wave[0]
    assert "identical" in notes(prepare(wave, encoder()))
    wave[1, 5] += 0.01
    assert "identical" not in notes(prepare(wave, encoder()))
    assert "identical" not in notes(prepare(0 * wave, encoder()))


def test_clipping_is_noted_from_one_sample_in_a_thousand() -> None:
    wave = noise()
    assert "clips" in notes(prepare(np.clip(20 * wave, -1, 1), encoder()))
    wave[0, 5] = 1.0
    assert "clips" not in notes(prepare(wave, encoder()))


def test_integers_turned_to_floats_are_noted() -> None:
    assert "far beyond full scale" in notes(prepare(noise() * 32767, encoder()))
    assert notes(prepare(noise(level=1.0), encoder())) == ""


def test_each_clip_of_a_batch_has_its_own_notes() -> None:
    prepared = prepare(np.stack((noise(), 0 * noise())), encoder())
    assert prepared.batched
    assert prepared.silent == (False, True)
    assert prepared.notes[0] == ()
    assert len(prepared.notes[1]) == 1


def difference_db(one: torch.Tensor, other: torch.Tensor, highest_hz: float, rate_hz: int) -> float:
    """Energy of the difference below ``highest_hz`` relative to the first sound's, away from the ends."""
    length = one.shape[-1]
    spectra = torch.fft.rfft(torch.stack((one, one - other)).double() * torch.hann_window(length))
    power = spectra[..., : int(highest_hz / rate_hz * length)].abs().square().sum(dim=(1, 2, 3))
    return float(10 * torch.log10(power[1] / power[0]))


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 44_100])
def test_where_an_encoder_trains_it_hears_what_it_will_hear_on_a_cpu(rate_hz: int) -> None:
    """soxr on the CPU, torchaudio on a device (here: for a gradient), on white noise, the worst of sounds for it."""
    pytest.importorskip("torchaudio")
    clips = torch.from_numpy(noise(2.0))[None]
    heard = fit(clips, encoder(sample_rate_hz=rate_hz))
    np.testing.assert_array_equal(heard, audio.resample(clips.numpy(), RATE_HZ, rate_hz))
    trained = fit(clips.clone().requires_grad_(), encoder(sample_rate_hz=rate_hz))
    assert trained.requires_grad
    nyquist_hz = min(rate_hz, RATE_HZ) / 2
    assert difference_db(heard, trained.detach(), nyquist_hz, rate_hz) < -38
    assert difference_db(heard, trained.detach(), 0.9 * nyquist_hz, rate_hz) < -70


@pytest.mark.parametrize("fixed", [True, False])
def test_no_encoder_is_given_more_than_it_hears(fixed: bool) -> None:
    """Clips of ten seconds for an encoder of two: the beginning, also where shorter ones are left as they are."""
    clips = torch.from_numpy(noise(10.0))[None]
    assert torch.equal(fit(clips, encoder(fixed_length=fixed)), clips[..., : 2 * RATE_HZ])
    short = clips[..., :RATE_HZ]
    assert fit(short, encoder(fixed_length=fixed)).shape[-1] == (2 * RATE_HZ if fixed else RATE_HZ)


def test_shapes_in_signatures_are_checked_in_tests() -> None:
    """The import hook of ``conftest.py`` is at work: a mono dry sound with two channels does not pass."""
    with pytest.raises(TypeCheckError):
        acoustics.spatialise(torch.zeros(2, 100), torch.zeros(2, 10))
