"""Masks of a network of their own: what they are, that nothing else changes, and how good those of bat-small are."""

from __future__ import annotations

import os
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bat_agent.agent import Bat
from bat_agent.datasets.sound_libraries import from_manifest, procedural
from bat_agent.errors import BadInput
from bat_agent.hearing.masks import masks_of
from bat_agent.interfaces import SAMPLE_RATE_HZ, Encoding, SlotEncoding
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.masks import INPUTS, SlotMasks
from bat_agent_spatial_ast.summary import row_sums

SMALL: dict[str, Any] = {
    "clip_seconds": 2.0, "target_frames": None, "patch_frames": 8, "patch_mels": 128, "width": 32, "depth": 1,
    "heads": 2, "store_front_end": False, "summary_frames": 96, "summary_hidden": 16, "unit_ipd": True,
    "num_slots": 2, "mask_time": 0.0, "mask_mels": 0.0, "slot_summary": True, "direct_sound": True,
}  # fmt: skip


RECORDINGS = Path(os.environ.get("BAT_SHARED", "../shared")) / "data" / "sounds" / "manifest.csv"


@cache
def script() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "train_masks.py"))


@pytest.mark.parametrize("symmetric", [False, True])
def test_masks_are_shares_and_nothing_else_changes(symmetric: bool) -> None:
    torch.manual_seed(0)
    plain = SpatialAST(SpatialASTConfig(**SMALL, symmetric=symmetric)).eval()
    with_masks = SpatialAST(SpatialASTConfig(**SMALL, symmetric=symmetric, mask_channels=4)).eval()
    missing, unexpected = with_masks.load_state_dict(plain.state_dict(), strict=False)
    assert all(name.startswith("slot_masks.") for name in missing)
    assert not unexpected
    sound = 0.1 * torch.randn(3, 2, 20_000)
    with torch.no_grad():
        before, after = plain(sound), with_masks(sound)
    torch.testing.assert_close(after.tokens, before.tokens)
    assert before.slots is not None
    assert after.slots is not None
    torch.testing.assert_close(after.slots.masks, before.slots.masks)
    assert plain.told_masks(sound, before.tokens) is None
    told = with_masks.told_masks(sound, after.tokens)
    assert told is not None
    assert told.shape == (3, 2, 7, 128)
    torch.testing.assert_close(told.sum(dim=1), torch.ones(3, 7, 128))
    alone = with_masks.told_masks(sound[1:2].numpy(), after.tokens[1:2])
    torch.testing.assert_close(told[1:2], alone)


class Telling:
    """An encoder that tells masks, and of how many clips it was asked."""

    asked = 0

    def told_masks(self, waveform: np.ndarray, tokens: torch.Tensor) -> torch.Tensor:
        self.asked += len(waveform)
        assert len(tokens) == len(waveform)
        return torch.full((len(waveform), 2, 3, 128), 0.25)


def test_masks_are_told_of_clips_that_may_hold_several_sources_alone() -> None:
    activity = torch.tensor([[3.0, -9.0], [3.0, -1.0], [-9.0, -9.0]])
    slots = SlotEncoding(activity, torch.zeros(3, 2, 355), masks=torch.full((3, 2, 3, 128), 0.5))
    encoding = Encoding(torch.zeros(3, 4, 8), slots=slots)
    encoder: Any = Telling()
    found = masks_of(encoder, np.zeros((3, 2, 100), np.float32), encoding)
    assert found is not None
    assert encoder.asked == 1
    assert found[:, 0, 0, 0].tolist() == [0.5, 0.25, 0.5]
    assert slots.masks is not None
    assert (slots.masks == 0.5).all()  # what is remembered stays
    assert masks_of(encoder, np.zeros((1, 2, 100), np.float32), Encoding(torch.zeros(1, 4, 8))) is None


@pytest.mark.parametrize("wrong", [{"direct_sound": False}, {"patch_mels": 64}])
def test_what_it_needs_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="mask_channels needs direct_sound and patches of all 128 patch_mels"):
        SpatialASTConfig(**{**SMALL, **wrong}, mask_channels=4)


def test_what_is_heard_of_a_silent_band_is_finite() -> None:
    mel, phase = torch.full((2, 2, 40, 128), -120.0), torch.zeros(2, 2, 40, 128)
    inputs = SlotMasks.inputs(row_sums(mel, phase, 8, direct_sound=True), 5)
    assert inputs.shape == (2, INPUTS, 5, 128)
    assert inputs.isfinite().all()


def test_true_shares_are_those_of_sounds_in_bands_of_their_own() -> None:
    """Noise below 1 kHz, and above 2 kHz: what is new in a band belongs to the one that is there."""
    random = np.random.default_rng(0)
    spectra = np.fft.rfft(random.standard_normal((2, 2, 2 * SAMPLE_RATE_HZ)))
    hz = np.fft.rfftfreq(2 * SAMPLE_RATE_HZ, 1 / SAMPLE_RATE_HZ)
    apart = 0.1 * np.fft.irfft(spectra * np.stack((hz < 1000, hz > 2000))[:, None])
    share, weight = script()["true_share"](apart.sum(axis=0), apart)
    assert share.shape == weight.shape == (25, 128)
    heard = weight > 0.1 * weight.max()
    low, high = heard.nonzero()[1] < 30, heard.nonzero()[1] > 60
    assert low.sum() > 100 < high.sum()
    assert share[heard][low].min() > 0.98
    assert share[heard][high].max() < 0.02


def test_the_network_learns_whose_a_band_is() -> None:
    """Of one slot is what is louder on the left; which, the slot's token tells."""
    torch.manual_seed(0)
    inputs = torch.randn(96, 2, INPUTS, 4, 128)
    inputs[:, 1, 0] = -inputs[:, 0, 0]
    slots = torch.zeros(96, 2, 2, 32)
    slots[:, 0, 0, 0] = slots[:, 1, 1, 0] = 4.0  # with swapped ears it is the other's
    share = (inputs[:, 0, 0] > 0).float()
    data = {
        "inputs": inputs, "slots": slots, "patches": torch.zeros(96, 2, 4, 32), "share": share,
        "weight": torch.rand(96, 4, 128),
    }  # fmt: skip
    network = SlotMasks(32, 8)
    script()["train"](network, data, {}, epochs=50, rate=2e-2)
    network.eval()
    masks = script()["told"](network, data, torch.arange(96), 0)
    assert script()["let_through"](masks, share, data["weight"]).mean() < 0.2


@pytest.mark.parametrize("recorded", [False, True])
def test_bat_small_tells_the_sounds_of_a_walk_apart(recorded: bool) -> None:
    """In walks that are not learnt from, and against chance: of two sounds, about half; of recordings, too."""
    if recorded and not RECORDINGS.is_file():
        pytest.skip(f"no recordings at {RECORDINGS}")
    sounds = from_manifest(RECORDINGS).filter(folds=(4,)) if recorded else procedural(seed=77)
    encoder = Bat.from_pretrained("bat-small", device="cpu").encoder
    assert isinstance(encoder, SpatialAST)
    held = script()["collected"](encoder, sounds, range(800_000, 800_012))
    network = encoder.slot_masks
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    share, weight = held["share"].float(), held["weight"].float()
    with torch.no_grad():
        masks = script()["told"](network, held, torch.arange(len(share)), 0)
    of_other = float(script()["let_through"](masks, share, weight).mean())
    of_goal = float(script()["let_through"](masks.flip(1), 1 - share, weight).mean())
    half = torch.full_like(masks, 0.5)
    assert float(script()["let_through"](half, share, weight).mean()) > 0.35
    assert max(of_other, of_goal) < (0.33 if recorded else 0.25)


def test_masks_are_learnt_anew_by_a_model_that_has_some() -> None:
    bat = Bat.from_pretrained("bat-small", device="cpu")
    before, after = bat.encoder.state_dict(), script()["with_masks"](bat).encoder.state_dict()
    assert before.keys() == after.keys()
    same = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert {name for name in before if not name.startswith("slot_masks.")} <= same
    assert "slot_masks.slot_factors.1.weight" not in same
