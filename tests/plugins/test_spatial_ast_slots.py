"""Slot summaries: each slot hears direction in the bands that it claims."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bat_agent.errors import BadInput
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.slots import SlotSummary
from bat_agent_spatial_ast.summary import QUANTITIES, SCALES

SMALL: dict[str, Any] = {
    "clip_seconds": 2.0, "target_frames": None, "patch_frames": 8, "patch_mels": 128, "width": 32, "depth": 1,
    "heads": 2, "store_front_end": False, "summary_frames": 100, "summary_hidden": 16, "unit_ipd": True,
    "num_slots": 2, "mask_time": 0.0, "mask_mels": 0.0,
}  # fmt: skip


def test_it_starts_as_the_identity() -> None:
    torch.manual_seed(0)
    with_it = SpatialAST(SpatialASTConfig(**SMALL, slot_summary=True)).eval()
    without = SpatialAST(SpatialASTConfig(**SMALL)).eval()
    state = {key: value for key, value in with_it.state_dict().items() if not key.startswith("slot_summary")}
    without.load_state_dict(state)
    for samples in (64_000, 20_000, 640):
        waveform = 0.1 * torch.randn(2, 2, samples)
        assert torch.equal(with_it(waveform).tokens, without(waveform).tokens)


def test_shares_of_the_slots_sum_to_one_and_learning_reaches_them() -> None:
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**SMALL, slot_summary=True))
    part = encoder.slot_summary
    masks = part.masks(torch.randn(2, 2, 32), torch.randn(2, 5, 32))
    assert masks.shape == (2, 2, 5, 128)
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, 5, 128))
    torch.nn.init.normal_(part.mlp[-1].weight)
    slots = encoder(0.1 * torch.randn(2, 2, 32_000)).slots
    assert slots is not None
    slots.azimuth_logits.square().mean().backward()
    assert float(part.patch_factors.weight.grad.abs().max()) > 0
    assert float(part.slot_factors.weight.grad.abs().max()) > 0


def test_a_slot_hears_the_level_difference_of_its_bands_alone() -> None:
    """Low bands are 12 dB louder on the left, high bands 12 dB on the right; one slot claims each half."""
    half = torch.cat((torch.ones(64), torch.zeros(64)))
    mel = torch.full((1, 2, 40, 128), -30.0)
    mel[:, 0] -= 12 * (1 - half)
    mel[:, 1] -= 12 * half
    phase = torch.cat((torch.ones(1, 1, 40, 128), torch.zeros(1, 1, 40, 128)), dim=1)
    shares = torch.stack((half, 1 - half)).view(1, 2, 1, 128).expand(1, 2, 5, 128)
    heard = SlotSummary(32, 16, 8).means(shares, mel, phase).view(2, -1, QUANTITIES, 128)
    difference = heard[:, 0, 0] / SCALES[0]
    torch.testing.assert_close(difference[0], 12 * half, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(difference[1], -12 * (1 - half), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("wrong", [{"num_slots": 1}, {"target_frames": 208}, {"mask_time": 0.25}])
def test_what_it_needs_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="slot_summary needs"):
        SpatialASTConfig(**{**SMALL, **wrong}, slot_summary=True)


def test_slots_may_claim_bands_of_patches_that_do_not_span_them_all() -> None:
    """Eight patches of 16 bands in each row: the shares of a row's 128 bands come from the patch each band lies in."""
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**{**SMALL, "patch_mels": 16}, slot_summary=True)).eval()
    torch.nn.init.normal_(encoder.slot_summary.mlp[-1].weight)
    assert encoder(0.1 * torch.randn(2, 2, 32_000)).slots is not None
    patches, slots = torch.randn(1, 3 * 8, 32), torch.randn(1, 2, 32)
    before = encoder.slot_summary.masks(slots, patches)
    other = patches.clone()
    other[0, 8 + 5] = torch.randn(32)  # second row, bands 80 to 95
    changed = (encoder.slot_summary.masks(slots, other) != before).any(dim=1)[0]
    assert changed.any(dim=1).tolist() == [False, True, False]
    assert changed[1].nonzero().flatten().tolist() == list(range(80, 96))
