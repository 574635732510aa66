"""Variants of Spatial-AST: single tasks, power mel, short clips, the level apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import bat_agent
from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding, HeadsOnly
from bat_agent.sound.features import mel_filterbank, num_frames
from bat_agent.testing import EncoderContract
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.front_end import fit_frames
from bat_agent_spatial_ast.level import REFERENCE_DBFS, to_reference

SMALL: dict[str, Any] = {"width": 32, "depth": 2, "heads": 4, "clip_seconds": 2.0, "target_frames": 208}
HEADS = ("class_logits", "distance_logits", "azimuth_logits", "elevation_logits")


def build(**options: Any) -> SpatialAST:
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**{**SMALL, **options})).eval()
    for name in ("head", "distance_head", "azimuth_head", "elevation_head"):
        if hasattr(encoder, name):
            torch.nn.init.normal_(getattr(encoder, name).weight)
    return encoder


def noise(samples: int = 64_000, clips: int = 2) -> Tensor:
    return 0.05 * torch.randn(clips, 2, samples, generator=torch.Generator().manual_seed(1))


def logits(encoding: Encoding) -> dict[str, Tensor]:
    return {name: value for name in HEADS if (value := getattr(encoding, name)) is not None}


# --- single tasks ---


@pytest.mark.parametrize(
    ("task", "heads"),
    [
        ("class", {"class_logits"}),
        ("distance", {"distance_logits"}),
        ("direction", {"azimuth_logits", "elevation_logits"}),
    ],
)
def test_a_single_task_encoder_has_its_heads_alone(task: Any, heads: set[str]) -> None:
    encoder = build(tasks=(task,))
    with torch.no_grad():
        encoding = encoder(noise())
    assert set(logits(encoding)) == heads
    assert encoding.tokens.shape == (2, encoder.num_tokens, 32)
    owned = {name.split(".")[0] for name, _ in encoder.named_parameters()}
    assert len(owned & {"head", "distance_head", "azimuth_head", "elevation_head"}) == len(heads)


@pytest.mark.parametrize("task", ["class", "distance", "direction"])
@pytest.mark.filterwarnings("error")
def test_a_single_task_encoder_is_saved_and_loaded_whole(task: Any, tmp_path: Path) -> None:
    """Not taken for an AudioMAE, of which only the transformer would be read."""
    saved = build(tasks=(task,))
    saved.save_weights(tmp_path)
    loaded = build(tasks=(task,))
    torch.nn.init.normal_(loaded.cls_tokens)
    loaded.load_weights(tmp_path)
    assert all(torch.equal(value, saved.state_dict()[key]) for key, value in loaded.state_dict().items())


def test_slots_may_lack_heads_too() -> None:
    encoder = build(tasks=("class", "direction"), num_slots=2)
    with torch.no_grad():
        encoding = encoder(noise())
    assert encoding.slots is not None
    assert encoding.slots.distance_logits is None
    assert encoding.distance_logits is None
    assert encoding[:1].slots is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tasks": ()}, "tasks must be some of"),
        ({"tasks": ("direction",), "num_slots": 2}, "several slots needs the task 'class'"),
        ({"tasks": ("class",), "level": "token"}, "level 'token' is for the task 'distance'"),
        ({"target_frames": None, "short_clips": True}, "leave short_clips out"),
    ],
)
def test_what_does_not_fit_together_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        SpatialASTConfig(**{**SMALL, **options})


# --- the paper's mel of the power ---


def test_power_mel_is_equation_3() -> None:
    """10·log10(|X|²·melW) by a plain DFT of one frame."""
    wave = noise(6400, 1)
    maps = build(mel_of="power", target_frames=None, features="mel").input_maps(wave)[0]
    frame = wave[0, :, 3 * 320 - 512 : 3 * 320 + 512].double().numpy()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    power = np.abs(np.fft.rfft(frame * window)) ** 2
    wanted = 10 * np.log10(power @ mel_filterbank().double().numpy())
    np.testing.assert_allclose(maps[:, 3].numpy() * np.sqrt(1 + 1e-5), wanted, atol=2e-3)


# --- short clips ---


def test_short_clips_keep_the_time_scale_and_take_the_first_positions() -> None:
    encoder = build(short_clips=True)
    assert not encoder.fixed_length
    full = num_frames(64_000)
    for samples in (64_000, 32_000, 16_000, 544):
        with torch.no_grad():
            tokens = encoder(noise(samples)).tokens
        rows = max(round(num_frames(samples) * 208 / full / 16), 1)
        assert tokens.shape[1] == 3 + 8 * rows
    with torch.no_grad():
        whole = build()(noise()).tokens
        assert torch.equal(encoder(noise()).tokens, whole), "a full clip is what it was"


def test_half_a_clip_sounds_like_the_first_half_of_the_maps() -> None:
    """Before attention mixes tokens: patches of half a clip lie near those of the first half of the whole one."""
    encoder = build(short_clips=True, depth=1)
    sound = torch.nn.functional.avg_pool1d(noise(64_000), 9, 1, 4)
    with torch.no_grad():
        whole = fit_frames(encoder.input_maps(sound), encoder.config)
        half = fit_frames(encoder.input_maps(sound[..., : 92 * 320]), encoder.config)
    rows = half.shape[2]
    assert rows == 6 * 16
    apart = (half - whole[:, :, :rows])[:, :2].abs().mean() / whole[:, :2].std()
    assert float(apart) < 0.3


# --- the level apart ---


@pytest.mark.parametrize("gain_db", [-30.0, -6.0, 12.0])
def test_a_level_free_encoder_hears_the_same_at_any_level(gain_db: float) -> None:
    for options in ({"level": "free"}, {"level": "token"}):
        encoder = build(**options)
        encoder.level_known = False
        with torch.no_grad():
            quiet, loud = encoder(noise()), encoder(noise() * 10 ** (gain_db / 20))
        for name, value in logits(quiet).items():
            torch.testing.assert_close(getattr(loud, name), value, rtol=1e-3, atol=1e-3)


def test_a_known_level_reaches_the_distance_and_hardly_anything_else() -> None:
    encoder = build(level="token", depth=1)
    with torch.no_grad():
        encoder.level_token.known.weight.normal_()
        quiet, loud = encoder(noise()), encoder(10 * noise())
    moved = {name: float((getattr(loud, name) - value).abs().mean()) for name, value in logits(quiet).items()}
    assert moved["distance_logits"] > 0.5
    assert moved["distance_logits"] > 10 * max(moved["class_logits"], moved["azimuth_logits"])


def test_an_absolute_encoder_hears_level() -> None:
    encoder = build()
    with torch.no_grad():
        assert float((encoder(noise()).distance_logits - encoder(0.1 * noise()).distance_logits).abs().max()) > 0.1


def test_reference_level_is_that_of_both_ears_together_and_silence_stays() -> None:
    sound = noise(clips=3) * torch.tensor([1.0, 0.001, 0.0]).view(3, 1, 1)
    sound[0, 1] *= 0.1
    brought, level_dbfs = to_reference(sound)
    rms = 20 * torch.log10(brought[:2].square().mean(dim=(1, 2)).sqrt())
    torch.testing.assert_close(rms, torch.full((2,), REFERENCE_DBFS), atol=1e-3, rtol=0)
    ratio = brought[0] / sound[0]
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio), rtol=1e-4, atol=0)
    assert not brought[2].any()
    assert float(level_dbfs[0]) == pytest.approx(20 * np.log10(float(sound[0].square().mean().sqrt())), abs=1e-3)


def test_hidden_levels_are_a_share_of_the_training_clips() -> None:
    part = build(level="token", level_dropout=0.4).level_token.train()
    torch.nn.init.normal_(part.known.weight)
    torch.manual_seed(0)
    with torch.no_grad():
        said = part(torch.full((4000,), -40.0), known=True)
    hidden = (said == part.unknown).all(dim=1).float().mean()
    assert float(hidden) == pytest.approx(0.4, abs=0.03)


def test_bat_says_what_became_of_distances(tmp_path: Any) -> None:
    from bat_agent.agent import Bat, ModelConfig

    def ears(level: str) -> Bat:
        encoder = build(level=level, target_frames=None)
        config = ModelConfig("test", {"name": "spatial-ast", "options": {}}, {"name": "rules", "options": {}})
        return Bat(config, encoder, lambda: bat_agent.load_reasoner("rules"), level_known=False)

    assert ears("token").perceive(noise()[0]).notes == (
        "distances are judged from reverberation and colour, not by level",
    )
    assert "a guess" in ears("absolute").ask(noise()[0], "How far is it?").notes[0]


class TestSlotsContract(EncoderContract):
    @pytest.fixture
    def encoder(self) -> Any:
        torch.manual_seed(0)
        return bat_agent.load_encoder("spatial-ast-slots", **SMALL, level="token")


class TestShortClipsContract(EncoderContract):
    @pytest.fixture
    def encoder(self) -> Any:
        return build(short_clips=True)


# --- the heads alone ---


def test_perceiving_gives_the_same_heads_from_fewer_tokens() -> None:
    for options in ({}, {"num_slots": 2, "level": "token"}, {"tasks": ("direction",)}):
        encoder = build(**options)
        with torch.no_grad():
            whole, heads = encoder(noise()), encoder.perceive(noise())
        assert isinstance(heads, HeadsOnly)
        assert isinstance(heads[:1].to("cpu"), HeadsOnly)
        assert not isinstance(whole, HeadsOnly)
        assert heads.tokens.shape[1] == 3 * encoder.config.num_slots
        torch.testing.assert_close(heads.tokens, whole.tokens[:, : heads.tokens.shape[1]], rtol=1e-4, atol=1e-4)
        for name, value in logits(whole).items():
            torch.testing.assert_close(getattr(heads, name), value, rtol=1e-4, atol=1e-4)


def test_a_question_after_perceiving_gets_all_tokens() -> None:
    from bat_agent.agent import Bat, ModelConfig

    seen: list[int] = []

    class Counting(torch.nn.Module):
        def answer(self, encoding: Encoding, questions: Any) -> list[str]:
            seen.append(encoding.tokens.shape[1])
            return ["yes" for _ in questions]

        def loss(self, *_: Any) -> Tensor:
            raise NotImplementedError

    encoder = build()
    bat = Bat(ModelConfig("t", {"name": "", "options": {}}, {"name": "", "options": {}}), encoder, Counting())
    before = bat.perceive(noise()[0])
    bat.ask(noise()[0], "Where is it?")
    assert seen == [encoder.num_tokens]
    assert bat.perceive(noise()[0]).sources[0].azimuth_deg == before.sources[0].azimuth_deg
