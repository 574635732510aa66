"""The adaptive scale of cosine logits: the formula, absent sources, several processes, and where it is left out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch import distributed as dist

from bat_agent.clips.mixtures import Truth
from bat_agent_spatial_ast.adacos import AdaCos
from bat_agent_spatial_ast.dspast import DSpAST
from bat_agent_spatial_ast.dspast_config import DSpASTConfig

SMALL: dict[str, Any] = {"clip_seconds": 1.0, "target_frames": 112, "width": 32, "depth": 2, "heads": 4, "head_dim": 12}


def small(**options: Any) -> DSpAST:
    """A small encoder with a class head large enough to say something, in evaluation mode."""
    torch.manual_seed(0)
    encoder = DSpAST(DSpASTConfig(**{**SMALL, **options}))
    nn.init.normal_(encoder.head.weight)
    return encoder.eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def truth(clips: int, seed: int = 0) -> Truth:
    """One source in every clip."""
    random = torch.Generator().manual_seed(seed)
    distance, azimuth, elevation = (torch.randint(bins, (clips, 1), generator=random) for bins in (21, 360, 180))
    classes = (torch.rand(clips, 1, 355, generator=random) < 0.01).float()
    return Truth(torch.ones(clips, 1, dtype=torch.bool), classes, distance, azimuth, elevation)


def adacos_scale(scale: float, cosines: np.ndarray, target: np.ndarray) -> float:
    """The formula of DSpAST's code, clip by clip: the true bin counts as exp(0)."""
    totals = [
        1 + sum(math.exp(scale * c) for k, c in enumerate(row) if k != true)
        for row, true in zip(cosines, target, strict=True)
    ]
    angles = sorted(math.acos(row[true]) for row, true in zip(cosines, target, strict=True))
    median = angles[(len(angles) - 1) // 2]
    return math.log(sum(totals) / len(totals)) / math.cos(min(math.pi / 4, median))


@pytest.mark.parametrize("spread", [0.05, 3.0])
def test_scale_follows_the_direct_formula(spread: float) -> None:
    """Once with tokens far from their bins (θ > π/4) and once near, step after step."""
    torch.manual_seed(0)
    head = AdaCos(16, 21)
    for step in range(3):
        target = torch.randint(21, (9,))
        cosines = head(torch.randn(9, 16) + spread * 4 * head.W[target]).detach()
        wanted = adacos_scale(head.s.item(), cosines.double().numpy(), target.numpy())
        head.adapt(cosines, target, torch.ones(9, dtype=torch.bool))
        assert head.s.item() == pytest.approx(wanted, rel=1e-5), step


def test_clips_without_a_source_have_no_say_in_the_scale() -> None:
    torch.manual_seed(0)
    head, cosines, target = AdaCos(16, 21), torch.rand(6, 21), torch.randint(21, (6,))
    counted = torch.tensor([True, False, True, True, False, True])
    wanted = adacos_scale(head.s.item(), cosines[counted].double().numpy(), target[counted].numpy())
    head.adapt(cosines, target, counted)
    assert head.s.item() == pytest.approx(wanted, rel=1e-5)
    head.adapt(cosines, target, torch.zeros(6, dtype=torch.bool))
    assert head.s.item() == pytest.approx(wanted, rel=1e-5)


def _share(rank: int, folder: str, cosines: Tensor, target: Tensor) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    head = AdaCos(16, 21)
    head.adapt(cosines[rank::2], target[rank::2], torch.ones(len(target[rank::2]), dtype=torch.bool))
    torch.save(head.s, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_find_the_scale_of_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cosines, target = torch.rand(7, 21), torch.randint(21, (7,))  # shares of 4 and 3
    torch.multiprocessing.start_processes(_share, (str(tmp_path), cosines, target), nprocs=2, start_method="fork")
    alone = AdaCos(16, 21)
    alone.adapt(cosines, target, torch.ones(7, dtype=torch.bool))
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), alone.s)


def test_logits_are_cosines_until_adapted() -> None:
    encoder = small()
    with torch.no_grad():
        encoding, targets = encoder(noise(3, 2, 32_000)), truth(3)
    adapted = encoder.adapt(encoding, targets)
    for task in ("distance", "azimuth", "elevation"):
        cosines, head = getattr(encoding, f"{task}_logits"), getattr(encoder, f"{task}_head")
        assert float(cosines.abs().max()) <= 1 + 1e-6
        torch.testing.assert_close(getattr(adapted, f"{task}_logits"), cosines * head.s)
        assert head.s.item() > 1
    assert adapted.class_logits is encoding.class_logits
    assert adapted.tokens is encoding.tokens
