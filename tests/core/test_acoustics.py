"""Convolution against scipy in float64; level and mixing against their formulas."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bat_agent.sound.acoustics import (
    CLIP_SAMPLES,
    convolve,
    fit_length,
    mix,
    rms_dbfs,
    rms_normalise,
    spatialise,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def scipy_convolve(dry: torch.Tensor, rir: torch.Tensor) -> np.ndarray:
    return scipy.signal.fftconvolve(dry.double().numpy(), rir.double().numpy(), mode="full", axes=-1)


@given(samples=st.integers(1, 400), taps=st.integers(1, 400), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_convolution_is_that_of_scipy(samples: int, taps: int, seed: int) -> None:
    dry, rir = noise(1, samples, seed=seed), noise(2, taps, seed=seed + 1)
    wet = convolve(dry, rir)
    assert wet.shape == (2, samples + taps - 1)
    direct = [np.convolve(dry[0].double().numpy(), ear.double().numpy()) for ear in rir]
    np.testing.assert_allclose(wet.numpy(), direct, atol=1e-4)


def test_convolution_of_a_whole_clip_loses_nothing() -> None:
    dry, rir = 0.2 * noise(1, CLIP_SAMPLES), noise(2, 41_983, seed=1) * torch.exp(-torch.arange(41_983) / 3000)
    wet, reference = convolve(dry, rir, CLIP_SAMPLES), scipy_convolve(dry, rir)[:, :CLIP_SAMPLES]
    assert wet.shape == (2, CLIP_SAMPLES)
    np.testing.assert_allclose(wet.numpy(), reference, atol=1e-6 * np.abs(reference).max())


def test_convolution_takes_batches() -> None:
    dry, rir = noise(3, 1, 100), noise(3, 2, 30)
    wet = convolve(dry, rir)
    for clip in range(3):
        torch.testing.assert_close(wet[clip], convolve(dry[clip], rir[clip]))


@pytest.mark.parametrize(("num_samples", "expected"), [(None, 12), (5, 5), (40, 40)])
def test_convolution_is_cut_or_padded_at_the_end(num_samples: int | None, expected: int) -> None:
    dry, rir = noise(1, 10), torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.0, 0.0]])
    wet = convolve(dry, rir, num_samples)
    assert wet.shape == (2, expected)
    delayed = torch.cat((torch.zeros(2), dry[0], torch.zeros(40)))[:expected]
    torch.testing.assert_close(wet[0], delayed, atol=1e-6, rtol=0)
    halved = torch.cat((0.5 * dry[0], torch.zeros(40)))[:expected]
    torch.testing.assert_close(wet[1], halved, atol=1e-6, rtol=0)


def test_fft_length_has_small_prime_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    """320 000 + 64 000 − 1 is a poor length for an FFT; 384 000 is not."""
    lengths, rfft = [], torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda x, n: lengths.append(n) or rfft(x, n))
    convolve(torch.zeros(1, 320_000), torch.zeros(2, 64_000))
    assert set(lengths) == {384_000}


@given(level=st.floats(-60, 10), amplitude=st.floats(1e-6, 1e3), samples=st.integers(1, 2000))
@settings(max_examples=40, deadline=None)
def test_normalisation_reaches_its_level(level: float, amplitude: float, samples: int) -> None:
    sound = rms_normalise(amplitude * noise(samples), level)
    rms = np.sqrt(np.mean(sound.double().numpy() ** 2))
    assert 20 * math.log10(rms) == pytest.approx(level, abs=1e-3)
    assert float(rms_dbfs(sound)) == pytest.approx(level, abs=1e-3)


def test_default_level_is_minus_14_dbfs_over_the_sounds_own_length() -> None:
    assert float(rms_dbfs(rms_normalise(noise(5000)))) == pytest.approx(-14, abs=1e-4)
    sine = torch.sin(torch.arange(32_000) * 2 * torch.pi / 32)
    assert float(rms_normalise(sine).max()) == pytest.approx(math.sqrt(2) * 10 ** (-14 / 20), rel=1e-4)


def test_silence_stays_silence() -> None:
    assert torch.equal(rms_normalise(torch.zeros(100)), torch.zeros(100))
    assert float(rms_dbfs(torch.zeros(100))) == -math.inf
    both = rms_normalise(torch.stack((torch.zeros(100), noise(100))))
    assert bool((both[0] == 0).all())
    assert float(rms_dbfs(both[1])) == pytest.approx(-14, abs=1e-4)


def test_fit_length_cuts_or_pads_the_end() -> None:
    sound = torch.tensor([[1.0, 2.0, 3.0]])
    assert fit_length(sound, 2).tolist() == [[1, 2]]
    assert fit_length(sound, 3).tolist() == [[1, 2, 3]]
    assert fit_length(sound, 5).tolist() == [[1, 2, 3, 0, 0]]


@pytest.mark.parametrize("seconds", [0.5, 12.0])
def test_spatialise_follows_the_released_loader(seconds: float) -> None:
    """Level over the clip's own length, then pad or crop to 10 s, convolve, crop; a longer clip included."""
    dry, rir = 3 * noise(int(seconds * 32_000)), noise(2, 500, seed=1).double()
    exact = dry.double().numpy()
    exact = exact * 10 ** ((-14 - 20 * np.log10(np.sqrt(np.mean(exact**2)))) / 20)
    padded = np.pad(exact, (0, max(0, 320_000 - len(exact))))[:320_000]
    reference = scipy.signal.fftconvolve(padded[None], rir.numpy(), axes=-1)[:, :320_000]
    wet = spatialise(dry, rir)
    assert wet.shape == (2, 320_000)
    assert wet.dtype == torch.float32
    np.testing.assert_allclose(wet.numpy(), reference, atol=1e-5 * np.abs(reference).max())


def test_real_clip_in_real_room(shared: Path) -> None:
    data = shared / "data" / "spatialsoundqa"
    dry, _ = soundfile.read(data / "AudioSet" / "eval" / "audio" / "YCqvbWnTBfTk.wav", dtype="float32", always_2d=True)
    rir = torch.from_numpy(np.load(data / "mp3d_reverb" / "binaural" / "sample" / "74.npy"))
    wet = spatialise(torch.from_numpy(dry[:, 0]), rir)
    reference = scipy_convolve(rms_normalise(torch.from_numpy(dry[:, 0]))[None], rir)[:, :320_000]
    np.testing.assert_allclose(wet.numpy(), reference, atol=1e-6 * np.abs(reference).max())
    assert float(rms_dbfs(wet[0])) > float(rms_dbfs(wet[1]))  # the source is on the left


def test_mix_is_the_mean() -> None:
    a, b, c = noise(2, 50), noise(2, 50, seed=1), noise(2, 50, seed=2)
    torch.testing.assert_close(mix([a, b]), (a + b) / 2)
    torch.testing.assert_close(mix([a, b, c]), (a + b + c) / 3)
    assert torch.equal(mix([a]), a)
