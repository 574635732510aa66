"""Decoding in numpy: the functions of torch as the reference, and arrays and tensors read alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from bat_agent.hearing import heads
from bat_agent.hearing.perception import Thresholds, perceive
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.labels import labels
from bat_agent.listening.tracker import assigned
from bat_agent.sound.ears import _next_smooth


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (heads.sigmoid, torch.sigmoid),
        (heads.softmax, lambda logits: logits.softmax(dim=-1)),
        (heads.log_softmax, lambda logits: logits.log_softmax(dim=-1)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_as_torch_has_it(ours: Callable[[Any], Any], reference: Callable[[Any], Any], dtype: torch.dtype) -> None:
    """Also far out, where a naive sigmoid overflows."""
    logits = 3 * torch.randn(4, 60, generator=torch.Generator().manual_seed(0))
    logits[:, :4] *= 200
    logits = logits.to(dtype)
    wanted = reference(logits.double() if dtype == torch.float64 else logits.float())
    np.testing.assert_allclose(ours(logits), wanted.numpy(), rtol=2e-6, atol=1e-7)


def encoding(kind: Callable[[torch.Tensor], Any]) -> Encoding:
    random = torch.Generator().manual_seed(1)

    def logits(*shape: int) -> Any:
        return kind(4 * torch.randn(*shape, generator=random))

    slots = SlotEncoding(logits(3, 2), logits(3, 2, 355), logits(3, 2, 21), logits(3, 2, 360), logits(3, 2, 180))
    return Encoding(logits(3, 5, 8), logits(3, 355), logits(3, 21), logits(3, 360), logits(3, 180), slots)


def test_arrays_and_tensors_are_perceived_alike() -> None:
    of_torch, of_numpy = (
        perceive(encoding(kind), labels(), Thresholds(activity=0.1)) for kind in (lambda t: t, lambda t: t.numpy())
    )
    assert of_torch == of_numpy
    assert sum(len(one.sources) for one in of_numpy) >= 3


def test_exclusive_directions_keep_the_kind() -> None:
    of_torch, of_numpy = (
        heads.exclusive_directions(encoding(kind).slots)
        for kind in (lambda t: t, lambda t: t.numpy())  # type: ignore[arg-type]
    )
    assert isinstance(of_torch.azimuth_logits, torch.Tensor)
    assert isinstance(of_numpy.azimuth_logits, np.ndarray)
    np.testing.assert_array_equal(of_torch.azimuth_logits.numpy(), of_numpy.azimuth_logits)


def test_tracks_are_assigned_as_scipy_assigns(rng: np.random.Generator) -> None:
    for _ in range(200):
        costs = rng.random((rng.integers(1, 5), rng.integers(1, 9)))
        rows, columns = linear_sum_assignment(costs)
        assert assigned(costs.tolist()) == list(zip(rows.tolist(), columns.tolist(), strict=True))


def test_fast_lengths_are_the_next_with_no_factor_above_five() -> None:
    def smooth(number: int) -> bool:
        for factor in (2, 3, 5):
            while number % factor == 0:
                number //= factor
        return number == 1

    for number in range(1, 1500):
        assert _next_smooth(number) == next(n for n in range(number, 3 * number + 1) if smooth(n))
