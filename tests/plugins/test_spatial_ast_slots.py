"""Slot summaries: each slot hears direction in the bands that it claims."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bat_agent.errors import BadInput
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.slots import SlotSummary
from bat_agent_spatial_ast.summary import (
    DIRECT_WEIGHTINGS,
    QUANTITIES,
    SCALES,
    WEIGHTINGS,
    direct_weights,
    interaural,
    num_segments,
    row_sums,
    summarise,
)
from bat_agent_spatial_ast.symmetry import mirrored

SMALL: dict[str, Any] = {
    "clip_seconds": 2.0, "target_frames": None, "patch_frames": 8, "patch_mels": 128, "width": 32, "depth": 1,
    "heads": 2, "store_front_end": False, "summary_frames": 96, "summary_hidden": 16, "unit_ipd": True,
    "num_slots": 2, "mask_time": 0.0, "mask_mels": 0.0,
}  # fmt: skip


def test_slots_that_claim_alike_hear_what_the_whole_clip_holds() -> None:
    """With equal shares everywhere, and for a clip with one source, the means are those of the clip's summary."""
    torch.manual_seed(0)
    mel, phase = 10 * torch.randn(2, 2, 83, 128) - 30, torch.rand(2, 2, 83, 128) * 2 - 1
    sums = row_sums(mel, phase, 8)
    whole = summarise(sums, 12)[:, 0].flatten(1)
    for share in (0.5, 1.0):
        heard = SlotSummary.means(torch.full((2, 3, 11, 128), share), sums)
        torch.testing.assert_close(heard, whole[:, None].expand(-1, 3, -1), atol=2e-3, rtol=2e-3)


def test_summaries_are_the_weighted_means_of_their_definition() -> None:
    """In double precision, frame by frame, of the whole clip and of each second of it; rows may have any length."""
    torch.manual_seed(0)
    mel, phase = 10 * torch.randn(1, 2, 230, 128) - 30, torch.rand(1, 2, 230, 128) * 2 - 1
    weights, quantities = (part.double() for part in interaural(mel, phase))
    spans = [(0, 230), (0, 96), (96, 192)]
    wanted = []
    for begin, end in spans:
        of = weights[0, :, None, begin:end] * quantities[0, None, :, begin:end]
        mean = of.sum(dim=2) / (weights[0, :, None, begin:end].sum(dim=2) + 1e-4)
        wanted.append((mean * torch.tensor(SCALES).double()[:, None]).flatten(0, 1))
    for row, rows in ((8, 12), (32, 3), (96, 1)):
        found = summarise(row_sums(mel, phase, row), rows, num_segments(230, 96))
        torch.testing.assert_close(found[0].double(), torch.stack(wanted), atol=1e-4, rtol=1e-4)


def test_shares_of_the_slots_sum_to_one_and_learning_reaches_them() -> None:
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**SMALL, slot_summary=True))
    part = encoder.slot_summary
    masks = part.masks(torch.randn(2, 2, 32), torch.randn(2, 5, 32))
    assert masks.shape == (2, 2, 5, 128)
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, 5, 128))
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
    heard = SlotSummary.means(shares, row_sums(mel, phase, 8)).view(2, -1, QUANTITIES, 128)
    difference = heard[:, 0, 0] / SCALES[0]
    torch.testing.assert_close(difference[0], 12 * half, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(difference[1], -12 * (1 - half), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("wrong", [{"num_slots": 1}, {"target_frames": 208}, {"mask_time": 0.25}])
def test_what_it_needs_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="slot_summary needs"):
        SpatialASTConfig(**{**SMALL, **wrong}, slot_summary=True)


@pytest.mark.parametrize("part", [{"direct_sound": True}, {"slot_hidden": 64}])
def test_what_belongs_to_slot_summary_is_refused_without_it(part: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=f"{next(iter(part))} is part of slot_summary"):
        SpatialASTConfig(**SMALL, **part)


def test_summaries_and_slots_share_their_rows() -> None:
    with pytest.raises(BadInput, match="summary_frames 100 must be a multiple of patch_frames 8"):
        SpatialASTConfig(**{**SMALL, "summary_frames": 100}, slot_summary=True)


def test_slots_may_claim_bands_of_patches_that_do_not_span_them_all() -> None:
    """Eight patches of 16 bands in each row: the shares of a row's 128 bands come from the patch each band lies in."""
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**{**SMALL, "patch_mels": 16}, slot_summary=True)).eval()
    assert encoder(0.1 * torch.randn(2, 2, 32_000)).slots is not None
    patches, slots = torch.randn(1, 3 * 8, 32), torch.randn(1, 2, 32)
    before = encoder.slot_summary.masks(slots, patches)
    other = patches.clone()
    other[0, 8 + 5] = torch.randn(32)  # second row, bands 80 to 95
    changed = (encoder.slot_summary.masks(slots, other) != before).any(dim=1)[0]
    assert changed.any(dim=1).tolist() == [False, True, False]
    assert changed[1].nonzero().flatten().tolist() == list(range(80, 96))


LEVEL = {"level": "token", "level_dropout": 0.0}
DIRECT = {**LEVEL, "direct_sound": True, "slot_hidden": 24}


@pytest.mark.parametrize("level", [{}, LEVEL, DIRECT], ids=["absolute", "token", "direct"])
def test_places_from_a_summary_are_those_of_the_encoder(level: dict[str, Any]) -> None:
    """Of a clip with one source, where the slots claim all alike; the second row is the clip with the ears swapped."""
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**SMALL, **level, slot_summary=True)).eval()
    torch.nn.init.zeros_(encoder.slot_summary.slot_factors.weight)
    torch.nn.init.normal_(encoder.azimuth_head.weight)
    torch.nn.init.normal_(encoder.distance_head.weight)
    waveform = 0.1 * torch.randn(2, 2, 320 * 71)  # 72 frames: nine whole rows
    waveform[:, 1] *= 0.5
    summary = encoder.place_summary(waveform)
    torch.testing.assert_close(summary[:, 1], encoder.place_summary(waveform.flip(1))[:, 0], atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        for row, sound in enumerate((waveform, waveform.flip(1))):
            said, slots = encoder.place_heads(summary[:, row]), encoder(sound).slots
            assert slots is not None
            for head in ("distance_logits", "azimuth_logits", "elevation_logits"):
                torch.testing.assert_close(getattr(said, head), getattr(slots, head)[:, 1], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("level", [{}, LEVEL, DIRECT], ids=["absolute", "token", "direct"])
def test_places_from_what_each_slot_claims_are_those_of_the_encoder(level: dict[str, Any]) -> None:
    """Whatever the claims, and with a share of the transformer's own tokens."""
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**SMALL, **level, slot_summary=True)).eval()
    for part in (
        encoder.azimuth_head,
        encoder.distance_head,
        encoder.elevation_head,
        encoder.slot_summary.slot_factors,
    ):
        torch.nn.init.normal_(part.weight)
    torch.nn.init.normal_(encoder.slot_summary.share)
    waveform = 0.1 * torch.randn(3, 2, 320 * 71)
    waveform[:, 1] *= 0.5
    with torch.no_grad():
        wanted = encoder(waveform).slots
        assert wanted is not None
        encoding, summary = encoder.slot_summaries(waveform)
        said = encoder.place_heads(summary.flatten(0, 1))
        torch.testing.assert_close(encoding.slots.class_logits, wanted.class_logits)
        assert not torch.allclose(summary[:, 0], summary[:, 1], atol=1e-2)
        for head in ("distance_logits", "azimuth_logits", "elevation_logits"):
            torch.testing.assert_close(getattr(said, head), getattr(wanted, head).flatten(0, 1), atol=1e-4, rtol=1e-4)


def test_the_level_is_heard_in_the_distance_alone_where_it_stands_apart() -> None:
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**SMALL, **LEVEL, slot_summary=True)).eval()
    torch.nn.init.normal_(encoder.distance_head.weight)
    waveform = 0.1 * torch.randn(1, 2, 32_000)
    with torch.no_grad():
        loud, soft = (encoder.place_heads(encoder.place_summary(gain * waveform)[:, 0]) for gain in (1.0, 0.1))
        assert not torch.allclose(loud.distance_logits, soft.distance_logits, atol=1e-3)
        encoder.level_known = False
        loud, soft = (encoder.place_heads(encoder.place_summary(gain * waveform)[:, 0]) for gain in (1.0, 0.1))
    torch.testing.assert_close(loud.distance_logits, soft.distance_logits, atol=1e-3, rtol=1e-3)


# --- direct sound ---


def test_direct_sound_is_what_is_louder_than_all_that_came_just_before() -> None:
    """Frame by frame, against the definition; the first frame and what only decays count nothing."""
    torch.manual_seed(0)
    mel = 10 * torch.randn(2, 2, 90, 128) - 40
    weights, louder = direct_weights(mel), mel.amax(dim=1)
    below = louder - louder.amax(dim=1, keepdim=True)
    for pair, frames in enumerate((10, 40)):
        for now in (1, 5, 39, 40, 41, 89):
            new = (louder[:, now] - louder[:, max(0, now - frames) : now].amax(dim=1)).clamp(0, 10)
            torch.testing.assert_close(weights[:, 2 * pair, now], 10 ** (below[:, now] / 10) * new)
            torch.testing.assert_close(weights[:, 2 * pair + 1, now], (below[:, now] > -20).float() * new)
    assert not weights[:, :, 0].any()
    decaying = torch.linspace(-10, -50, 90)[None, None, :, None].expand(1, 2, 90, 128)
    assert not direct_weights(decaying).any()
    assert direct_weights(mel[:, :, :1]).shape == (2, 4, 1, 128)


def test_reflections_that_follow_leave_the_direct_direction_as_it_was() -> None:
    """A click from the left whose reflection, 20 ms on and 3 dB weaker, comes from the right."""
    mel = torch.full((1, 2, 60, 128), -80.0)
    for start, left, right in ((20, -10.0, -20.0), (22, -23.0, -13.0)):
        decay = -1.5 * torch.arange(60 - start)[:, None]
        mel[0, 0, start:] = torch.maximum(mel[0, 0, start:], left + decay)
        mel[0, 1, start:] = torch.maximum(mel[0, 1, start:], right + decay)
    phase = torch.zeros(1, 2, 60, 128)
    means = summarise(row_sums(mel, phase, 10, direct_sound=True), 6, 0)[0, 0].view(-1, QUANTITIES, 128)
    ild_db = means[:, 0].mean(dim=1) / SCALES[0]
    assert len(ild_db) == WEIGHTINGS + DIRECT_WEIGHTINGS
    assert ild_db[WEIGHTINGS:].min() > 9.9  # as the click alone has it
    assert ild_db[0] < 5  # the mean over all energy


def test_an_encoder_that_hears_direct_sound_is_as_symmetric() -> None:
    torch.manual_seed(0)
    options = {**SMALL, "slot_summary": True, "direct_sound": True, "slot_hidden": 24, "symmetric": True}
    encoder = SpatialAST(SpatialASTConfig(**options)).eval()
    assert encoder.slot_summary.first.out_features == encoder.slot_summary.first_direct.out_features == 24
    sound = 0.1 * torch.randn(1, 2, 32_000)
    one, other = encoder(sound).slots, encoder(sound.flip(1)).slots
    assert one is not None
    assert other is not None
    torch.testing.assert_close(mirrored(one.azimuth_logits), other.azimuth_logits)
    one.azimuth_logits.square().mean().backward()
    assert float(encoder.slot_summary.first_direct.weight.grad.abs().max()) > 0
