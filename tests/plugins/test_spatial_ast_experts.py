"""Several encoders and a gate: whom a clip is left to, what they say together, and how they lie on disk."""

from __future__ import annotations

import runpy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bat_agent import registry
from bat_agent.errors import BadInput, WeightsError
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent_spatial_ast.blending import blended
from bat_agent_spatial_ast.experts import Gate, SpatialASTExperts
from bat_agent_spatial_ast.experts_config import SpatialASTExpertsConfig
from bat_agent_spatial_ast.packed import packed, unpacked
from bat_agent_spatial_ast.slots import strongest

TINY: dict[str, Any] = {
    "clip_seconds": 2.0, "target_frames": None, "unit_ipd": True, "stem_channels": 2, "patch_frames": 8,
    "patch_mels": 128, "width": 128, "depth": 1, "heads": 2, "num_slots": 2, "summary_frames": 96,
    "summary_hidden": 128, "slot_summary": True, "symmetric": True, "level": "token", "mask_time": 0.0,
    "mask_mels": 0.0, "store_front_end": False,
}  # fmt: skip
FLOORS = ({**TINY, "noise_floor_dbfs": -120.0}, {**TINY, "noise_floor_dbfs": -100.0, "direct_sound": True})
POSTERIORS = ("distance_logits", "azimuth_logits", "elevation_logits")


def mixture(**more: Any) -> SpatialASTExperts:
    torch.manual_seed(0)
    found = SpatialASTExperts(SpatialASTExpertsConfig(experts=FLOORS, gate_hidden=8, **more)).eval()
    for name, parameter in found.named_parameters():
        if "head" in name and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    torch.nn.init.normal_(found.gate.last.weight, std=2.0)
    return found


def sounds(clips: int, samples: int = 40_000) -> Tensor:
    draw = torch.Generator().manual_seed(3)
    gains = torch.logspace(-2, 0, clips)[:, None, None]
    return 0.1 * gains * torch.randn(clips, 2, samples, generator=draw)


def favouring(one: SpatialASTExperts, logits: list[float]) -> SpatialASTExperts:
    """With a gate that says the same of every clip."""
    torch.nn.init.zeros_(one.gate.last.weight)
    with torch.no_grad():
        one.gate.last.bias.copy_(torch.tensor(logits))
    return one


def check_alike(one: Encoding, other: Encoding, atol: float = 1e-4) -> None:
    assert one.slots is not None
    assert other.slots is not None
    for field in fields(SlotEncoding):
        mine, theirs = getattr(one.slots, field.name), getattr(other.slots, field.name)
        if field.name in POSTERIORS:
            mine, theirs = mine.softmax(-1), theirs.softmax(-1)
        torch.testing.assert_close(
            mine, theirs, atol=atol, rtol=1e-4, msg=lambda text, name=field.name: f"{name} {text}"
        )
    torch.testing.assert_close(one.tokens, other.tokens, atol=atol, rtol=1e-4)


@pytest.mark.parametrize("number", [0, 1])
@torch.inference_mode()
def test_an_expert_with_all_of_the_share_is_heard_alone(number: int) -> None:
    one = favouring(mixture(), [9.0, 0.0] if number == 0 else [0.0, 9.0])
    waveform, asked = sounds(3), []
    for place, expert in enumerate(one.experts):
        expert.register_forward_pre_hook(lambda *_, place=place: asked.append(place))
    said = one(waveform)
    assert asked == [number]
    check_alike(said, one.experts[number](waveform))


@torch.inference_mode()
def test_each_clip_is_heard_by_the_experts_it_is_left_to() -> None:
    one, waveform = mixture(), sounds(6)
    for least in (0.0, 0.5):
        object.__setattr__(one.config, "least_share", least)
        together = one(waveform)
        shares = one.shares(waveform)
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(6))
        for clip in range(6):  # whatever else is in the batch
            alone = one(waveform[clip : clip + 1])
            torch.testing.assert_close(together.azimuth_logits[clip], alone.azimuth_logits[0], atol=1e-3, rtol=1e-3)
    assert len(shares.argmax(dim=1).unique()) == 2


@torch.inference_mode()
def test_the_ears_swapped_have_the_same_shares_and_mirror_what_is_said() -> None:
    one, waveform = mixture(), sounds(4)
    torch.testing.assert_close(one.shares(waveform), one.shares(waveform.flip(1)), atol=1e-5, rtol=1e-5)
    straight, swapped = one(waveform).azimuth_logits.softmax(-1), one(waveform.flip(1)).azimuth_logits.softmax(-1)
    mirrored = swapped[:, (180 - torch.arange(360)) % 360]
    torch.testing.assert_close(straight, mirrored, atol=1e-4, rtol=1e-3)


def encoding(azimuths: list[float], activity: float) -> Encoding:
    """One clip whose two slots have one azimuth each."""
    logits = torch.zeros(1, 2, 360)
    for slot, azimuth in enumerate(azimuths):
        logits[0, slot, int(azimuth)] = 12.0
    slots = SlotEncoding(
        torch.full((1, 2), activity), torch.zeros(1, 2, 5), torch.zeros(1, 2, 21), logits, torch.zeros(1, 2, 180)
    )
    return strongest(torch.zeros(1, 6, 4), slots)


def test_what_is_said_is_the_mean_by_share_of_slots_that_belong_together() -> None:
    said = blended([encoding([30, 200], 1.0), encoding([200, 30], 3.0)], torch.tensor([[0.75, 0.25]]))
    assert said.slots is not None
    assert said.slots.azimuth_logits.argmax(-1).tolist() == [[30, 200]]  # the order of the one that counts most
    assert said.slots.activity_logits.tolist() == [[1.5, 1.5]]
    apart = blended([encoding([30, 200], 1.0), encoding([90, 200], 1.0)], torch.tensor([[0.75, 0.25]]))
    assert apart.slots is not None
    probs = apart.slots.azimuth_logits.softmax(-1)[0, 0]
    assert float(probs[30] / probs[90]) == pytest.approx(3.0, rel=1e-3)


def test_weights_on_disk_are_small_and_come_back_within_a_step(tmp_path: Path) -> None:
    one = mixture()
    one.save_weights(tmp_path / "half", half=True)
    one.save_weights(tmp_path / "whole")
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("half", "whole")]
    assert sizes[0] < 0.3 * sizes[1]
    other = mixture()
    for kind, steps in (("whole", 0.0), ("half", 1.0)):
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        other.load_weights(tmp_path / kind)
        for (name, mine), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
            step = mine.detach().abs().flatten(1).amax(dim=1) if mine.ndim > 1 else mine.new_zeros(len(mine))
            step = (step / 127 * 9 / 8).reshape(-1, *[1] * (mine.ndim - 1))
            assert ((mine - theirs).abs() <= 0.501 * steps * step + 1e-7).all(), name
    with pytest.raises(WeightsError, match="does not fit SpatialASTExperts"):
        SpatialASTExperts(SpatialASTExpertsConfig(experts=FLOORS, gate_hidden=9)).load_weights(tmp_path / "half")


def test_packed_matrices_are_exact_in_float16() -> None:
    draw = torch.Generator().manual_seed(0)
    state = {
        "a": torch.randn(200, 100, generator=draw) * 0.03,
        "b": torch.randn(7, 3, generator=draw),
        "c": torch.zeros(300, 64),
    }
    small = packed(state)
    assert set(small) == {"a.int8", "a.scale", "b", "c.int8", "c.scale"}
    found = unpacked(small)
    assert torch.equal(found["a"].half().float(), found["a"])
    assert torch.equal(found["b"], state["b"])
    assert not found["c"].any()


def test_experts_can_be_trained_and_the_gate_stays_as_it_is() -> None:
    one = mixture().train()
    before = {name: value.clone() for name, value in one.gate.named_buffers()}
    said = one(sounds(1))
    said.azimuth_logits.logsumexp(-1).sum().backward()
    assert all(torch.equal(before[name], value) for name, value in one.gate.named_buffers())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in one.experts.parameters())


def test_the_level_is_known_to_all_or_none() -> None:
    one = mixture()
    one.level_known = False
    assert [expert.level_known for expert in one.experts] == [False, False]
    assert one.level_known is False


def test_bad_options_are_one_sentence() -> None:
    with pytest.raises(BadInput, match="at least 2 experts, got 1"):
        registry.load_encoder("spatial-ast-experts", experts=[TINY])
    with pytest.raises(BadInput, match="must have one width, got 128 and 64"):
        registry.load_encoder("spatial-ast-experts", experts=[TINY, {**TINY, "width": 64}])
    with pytest.raises(BadInput, match="needs slot_summary"):
        registry.load_encoder("spatial-ast-experts", experts=[{}, {}])
    with pytest.raises(BadInput, match="has no option 'widht'"):
        registry.load_encoder("spatial-ast-experts", experts=[TINY, {**TINY, "widht": 64}])


@torch.inference_mode()
def test_the_graph_says_what_the_encoder_says() -> None:
    one, waveform = mixture(least_share=0.2), sounds(5)
    graph: Any = one.graph()
    for known in (True, False):
        one.level_known = known
        given = (waveform, *graph.frames(waveform), torch.tensor([float(known)]))
        said = dict(zip(graph.outputs, graph(*given), strict=True))
        wanted = one(waveform)
        for name, value in said.items():
            theirs = getattr(wanted.slots if name.startswith("slots.") else wanted, name.removeprefix("slots."))
            if name.endswith(POSTERIORS):
                value, theirs = value.softmax(-1), theirs.softmax(-1)
            torch.testing.assert_close(value, theirs, atol=2e-4, rtol=1e-3)


def test_the_gate_learns_which_world_a_clip_is_from(capsys: pytest.CaptureFixture[str]) -> None:
    """The script's training on clips of two worlds that differ in a few of their numbers, then what it favours."""
    script: Any = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "train_gate.py"))
    torch.manual_seed(0)
    world = torch.arange(1280) % 2
    means = torch.randn(1280, 2, 64)
    means[:, :, :4] += 2.0 * world[:, None, None]
    gate = Gate(64, 16, 2)
    script["train"](gate, means.half(), world, epochs=6, rate=5e-3)
    told = gate(means[:, 0]).argmax(dim=1)
    assert (told == world).float().mean() > 0.95
    assert "worlds told right" in capsys.readouterr().out
    before = gate(means[:, 0])
    script["sharpen"](gate)
    wanted = script["SHARPENED"] * (before + torch.tensor([script["FAVOUR"], 0.0]))
    torch.testing.assert_close(gate(means[:, 0]), wanted, atol=1e-4, rtol=1e-4)
