"""Summaries as other microphones would give them: what filtering the sound itself does to them."""

from __future__ import annotations

import pytest
import torch

from bat_agent.sound.features import mel_filterbank
from bat_agent_spatial_ast import recolour as module
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.recolour import recolour, smooth_curves

RATE_HZ = 32_000


@pytest.fixture(scope="module")
def encoder() -> SpatialAST:
    options = {
        "clip_seconds": 4.0, "target_frames": None, "patch_frames": 8, "patch_mels": 128, "width": 32, "depth": 1,
        "heads": 2, "store_front_end": False, "summary_hidden": 16, "unit_ipd": True, "num_slots": 2,
        "slot_summary": True, "direct_sound": True, "level": "token", "mask_time": 0.0, "mask_mels": 0.0,
    }  # fmt: skip
    return SpatialAST(SpatialASTConfig(**options)).eval()


def bursts(clips: int = 2) -> torch.Tensor:
    """(clips, 2, 2 s) of hiss that comes and goes, louder at the left."""
    draw = torch.Generator().manual_seed(0)
    hiss = torch.randn(clips, 2, 2 * RATE_HZ, generator=draw)
    swell = 1.1 + torch.sin(torch.arange(2 * RATE_HZ) / RATE_HZ * 2 * torch.pi * 3)
    return 0.05 * hiss * swell * torch.tensor([1.0, 0.6])[:, None]


def test_it_is_what_filtering_both_ears_does(encoder: SpatialAST, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilt of 2 dB an octave for both ears, and of 1 dB an octave between them."""
    sound, size = bursts(), 2 * RATE_HZ
    hz = torch.fft.rfftfreq(size, 1 / RATE_HZ).clamp(min=62.5)
    tilt = (hz / 1000).log2()
    gain_db = torch.stack((2 * tilt + 0.5 * tilt, 2 * tilt - 0.5 * tilt))
    filtered = torch.fft.irfft(torch.fft.rfft(sound) * 10 ** (gain_db / 20), size)
    bins = torch.arange(513) * (RATE_HZ / 1024)
    filters = mel_filterbank()
    centre = (filters * bins[:, None]).sum(0) / filters.sum(0)
    octaves = (centre.clamp(min=62.5) / 1000).log2()
    monkeypatch.setattr(module, "smooth_curves", lambda count, generator: octaves.expand(count, -1))
    before, want = (encoder.place_summary(wave)[:, 0] for wave in (sound, filtered))
    got = encoder.recolour(before, 2.0, 1.0, torch.Generator())
    means = encoder.slot_summary.num_means
    got, want = (rows[:, :means].unflatten(1, (-1, 4, 128)) for rows in (got, want))
    middle = slice(12, 120)  # a tilt is no constant within the lowest bands
    difference_db = 3 * (got - want)[:, :, 0, middle]
    level_db = 20 * (got - want)[:, :, 3, middle]
    assert difference_db.abs().mean() < 0.25
    assert (level_db - level_db.mean(dim=-1, keepdim=True)).abs().mean() < 0.4  # the encoder takes the level out
    assert (got - want)[:, :, 1:3, middle].abs().mean() < 0.05


def test_silence_and_the_level_of_the_clip_stay() -> None:
    summary = torch.randn(3, 4 * 4 * 128 + 1, generator=torch.Generator().manual_seed(0))
    rows = summary[:, :-1].view(3, 4, 4, 128)
    rows[0, :, :, 5] = 0
    moved = recolour(summary, 4 * 4 * 128, 6.0, 2.0, torch.Generator().manual_seed(1))
    assert torch.equal(moved[:, -1], summary[:, -1])
    found = moved[:, :-1].view(3, 4, 4, 128)
    assert torch.equal(found[0, :, :, 5], rows[0, :, :, 5])
    assert torch.equal(found[:, :, 1:3], rows[:, :, 1:3])
    assert not torch.equal(found[:, :, 3], rows[:, :, 3])
    assert torch.equal(moved, recolour(summary, 4 * 4 * 128, 6.0, 2.0, torch.Generator().manual_seed(1)))


def test_curves_are_smooth_and_of_variance_one() -> None:
    curves = smooth_curves(4000, torch.Generator().manual_seed(0))
    assert curves.shape == (4000, 128)
    # Between knots both parts are weighted means of two, whose variance is two thirds in the mean.
    assert 0.75 < float(curves.std()) < 1.0
    assert float((curves[:, 1:] - curves[:, :-1]).abs().mean()) < 0.25
