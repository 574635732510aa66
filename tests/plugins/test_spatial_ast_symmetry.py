"""Heard with the ears swapped as well: whatever is said mirrors, in the encoder and through the whole agent."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bat_agent.agent import Bat, ModelConfig
from bat_agent.errors import BadInput
from bat_agent.interfaces import SlotEncoding
from bat_agent.questions.answers import mirror
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.reasoner import RulesReasoner
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.symmetry import averaged, mirrored

SMALL: dict[str, Any] = {
    "clip_seconds": 2.0, "target_frames": None, "patch_frames": 8, "patch_mels": 128, "width": 32, "depth": 1,
    "heads": 2, "store_front_end": False, "num_slots": 2, "mask_time": 0.0, "mask_mels": 0.0, "symmetric": True,
}  # fmt: skip


@pytest.fixture
def encoder() -> SpatialAST:
    """Random weights large enough to be sure of something."""
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**SMALL))
    for name, parameter in encoder.named_parameters():
        if "head" in name and parameter.ndim > 1:
            torch.nn.init.normal_(parameter)
    torch.nn.init.constant_(encoder.activity_head.bias, 20.0)
    torch.nn.init.constant_(encoder.head.bias, 0.0)
    return encoder.eval()


def in_order(slots: SlotEncoding) -> dict[str, torch.Tensor]:
    order = slots.activity_logits.argsort(dim=1, descending=True)
    rows = torch.arange(len(order))[:, None]
    return {name: value[rows, order] for name, value in vars(slots).items() if value is not None and name != "masks"}


def test_swapped_ears_mirror_the_azimuth_and_change_nothing_else(encoder: SpatialAST) -> None:
    waveform = 0.1 * torch.randn(6, 2, 32_000)
    waveform[:, 1] *= torch.linspace(0.2, 2.0, 6)[:, None]
    with torch.no_grad():
        said, swapped = (encoder(sound).slots for sound in (waveform, waveform.flip(1)))
    assert said is not None
    assert swapped is not None
    one, other = in_order(said), in_order(swapped)
    other["azimuth_logits"] = mirrored(other["azimuth_logits"])
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=1e-4, rtol=1e-4)


def test_slots_are_matched_before_they_are_averaged() -> None:
    """The swapped clip has its slots the other way round; the mean is then that of two equal opinions."""
    azimuth = torch.full((1, 2, 360), -20.0)
    azimuth[0, 0, 30], azimuth[0, 1, 200] = 20.0, 20.0
    classes = torch.full((1, 2, 355), -9.0)
    classes[0, 0, 3], classes[0, 1, 7] = 9.0, 9.0
    activity = torch.tensor([[2.0, 1.0]])
    both = SlotEncoding(
        torch.cat((activity, activity.flip(1))),
        torch.cat((classes, classes.flip(1))),
        azimuth_logits=torch.cat((azimuth, mirrored(azimuth).flip(1))),
    )
    found = averaged(both)
    assert torch.equal(found.activity_logits, activity)
    assert torch.equal(found.class_logits, classes)
    assert found.azimuth_logits is not None
    assert found.azimuth_logits.argmax(-1).tolist() == [[30, 200]]
    assert float(found.azimuth_logits.exp().sum(-1).sub(1).abs().max()) < 1e-5


def test_posteriors_are_averaged_as_probabilities() -> None:
    one, other = torch.zeros(1, 1, 360), torch.zeros(1, 1, 360)
    one[..., 90], other[..., 270] = 30.0, 30.0  # both on the median plane: a mirror leaves them
    both = SlotEncoding(torch.zeros(2, 1), torch.zeros(2, 1, 355), azimuth_logits=torch.cat((one, other)))
    found = averaged(both).azimuth_logits
    assert found is not None
    assert found.exp()[0, 0, [90, 270]].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)


def test_answers_mirror_through_the_whole_agent(encoder: SpatialAST) -> None:
    config = ModelConfig("mirror", {"name": "spatial-ast", "options": SMALL}, {"name": "rules", "options": {}})
    bat = Bat(config, encoder, RulesReasoner(RulesConfig()))
    questions = [
        "Where is the sound?",
        "Is it on the left?",
        "Is it left or right?",
        "Is it in front?",
        "How far is it?",
    ]
    for seed in range(5):
        sound = 0.1 * torch.randn(2, 32_000, generator=torch.Generator().manual_seed(seed))
        sound[1] *= 0.3
        answers = [str(answer) for answer in bat.ask(sound, questions)]
        turned = [str(answer) for answer in bat.ask(sound.flip(0), [mirror(question) for question in questions])]
        assert [mirror(answer) for answer in turned] == answers
        assert answers[2] in ("left", "right")


def test_training_hears_each_clip_once_and_one_slot_is_refused(encoder: SpatialAST) -> None:
    waveform = 0.1 * torch.randn(2, 2, 16_000)
    plain = SpatialAST(SpatialASTConfig(**{**SMALL, "symmetric": False, "drop_path": 0.0}))
    same = SpatialAST(SpatialASTConfig(**{**SMALL, "drop_path": 0.0}))
    same.load_state_dict(plain.state_dict())
    torch.manual_seed(1)
    one = plain.train()(waveform).tokens
    torch.manual_seed(1)
    assert torch.equal(one, same.train()(waveform).tokens)
    with pytest.raises(BadInput, match="symmetric needs at least 2 num_slots"):
        SpatialASTConfig(symmetric=True)


@pytest.mark.parametrize(
    "more",
    [{}, {"summary_frames": 96, "summary_hidden": 16}, {"features": "mel"}, {"features": "mono"}, {"level": "token"}],
    ids=str,
)
def test_the_mirrored_half_is_what_swapped_ears_hear(more: dict[str, Any]) -> None:
    """The front-end is computed once and turned; it must come to that of the turned waveform."""
    torch.manual_seed(0)
    slots = {"slot_summary": True} if more.get("summary_frames") else {}
    encoder = SpatialAST(SpatialASTConfig(**SMALL | more | slots)).eval()
    encoder.bn.running_mean.copy_(torch.arange(len(encoder.bn.running_mean)) - 30.0)
    waveform = 0.1 * torch.randn(3, 2, 25_000)
    waveform[:, 1] *= 0.4
    with torch.no_grad():
        both = encoder._encode(waveform, heads_only=False, mirrored=True)
        turned = encoder._encode(waveform.flip(1), heads_only=False)
    assert both.slots is not None
    assert turned.slots is not None
    torch.testing.assert_close(both.tokens[3:], turned.tokens, atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(both.slots.class_logits[3:], turned.slots.class_logits, atol=2e-4, rtol=2e-4)
