"""DSpAST: the released layout and figures, its features, cosine heads, training. Its numbers: test_dspast_parity."""

from __future__ import annotations

import argparse
import math
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bat_agent.clips.mixtures import Truth
from bat_agent.errors import BadInput, WeightsError
from bat_agent.sound.features import binaural_features, mel_filterbank
from bat_agent.testing import EncoderContract
from bat_agent_spatial_ast.checkpoint import UntrainedWarning
from bat_agent_spatial_ast.dspast import DSpAST
from bat_agent_spatial_ast.dspast_config import DSpASTConfig
from bat_agent_spatial_ast.dspast_features import dspast_features, level_ratio

SMALL: dict[str, Any] = {"clip_seconds": 1.0, "target_frames": 112, "width": 32, "depth": 2, "heads": 4, "head_dim": 12}


def small(**options: Any) -> DSpAST:
    """A small encoder with a class head large enough to say something, in evaluation mode."""
    torch.manual_seed(0)
    encoder = DSpAST(DSpASTConfig(**{**SMALL, **options}))
    nn.init.normal_(encoder.head.weight)
    return encoder.eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def truth(clips: int, seed: int = 0) -> Truth:
    """One source in every clip."""
    random = torch.Generator().manual_seed(seed)
    distance, azimuth, elevation = (torch.randint(bins, (clips, 1), generator=random) for bins in (21, 360, 180))
    classes = (torch.rand(clips, 1, 355, generator=random) < 0.01).float()
    return Truth(torch.ones(clips, 1, dtype=torch.bool), classes, distance, azimuth, elevation)


def released_layout() -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the released file, as read from the state dict of the released class."""
    layout: dict[str, tuple[int, ...]] = {"pos_embed": (1, 513, 768)}
    layout |= {"patch_embed.proj.weight": (768, 1, 16, 16), "patch_embed.proj.bias": (768,)}
    inside = {"attn.qkv": (2304, 768), "attn.proj": (768, 768), "mlp.fc1": (3072, 768), "mlp.fc2": (768, 3072)}
    for block in range(12):
        for name, shape in inside.items():
            layout |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        layout |= {f"blocks.{block}.{n}.{kind}": (768,) for n in ("norm1", "norm2") for kind in ("weight", "bias")}
    norms = {"bn": 2, "bn_ild": 1}
    for branch in (1, 2, 3):
        stem = f"conv_downsample{branch}"
        layout |= {f"cls_tokens{branch}": (1, 3, 768), f"{stem}.1.weight": (1, 6, 3, 3)}
        layout |= {f"pre_head{branch}.weight": (256, 768), f"pre_head{branch}.bias": (256,)}
        layout |= {f"{stem}.0.fc.{layer}.weight": (6, 6) for layer in (0, 2)}
        layout |= {f"{stem}.0.fc.{layer}.bias": (6,) for layer in (0, 2)}
        layout |= {f"{stem}.2.{kind}": (1,) for kind in ("weight", "bias")}
        norms |= {f"{stem}.0.bn": 6, f"{stem}.0.bn2": 6, f"{stem}.2": 1}
    for name, size in norms.items():
        layout |= {f"{name}.running_mean": (size,), f"{name}.running_var": (size,), f"{name}.num_batches_tracked": ()}
    layout |= {"fc_norm.weight": (256,), "fc_norm.bias": (256,), "head.weight": (355, 256), "head.bias": (355,)}
    for name, bins in (("distance", 21), ("azimuth", 360), ("elevation", 180)):
        layout |= {f"{name}_head.W": (bins, 256), f"{name}_head.s": (1,), f"{name}_head.pi": (1,)}
    layout |= {f"spectrogram_extractor.conv_{part}.weight": (513, 1, 1024) for part in ("real", "imag")}
    return layout | {"logmel_extractor.melW": (513, 128)}


@pytest.fixture(scope="module")
def released() -> DSpAST:
    """The released architecture; about 350 MB."""
    torch.manual_seed(0)
    return DSpAST().eval()


def test_layout_and_figures_are_the_released_ones(released: DSpAST) -> None:
    state = released.state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == released_layout()
    assert len(state) == 226
    assert sum(value.numel() for value in state.values()) == 87_595_500
    assert sum(value.numel() for value in released.parameters() if value.requires_grad) == 86_085_127
    integers = {key for key, value in state.items() if value.dtype != torch.float32}
    assert integers == {key for key in released_layout() if key.endswith("num_batches_tracked")}
    assert (released.token_dim, released.num_tokens, released.clip_seconds) == (768, 515, 10.0)
    for name, bins in (("distance", 21), ("azimuth", 360), ("elevation", 180)):  # the fixed scale of the AdaCos paper
        assert state[f"{name}_head.s"].item() == pytest.approx(math.sqrt(2) * math.log(bins - 1), rel=1e-6)
        assert state[f"{name}_head.pi"].item() == pytest.approx(math.pi, rel=1e-7)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_of_the_released_kind_loads_strictly(tmp_path: Path, prefix: str) -> None:
    """Under ``model``, beside what a trainer leaves; a layout built from the key list, not from our class."""
    shapes = {key: tuple(value.shape) for key, value in small().state_dict().items()}  # small sizes …
    kept = {key for key in released_layout() if key.startswith(("blocks.0.", "blocks.1.")) or "blocks" not in key}
    assert shapes.keys() == kept  # … of the released keys
    random = torch.Generator().manual_seed(3)
    state = {
        key: torch.tensor(7) if key.endswith("tracked") else torch.rand(shape, generator=random)
        for key, shape in shapes.items()
    }
    file = tmp_path / "checkpoint.pth"
    saved = {prefix + key: value for key, value in state.items()}
    torch.save({"model": saved, "args": argparse.Namespace(blr=1e-3), "epoch": 49}, file)
    encoder = small()
    encoder.load_weights(file)
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, state[key]), key
    with pytest.raises(WeightsError, match="looks like a DSpAST checkpoint"):
        small(depth=3).load_weights(file)


def test_saved_weights_load_and_a_masked_autoencoder_begins_one(tmp_path: Path) -> None:
    first, second, third = small(), DSpAST(DSpASTConfig(**SMALL)), DSpAST(DSpASTConfig(**SMALL))
    first.save_weights(tmp_path)
    second.load_weights(tmp_path)
    state = first.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in second.state_dict().items())
    begun = {key: value for key, value in state.items() if key.startswith(("blocks.", "patch_embed.", "pos_embed"))}
    torch.save({"model": {**begun, "decoder_embed.weight": torch.zeros(2, 2)}}, tmp_path / "pretrained.pth")
    with pytest.warns(UntrainedWarning, match="AudioMAE"):
        third.load_weights(tmp_path / "pretrained.pth")
    assert {key for key, value in third.state_dict().items() if torch.equal(value, state[key])} >= begun.keys()
    assert not torch.equal(third.cls_tokens1, first.cls_tokens1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 30}, "multiple of heads"),
        ({"width": 6, "heads": 3}, "multiple of 4"),
        ({"patch_mels": 20}, "divide the 128"),
        ({"target_frames": 100}, "multiple of patch_frames"),
        ({"head_dim": 0}, "must lie in 1…65536"),
        ({"mask_time": 1.0}, "below 1"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        DSpASTConfig(**{**SMALL, **options})


@pytest.mark.parametrize("late", [-40, -1, 0, 7, 63])
def test_correlation_peaks_at_the_delay_between_the_ears(late: int) -> None:
    """A sound that reaches the right ear ``late`` samples after the left: x_L(n + lag)·x_R(n) peaks at lag −late."""
    sound = noise(32_000)
    _, lags, _ = dspast_features(torch.stack((sound, sound.roll(late)))[None], mel_filterbank())
    assert lags.shape == (1, 1, 101, 128)
    inside = lags[0, 0, 5:-5]
    assert bool((inside.argmax(dim=1) == 64 - late).all())
    assert float(inside.max()) > 0.9 - abs(late) / 100  # the whole whitened energy, but for what the window cuts


def test_silence_is_an_impulse_at_lag_zero() -> None:
    mel, lags, phase = dspast_features(torch.zeros(1, 2, 32_000), mel_filterbank())
    impulse = torch.zeros(128)
    impulse[64] = 1
    torch.testing.assert_close(lags[0, 0], impulse.expand(101, -1), atol=1e-6, rtol=0)
    assert bool((mel == -100).all())
    torch.testing.assert_close(phase[0, 0], mel_filterbank().sum(dim=0).expand(101, -1), atol=1e-6, rtol=0)
    assert bool((phase[0, 1] == 0).all())


@pytest.mark.parametrize("ear", [0, 1])
def test_beside_a_silent_ear_the_correlation_has_the_signs_of_the_released_arithmetic(ear: int) -> None:
    """As there: kernels that slide over the padded waveform, then torch's own complex product and angle."""
    waveform = noise(1, 2, 32_000)
    waveform[:, ear] = 0
    padded = nn.functional.pad(waveform, (512, 512), mode="reflect").transpose(0, 1)
    kernels = _encoder().spectrogram_extractor
    weights = [getattr(kernels, part).weight for part in ("conv_real", "conv_imag")]
    real, imag = (nn.functional.conv1d(padded, weight, stride=320) for weight in weights)
    left, right = torch.complex(real, imag).transpose(1, 2)
    lags = torch.fft.irfft(torch.exp(1j * torch.angle(left * right.conj())))
    wanted = torch.cat((lags[:, -64:], lags[:, :64]), dim=1)
    _, found, _ = dspast_features(waveform, mel_filterbank())
    # The first frame is real by symmetry, so there the sign is one of rounding.
    torch.testing.assert_close(found[0, 0, 2:-2], wanted[2:-2], atol=5e-3, rtol=0)
    assert not torch.allclose(found[0, 0, 10, 64], torch.tensor(1.0), atol=0.2)


def test_level_ratio_is_the_formula_in_higher_precision() -> None:
    levels = torch.linspace(-100, 25, 128)
    mel = torch.stack((levels.expand(128, -1), levels[:, None].expand(-1, 128)))[None]  # every level beside every other
    found = level_ratio(mel, training=False).double()
    exact = np.exp(mel[:, :1].double().numpy()) / (np.exp(mel[:, 1:].double().numpy()) + 1e-16)
    np.testing.assert_allclose(found.numpy(), exact, rtol=2e-5, atol=1e-37)
    equal = level_ratio(torch.full((1, 2, 3, 128), -20.0), training=True)
    np.testing.assert_allclose(equal.numpy(), 1, rtol=1e-5)


@pytest.mark.parametrize("level", [1.0, 1e6, 1e30, 1e-22, 1e-38])
@pytest.mark.parametrize("ears", [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_nothing_is_infinite_whatever_is_heard(level: float, ears: tuple[float, float]) -> None:
    encoder = _encoder()
    waveform = noise(2, 2, 32_000) * (10 * level) * torch.tensor(ears)[:, None]
    with torch.no_grad():
        encoding = encoder(waveform)
        assert bool(
            level_ratio(dspast_features(waveform, mel_filterbank())[0], training=True).square().sum().isfinite()
        )
    for name, value in vars(encoding).items():
        assert value is None or bool(value.isfinite().all()), name


@pytest.mark.parametrize("training", [False, True])
def test_no_value_decides_what_is_computed(monkeypatch: pytest.MonkeyPatch, training: bool) -> None:
    """On the meta device tensors have no values: a branch on one raises, as it would break a CUDA graph."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta device
    encoder = small(spec_time_frames=0, spec_mels=0).to("meta").train(training)
    assert encoder(torch.empty(2, 2, 32_000, device="meta")).distance_logits.shape == (2, 21)


def test_phase_maps_and_log_mel_are_those_of_spatial_ast() -> None:
    """The two encoders share four maps; those come from the core's own front end there."""
    waveform = noise(2, 2, 32_000)
    waveform[0, :, 9_000:20_000] = 0
    waveform[1, 0, 9_000:20_000] = 0
    mel, phase = binaural_features(waveform, mel_filterbank())
    ours, _, turned = dspast_features(waveform, mel_filterbank())
    torch.testing.assert_close(ours, mel, atol=1e-3, rtol=0)
    torch.testing.assert_close(turned, phase, atol=2e-5, rtol=0)


def test_one_pass_of_three_branches_is_three_passes() -> None:
    encoder = small()
    images = encoder.mix_maps(encoder.input_maps(noise(2, 2, 32_000)))
    together = encoder.encode_images(images)
    separate = []
    for number, image in enumerate(images.chunk(3), start=1):
        x = encoder.patch_embed(image) + encoder.pos_embed[:, 1:]
        x = torch.cat((getattr(encoder, f"cls_tokens{number}").expand(2, -1, -1), x), dim=1)
        for block in encoder.blocks:
            x = block(x)
        separate.append(getattr(encoder, f"pre_head{number}")(x))
    torch.testing.assert_close(together, torch.cat(separate, dim=2), atol=1e-5, rtol=1e-5)
    assert together.shape == (2, 3 + 7 * 8, 36)


def test_each_head_reads_all_three_class_tokens_of_its_branch() -> None:
    encoder = small()
    tokens = noise(1, 59, 36)
    before = encoder.read_heads(tokens)
    tasks = {0: {"distance_logits"}, 1: {"azimuth_logits", "elevation_logits"}, 2: {"class_logits"}}
    for branch, heads in tasks.items():
        for token in range(4):
            other = tokens.clone()
            other[:, token, 12 * branch] += 1
            after = encoder.read_heads(other)
            changed = {
                name for name in ("class_logits", "distance_logits", "azimuth_logits", "elevation_logits")
                if not torch.equal(getattr(before, name), getattr(after, name))
            }  # fmt: skip
            assert changed == (heads if token < 3 else set())


@pytest.mark.parametrize(("options", "maps"), [({"gcc_and_ild": False}, 4), ({"attention": False}, 6)])
def test_ablations_of_the_paper_are_options(options: dict[str, bool], maps: int) -> None:
    encoder = small(**options)
    assert encoder.input_maps(noise(1, 2, 32_000)).shape == (1, maps, 112, 128)
    assert bool(encoder(noise(1, 2, 32_000)).tokens.isfinite().all())
    assert hasattr(encoder, "bn_ild") == (maps == 6)
    assert ("conv_downsample1.0.fc.0.weight" in encoder.state_dict()) == options.get("attention", True)


def loss_of(encoding: Any, targets: Truth) -> Tensor:
    total = nn.functional.binary_cross_entropy_with_logits(encoding.class_logits, targets.classes[:, 0])
    for task in ("distance", "azimuth", "elevation"):
        total = total + nn.functional.cross_entropy(getattr(encoding, f"{task}_logits"), getattr(targets, task)[:, 0])
    return total


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_training_has_finite_gradients_everywhere_and_learns(precision: torch.dtype) -> None:
    encoder = small(drop_path=0.0, mask_time=0.0, mask_mels=0.0, spec_time_frames=0, spec_mels=0).train()
    waveform, targets = noise(4, 2, 32_000), truth(4)
    waveform[1, 1] = 0  # makes the level ratio as large as it gets
    waveform[2] = 0
    optimizer = torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], lr=6e-3)
    losses = []
    for _ in range(12):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            encoding = encoder(waveform)
            loss = loss_of(encoder.adapt(encoding, targets), targets)
        optimizer.zero_grad()
        loss.backward()
        gradients = {name: value.grad for name, value in encoder.named_parameters() if value.requires_grad}
        assert all(value is not None and bool(value.isfinite().all()) for value in gradients.values())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(bool(value.isfinite().all()) for value in encoder.state_dict().values())
    assert bool(encoder.eval()(waveform).tokens.isfinite().all())


def test_masks_hide_patches_of_each_branch_for_itself() -> None:
    encoder = small(spec_time_frames=0, spec_mels=0, depth=0, drop_path=0.0).train()
    with torch.no_grad():
        images = noise(6, 1, 112, 128)
        images[2:4] = images[:2]  # two branches that hear the same
        encoder.cls_tokens2.copy_(encoder.cls_tokens1)
        encoder.pre_head2.load_state_dict(encoder.pre_head1.state_dict())
        tokens = encoder.encode_images(images)
    assert tokens.shape == (2, 3 + int(7 * 0.75) * int(8 * 0.75), 36)
    first, second, _ = tokens.chunk(3, dim=2)
    assert torch.equal(first[:, :3], second[:, :3])
    kept = [{tuple(row) for row in part[0, 3:].tolist()} for part in (first, second)]
    assert kept[0] != kept[1]


def test_one_clip_cannot_be_trained_on() -> None:
    with pytest.raises(BadInput, match="at least 2"):
        small().train()(noise(1, 2, 32_000))


@cache
def _encoder() -> DSpAST:
    return small()


class TestDSpAST(EncoderContract):
    @pytest.fixture
    def encoder(self) -> DSpAST:
        return _encoder()


def test_an_agent_gets_probabilities_where_the_released_code_gives_cosines() -> None:
    from bat_agent.agent import Bat, ModelConfig

    encoder = small().eval()
    waveform = noise(1, 2, 32_000)
    with torch.no_grad():
        cosines = encoder(waveform).azimuth_logits
        nothing: dict[str, object] = {"name": "", "options": {}}
        Bat(ModelConfig("test", nothing, nothing), encoder, lambda: pytest.fail("no question was asked"))
        scaled = encoder(waveform).azimuth_logits
    torch.testing.assert_close(scaled, cosines * encoder.azimuth_head.s)
    assert float(encoder.azimuth_head.s) > 2
