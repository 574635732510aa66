"""What is exported says what the encoder says: the same numbers from real operators, whatever is configured."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bat_agent.sound import features
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.graph import PlainFeatures

SLOTS: dict[str, Any] = {
    "clip_seconds": 2.0, "target_frames": None, "patch_frames": 8, "patch_mels": 128, "width": 32, "depth": 2,
    "heads": 2, "store_front_end": False, "num_slots": 2, "mask_time": 0.0, "mask_mels": 0.0,
}  # fmt: skip
LIKE_BAT_SMALL = SLOTS | {
    "symmetric": True, "level": "token", "summary_frames": 96, "slot_summary": True, "direct_sound": True,
    "mask_channels": 4, "unit_ipd": True, "stem_channels": 4,
}  # fmt: skip
RELEASED = {"clip_seconds": 2.0, "target_frames": 208, "width": 32, "depth": 2, "heads": 2}


def sounds(clips: int, samples: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    found = 0.1 * torch.randn(clips, 2, samples, generator=random)
    found[0, 0, : samples // 3] = 0  # one ear is digitally silent for a while
    found[-1, :, samples // 2 :] *= 1e-3
    return found


def encoder_of(config: dict[str, Any]) -> SpatialAST:
    """Random weights, running statistics of norms as well, so that nothing is hidden by zeros and ones."""
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**config)).eval()
    for name, value in encoder.named_buffers():
        if name.endswith("running_mean"):
            torch.nn.init.normal_(value, std=0.3)
        elif name.endswith("running_var"):
            torch.nn.init.uniform_(value, 0.5, 2.0)
    for name, parameter in encoder.named_parameters():
        if "head" in name and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return encoder


@pytest.mark.parametrize("power", [False, True])
def test_the_front_end_is_the_stft_of_torch(power: bool) -> None:
    waveform = sounds(2, 20_123)
    filters = features.mel_filterbank()
    mel, phase = PlainFeatures(filters)(waveform, filters, power=power)
    wanted_mel, wanted_phase = features.binaural_features(waveform, filters, power=power)
    torch.testing.assert_close(features.decibel(mel), wanted_mel, atol=2e-3, rtol=0)  # dB
    torch.testing.assert_close(phase, wanted_phase, atol=2e-4, rtol=0)


@pytest.mark.parametrize("config", [SLOTS, LIKE_BAT_SMALL, RELEASED], ids=["slots", "like bat-small", "released"])
@pytest.mark.parametrize("known", [True, False])
def test_the_graph_says_what_the_encoder_says(config: dict[str, Any], known: bool) -> None:
    encoder = encoder_of(config)
    graph = encoder.graph()
    assert ("level_known" in graph.inputs) == (config.get("level") == "token")
    waveform = sounds(3, 64_000 if encoder.fixed_length else 31_337)
    if "level_known" in graph.inputs:
        encoder.level_known = known
    with torch.inference_mode():
        given = (waveform, *graph.frames(waveform))
        given += (torch.tensor([float(known)]),) if "level_known" in graph.inputs else ()
        said = dict(zip(graph.outputs, graph(*given), strict=True))
        wanted = encoder(waveform)
    assert ("slots.activity_logits" in said) == ("num_slots" in config)
    for name, value in said.items():
        slots = name.startswith("slots.")
        own = getattr(wanted.slots if slots else wanted, name.removeprefix("slots."))
        torch.testing.assert_close(value, own, atol=2e-3, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


def test_an_encoder_that_hears_no_phase_is_one_graph() -> None:
    encoder = encoder_of(SLOTS | {"features": "mel"})
    graph = encoder.graph()
    assert graph.inputs == ("waveform",)
    waveform = sounds(2, 31_337)
    with torch.inference_mode():
        said = dict(zip(graph.outputs, graph(waveform), strict=True))
        torch.testing.assert_close(said["azimuth_logits"], encoder(waveform).azimuth_logits, atol=2e-3, rtol=1e-3)


def test_a_head_that_an_encoder_lacks_is_no_output() -> None:
    graph = encoder_of(SLOTS | {"tasks": ("class", "direction")}).graph()
    assert "distance_logits" not in graph.outputs
    assert "slots.azimuth_logits" in graph.outputs


def test_the_encoder_itself_stays_as_it_was() -> None:
    encoder = encoder_of(LIKE_BAT_SMALL)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.graph()
    assert before.keys() == encoder.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
