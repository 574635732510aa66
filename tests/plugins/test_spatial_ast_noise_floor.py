"""The noise floor of the front end is noise in both microphones, on the average; what only rounding says is gone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bat_agent.errors import BadInput
from bat_agent.sound import features
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.front_end import noise_of_bands, over_noise_floor
from bat_agent_spatial_ast.graph import PlainFeatures

FLOOR_DBFS = -60.0
FILTERS = features.mel_filterbank()


def white(rms_dbfs: float, seed: int, samples: int = 64_000) -> Tensor:
    return 10 ** (rms_dbfs / 20) * torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(seed))


def in_bands(samples: int, low_hz: float, high_hz: float) -> Tensor:
    """A sound at both ears that has nothing at all outside its band, 0.2 ms later at the right."""
    spectrum = torch.fft.rfft(torch.randn(samples, generator=torch.Generator().manual_seed(5), dtype=torch.float64))
    hz = torch.fft.rfftfreq(samples, 1 / 32_000, dtype=torch.float64)
    spectrum[(hz < low_hz) | (hz > high_hz)] = 0
    late = spectrum * torch.exp(-2j * torch.pi * hz * 2e-4)
    return torch.stack([torch.fft.irfft(each, n=samples) for each in (spectrum, late)])[None]


@pytest.mark.parametrize("power", [False, True])
def test_noise_alone_has_the_level_that_is_said(power: bool) -> None:
    mel, _ = features.binaural_features(white(FLOOR_DBFS, 0, 320_000), FILTERS, power=power)
    mean = 10 * (10 ** (mel / 10)).mean(dim=(0, 1, 2)).log10()
    said = features.decibel(noise_of_bands(FILTERS, FLOOR_DBFS, power))
    torch.testing.assert_close(said, mean, atol=0.5, rtol=0)  # dB


def test_levels_and_phases_are_those_over_drawn_noise_on_the_average() -> None:
    sound = in_bands(16_000, 500.0, 5000.0).float()
    sound = sound / sound.square().mean().sqrt() * 10 ** (-60 / 20)
    clean = features.mel_and_phase(sound, FILTERS)
    mel, phase = over_noise_floor(*clean, noise_of_bands(FILTERS, FLOOR_DBFS, False), False)
    drawn = [features.binaural_features(sound + white(FLOOR_DBFS, seed, 16_000), FILTERS) for seed in range(60)]
    mean_mel = torch.stack([one[0] for one in drawn]).mean(dim=(0, 3))
    mean_phase = torch.stack([one[1] for one in drawn]).mean(dim=(0, 3)) / FILTERS.sum(dim=0)
    apart = (mel.mean(dim=2) - mean_mel).abs()
    assert apart.mean() < 0.3  # dB, of magnitudes
    # Phases fade where noise is as strong as sound, by about as much; where there is no sound nothing is left of them.
    faded = (phase / FILTERS.sum(dim=0)).mean(dim=2)
    assert (faded - mean_phase).abs().mean() < 0.06
    assert faded[..., 120:].abs().max() < 0.01


@pytest.mark.parametrize("power", [False, True])
def test_loud_sound_stays_as_it_is(power: bool) -> None:
    mel, phase = features.mel_and_phase(white(-20, 3), FILTERS, power)
    heard = over_noise_floor(mel, phase, noise_of_bands(FILTERS, -120.0, power), power)
    torch.testing.assert_close(heard[0], features.decibel(mel), atol=2e-3, rtol=0)
    torch.testing.assert_close(heard[1], phase, atol=1e-4, rtol=0)


def test_every_fourier_transform_and_number_of_bits_hears_the_same() -> None:
    exact = in_bands(32_000, 200.0, 4000.0)
    exact = exact / exact.square().mean().sqrt() * 10 ** (-30 / 20)  # the level that clips are brought to
    plain = PlainFeatures(FILTERS)

    def furthest(floor_dbfs: float | None, others: list[tuple[Tensor, Tensor]]) -> float:
        found = []
        for mel, phase in ((features.mel_and_phase(exact.float(), FILTERS)), *others):
            if floor_dbfs is None:
                mel = features.decibel(mel)
            else:
                mel, phase = over_noise_floor(mel, phase, noise_of_bands(FILTERS, floor_dbfs, False), False)
            found.append(torch.cat((mel / 10, phase / FILTERS.sum(dim=0)), dim=1))
        return max(float((one - found[0]).abs().max()) for one in found[1:])

    graph = plain(exact.float(), FILTERS)
    bits24 = features.mel_and_phase((exact * 2**23).round().div(2**23).float(), FILTERS)
    assert furthest(None, [graph]) > 0.5  # where there is no sound, phases are by chance
    assert furthest(-120.0, [graph]) < 0.01
    assert furthest(None, [bits24]) > 0.5
    assert furthest(-105.0, [bits24]) < 0.03


def test_encoders_have_it_by_an_option_and_graphs_too() -> None:
    small: dict[str, Any] = {
        "clip_seconds": 1.0, "target_frames": None, "patch_frames": 8, "patch_mels": 128, "width": 32, "depth": 1,
        "heads": 2, "store_front_end": False, "level": "token",
    }  # fmt: skip
    encoders = []
    for floor in (None, -100.0):
        torch.manual_seed(0)
        encoders.append(SpatialAST(SpatialASTConfig(**small, noise_floor_dbfs=floor)).eval())
    sound = in_bands(32_000, 200.0, 4000.0).float()
    with torch.inference_mode():
        without, heard = (encoder(sound).tokens for encoder in encoders)
        graph: Any = encoders[1].graph()
        said = dict(zip(graph.outputs, graph(sound, *graph.frames(sound), torch.ones(1)), strict=True))
    assert (without - heard).abs().max() > 0.01
    torch.testing.assert_close(said["tokens"], heard, atol=1e-4, rtol=1e-4)
    with pytest.raises(BadInput, match="noise_floor_dbfs must lie in -200…0, got 3"):
        SpatialASTConfig(noise_floor_dbfs=3.0)
