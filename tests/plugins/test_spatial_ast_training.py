"""Spatial-AST in training: what is masked and dropped, that nothing of it remains in evaluation, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bat_agent.clips.mixtures import Truth
from bat_agent.recipes.schema import Stage
from bat_agent.training.helpers import keep_patches, spec_augment
from bat_agent.training.losses import encoder_loss
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.transformer import Block

SMALL: dict[str, Any] = {"clip_seconds": 1.0, "target_frames": 112, "width": 32, "depth": 2, "heads": 4}
WHOLE_BAND: dict[str, Any] = {"target_frames": None, "patch_frames": 4, "patch_mels": 128, "stem_channels": 3}


def small(**options: Any) -> SpatialAST:
    torch.manual_seed(0)
    return SpatialAST(SpatialASTConfig(**{**SMALL, **options})).eval()


def noise(*shape: int) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_masks_are_off_in_evaluation() -> None:
    encoder = small()
    waveform = noise(2, 2, 32_000)
    with torch.no_grad():
        torch.manual_seed(1)
        first = encoder(waveform)
        second = encoder(waveform)
    assert torch.equal(first.tokens, second.tokens)
    assert first.tokens.shape[1] == encoder.num_tokens


def test_training_sees_three_quarters_of_rows_and_columns() -> None:
    """48 × 6 = 288 of 64 × 8 patches, whole rows and columns, another choice for each clip."""
    columns, rows = torch.arange(8).repeat(64), torch.arange(64).repeat_interleave(8)
    patches = torch.stack((rows, columns), dim=1).float().expand(5, -1, -1)
    torch.manual_seed(0)
    kept = keep_patches(patches, 8, 0.25, 0.25)
    assert kept.shape == (5, 288, 2)
    choices = set()
    for clip in kept:
        seen_rows, seen_columns = ({int(v) for v in clip[:, axis]} for axis in (0, 1))
        assert (len(seen_rows), len(seen_columns)) == (48, 6)
        assert len({tuple(pair) for pair in clip.tolist()}) == 288
        choices.add((frozenset(seen_rows), frozenset(seen_columns)))
    assert len(choices) == 5
    assert keep_patches(patches, 8, 0.0, 0.0) is patches


def test_left_out_patches_are_not_computed() -> None:
    encoder = small().train()
    seen: list[int] = []
    encoder.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    encoder(noise(2, 2, 32_000))
    assert seen == [3 + int(7 * 0.75) * 6]


def test_spec_augment_zeros_one_block_each_way() -> None:
    torch.manual_seed(0)
    widths, lengths = set(), set()
    for _ in range(300):
        hidden = spec_augment(torch.ones(2, 1, 1024, 128), 192, 48)[:, 0] == 0
        assert torch.equal(hidden[0], hidden[1])
        for axis, found in ((0, widths), (1, lengths)):
            whole = hidden[0].all(dim=axis)
            assert int(whole.int().diff().abs().sum()) <= 2  # one block, so at most two edges
            found.add(int(whole.sum()))
        assert torch.equal(hidden[0], hidden[0].all(dim=0)[None] | hidden[0].all(dim=1)[:, None])
    assert 40 <= max(widths) <= 48  # once cut to 32: a quarter of the bands, as meant for the frames of short clips
    assert 170 <= max(lengths) <= 192
    short = [int((spec_augment(torch.ones(1, 1, 20, 128), 192, 0)[0, 0, :, 0] == 0).sum()) for _ in range(100)]
    assert 0 < max(short) <= 5


def test_a_dropped_branch_is_dropped_for_the_whole_clip_and_the_rest_scaled() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 2.0, 0.25).train()
    factors = block._drop(torch.ones(4000, 3, 8))
    assert bool((factors == factors[:, :1, :1]).all())
    assert sorted(set(factors[:, 0, 0].tolist())) == pytest.approx([0, 4 / 3])
    assert float(factors.mean()) == pytest.approx(1, abs=0.05)
    assert torch.equal(block.eval()._drop(factors), factors)


def test_drop_path_grows_linearly_from_zero() -> None:
    rates = [block.drop_path for block in small(depth=5).blocks]
    np.testing.assert_allclose(rates, [0, 0.025, 0.05, 0.075, 0.1], atol=1e-7)


@pytest.mark.parametrize("num_slots", [1, 2])
def test_a_few_steps_learn_a_few_clips(num_slots: int) -> None:
    """All of encoder, masks and loss together: overfitting four clips brings the loss down."""
    masks = {"mask_mels": 0.0, "spec_mels": 0, "spec_time_frames": 0}
    encoder = small(**WHOLE_BAND, **masks, num_slots=num_slots, unit_ipd=True).train()
    waveform = noise(4, 2, 8_000) * torch.tensor([[1, 0.2], [0.2, 1], [0.5, 0.5], [0.05, 0.05]])[:, :, None]
    active = torch.tensor([[True, num_slots == 2]]).repeat(4, 1)
    classes = torch.nn.functional.one_hot(torch.arange(8).view(4, 2), 355).float() * active[..., None]
    bins = [torch.arange(8).view(4, 2) * active * scale for scale in (2, 40, 20)]
    stage = Stage(name="overfit", trains="encoder", steps=1)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss, _ = encoder_loss(encoder(waveform), Truth(active, classes, *bins), stage)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0], losses
    untouched = [name for name, value in encoder.named_parameters() if value.requires_grad and value.grad is None]
    assert untouched == []
