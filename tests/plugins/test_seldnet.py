"""SELDnet: its size, what its maps allow it to hear, short clips, that it learns; the masks of both baselines."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bat_agent.checkpoint import load_module, save_module
from bat_agent.clips.mixtures import Truth
from bat_agent.errors import BadInput, WeightsError
from bat_agent.recipes.schema import Stage
from bat_agent.testing import EncoderContract
from bat_agent.training.losses import encoder_loss
from bat_agent_baselines.config import SELDnetConfig
from bat_agent_baselines.seldnet import SELDnet

SMALL: dict[str, Any] = {
    "clip_seconds": 1.0,
    "filters": 8,
    "recurrent": (16, 16),
    "width": 32,
    "depth": 2,
    "heads": 4,
    "dropout": 0.0,
    "spec_time_frames": 0,
    "spec_mels": 0,
}
HEADS = {"class_logits": 355, "distance_logits": 21, "azimuth_logits": 360, "elevation_logits": 180}


def small(**options: Any) -> SELDnet:
    """A small encoder with heads large enough to say something, in evaluation mode."""
    torch.manual_seed(0)
    encoder = SELDnet(SELDnetConfig(**{**SMALL, **options}))
    for head in (encoder.head, encoder.distance_head, encoder.azimuth_head, encoder.elevation_head):
        torch.nn.init.normal_(head.weight)
    return encoder.eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_it_has_about_the_90_million_parameters_of_the_paper() -> None:
    """Counted by hand from the published layers and the chosen ones; BAT says approximately 90 M."""
    encoder = SELDnet()
    count = sum(p.numel() for p in encoder.parameters())
    print(f"SELDnet has {count:,} parameters")
    assert 80e6 < count < 100e6
    convolutions = (4 + 64 + 64) * 64 * 9 + 3 * 64 + 3 * 2 * 64
    recurrent = sum(2 * 3 * (128 * (inputs + 128) + 2 * 128) for inputs in (64 * 4, 128))
    blocks = 12 * ((4 + 8) * 768 * 768 + (4 + 4 + 1) * 768 + 4 * 768)
    heads = (355 + 21 + 360 + 180) * 769
    assert count == convolutions + recurrent + 2 * 128 + 129 * 768 + blocks + 2 * 768 + heads == 86_430_932
    assert (encoder.num_tokens, encoder.token_dim, encoder.sample_rate_hz) == (126, 768, 32_000)


def test_the_published_convolutions_keep_every_frame() -> None:
    """Adavanne et al. pool frequency alone, here the 128 bands by 8, 8, 2 to one."""
    encoder = small(pool_time=(1, 1, 1), pool_mels=(8, 8, 2))
    with torch.no_grad():
        assert encoder(noise(1, 2, 32_000)).tokens.shape == (1, 101, 32)
    assert encoder.num_tokens == 101


@pytest.mark.parametrize("seconds", [0.017, 0.05, 0.5, 0.73, 1.0])
def test_short_clips_give_fewer_tokens(seconds: float) -> None:
    encoder, samples = small(), int(seconds * 32_000)
    with torch.no_grad():
        encoding = encoder(noise(1, 2, samples))
    assert encoding.tokens.shape == (1, -(-(samples // 320 + 1) // 8), 32)
    for head, bins in HEADS.items():
        assert getattr(encoding, head).shape == (1, bins)
        assert bool(getattr(encoding, head).isfinite().all())


@pytest.mark.parametrize(("features", "maps"), [("mel+ipd", 4), ("mel", 2)])
def test_variants_hear_what_their_features_allow(features: str, maps: int) -> None:
    """Inverting one ear changes the phase alone; swapping the ears changes the maps of both variants."""
    encoder, waveform = small(features=features), noise(1, 2, 32_000) * torch.tensor([1.0, 0.3])[:, None]

    def changes(other: Tensor) -> bool:
        with torch.no_grad():
            return not torch.allclose(encoder(waveform).azimuth_logits, encoder(other).azimuth_logits, atol=1e-4)

    assert encoder.input_maps(waveform).shape == (1, maps, 101, 128)
    assert changes(waveform.flip(1))
    assert changes(waveform * torch.tensor([1.0, -1.0])[:, None]) == (features == "mel+ipd")


def test_phase_maps_reach_one() -> None:
    same = noise(1, 1, 32_000).expand(-1, 2, -1)
    cosine, sine = small().input_maps(same)[0, 2:]
    torch.testing.assert_close(cosine, torch.ones_like(cosine), atol=1e-5, rtol=0)
    torch.testing.assert_close(sine, torch.zeros_like(sine), atol=1e-5, rtol=0)


def test_directions_of_a_recurrent_layer_are_multiplied() -> None:
    """seld-net's ``merge_mode='mul'``: a layer whose backward direction says nothing (zero weights) says nothing."""
    encoder = small()
    for name, parameter in encoder.recurrent[0].named_parameters():
        if name.endswith("_reverse"):
            torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        one, other = (encoder(noise(1, 2, 32_000, seed=seed)).class_logits for seed in (0, 1))
        assert torch.equal(one, other)
        assert not torch.equal(*(small()(noise(1, 2, 32_000, seed=seed)).class_logits for seed in (0, 1)))


def test_fused_and_plain_transformer_agree() -> None:
    """Without gradients torch takes a fused path through its encoder layer."""
    encoder, waveform = small(), noise(2, 2, 32_000)
    plain = encoder(waveform)
    with torch.inference_mode():
        fused = encoder(waveform)
    for head in HEADS:
        torch.testing.assert_close(getattr(fused, head), getattr(plain, head).detach(), atol=1e-5, rtol=1e-4)


def test_maps_stay_float32_under_autocast() -> None:
    encoder, waveform = small(), noise(1, 2, 32_000)
    exact = encoder.input_maps(waveform)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder.input_maps(waveform), exact)


def lateral(clips: int, seed: int) -> tuple[Tensor, Truth]:
    """Noise that reaches one ear 0.5 ms before the other: from the left (azimuth 180) or from the right (0)."""
    random = torch.Generator().manual_seed(seed)
    left = torch.randint(2, (clips,), generator=random).bool()
    sound = 0.1 * torch.randn(clips, 16_016, generator=random)
    early, late = sound[:, 16:], sound[:, :-16]
    ears = (torch.where(left[:, None], early, late), torch.where(left[:, None], late, early))
    where = torch.zeros(clips, 1, dtype=torch.int64)
    truth = Truth(torch.ones(clips, 1, dtype=torch.bool), torch.zeros(clips, 1, 355), where, 180 * left[:, None], where)
    return torch.stack(ears, dim=1), truth


def test_it_learns_the_side_from_the_delay_between_the_ears() -> None:
    """With the loss of all encoders, from untrained heads; then it tells the side of noise it has never heard."""
    torch.manual_seed(0)
    encoder = SELDnet(SELDnetConfig(**{**SMALL, "depth": 1})).train()
    stage = Stage(name="side", trains="encoder")
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=3e-3)
    first = last = 0.0
    for step in range(100):
        waveform, truth = lateral(8, seed=step)
        loss, _ = encoder_loss(encoder(waveform), truth, stage)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), stage.clip_norm)
        optimizer.step()
        first, last = (loss.item() if step == 0 else first), loss.item()
    assert last < first / 10
    waveform, truth = lateral(32, seed=1000)
    with torch.no_grad():
        heard = encoder.eval()(waveform).azimuth_logits.argmax(dim=1)
    assert int((heard == truth.azimuth[:, 0]).sum()) >= 30


def test_the_loss_reaches_every_parameter() -> None:
    encoder = small(spec_time_frames=48, spec_mels=48, dropout=0.1).train()
    waveform, truth = lateral(4, seed=0)
    loss, _ = encoder_loss(encoder(waveform), truth, Stage(name="all", trains="encoder"))
    loss.backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        # A key's bias moves all scores of a query alike, which the softmax does not see.
        assert float(parameter.grad.abs().max()) > 0, name


def test_a_fresh_encoder_starts_from_rare_classes_and_even_directions() -> None:
    """Untrained heads: every class at 0.7 %, every direction as likely as the others."""
    torch.manual_seed(0)
    with torch.no_grad():
        encoding = SELDnet(SELDnetConfig(**SMALL)).eval()(noise(1, 2, 32_000))
    assert encoding.class_logits is not None
    assert encoding.azimuth_logits is not None
    torch.testing.assert_close(encoding.class_logits.sigmoid(), torch.full((1, 355), 0.0067), atol=1e-4, rtol=0)
    torch.testing.assert_close(encoding.azimuth_logits.softmax(dim=1), torch.full((1, 360), 1 / 360), atol=1e-5, rtol=0)


def test_weights_survive_a_round_trip_byte_by_byte(tmp_path: Path) -> None:
    first, second = small(), SELDnet(SELDnetConfig(**SMALL)).eval()
    save_module(first, tmp_path / "one")
    load_module(second, tmp_path / "one")
    save_module(second, tmp_path / "two")
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    with pytest.raises(WeightsError, match=r"does not fit SELDnet: 12 missing \(blocks.2.linear1.bias"):
        load_module(small(depth=3), tmp_path / "one")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 30}, "multiple of heads"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"pool_time": (2, 2)}, "same length"),
        ({"pool_mels": (3, 4, 2)}, "divide the 128 mel bands"),
        ({"pool_time": (0, 2, 2)}, "at least 1"),
        ({"recurrent": ()}, "recurrent needs an entry"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        SELDnetConfig(**{**SMALL, **options})


def test_unknown_features_is_refused() -> None:
    config = SELDnetConfig()
    object.__setattr__(config, "features", "mono")  # shape checks of a test run would refuse it before
    with pytest.raises(BadInput, match=r"'mel\+ipd' or 'mel', got 'mono'"):
        config.__post_init__()


@cache
def _small() -> SELDnet:
    return small()


class TestContract(EncoderContract):
    """The contract, for clips of any length."""

    @pytest.fixture
    def encoder(self) -> SELDnet:
        return _small()
