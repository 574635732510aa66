"""Which parameter is trained by what, and how fast."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bat_agent.errors import BadInput
from bat_agent.recipes.schema import Stage
from bat_agent.training.muon import Float32Muon, orthogonal
from bat_agent.training.optimizers import Optimizers, layer_scales, only_trained, parameter_groups, schedule


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
    rates_of = schedule(Stage("s", "encoder", 200, learning_rate=2e-3, warmup=0.1), 64)
    rates = [rates_of.rate(step) for step in range(200)]
    assert rates[0] == pytest.approx(2e-3 / 20)
    assert all(b > a for a, b in itertools.pairwise(rates[:20]))
    assert max(rates) == rates[19] == pytest.approx(2e-3)
    assert all(b < a for a, b in itertools.pairwise(rates[20:]))
    assert rates[20 + 90] == pytest.approx(1e-3)  # the cosine is at half height half way
    assert 0 < rates[-1] < 1e-3 * 2e-3
    assert rates_of.rate(200) == pytest.approx(0, abs=1e-12)


def test_a_single_step_and_no_warm_up_have_a_rate() -> None:
    assert schedule(Stage("s", "encoder", 1, learning_rate=1.0), 64).rate(0) == 1.0
    assert schedule(Stage("s", "encoder", 10, learning_rate=1.0, warmup=0.0), 64).rate(0) == 1.0


def test_the_rate_scales_with_the_batch_and_ends_above_nothing() -> None:
    """The released rule: learning rate = base · clips / 256, warm-up in epochs, down to a lowest rate."""
    stage = Stage("s", "encoder", 600, epochs=60.0, warmup_epochs=10.0, learning_rate=1e-3, per_256=True)
    rates = schedule(replace(stage, min_learning_rate=1e-6), 512)
    assert (rates.warmup_steps, rates.peak) == (100, 2e-3)
    assert rates.rate(99) == pytest.approx(2e-3)
    assert rates.rate(350) == pytest.approx(1e-6 + (2e-3 - 1e-6) / 2)
    assert rates.rate(600) == pytest.approx(1e-6)
    assert schedule(replace(stage, per_256=False), 512).peak == 1e-3


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


def test_what_is_frozen_gets_no_gradient_and_thaws(module: Small) -> None:
    module.norm.bias.requires_grad_(False)
    with only_trained(module, Stage("s", "encoder", 1, frozen=["out.", "embed"])):
        module(torch.arange(12)).sum().backward()
    got = {name for name, p in module.named_parameters() if p.grad is not None}
    assert got == {"cls_tokens", "queries", "norm.weight"}
    assert [name for name, p in module.named_parameters() if not p.requires_grad] == ["norm.bias"]


def test_a_stage_with_nothing_to_train_is_refused() -> None:
    with pytest.raises(BadInput, match="stage 's' has nothing to train: Identity has no parameters"):
        Optimizers(nn.Identity(), Stage("s", "reasoner", 1))


class Layered(nn.Module):
    """Names as an encoder's, of three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Linear(4, 4)
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.cls_tokens = nn.Parameter(torch.zeros(1, 3, 4))
        self.head = nn.Linear(4, 2)


def test_the_learning_rate_falls_from_block_to_block() -> None:
    """The released rule for a depth of 12: the patch embedding at 0.75¹³, block k at 0.75^(12 − k), all else at 1."""
    names = ["patch_embed.proj.weight", "cls_tokens", "head.bias", "dis_norm.weight"]
    names += [f"blocks.{k}.attn.qkv.weight" for k in range(12)]
    scales = layer_scales(names, Stage("s", "encoder", 1, layer_decay=0.75))
    assert scales["patch_embed.proj.weight"] == pytest.approx(0.75**13)
    assert [scales[f"blocks.{k}.attn.qkv.weight"] for k in range(12)] == pytest.approx(
        [0.75 ** (12 - k) for k in range(12)]
    )
    assert {scales[name] for name in ("cls_tokens", "head.bias", "dis_norm.weight")} == {1.0}
    with pytest.raises(BadInput, match="stage 's': layer_decay needs parameters named blocks"):
        layer_scales(["out.weight"], Stage("s", "encoder", 1, layer_decay=0.75))


@pytest.mark.parametrize("muon", [0.0, 2.0])
def test_layers_move_at_their_own_rate(muon: float) -> None:
    """Equal gradients: AdamW's first step is the learning rate itself; Muon's scales with it as well."""
    moved = {}
    for decay in (1.0, 0.5):
        torch.manual_seed(0)
        module = Layered()
        optimizers = Optimizers(module, Stage("s", "encoder", 1, layer_decay=decay, weight_decay=0.0, muon=muon))
        before = {name: value.clone() for name, value in module.named_parameters()}
        optimizers.step(sum(p.sum() for p in module.parameters()), 1e-2)
        moved[decay] = {name: value.detach() - before[name] for name, value in module.named_parameters()}
    for name, scale in (
        ("patch_embed", 1 / 16),
        ("blocks.0", 1 / 8),
        ("blocks.1", 1 / 4),
        ("blocks.2", 1 / 2),
        ("head", 1),
    ):
        for part in ("weight", "bias"):
            expected = scale * moved[1.0][f"{name}.{part}"]
            torch.testing.assert_close(moved[0.5][f"{name}.{part}"], expected, rtol=1e-3, atol=1e-6)


def test_pieces_add_up_to_the_step_of_the_whole(module: Small) -> None:
    ids, stage, results = torch.arange(12), Stage("s", "encoder", 1), []
    for pieces in (1, 3):
        torch.manual_seed(0)
        model = Small()
        optimizers = Optimizers(model, stage)
        optimizers.zero()
        for some in ids.chunk(pieces):
            (model(some).square().mean() * len(some) / 12).backward()
        results.append((float(optimizers.update(1e-2)), model.out.weight.detach().clone()))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-5)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-4, atol=1e-6)


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


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (16, 16)])
def test_the_update_of_muon_is_nearly_orthogonal(shape: tuple[int, int]) -> None:
    """Singular values go to 0.5 … 1.5, as the method promises, and the singular vectors stay."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrix, (3.4445, -4.775, 2.0315), 5, 1e-7)
    assert found.shape == shape
    assert bool(torch.linalg.svdvals(found).sub(1).abs().lt(0.5).all())
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ found @ right.T
    torch.testing.assert_close(inside, inside.diagonal().diag(), atol=1e-4, rtol=0)


def test_muon_in_float32_is_the_one_of_torch_but_for_rounding() -> None:
    draw = torch.Generator().manual_seed(1)
    begin = [torch.randn(12, 30, generator=draw), torch.randn(20, 8, generator=draw)]
    gradients = [[torch.randn(p.shape, generator=draw) for p in begin] for _ in range(4)]
    ends = []
    for kind in (torch.optim.Muon, Float32Muon):
        parameters = [nn.Parameter(p.clone()) for p in begin]
        optimizer = kind(parameters, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for step in gradients:
            for parameter, gradient in zip(parameters, step, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()
        ends.append(parameters)
        assert optimizer.state_dict()["state"][0].keys() == {"momentum_buffer"}
    for theirs, ours, before in zip(*ends, begin, strict=True):
        apart = (theirs - ours).detach().norm() / (theirs - before).detach().norm()
        assert float(apart) < 0.02
