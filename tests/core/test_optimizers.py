"""Which parameter is trained by what, and how fast."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from bat_agent.config import Stage
from bat_agent.errors import BadInput
from bat_agent.optimizers import Optimizers, learning_rate, parameter_groups


class Small(nn.Module):
    """One of everything: a linear map, a norm, an embedding, class tokens and queries."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 8)
        self.cls_tokens = nn.Parameter(torch.randn(2, 8))
        self.queries = nn.Parameter(torch.randn(3, 8))
        self.norm = nn.LayerNorm(8)
        self.out = nn.Linear(8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        """(B,) → (B, 4)."""
        context = torch.cat([self.cls_tokens, self.queries]).mean(dim=0)
        return self.out(self.norm(self.embed(ids) + context))


@pytest.fixture
def module() -> Small:
    torch.manual_seed(0)
    return Small()


def names(module: nn.Module, optimizer: torch.optim.Optimizer) -> set[str]:
    name_of = {id(p): name for name, p in module.named_parameters()}
    return {name_of[id(p)] for group in optimizer.param_groups for p in group["params"]}


def test_the_learning_rate_warms_up_and_ends_at_nothing() -> None:
    stage = Stage("s", "encoder", 200, learning_rate=2e-3, warmup=0.1)
    rates = [learning_rate(stage, step) for step in range(200)]
    assert rates[0] == pytest.approx(2e-3 / 20)
    assert all(b > a for a, b in itertools.pairwise(rates[:20]))
    assert max(rates) == rates[19] == pytest.approx(2e-3)
    assert all(b < a for a, b in itertools.pairwise(rates[20:]))
    assert rates[20 + 90] == pytest.approx(1e-3)  # the cosine is at half height half way
    assert 0 < rates[-1] < 1e-3 * 2e-3
    assert learning_rate(stage, 200) == pytest.approx(0, abs=1e-12)


def test_a_single_step_and_no_warm_up_have_a_rate() -> None:
    assert learning_rate(Stage("s", "encoder", 1, learning_rate=1.0), 0) == 1.0
    assert learning_rate(Stage("s", "encoder", 10, learning_rate=1.0, warmup=0.0), 0) == 1.0


def test_every_parameter_is_in_one_group_and_only_matrices_decay(module: Small) -> None:
    decay, plain = parameter_groups(module, Stage("s", "encoder", 1, weight_decay=0.05))
    assert (decay["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)
    grouped = [id(p) for group in (decay, plain) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in module.parameters())
    name_of = {id(p): name for name, p in module.named_parameters()}
    assert {name_of[id(p)] for p in decay["params"]} == {"embed.weight", "out.weight"}


def test_frozen_parameters_are_left_out_and_a_wrong_name_is_told(module: Small) -> None:
    groups = parameter_groups(module, Stage("s", "encoder", 1, frozen=["out."]))
    assert not {id(p) for group in groups for p in group["params"]} & {id(p) for p in module.out.parameters()}
    with pytest.raises(BadInput, match=r"freezes nothing.*\['outt'\]"):
        parameter_groups(module, Stage("s", "encoder", 1, frozen=["outt"]))


def test_muon_gets_the_linear_maps_and_adamw_the_rest(module: Small) -> None:
    (muon, factor), (adamw, one) = Optimizers(module, Stage("s", "reasoner", 1, muon=2.0))._all
    assert isinstance(muon, torch.optim.Muon)
    assert (factor, one) == (2.0, 1.0)
    assert names(module, muon) == {"out.weight"}
    assert names(module, adamw) == {name for name, _ in module.named_parameters()} - {"out.weight"}


@pytest.mark.parametrize("muon", [0.0, 2.0])
def test_a_state_taken_up_goes_on_as_if_nothing_had_happened(module: Small, muon: float) -> None:
    stage = Stage("s", "reasoner", 1, muon=muon, weight_decay=0.1)
    ids, targets = torch.arange(12), torch.arange(12) % 4

    def train(model: Small, optimizers: Optimizers, steps: int) -> None:
        for _ in range(steps):
            optimizers.step(nn.functional.cross_entropy(model(ids), targets), 1e-2)

    optimizers = Optimizers(module, stage)
    train(module, optimizers, 3)
    other = Small()
    other.load_state_dict(module.state_dict())
    resumed = Optimizers(other, stage)
    resumed.load_state({name: value.clone() for name, value in optimizers.state().items()})
    train(module, optimizers, 3)
    train(other, resumed, 3)
    for mine, theirs in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_both_learn(module: Small) -> None:
    ids, targets = torch.arange(12), torch.arange(12) % 4
    for muon in (0.0, 2.0):
        model = Small()
        optimizers = Optimizers(model, Stage("s", "reasoner", 1, muon=muon))
        losses = []
        for _ in range(60):
            loss = nn.functional.cross_entropy(model(ids), targets)
            losses.append(float(loss.detach()))
            optimizers.step(loss, 1e-2)
        assert losses[-1] < 0.3 * losses[0]


def test_a_gradient_that_is_not_finite_changes_nothing(module: Small) -> None:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    norm = Optimizers(module, Stage("s", "encoder", 1)).step(module(torch.arange(12)).sum() * float("nan"), 1e-2)
    assert not norm.isfinite()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
