"""Spatial-AST: the released layout and figures, variants, masking, slots. Its numbers: test_spatial_ast_parity."""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import bat_agent
from bat_agent.checkpoint import save_module
from bat_agent.errors import BadInput, WeightsError
from bat_agent.sound.features import mel_filterbank
from bat_agent.testing import EncoderContract
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import CLASS, DIRECTION, DISTANCE, SpatialAST
from bat_agent_spatial_ast.transformer import Block, sincos_positions

SMALL: dict[str, Any] = {"clip_seconds": 1.0, "target_frames": 112, "width": 32, "depth": 2, "heads": 4}
HEADS = {"class_logits": 355, "distance_logits": 21, "azimuth_logits": 360, "elevation_logits": 180}
SLOTS: dict[str, Any] = {
    **SMALL,
    "target_frames": None,
    "num_slots": 2,
    "patch_frames": 4,
    "patch_mels": 128,
    "stem_channels": 3,
    "unit_ipd": True,
    "store_front_end": False,
}


def small(**options: Any) -> SpatialAST:
    """A small encoder with heads large enough to say something, in evaluation mode."""
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**{**SMALL, **options}))
    for head in (encoder.head, encoder.distance_head, encoder.azimuth_head, encoder.elevation_head):
        torch.nn.init.normal_(head.weight)
    return encoder.eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def released() -> SpatialAST:
    """The released architecture; about 350 MB."""
    torch.manual_seed(0)
    encoder = bat_agent.load_encoder("spatial-ast")
    assert isinstance(encoder, SpatialAST)
    return encoder.eval()


def released_layout() -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the released file, as read from the state dict of the released class."""
    layout: dict[str, tuple[int, ...]] = {"pos_embed": (1, 513, 768), "cls_tokens": (1, 3, 768)}
    linear = {"head": 355, "distance_head": 21, "azimuth_head": 360, "elevation_head": 180}
    for name, rows in linear.items():
        layout |= {f"{name}.weight": (rows, 768), f"{name}.bias": (rows,)}
    layout |= {"patch_embed.proj.weight": (768, 1, 16, 16), "patch_embed.proj.bias": (768,)}
    inside = {"attn.qkv": (2304, 768), "attn.proj": (768, 768), "mlp.fc1": (3072, 768), "mlp.fc2": (768, 3072)}
    for block in range(12):
        for name, shape in inside.items():
            layout |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        layout |= {
            f"blocks.{block}.{norm}.{kind}": (768,) for norm in ("norm1", "norm2") for kind in ("weight", "bias")
        }
    layout |= {f"{norm}.{kind}": (768,) for norm in ("dis_norm", "doa_norm", "fc_norm") for kind in ("weight", "bias")}
    layout |= {"conv_downsample.0.weight": (1, 4, 3, 3)}
    layout |= {f"conv_downsample.1.{name}": (1,) for name in ("weight", "bias", "running_mean", "running_var")}
    layout |= {"conv_downsample.1.num_batches_tracked": (), "bn.num_batches_tracked": ()}
    layout |= {"bn.running_mean": (2,), "bn.running_var": (2,)}
    layout |= {f"spectrogram_extractor.conv_{part}.weight": (513, 1, 1024) for part in ("real", "imag")}
    return layout | {"logmel_extractor.melW": (513, 128)}


def test_layout_is_the_released_one(released: SpatialAST) -> None:
    state = released.state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == released_layout()
    assert len(state) == 174
    assert sum(value.numel() for value in state.values()) == 87_473_474
    assert {key for key, value in state.items() if value.dtype != torch.float32} == {
        "bn.num_batches_tracked",
        "conv_downsample.1.num_batches_tracked",
    }


def test_trainable_parameters_are_those_of_the_paper(released: SpatialAST) -> None:
    trainable = {name: value.numel() for name, value in released.named_parameters() if value.requires_grad}
    assert sum(trainable.values()) == 85_963_194
    frozen = set(released_layout()) - set(trainable)
    assert {name for name in frozen if "running" not in name and "num_batches" not in name} == {
        "pos_embed",
        "spectrogram_extractor.conv_real.weight",
        "spectrogram_extractor.conv_imag.weight",
        "logmel_extractor.melW",
    }


def test_attributes_are_those_of_the_released_model(released: SpatialAST) -> None:
    assert (released.token_dim, released.num_tokens, released.clip_seconds) == (768, 3 + 64 * 8, 10.0)
    assert released.sample_rate_hz == 32_000
    assert released.fixed_length
    assert len(released.labels) == 355
    assert (DISTANCE, DIRECTION, CLASS) == (0, 1, 2)


def test_stored_fourier_kernels_are_the_windowed_dft(released: SpatialAST) -> None:
    """As the released file has them: Hann(n)·exp(−2πi·k·n/1024)."""
    kernels = released.spectrogram_extractor
    time = np.arange(1024)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / 1024)
    for bin_ in (0, 1, 7, 300, 512):
        wave = window * np.exp(-2j * np.pi * bin_ * time / 1024)
        np.testing.assert_allclose(kernels.conv_real.weight[bin_, 0].numpy(), wave.real, atol=3e-7)
        np.testing.assert_allclose(kernels.conv_imag.weight[bin_, 0].numpy(), wave.imag, atol=3e-7)
    assert torch.equal(released.logmel_extractor.melW, mel_filterbank())


def test_positions_are_those_of_the_masked_autoencoder() -> None:
    """MAE's formula, written out for one token: frequency in the first half, time in the second, sine before cosine."""
    table = sincos_positions(64, 8, 768)[0]
    assert table.shape == (513, 768)
    assert bool((table[0] == 0).all())
    omega = 1 / 10_000 ** (np.arange(192) / 192)
    for time, mel in ((0, 0), (5, 3), (63, 7)):
        expected = [np.sin(mel * omega), np.cos(mel * omega), np.sin(time * omega), np.cos(time * omega)]
        np.testing.assert_allclose(table[1 + 8 * time + mel].numpy(), np.concatenate(expected), atol=1e-6)


@pytest.mark.parametrize("options", [SMALL, SLOTS], ids=["released kind", "slots"])
def test_weights_survive_a_round_trip_byte_by_byte(tmp_path: Path, options: dict[str, Any]) -> None:
    first = small(**options)
    save_module(first, tmp_path / "one")
    second = bat_agent.load_encoder("spatial-ast", weights=tmp_path / "one", **options)
    assert isinstance(second, SpatialAST)
    save_module(second, tmp_path / "two")
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    waveform = noise(1, 2, 32_000)
    assert torch.equal(first(waveform).class_logits, second.eval()(waveform).class_logits)


def official_file(path: Path, encoder: SpatialAST, prefix: str = "") -> Path:
    state = {prefix + key: value for key, value in encoder.state_dict().items()}
    torch.save({"model": state, "args": argparse.Namespace(lr=1e-3, output_dir="out"), "epoch": 1}, path)
    return path


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_official_file_loads(tmp_path: Path, prefix: str) -> None:
    """The layout of ``finetuned.pth``, at a small width; also as DDP and ``torch.compile`` save it."""
    donor = small()
    encoder = bat_agent.load_encoder(
        "spatial-ast", weights=official_file(tmp_path / "finetuned.pth", donor, prefix), **SMALL
    )
    assert isinstance(encoder, SpatialAST)
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, donor.state_dict()[key]), key


@pytest.mark.slow
def test_official_file_of_full_size_loads(tmp_path: Path, released: SpatialAST) -> None:
    file = official_file(tmp_path / "finetuned.pth", released)
    encoder = bat_agent.load_encoder("spatial-ast", weights=file)
    assert isinstance(encoder, SpatialAST)
    file.unlink()
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, released.state_dict()[key]), key


def test_wrong_file_is_told_apart(tmp_path: Path) -> None:
    file = official_file(tmp_path / "finetuned.pth", small())
    with pytest.raises(WeightsError) as caught:
        bat_agent.load_encoder("spatial-ast", weights=file, **{**SMALL, "depth": 3})
    assert "12 missing (blocks.2.attn.proj.bias" in str(caught.value)
    with pytest.raises(
        WeightsError, match=r"head.weight is \(360, 32\), expected \(360, 16\).*of width 32 with 1 slot"
    ):
        bat_agent.load_encoder("spatial-ast", weights=file, **{**SMALL, "width": 16})
    with pytest.raises(WeightsError, match=r"2 missing \(activity_head.bias, activity_head.weight\)"):
        bat_agent.load_encoder("spatial-ast", weights=file, **SMALL, num_slots=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 30}, "multiple of heads"),
        ({"width": 6, "heads": 3}, "multiple of 4"),
        ({"patch_mels": 20}, "divide the 128"),
        ({"target_frames": 100}, "multiple of patch_frames"),
        ({"num_slots": 0}, "at least 1"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        SpatialASTConfig(**{**SMALL, **options})


def test_unknown_features_are_refused() -> None:
    config = SpatialASTConfig()
    object.__setattr__(config, "features", "stereo")  # the shape checks of the test run would refuse it before
    with pytest.raises(BadInput, match=r"'mel\+ipd', 'mel' or 'mono', got 'stereo'"):
        config.__post_init__()


@pytest.mark.parametrize(("features", "maps"), [("mel+ipd", 4), ("mel", 2), ("mono", 1)])
def test_variants_hear_what_their_features_allow(features: str, maps: int) -> None:
    """Inverting one ear changes the phase alone; swapping the ears changes nothing for a mean."""
    encoder = small(features=features)
    waveform = noise(1, 2, 32_000) * torch.tensor([1.0, 0.3])[:, None]
    assert encoder.conv_downsample[0].weight.shape == (1, maps, 3, 3)
    assert encoder.input_maps(waveform).shape == (1, maps, 112, 128)

    def changes(other: Tensor) -> bool:
        a, b = encoder(waveform).azimuth_logits, encoder(other).azimuth_logits
        return not torch.allclose(a, b, atol=1e-4)

    assert changes(waveform.flip(1)) == (features != "mono")
    assert changes(waveform * torch.tensor([1.0, -1.0])[:, None]) == (features != "mel")


def test_unit_phase_maps_reach_one() -> None:
    same = noise(1, 1, 32_000).expand(-1, 2, -1)
    for unit, height in ((False, mel_filterbank().sum(dim=0)), (True, torch.ones(128))):
        cosine, sine = small(unit_ipd=unit, target_frames=None).input_maps(same)[0, 2:]
        torch.testing.assert_close(cosine, height.expand_as(cosine), atol=1e-5, rtol=0)
        torch.testing.assert_close(sine, torch.zeros_like(sine), atol=1e-5, rtol=0)


def test_front_end_stays_float32_under_autocast() -> None:
    """Once only where autocast was the CPU's: on a GPU the products with the mel filters ran in bfloat16."""
    encoder, waveform = small(), noise(1, 2, 32_000)
    exact = encoder.input_maps(waveform)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder.input_maps(waveform), exact)
        tokens = encoder(waveform).tokens
    assert torch.allclose(tokens.float(), encoder(waveform).tokens, atol=0.1)


@pytest.mark.parametrize("seconds", [0.05, 0.13, 0.5, 1.0])
def test_short_clips_give_fewer_tokens(seconds: float) -> None:
    encoder = small(**SLOTS)
    samples = int(seconds * 32_000)
    rows = max((samples // 320 + 1) // 4, 1)
    tokens = encoder(noise(1, 2, samples)).tokens
    assert tokens.shape == (1, 6 + rows, 32)
    assert bool(tokens.isfinite().all())
    assert not encoder.fixed_length


def test_a_clip_shorter_than_a_patch_repeats_its_last_frame() -> None:
    encoder = small(target_frames=None, patch_frames=16)
    maps = encoder.input_maps(noise(1, 2, 1_600))
    assert maps.shape == (1, 4, 16, 128)
    assert torch.equal(maps[:, :, 6:], maps[:, :, 5:6].expand(-1, -1, 10, -1))


def test_a_short_training_clip_starts_anywhere() -> None:
    encoder = small(**SLOTS)
    starts = {round(float(encoder.train()._positions(3)[0, 0, 16]), 4) for _ in range(60)}  # sin of the time index
    assert len(starts) > 10
    assert torch.equal(encoder.eval()._positions(3), encoder.pos_embed[:, 1:4])


def test_both_attention_paths_agree() -> None:
    """Short sequences with gradients use plain products on a CPU, everything else the fused kernel."""
    attention = Block(32, 4, 2.0, 0.0).attn
    x = noise(2, 30, 32)
    with torch.no_grad():
        fused = attention(x)
    torch.testing.assert_close(attention(x), fused, atol=1e-6, rtol=1e-5)


def test_slots_have_their_shapes_and_the_strongest_speaks() -> None:
    encoder = small(**SLOTS)
    encoding = encoder(noise(4, 2, 32_000))
    slots = encoding.slots
    assert slots is not None
    assert slots.activity_logits.shape == (4, 2)
    strongest = slots.activity_logits.argmax(dim=1)
    for head, bins in (
        ("class_logits", 355),
        ("distance_logits", 21),
        ("azimuth_logits", 360),
        ("elevation_logits", 180),
    ):
        assert getattr(slots, head).shape == (4, 2, bins)
        assert getattr(encoding, head).shape == (4, bins)
        if head != "class_logits":
            chosen = torch.stack([getattr(slots, head)[clip, slot] for clip, slot in enumerate(strongest)])
            assert torch.equal(getattr(encoding, head), chosen)
    active, heard = slots.activity_logits.double().sigmoid(), slots.class_logits.double().sigmoid()
    either = 1 - (1 - active[:, :1] * heard[:, 0]) * (1 - active[:, 1:] * heard[:, 1])
    assert encoding.class_logits is not None
    torch.testing.assert_close(encoding.class_logits.double().sigmoid(), either, atol=2e-6, rtol=1e-4)


def test_each_slot_reads_its_own_three_class_tokens() -> None:
    encoder = small(**SLOTS)
    tokens = noise(1, 9, 32)
    before = encoder.read_heads(tokens).slots
    for slot in range(2):
        for token, heads in (
            (DISTANCE, ["distance"]),
            (DIRECTION, ["azimuth", "elevation"]),
            (CLASS, ["class", "activity"]),
        ):
            other = tokens.clone()
            other[:, 3 * slot + token, 0] += 1
            after = encoder.read_heads(other).slots
            assert before is not None
            assert after is not None
            changed = {
                (name.removesuffix("_logits"), s)
                for name, value in vars(before).items()
                if value is not None
                for s in range(2)
                if not torch.equal(getattr(before, name)[:, s], getattr(after, name)[:, s])
            }
            assert changed == {(head, slot) for head in heads}


@cache
def _small(kind: str) -> SpatialAST:
    return small(**{"released kind": SMALL, "slots": SLOTS}[kind])


class TestReleasedKind(EncoderContract):
    """The contract, with the time resize of the released model."""

    @pytest.fixture
    def encoder(self) -> SpatialAST:
        return _small("released kind")


class TestSlots(EncoderContract):
    """The contract, for clips of any length and two sources."""

    @pytest.fixture
    def encoder(self) -> SpatialAST:
        return _small("slots")
