"""Interaural summaries: steady numbers for known level and phase differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bat_agent.errors import BadInput
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.summary import QUANTITIES, SCALES, WEIGHTINGS, num_segments, row_sums, swap_ears
from bat_agent_spatial_ast.summary import summarise as summarise_rows

SMALL = {
    "clip_seconds": 4.0, "target_frames": None, "patch_frames": 8, "patch_mels": 128, "width": 32, "depth": 1,
    "heads": 2, "store_front_end": False, "summary_frames": 100, "summary_hidden": 16, "unit_ipd": True,
}  # fmt: skip


def summarise(mel: torch.Tensor, phase: torch.Tensor, segment_frames: int) -> torch.Tensor:
    """Rows as long as segments."""
    return summarise_rows(row_sums(mel, phase, segment_frames), 1, num_segments(mel.shape[2], segment_frames))


def maps(frames: int, left_db: float, right_db: float, angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    moving = 6 * torch.randn(1, 1, frames, 128, generator=generator)
    mel = moving + torch.tensor([left_db, right_db])[None, :, None, None]
    phase = torch.tensor([angle]).cos(), torch.tensor([angle]).sin()
    return mel, torch.stack(phase).view(1, 2, 1, 1).expand(1, 2, frames, 128)


@pytest.mark.parametrize("angle", [0.0, 0.8, -2.0])
def test_constant_differences_come_out_under_every_weighting(angle: float) -> None:
    found = summarise(*maps(250, -20.0, -26.0, angle), 100)
    assert found.shape == (1, 1 + num_segments(250, 100), WEIGHTINGS * QUANTITIES, 128)
    whole = found[0, 0].view(WEIGHTINGS, QUANTITIES, 128) / torch.tensor(SCALES)[:, None]
    wanted = torch.tensor([6.0, torch.tensor(angle).cos(), torch.tensor(angle).sin()])
    # 5 %: the 1e-4 that keeps silence finite, and bands whose loudest frames hold little energy.
    torch.testing.assert_close(whole[:, :3].mean(-1), wanted.expand(WEIGHTINGS, 3), rtol=0.05, atol=0.05)


def test_a_silent_stretch_changes_nothing_of_the_whole_and_says_nothing_itself() -> None:
    mel, phase = maps(200, -20.0, -26.0, 0.5)
    silent = torch.full((1, 2, 200, 128), -100.0)
    longer = torch.cat((mel, silent), dim=2), torch.cat((phase, torch.ones(1, 2, 200, 128)), dim=2)
    alone, padded = summarise(mel, phase, 100), summarise(*longer, 100)
    torch.testing.assert_close(padded[:, 0], alone[:, 0], rtol=1e-2, atol=1e-3)
    assert float(padded[:, 3:, :3].abs().max()) < 1e-2


def test_swapped_ears_turn_level_difference_and_sine_around() -> None:
    mel, phase = maps(200, -20.0, -26.0, 0.5)
    swapped = summarise(mel.flip(1), phase * torch.tensor([1.0, -1.0]).view(1, 2, 1, 1), 100)
    torch.testing.assert_close(swapped, swap_ears(summarise(mel, phase, 100)))
    assert not torch.allclose(swapped, summarise(mel, phase, 100))


@pytest.mark.parametrize(("frames", "segments"), [(8, 1), (149, 1), (150, 2), (201, 2), (1001, 10)])
def test_a_last_segment_counts_from_half(frames: int, segments: int) -> None:
    assert num_segments(frames, 100) == segments


def test_the_encoder_says_how_many_tokens_it_gives() -> None:
    encoder = SpatialAST(SpatialASTConfig(**SMALL, num_slots=2)).eval()
    assert encoder(torch.randn(1, 2, 128_000)).tokens.shape == (1, encoder.num_tokens, 32)
    assert encoder.num_tokens == 6 + 1 + 4 + 50


@pytest.mark.parametrize(("features", "deaf_to"), [("mono", [0, 1, 2]), ("mel", [1, 2]), ("mel+ipd", [])])
def test_summaries_say_nothing_of_what_is_not_heard(features: Any, deaf_to: list[int]) -> None:
    """Level difference, cosine and sine: constant for an encoder that does not hear them, whatever the sound."""
    encoder = SpatialAST(SpatialASTConfig(**SMALL, features=features)).eval()
    sound = 0.1 * torch.randn(2, 2, 64_000, generator=torch.Generator().manual_seed(0))
    sound[1, 1] = 0.3 * sound[1, 0].roll(12)
    with torch.no_grad():
        _, mel, phase = encoder._front_end(sound)
        means = summarise(mel, phase, 100)[:, 0].view(2, WEIGHTINGS, QUANTITIES, 128)
    differs = (means[0] - means[1]).abs().amax(dim=(0, 2)) > 0.05
    assert [quantity for quantity in range(QUANTITIES) if not differs[quantity]] == deaf_to
    assert encoder(sound).tokens.shape[1] > 3


def test_a_negative_length_is_refused() -> None:
    with pytest.raises(BadInput, match="summary_frames must be 0 or more, got -1"):
        SpatialASTConfig(summary_frames=-1)
