"""AudioMAE: the official layout, front-end and forward pass, each against an independent reading."""

from __future__ import annotations

import argparse
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bat_agent.checkpoint import save_module
from bat_agent.clips.mixtures import Truth
from bat_agent.errors import BadInput, WeightsError
from bat_agent.hearing.perception import Thresholds, perceive
from bat_agent.labels import label_index
from bat_agent.recipes.schema import Stage
from bat_agent.testing import EncoderContract
from bat_agent.training.losses import encoder_loss
from bat_agent_baselines.audiomae import AudioMAE
from bat_agent_baselines.checkpoint import audioset_rows
from bat_agent_baselines.config import AudioMAEConfig

SMALL: dict[str, Any] = {"clip_seconds": 1.0, "frames": 112, "width": 32, "depth": 2, "heads": 4}


def small(**options: Any) -> AudioMAE:
    """A small encoder with a head and norms that say something, in evaluation mode."""
    torch.manual_seed(0)
    encoder = AudioMAE(AudioMAEConfig(**{**SMALL, **options}))
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 1 or name.startswith("head"):
            torch.nn.init.normal_(parameter, std=0.5)
    return encoder.eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def official_layout(width: int, depth: int, patches: int, classes: int | None) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a finetuned file (timm 0.3.2's ViT with ``fc_norm``), or of a pretrained one's encoder."""
    layout: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + patches, width),
        "patch_embed.proj.weight": (width, 1, 16, 16),
        "patch_embed.proj.bias": (width,),
    }
    inside = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for block in range(depth):
        for name, (rows, columns) in inside.items():
            layout[f"blocks.{block}.{name}.weight"] = (rows * width, columns * width)
            layout[f"blocks.{block}.{name}.bias"] = (rows * width,)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            layout[f"blocks.{block}.{name}"] = (width,)
    norm = "norm" if classes is None else "fc_norm"
    layout |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return layout if classes is None else layout | {"head.weight": (classes, width), "head.bias": (classes,)}


def tensors(layout: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Made-up tensors of a layout; every key has its own."""
    return {key: noise(*shape, seed=number) for number, (key, shape) in enumerate(sorted(layout.items()))}


def write(path: Path, state: dict[str, Tensor], prefix: str = "") -> Path:
    named = {prefix + key: value for key, value in state.items()}
    torch.save({"model": named, "optimizer": {}, "epoch": 99, "args": argparse.Namespace(blr=1e-3)}, path)
    return path


def pretrained(width: int = 32) -> dict[str, Tensor]:
    layout = official_layout(width, 2, 56, None)
    layout |= {"mask_token": (1, 1, 16), "decoder_pos_embed": (1, 57, 16), "decoder_embed.weight": (16, width)}
    return tensors(layout | {"decoder_blocks.0.attn.qkv.weight": (48, 16), "decoder_pred.weight": (256, 16)})


# --- size and layout ---


def test_full_size_is_the_official_vit_b() -> None:
    """By hand: 7 087 872 a block; 85.66 M trainable with AudioSet's 527 classes, published as 86 M."""
    encoder = AudioMAE()
    assert {key: tuple(value.shape) for key, value in encoder.state_dict().items()} == official_layout(
        768, 12, 64 * 8, 355
    )
    trainable = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    body = 12 * 7_087_872 + (256 * 768 + 768) + 768 + 2 * 768
    assert trainable == body + 355 * 769 == 85_527_139
    assert body + 527 * 769 == 85_659_407
    assert not encoder.pos_embed.requires_grad
    assert (encoder.num_tokens, encoder.token_dim, encoder.sample_rate_hz) == (513, 768, 16_000)
    assert len(encoder.labels) == 355


def test_overlapping_variant_has_its_official_grid() -> None:
    config = AudioMAEConfig(patch_stride=10)
    assert config.grid == (101, 12)
    assert AudioMAE(AudioMAEConfig(**SMALL, patch_stride=10)).pos_embed.shape == (1, 1 + 10 * 12, 32)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("classes", [355, 527])
def test_official_file_loads(tmp_path: Path, prefix: str, classes: int) -> None:
    state = tensors(official_layout(32, 2, 7 * 8, classes))
    encoder = small()
    encoder.load_weights(write(tmp_path / "finetuned.pth", state, prefix))
    for key, value in encoder.state_dict().items():
        wanted = state[key]
        if classes == 527 and key.startswith("head."):
            assert len(value) == 355
            # Numbers as published in AudioSet's class_labels_indices.csv.
            for name, number in {"Speech": 0, "Bark": 75, "Music": 137, "Vehicle": 300, "Field recording": 526}.items():
                assert torch.equal(value[label_index()[name]], wanted[number]), name
        else:
            assert torch.equal(value, wanted), key


def test_cut_head_says_of_its_classes_what_the_whole_head_said(tmp_path: Path) -> None:
    state = tensors(official_layout(32, 2, 7 * 8, 527))
    encoder = small()
    encoder.load_weights(write(tmp_path / "finetuned.pth", state))
    with torch.no_grad():
        encoding = encoder(noise(2, 2, 16_000))
        heard = F.layer_norm(
            encoding.tokens[:, 1:].mean(dim=1), (32,), state["fc_norm.weight"], state["fc_norm.bias"], 1e-6
        )
        whole = F.linear(heard, state["head.weight"], state["head.bias"])
    assert encoding.class_logits is not None
    torch.testing.assert_close(encoding.class_logits, whole[:, list(audioset_rows())], atol=1e-5, rtol=1e-5)


def test_audioset_numbers_are_355_of_527_in_order() -> None:
    rows = audioset_rows()
    assert len(rows) == 355
    assert list(rows) == sorted(set(rows))
    assert (rows[0], rows[-1]) == (0, 526)


def test_weights_survive_a_round_trip_byte_by_byte(tmp_path: Path) -> None:
    first, second = small(), AudioMAE(AudioMAEConfig(**SMALL, new_head=True)).eval()
    first.save_weights(tmp_path / "one")
    second.load_weights(tmp_path / "one")  # its own head of 355 classes is never left out
    second.save_weights(tmp_path / "two")
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


def test_pretrained_file_starts_an_encoder_and_says_what_is_left(tmp_path: Path) -> None:
    state = pretrained()
    encoder = small()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.warns(UserWarning, match=r"fc_norm.bias, fc_norm.weight, head.bias, head.weight start untrained"):
        encoder.load_weights(write(tmp_path / "pretrained.pth", state))
    for key, value in encoder.state_dict().items():
        kept = key.startswith(("fc_norm.", "head."))
        assert torch.equal(value, before[key] if kept else state[key]), key


def test_class_token_reader_also_takes_the_pretrained_norm(tmp_path: Path) -> None:
    state, encoder = pretrained(), small(pooling="cls")
    with pytest.warns(UserWarning, match=r"taken; head.bias, head.weight start untrained"):
        encoder.load_weights(write(tmp_path / "pretrained.pth", state))
    assert torch.equal(encoder.norm.weight, state["norm.weight"])


def test_head_of_other_classes_is_refused_unless_a_new_one_is_wanted(tmp_path: Path) -> None:
    state = tensors(official_layout(32, 2, 7 * 8, 50))
    file = write(tmp_path / "esc50.pth", state)
    with pytest.raises(WeightsError, match=r"50 classes, expected AudioSet's 527 or the 355 .* new_head=true"):
        small().load_weights(file)
    encoder = small(new_head=True)
    with pytest.warns(UserWarning, match=r"taken; head.bias, head.weight start untrained"):
        encoder.load_weights(file)
    assert torch.equal(encoder.fc_norm.weight, state["fc_norm.weight"])


class Malicious:
    """A pickle that would leave a file behind when opened."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("opened",)


def test_wrong_files_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good = write(tmp_path / "finetuned.pth", tensors(official_layout(32, 2, 7 * 8, 355)))
    (tmp_path / "cut.pth").write_bytes(good.read_bytes()[:20_000])
    with pytest.raises(WeightsError, match="truncated"):
        small().load_weights(tmp_path / "cut.pth")
    torch.save({"model": Malicious()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="could run code"):
        small().load_weights(tmp_path / "evil.pth")
    assert not (tmp_path / "opened").exists()
    spatial = {"conv_downsample.0.weight": noise(1, 4, 3, 3), "distance_head.weight": noise(21, 8)}
    torch.save({"model": {**spatial, "cls_tokens": noise(1, 3, 8)}}, tmp_path / "spatial.pth")
    with pytest.raises(WeightsError, match=r"no AudioMAE checkpoint, it looks like a Spatial-AST checkpoint"):
        small().load_weights(tmp_path / "spatial.pth")
    with pytest.raises(WeightsError, match=r"12 missing \(blocks.2.attn.proj.bias"):
        small(depth=3).load_weights(good)
    with pytest.raises(WeightsError, match=r"28 misshapen \(blocks.0.attn.proj.bias is \(32,\), expected \(64,\)"):
        small(width=64).load_weights(write(tmp_path / "pretrained.pth", pretrained()))
    with pytest.raises(WeightsError, match="no weights at"):
        small().load_weights(tmp_path / "nothing.pth")


# --- what it hears ---


def kaldi_fbank(sound: np.ndarray) -> np.ndarray:
    """Kaldi's filterbank in float64 from its documentation, with the arguments of the official reader."""
    sound = sound - sound.mean()
    count = 1 + (len(sound) - 400) // 160
    frames = np.stack([sound[160 * k : 160 * k + 400] for k in range(count)])
    frames = frames - frames.mean(axis=1, keepdims=True)
    frames = frames - 0.97 * np.concatenate((frames[:, :1], frames[:, :-1]), axis=1)
    frames = frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399))
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    low, high = (1127 * math.log(1 + hz / 700) for hz in (20.0, 8_000.0))
    edges = np.linspace(low, high, 130)
    mel = 1127 * np.log(1 + np.arange(257) * (16_000 / 512) / 700)
    banks = np.stack([np.interp(mel, edges[k : k + 3], [0, 1, 0], left=0, right=0) for k in range(128)], axis=1)
    return np.log(np.maximum(power @ banks, np.finfo(np.float32).eps))


def test_front_end_is_kaldis() -> None:
    """The mean of the ears, with a steady offset that must vanish; then zeros up to the last frame."""
    waveform = noise(2, 2, 16_000) * torch.tensor([1.0, 0.01])[:, None, None] + 0.2
    maps = small().fbank(waveform)
    assert maps.shape == (2, 112, 128)
    for clip in range(2):
        expected = kaldi_fbank(waveform[clip].double().mean(dim=0).numpy())
        assert expected.shape == (98, 128)
        np.testing.assert_allclose(maps[clip, :98].numpy(), expected, atol=2e-3)
    assert bool((maps[:, 98:] == 0).all())


def test_a_full_clip_has_998_frames_and_silence_the_floor() -> None:
    maps = small(clip_seconds=10.0, frames=1024).fbank(torch.zeros(1, 2, 160_000))
    assert bool((maps[0, 998:] == 0).all())
    np.testing.assert_allclose(maps[0, :998].numpy(), math.log(2**-23), atol=1e-5)


def test_too_short_a_sound_is_refused() -> None:
    with pytest.raises(BadInput, match="399 samples, expected at least 400"):
        small()(noise(1, 2, 399))


def reference_logits(state: dict[str, np.ndarray], maps: np.ndarray, heads: int) -> np.ndarray:
    """The official forward pass for one clip's filterbank (T, 128), in float64 numpy."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return centred / scale * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    maps = (maps + 4.2677393) / (2 * 4.5689974)
    kernel = state["patch_embed.proj.weight"].reshape(len(state["patch_embed.proj.bias"]), -1)
    patches = np.stack(
        [maps[t : t + 16, m : m + 16].ravel() for t in range(0, len(maps), 16) for m in range(0, 128, 16)]
    )
    x = np.concatenate((state["cls_token"][0], patches @ kernel.T + state["patch_embed.proj.bias"]))
    x = x + state["pos_embed"][0]
    erf = np.vectorize(math.erf)
    for block in range(2):
        name = f"blocks.{block}"
        query, key, value = np.split(linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv"), 3, axis=1)
        heard, size = [], x.shape[1] // heads
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size))
            heard.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, part])
        x = x + linear(np.concatenate(heard, axis=1), f"{name}.attn.proj")
        hidden = linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
        x = x + linear(hidden * 0.5 * (1 + erf(hidden / math.sqrt(2))), f"{name}.mlp.fc2")
    return linear(norm(x[1:].mean(axis=0), "fc_norm"), "head")


def test_forward_is_the_official_one() -> None:
    encoder = small()
    sound = noise(1, 2, 16_000)
    maps = np.zeros((112, 128))
    maps[:98] = kaldi_fbank(sound[0].double().mean(dim=0).numpy())
    state = {key: value.double().numpy() for key, value in encoder.state_dict().items()}
    with torch.no_grad():
        logits = encoder(sound).class_logits
    assert logits is not None
    assert float(logits.std()) > 0.5, "the logits must depend on the sound for the comparison to mean anything"
    np.testing.assert_allclose(logits[0].numpy(), reference_logits(state, maps, heads=4), atol=1e-4)


def test_positions_are_those_of_the_masked_autoencoder() -> None:
    """The formula, written out for some tokens: frequency in the first half, time in the second; sine, then cosine."""
    table = small().pos_embed[0]
    omega = 1 / 10_000 ** (np.arange(8) / 8)
    assert bool((table[0] == 0).all())
    for time, mel in ((0, 0), (5, 3), (6, 7)):
        expected = [np.sin(mel * omega), np.cos(mel * omega), np.sin(time * omega), np.cos(time * omega)]
        np.testing.assert_allclose(table[1 + 8 * time + mel].numpy(), np.concatenate(expected), atol=1e-6)


def test_it_hears_one_ear_only() -> None:
    """Swapping the ears changes nothing; it names sounds and says nothing of places."""
    encoder, waveform = small(), noise(1, 2, 16_000) * torch.tensor([1.0, 0.3])[:, None]
    with torch.no_grad():
        encoding, swapped = encoder(waveform), encoder(waveform.flip(1))
    assert encoding.class_logits is not None
    assert swapped.class_logits is not None
    torch.testing.assert_close(encoding.class_logits, swapped.class_logits, atol=1e-5, rtol=1e-5)
    assert encoding.distance_logits is encoding.azimuth_logits is encoding.elevation_logits is None
    source = perceive(encoding, encoder.labels, Thresholds())[0].sources[0]
    assert source.labels
    assert source.azimuth_deg is source.distance_m is source.region is None


# --- training ---


def test_training_reaches_every_parameter() -> None:
    """The loss of all encoders, 1250 · BCE, from the one head there is."""
    encoder = small(drop_path=0.5).train()
    encoding = encoder(noise(8, 2, 16_000))
    assert encoding.tokens.shape[1] == 1 + int(7 * 0.8) * int(8 * 0.8), "masked patches are not computed"
    logits = encoding.class_logits
    assert logits is not None
    where = torch.zeros(8, 1, dtype=torch.int64)
    truth = Truth(torch.ones(8, 1, dtype=torch.bool), torch.zeros(8, 1, 355), where, where, where)
    loss, _ = encoder_loss(encoding, truth, Stage(name="one", trains="encoder"))
    assert loss.item() == pytest.approx(
        1250 * F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits)).item(), rel=1e-4
    )
    loss.backward()
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            assert float(parameter.grad.abs().max()) > 0, name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 30}, "multiple of heads"),
        ({"width": 6, "heads": 3}, "multiple of 4"),
        ({"patch_stride": 20}, "patch_stride"),
        ({"clip_seconds": 5.0}, "less than clip_seconds"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"drop_path": 1.0}, r"drop_path must be in \[0, 1\)"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        AudioMAEConfig(**{**SMALL, **options})


def test_float16_weights_are_read(tmp_path: Path) -> None:
    donor, encoder = small(), small()
    save_module(donor, tmp_path, half=True)
    encoder.load_weights(tmp_path)
    torch.testing.assert_close(encoder.head.weight, donor.head.weight, atol=1e-3, rtol=1e-3)
    assert encoder.head.weight.dtype == torch.float32


def test_unknown_pooling_is_refused() -> None:
    config = AudioMAEConfig()
    object.__setattr__(config, "pooling", "max")  # shape checks of a test run would refuse it before
    with pytest.raises(BadInput, match="'mean' or 'cls', got 'max'"):
        config.__post_init__()


@cache
def _small(pooling: str) -> AudioMAE:
    return small(pooling=pooling)


class TestMean(EncoderContract):
    """The contract, for the official classifier."""

    @pytest.fixture
    def encoder(self) -> AudioMAE:
        return _small("mean")


class TestClassToken(EncoderContract):
    """The contract, for the class token."""

    @pytest.fixture
    def encoder(self) -> AudioMAE:
        return _small("cls")
