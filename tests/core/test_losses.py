"""The encoder's loss against the formula in numpy, and its assignment of sources to slots against scipy's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.special import expit, log_softmax
from torch import Tensor, nn

from bat_agent.clips.mixtures import Truth
from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.recipes.schema import Stage
from bat_agent.training.losses import encoder_loss

BINS = {"class_logits": 355, "distance_logits": 21, "azimuth_logits": 360, "elevation_logits": 180}
PLACE = ("distance", "azimuth", "elevation")
MIXED = [[True, True], [True, False], [False, True], [False, False], [True, True]]
PAPER = Stage(name="two", trains="encoder", steps=1)
CLIPS = 5


def random_heads(*lead: int, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {head: 2 * torch.randn(*lead, bins, generator=random) for head, bins in BINS.items()}


def slots_of(number: int, seed: int = 0) -> Encoding:
    activity = torch.randn(CLIPS, number, generator=torch.Generator().manual_seed(seed + 100))
    slots = SlotEncoding(activity, **random_heads(CLIPS, number, seed=seed))
    return Encoding(torch.zeros(CLIPS, 6, 4), slots=slots)


def truth(active: list[list[bool]], seed: int = 0) -> Truth:
    random = np.random.default_rng(seed)
    present = torch.tensor(active)
    shape = tuple(present.shape)
    bins = [
        torch.as_tensor(random.integers(0, BINS[f"{head}_logits"], shape))
        for head in ("distance", "azimuth", "elevation")
    ]
    classes = torch.as_tensor(random.random((*shape, 355)) < 0.02).float()
    return Truth(present, classes * present[..., None], *(values * present for values in bins))


def swapped(truth: Truth) -> Truth:
    return truth._each(lambda values: values.flip(1))


def given(slots: SlotEncoding) -> list[Tensor]:
    return [value for value in vars(slots).values() if value is not None]


def pair_cost(heads: dict[str, Tensor], truth: Truth, clip: int, source: int) -> float:
    """λ1·BCE + λ2·CE(distance) + λ3·(CE(azimuth) + CE(elevation)) of one source, in float64."""
    logits = {name: value.double().numpy() for name, value in heads.items()}
    labels = truth.classes[clip, source].numpy()
    heard = expit(logits["class_logits"])
    bce = -np.mean(labels * np.log(heard) + (1 - labels) * np.log(1 - heard))
    wanted = {name: int(getattr(truth, name)[clip, source]) for name in PLACE}
    ce = {name: -log_softmax(logits[f"{name}_logits"])[bin_] for name, bin_ in wanted.items()}
    return float(1250 * bce + ce["distance"] + 2 * (ce["azimuth"] + ce["elevation"]))


def floats(log: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in log.items()}


def test_defaults_are_the_papers_weights() -> None:
    assert (PAPER.class_weight, PAPER.distance_weight, PAPER.direction_weight) == (1250, 1, 2)


def test_one_slot_is_the_papers_formula() -> None:
    heads, wanted = random_heads(CLIPS), truth([[True]] * CLIPS)
    loss, log = encoder_loss(Encoding(torch.zeros(CLIPS, 3, 4), **heads), wanted, PAPER)
    costs = [pair_cost({name: value[clip] for name, value in heads.items()}, wanted, clip, 0) for clip in range(CLIPS)]
    assert float(loss) == pytest.approx(np.mean(costs), rel=1e-5)
    log = floats(log)
    total = 1250 * log["class"] + log["distance"] + 2 * (log["azimuth"] + log["elevation"])
    assert total == pytest.approx(float(loss), rel=1e-5)


def test_an_absent_second_source_changes_nothing_for_one_slot() -> None:
    encoding = Encoding(torch.zeros(CLIPS, 3, 4), **random_heads(CLIPS))
    one = truth([[True]] * CLIPS)
    padded = one._each(lambda values: torch.cat((values, torch.zeros_like(values)), dim=1))
    assert float(encoder_loss(encoding, padded, PAPER)[0]) == pytest.approx(
        float(encoder_loss(encoding, one, PAPER)[0])
    )


@pytest.mark.parametrize("number", [2, 3])
def test_slots_get_the_best_assignment(number: int) -> None:
    """scipy's assignment over the same costs, activity included, finds no smaller loss."""
    encoding, wanted = (
        slots_of(number),
        truth(MIXED),
    )
    assert encoding.slots is not None
    best = []
    for clip in range(CLIPS):
        activity = encoding.slots.activity_logits[clip].double().numpy()
        silent = np.log1p(np.exp(activity))  # BCE of a slot without a source; a source turns it into log1p(exp(-a))
        matrix = np.zeros((number, 2))
        for slot in range(number):
            heads = {name: getattr(encoding.slots, name)[clip, slot] for name in BINS}
            for source in range(2):
                if wanted.active[clip, source]:
                    matrix[slot, source] = pair_cost(heads, wanted, clip, source) - activity[slot]
        rows, columns = linear_sum_assignment(matrix)
        best.append(matrix[rows, columns].sum() + silent.sum())
    assert float(encoder_loss(encoding, wanted, PAPER)[0]) == pytest.approx(np.mean(best), rel=1e-5)


@pytest.mark.parametrize("smoothing_deg", [0.0, 6.0])
def test_order_of_the_sources_does_not_matter(smoothing_deg: float) -> None:
    encoding, wanted = slots_of(2), truth(MIXED)
    stage = replace(PAPER, smoothing_deg=smoothing_deg)
    loss, log = encoder_loss(encoding, wanted, stage)
    other_loss, other_log = encoder_loss(encoding, swapped(wanted), stage)
    assert float(loss) == pytest.approx(float(other_loss), rel=1e-6)
    assert floats(log) == pytest.approx(floats(other_log), rel=1e-5)


def test_order_of_the_slots_does_not_matter() -> None:
    encoding, wanted = slots_of(2), truth([[True, True]] * CLIPS)
    assert encoding.slots is not None
    flipped = Encoding(encoding.tokens, slots=SlotEncoding(*(v.flip(1) for v in given(encoding.slots))))
    losses = [float(encoder_loss(each, wanted, PAPER)[0]) for each in (encoding, flipped)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_without_sources_only_activity_counts() -> None:
    encoding, wanted = slots_of(2), truth([[False, False]] * CLIPS)
    assert encoding.slots is not None
    expected = np.log1p(np.exp(encoding.slots.activity_logits.double().numpy())).sum(axis=1).mean()
    loss, log = encoder_loss(encoding, wanted, PAPER)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert set(floats(log).values()) == {0.0}


def test_stage_one_is_the_class_loss_alone() -> None:
    encoding = Encoding(torch.zeros(CLIPS, 3, 4), **random_heads(CLIPS))
    stage = replace(PAPER, distance_weight=0.0, direction_weight=0.0)
    loss, log = encoder_loss(encoding, truth([[True]] * CLIPS), stage)
    assert float(loss) == pytest.approx(1250 * float(log["class"]), rel=1e-6)
    assert log["azimuth"] > 0  # still in the log


def angle_loss(head: str, bins: list[int], target: int, width_deg: float) -> list[float]:
    """Loss of a sharp peak in each of ``bins``."""
    heads = {name: torch.zeros(len(bins), number) for name, number in BINS.items()}
    heads[f"{head}_logits"][range(len(bins)), bins] = 8.0
    wanted = truth([[True]] * len(bins))
    setattr(wanted, head, torch.full((len(bins), 1), target))
    stage = replace(PAPER, class_weight=0.0, distance_weight=0.0, smoothing_deg=width_deg)
    each = []
    for row in range(len(bins)):
        one = wanted[row : row + 1]
        encoding = Encoding(torch.zeros(1, 3, 4), **{name: value[row : row + 1] for name, value in heads.items()})
        each.append(encoder_loss(encoding, one, stage)[1][head].item())
    return each


def test_smoothed_azimuth_goes_around_the_circle_and_elevation_does_not() -> None:
    exact, near, around, far = angle_loss("azimuth", [0, 3, 357, 180], 0, 6.0)
    assert exact < near < far
    assert around == pytest.approx(near, rel=1e-5)
    near, other_end = angle_loss("elevation", [3, 177], 0, 6.0)
    assert near < other_end
    sharp = angle_loss("azimuth", [3, 180], 0, 0.0)
    assert sharp[0] == pytest.approx(sharp[1])  # without smoothing a miss is a miss


def test_smoothed_target_is_a_gaussian_that_sums_to_one() -> None:
    """With uniform logits the cross-entropy of any distribution is log(bins); a peak shows the density at a bin."""
    density = np.exp(-0.5 * (np.minimum(np.arange(360), 360 - np.arange(360)) / 6) ** 2)
    density /= density.sum()
    offset = np.log(np.exp(8) + 359)
    np.testing.assert_allclose(angle_loss("azimuth", [0, 5, 350], 0, 6.0), offset - 8 * density[[0, 5, 350]], rtol=1e-5)


def test_more_sources_than_slots_are_refused() -> None:
    encoding = Encoding(torch.zeros(CLIPS, 3, 4), **random_heads(CLIPS))
    with pytest.raises(BadInput, match="2 sources but the encoder only 1 slot"):
        encoder_loss(encoding, truth([[True, True]] * CLIPS), PAPER)


class _Lookup(nn.Module):
    """Free logits: the loss alone decides where they go."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(1)
        self.heads = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(CLIPS, 2, bins, generator=random)) for name, bins in BINS.items()}
        )
        self.activity = nn.Parameter(torch.zeros(CLIPS, 2))

    def forward(self) -> Encoding:
        heads: dict[str, Any] = {name: self.heads[name] for name in BINS}
        return Encoding(torch.zeros(CLIPS, 6, 4), slots=SlotEncoding(self.activity, **heads))


def test_descent_puts_each_source_into_a_slot_of_its_own() -> None:
    wanted = truth([[True, True], [True, True], [True, False], [False, False], [True, True]])
    net = _Lookup()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.5)
    for _ in range(60):
        loss, _ = encoder_loss(net(), wanted, PAPER)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    slots = net().slots
    assert slots is not None
    for clip in range(CLIPS):
        heard = slots.activity_logits[clip] > 0
        assert int(heard.sum()) == int(wanted.active[clip].sum())
        found = {
            tuple(int(getattr(slots, f"{head}_logits")[clip, slot].argmax()) for head in PLACE)
            for slot in range(2)
            if heard[slot]
        }
        places = {
            tuple(int(getattr(wanted, head)[clip, source]) for head in PLACE)
            for source in range(2)
            if wanted.active[clip, source]
        }
        assert found == places


# --- encoders with some of the heads only ---


@pytest.mark.parametrize("missing", [["class_logits"], ["azimuth_logits", "elevation_logits"], ["distance_logits"]])
def test_a_head_that_is_not_there_leaves_its_term_out(missing: list[str]) -> None:
    """As though its weight were 0, and nothing of it in the log."""
    heads = random_heads(CLIPS)
    wanted = truth([[True]] * CLIPS)
    off = {"class_logits": "class_weight", "distance_logits": "distance_weight"}
    stage = replace(PAPER, **{off.get(head, "direction_weight"): 0.0 for head in missing})
    full, _ = encoder_loss(Encoding(torch.zeros(CLIPS, 3, 4), **heads), wanted, stage)
    some = {name: value for name, value in heads.items() if name not in missing}
    loss, log = encoder_loss(Encoding(torch.zeros(CLIPS, 3, 4), **some), wanted, PAPER)
    assert float(loss) == pytest.approx(float(full), rel=1e-6)
    assert set(log) == {name.removesuffix("_logits") for name in some}


def test_slots_without_a_head_are_assigned_by_the_others() -> None:
    encoding, wanted = slots_of(2), truth(MIXED)
    assert encoding.slots is not None
    stage = replace(PAPER, distance_weight=0.0)
    full, _ = encoder_loss(encoding, wanted, stage)
    encoding.slots.distance_logits = None
    loss, log = encoder_loss(encoding, wanted, PAPER)
    assert float(loss) == pytest.approx(float(full), rel=1e-6)
    assert set(log) == {"class", "azimuth", "elevation"}


def test_a_stage_that_weighs_only_absent_heads_is_refused() -> None:
    heads = random_heads(CLIPS)
    encoding = Encoding(torch.zeros(CLIPS, 3, 4), distance_logits=heads["distance_logits"])
    stage = replace(PAPER, distance_weight=0.0)
    with pytest.raises(
        BadInput, match="stage 'two' trains nothing: the encoder has heads for distance, and"
    ) as refused:
        encoder_loss(encoding, truth([[True]] * CLIPS), stage)
    assert "\n" not in str(refused.value)


def test_mixed_up_classes_are_learnt_with_their_shares() -> None:
    """BCE is linear in the target: a mixture of two clips' classes costs the mixture of their costs."""
    heads = random_heads(CLIPS)
    one, other = truth([[True]] * CLIPS, seed=1), truth([[True]] * CLIPS, seed=2)
    mixed = replace(one, classes=0.3 * one.classes + 0.7 * other.classes)
    stage = replace(PAPER, distance_weight=0.0, direction_weight=0.0)
    costs = [
        float(encoder_loss(Encoding(torch.zeros(CLIPS, 3, 4), **heads), each, stage)[0]) for each in (one, other, mixed)
    ]
    assert costs[2] == pytest.approx(0.3 * costs[0] + 0.7 * costs[1], rel=1e-5)
    assert costs[0] != pytest.approx(costs[1], rel=1e-3)


def test_masks_are_compared_with_who_sounds_where() -> None:
    """Source 0 has the first half of the time, source 1 the second; a quarter of the bands is silent."""
    energy = torch.full((1, 2, 16, 128), -100.0)
    energy[0, 0, :8, 32:], energy[0, 1, 8:, 32:] = -20.0, -26.0
    first = torch.full((1, 2, 2, 128), 0.5)
    first[0, :, 0, 32:], first[0, :, 1, 32:] = torch.tensor([[0.9], [0.1]]), torch.tensor([[0.2], [0.8]])
    wanted = truth([[True, True]])
    stage = replace(PAPER, class_weight=0.0, distance_weight=0.0, direction_weight=0.0, mask_weight=1.0)

    def cost(masks: Tensor, energy_db: Tensor) -> float:
        slots = SlotEncoding(torch.full((1, 2), 30.0), **random_heads(1, 2), masks=masks)
        encoding = Encoding(torch.zeros(1, 6, 4), slots=slots)
        return float(encoder_loss(encoding, replace(wanted, energy_db=energy_db.half()), stage)[0])

    loud, quiet = 1.0, 1 - 6 / 40  # how much the two halves count
    by_hand = -(loud * np.log(0.9) + quiet * np.log(0.8)) / (loud + quiet)
    assert cost(first, energy) == pytest.approx(by_hand, rel=1e-2)
    assert cost(first.flip(1), energy) == pytest.approx(by_hand, rel=1e-2), "slots have no order"
    assert cost(torch.full_like(first, 0.5), energy) == pytest.approx(np.log(2), rel=1e-3)
    assert cost(first, torch.cat((energy, energy[:, :, :1]), dim=2)) == pytest.approx(by_hand, rel=1e-2), "a last frame"
    with pytest.raises(BadInput, match="has a mask_weight, but the encoder has no masks"):
        encoder_loss(slots_of(2), truth(MIXED), stage)
