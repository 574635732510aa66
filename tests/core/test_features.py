"""The front-end against librosa, against a float64 reading of the formulas with atan2, and against physics."""

from __future__ import annotations

import inspect
import typing

import beartype
import jaxtyping
import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.sound import acoustics, features
from bat_agent.sound.features import binaural_features, log_mel, mel_filterbank, monaural_features, stft

Array = NDArray[np.float64]
COLUMN_SUM = mel_filterbank().sum(dim=0)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def tone(frequency_hz: float, seconds: float, delay: float = 0.0) -> torch.Tensor:
    time = (torch.arange(int(seconds * SAMPLE_RATE_HZ), dtype=torch.float64) - delay) / SAMPLE_RATE_HZ
    return torch.sin(2 * torch.pi * frequency_hz * time).float()


def librosa_mel() -> Array:
    """(513, 128)"""
    return librosa.filters.mel(sr=32_000, n_fft=1024, n_mels=128, fmin=50, fmax=14_000, dtype=np.float64).T


def librosa_stft(sound: torch.Tensor) -> NDArray[np.complex128]:
    """(T, 513)"""
    options = {"n_fft": 1024, "hop_length": 320, "window": "hann", "center": True, "pad_mode": "reflect"}
    return librosa.stft(sound.numpy().astype(np.float64), **options).T


def test_mel_filterbank_is_librosas_and_has_the_published_figures() -> None:
    ours = mel_filterbank().numpy()
    np.testing.assert_allclose(ours, librosa_mel(), rtol=1e-7)  # float32's rounding
    assert np.count_nonzero(librosa_mel()) == np.count_nonzero(ours) == 879
    assert ours.sum(axis=0).min() == pytest.approx(0.0300, abs=1e-4)
    assert ours.sum(axis=0).max() == pytest.approx(0.0364, abs=1e-4)


def test_mel_filterbank_is_torchaudios_which_models_were_trained_with() -> None:
    """Within the rounding of its float32 steps: frequencies up to 14 kHz carry 2e-7 of them, over a band of 40 Hz."""
    functional = pytest.importorskip("torchaudio").functional
    theirs = functional.melscale_fbanks(513, 50.0, 14_000.0, 128, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney")
    torch.testing.assert_close(mel_filterbank(), theirs, atol=2e-7, rtol=0)
    assert torch.equal(mel_filterbank() > 0, theirs > 0)


def test_mel_support_covers_every_used_bin() -> None:
    low, high = features.mel_support()
    used = np.flatnonzero(librosa_mel().sum(axis=1))
    assert (low, high) == (used[0], used[-1] + 1) == (2, 448)


@pytest.mark.parametrize("samples", [320_000, 16_000, 15_999, 16_319, 16_320, 1025])
def test_stft_is_librosas(samples: int) -> None:
    waveform = noise(1, 2, samples)
    ours = stft(waveform)
    assert ours.shape == (1, 2, features.num_frames(samples), 513)
    reference = librosa_stft(waveform[0, 1])
    np.testing.assert_allclose(ours[0, 1].numpy(), reference, atol=1e-5 * np.abs(reference).max())


def test_ten_seconds_are_1001_frames() -> None:
    assert features.num_frames(320_000) == 1001
    assert features.SAMPLE_RATE_HZ / features.HOP == 100


def test_log_mel_is_librosas_of_the_magnitude() -> None:
    waveform = noise(1, 2, 32_000)
    ours = binaural_features(waveform, mel_filterbank())[0]
    magnitude = np.abs(librosa_stft(waveform[0, 0])) @ librosa_mel()
    reference = librosa.power_to_db(magnitude, ref=1.0, amin=1e-10, top_db=None)
    np.testing.assert_allclose(ours[0, 0].numpy(), reference, atol=1e-3)


def test_log_mel_of_the_power_is_librosas_melspectrogram() -> None:
    """Equation 3 as the paper prints it; librosa's default exponent is the power."""
    waveform = noise(1, 2, 32_000)
    mel = librosa.feature.melspectrogram(S=np.abs(librosa_stft(waveform[0, 1]).T) ** 2, sr=32_000, n_mels=128,
                                         fmin=50, fmax=14_000, n_fft=1024)  # fmt: skip
    reference = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None).T
    found, phase = binaural_features(waveform, mel_filterbank(), power=True)
    np.testing.assert_allclose(found[0, 1].numpy(), reference, atol=1e-3)
    assert torch.equal(phase, binaural_features(waveform, mel_filterbank())[1])
    both = monaural_features(waveform[:, 1:].expand(-1, 2, -1), mel_filterbank(), power=True)
    np.testing.assert_allclose(both[0, 0].numpy(), reference, atol=1e-3)


def test_doubling_the_amplitude_adds_three_decibel_because_the_map_is_of_magnitudes() -> None:
    waveform = noise(1, 2, 16_000)
    quiet, loud = (binaural_features(gain * waveform, mel_filterbank())[0] for gain in (1, 2))
    torch.testing.assert_close(loud - quiet, torch.full_like(quiet, 10 * np.log10(2)), atol=1e-4, rtol=0)


def test_log_mel_has_a_floor() -> None:
    quiet = log_mel(torch.full((1, 1, 1, 513), 1e-12), mel_filterbank())
    assert torch.equal(quiet, torch.full_like(quiet, -100.0))


def test_silence_is_minus_100_db_and_phase_zero() -> None:
    mel, phase = binaural_features(torch.zeros(1, 2, 16_000), mel_filterbank())
    assert bool((mel == -100).all())
    torch.testing.assert_close(phase[:, 0], COLUMN_SUM.expand_as(phase[:, 0]), atol=1e-7, rtol=0)
    assert bool((phase[:, 1] == 0).all())


def phase_by_angle(waveform: torch.Tensor) -> Array:
    """(2, T, 128): cosine and sine of atan2 − atan2, projected on the mel bands, in float64."""
    left, right = (np.angle(librosa_stft(ear)) for ear in waveform)
    difference = right - left
    return np.stack((np.cos(difference), np.sin(difference))) @ librosa_mel()


@pytest.mark.parametrize("silent", [None, 0, 1])
def test_phase_maps_are_those_of_the_angles(silent: int | None) -> None:
    """With one ear silent the other keeps its phase: a product of both spectra would lose it."""
    waveform = noise(1, 2, 16_000)
    if silent is not None:
        waveform[:, silent] = 0
    ours = binaural_features(waveform, mel_filterbank())[1][0]
    np.testing.assert_allclose(ours.numpy(), phase_by_angle(waveform[0]), atol=1e-5)


@pytest.mark.parametrize("delay", [1.0, 7.0, 12.5, -9.0])
@pytest.mark.parametrize("frequency_hz", [333.0, 1010.0])
def test_a_delayed_tone_has_the_phase_difference_of_its_delay(frequency_hz: float, delay: float) -> None:
    """The right ear hears it ``delay`` samples later, so its phase lags: IPD = −2π·f·delay."""
    waveform = torch.stack((tone(frequency_hz, 1.0), tone(frequency_hz, 1.0, delay)))[None]
    mel, phase = (map_[:, :, 4:-4] for map_ in binaural_features(waveform, mel_filterbank()))
    heard = mel[0, 0] > mel.max() - 10  # magnitudes: 20 dB below the peak
    assert heard.any(dim=1).all()
    lag = 2 * np.pi * frequency_hz * delay / SAMPLE_RATE_HZ
    cosine, sine = (phase[0] / COLUMN_SUM)[:, heard]
    np.testing.assert_allclose(cosine.numpy(), np.cos(lag), atol=5e-3)
    np.testing.assert_allclose(sine.numpy(), -np.sin(lag), atol=5e-3)


def test_swapping_the_ears_turns_the_sine_and_keeps_the_cosine() -> None:
    waveform = noise(1, 2, 16_000)
    mel, phase = binaural_features(waveform, mel_filterbank())
    mel_swapped, phase_swapped = binaural_features(waveform.flip(1), mel_filterbank())
    torch.testing.assert_close(mel_swapped, mel.flip(1))
    torch.testing.assert_close(phase_swapped, phase * torch.tensor([1.0, -1.0])[:, None, None], atol=1e-6, rtol=0)


def test_a_batch_gives_what_its_clips_give() -> None:
    waveform = noise(3, 2, 16_000) * torch.tensor([1.0, 1e-3, 0.0])[:, None, None]
    together = binaural_features(waveform, mel_filterbank())
    for clip in range(3):
        for whole, alone in zip(together, binaural_features(waveform[clip : clip + 1], mel_filterbank()), strict=True):
            torch.testing.assert_close(whole[clip], alone[0], atol=1e-6, rtol=1e-6)
    mono = monaural_features(waveform, mel_filterbank())
    torch.testing.assert_close(mono[1:2], monaural_features(waveform[1:2], mel_filterbank()))


@pytest.mark.parametrize("gains", [(2.0**-66, 2.0**-66), (2.0**-50, 2.0**-64), (1.0, 2.0**-64)])
def test_phase_of_a_faint_sound_is_that_of_the_loud_one(gains: tuple[float, float]) -> None:
    """Once NaN: powers of an exponential decay left float32, and 0 · ∞ poisoned the clip.

    Bins below −240 dB are now lifted by a power of two before they are squared.
    """
    waveform = noise(1, 2, 8_000)
    loud = binaural_features(waveform, mel_filterbank())[1]
    faint = binaural_features(waveform * torch.tensor(gains)[:, None], mel_filterbank())[1]
    torch.testing.assert_close(faint, loud, atol=1e-5, rtol=0)


def test_what_runs_without_looking_at_values_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices and compiled graphs take every bin through the care for faint ones; loud, faint and silent bins agree."""
    waveform = noise(3, 2, 48_000) * torch.tensor([1.0, 2.0**-60, 1.0])[:, None, None]
    waveform[2, 0, 20_000:30_000] = 0
    waveform[2, :, 35_000:] *= torch.exp(-torch.arange(13_000.0) / 100)
    looked = binaural_features(waveform, mel_filterbank())
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda _: pytest.fail("a value was looked at"))
    blind = binaural_features(waveform, mel_filterbank())
    monkeypatch.undo()
    for one, other in zip(looked, blind, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_a_decay_into_nothing_stays_finite() -> None:
    time = torch.arange(64_000) / SAMPLE_RATE_HZ
    mel, phase = binaural_features(noise(1, 2, 64_000) * torch.exp(-60 * time), mel_filterbank())
    assert bool(mel.isfinite().all())
    assert bool((phase.abs() <= COLUMN_SUM * 1.0001).all())


def test_monaural_map_is_of_the_mean_of_the_ears() -> None:
    waveform = noise(2, 2, 16_000)
    mean = waveform.mean(dim=1, keepdim=True).expand(-1, 2, -1)
    mono = monaural_features(waveform, mel_filterbank())
    assert mono.shape == (2, 1, 51, 128)
    torch.testing.assert_close(mono[:, 0], binaural_features(mean, mel_filterbank())[0][:, 0])
    opposite = monaural_features(torch.stack((waveform[:, 0], -waveform[:, 0]), dim=1), mel_filterbank())
    assert bool((opposite == -100).all())


@pytest.mark.parametrize(("old", "new"), [(1001, 1024), (101, 112), (40, 31), (7, 7), (2, 9), (1, 16)])
def test_stretching_in_time_is_bicubic_resizing(old: int, new: int) -> None:
    maps = noise(2, 3, old, 8)
    wanted = torch.nn.functional.interpolate(maps.double(), (new, 8), mode="bicubic", align_corners=True)
    torch.testing.assert_close(features.stretch_frames(maps, new).double(), wanted, atol=1e-6, rtol=0)


def test_signatures_tell_the_true_shapes() -> None:
    """Every public function of features and acoustics runs with its jaxtyping shapes enforced."""
    checked = {
        name: jaxtyping.jaxtyped(typechecker=beartype.beartype)(function)
        for module in (features, acoustics)
        for name, function in vars(module).items()
        if inspect.isfunction(inspect.unwrap(function)) and getattr(function, "__module__", "") == module.__name__
        if not hasattr(function, "cache_info")
    }
    for function in (*checked.values(), features.mel_filterbank, features.hann_window):
        assert "return" in typing.get_type_hints(inspect.unwrap(function))  # once a NameError: Float[Tensor, N]
    waveform, filters = noise(2, 2, 3_200), mel_filterbank()
    checked["binaural_features"](waveform, filters)
    checked["monaural_features"](waveform, filters)
    checked["stft"](waveform)
    checked["stretch_frames"](waveform[..., None], 12)
    checked["rms_normalise"](waveform)
    checked["convolve"](waveform[:, :1], noise(2, 2, 9))
    checked["spatialise"](waveform[0, 0], noise(2, 9))
    checked["mix"]([waveform[0], waveform[1]])
    with pytest.raises(jaxtyping.TypeCheckError):
        checked["spatialise"](waveform[0], noise(2, 9))
