"""Saving ears and loading them: folders, the hub, what is missing or broken."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

import bat_agent
from bat_agent.agent import Bat, ModelConfig
from bat_agent.errors import BadInput, WeightsError
from bat_agent.hearing.model_folder import shipped_models
from bat_agent.hearing.perception import Thresholds
from bat_agent.interfaces import Encoding
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner

RATE_HZ = 32_000

QUESTION = "Where is the dog?"

load = partial(bat_agent.load, device="cpu")

CONFIG = ModelConfig("echo", {"name": "echo", "options": {"token_dim": 8}}, {"name": "echo", "options": {}})


class CountingEncoder(EchoEncoder):
    """Counts the clips it encodes."""

    clips = 0

    def forward(self, waveform: torch.Tensor) -> Encoding:
        self.clips += len(waveform)
        return super().forward(waveform)


@pytest.fixture
def bat() -> Bat:
    encoder = CountingEncoder(EchoEncoderConfig(token_dim=8))
    return Bat(CONFIG, encoder, EchoReasoner(EchoReasonerConfig()))


def clip(left: float = 0.1, right: float = 0.1, seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((2, round(seconds * RATE_HZ)))
    return (noise * [[left], [right]]).astype(np.float32)


@pytest.mark.parametrize("half", [False, True])
def test_a_saved_agent_perceives_and_answers_as_before(bat: Bat, tmp_path: Path, half: bool) -> None:
    torch.nn.init.constant_(bat.encoder.sharpness, 0.37)  # type: ignore[attr-defined]
    bat.config = ModelConfig("mine", CONFIG.encoder, CONFIG.reasoner, Thresholds(0.3, 0.2))
    bat.save_pretrained(tmp_path / "a" / "b", half=half)
    again = load(tmp_path / "a" / "b")
    assert again.config == bat.config
    torch.testing.assert_close(again.encoder.sharpness, bat.encoder.sharpness)  # type: ignore[attr-defined]
    sound = clip(0.5, 0.1)
    assert again.perceive(sound) == bat.perceive(sound)
    assert again.ask(sound, [QUESTION]) == bat.ask(sound, [QUESTION])
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["config.json", "encoder", "reasoner"]


def test_matrices_are_halved_and_a_trained_encoder_still_hears_the_same(tmp_path: Path) -> None:
    """bfloat16 of one matrix would shift logits by a per cent; float16 may shift them by 2⁻¹¹."""
    options = {"clip_seconds": 1.0, "target_frames": None, "width": 32, "depth": 1, "heads": 2, "num_slots": 2}
    encoder = bat_agent.load_encoder("spatial-ast", store_front_end=False, **options)
    with torch.no_grad():
        for parameter in encoder.parameters():  # type: ignore[attr-defined]
            parameter.add_(0.1 * torch.sin(torch.arange(parameter.numel()).view(parameter.shape)))
    config = ModelConfig(
        "x", {"name": "spatial-ast", "options": {**options, "store_front_end": False}}, CONFIG.reasoner
    )
    bat = Bat(config, encoder, EchoReasoner(EchoReasonerConfig()))
    for half in (False, True):
        bat.save_pretrained(tmp_path / str(half), half=half)
    sizes = [(tmp_path / name / "encoder" / "model.safetensors").stat().st_size for name in ("True", "False")]
    assert sizes[0] < 0.6 * sizes[1]
    sound = torch.from_numpy(clip())[None]
    with torch.no_grad():
        wanted, exact, rough = (
            b.encoder(sound).slots.class_logits for b in (bat, *(load(tmp_path / n) for n in ("False", "True")))
        )
    torch.testing.assert_close(exact, wanted, rtol=0, atol=0)
    torch.testing.assert_close(rough, wanted, rtol=0.01, atol=0.01)
    assert not torch.equal(rough, wanted)


def test_the_hub_finds_what_save_pretrained_wrote(bat: Bat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bat.save_pretrained(tmp_path)
    asked = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name: asked.append(name) or str(tmp_path))
    assert load("owner/ears").perceive(clip()) == bat.perceive(clip())
    assert asked == ["owner/ears"]


def fail(error: Exception) -> Callable[..., str]:
    def download(_: str) -> str:
        raise error

    return download


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("offline"), ConnectionError("no route"), TimeoutError()])
def test_without_a_connection_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail(error))
    with pytest.raises(WeightsError, match=r"cannot fetch.*'owner/ears'.*'hf download owner/ears' and pass") as refused:
        load("owner/ears")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["a/b c", "models/", "a/-b"])
def test_a_name_that_is_neither_directory_nor_repository_is_one_sentence(name: str) -> None:
    """The hub's own validation error, a bare ValueError, once came through."""
    with pytest.raises(WeightsError, match="no such directory"):
        load(name)


def test_an_unknown_model_lists_those_there_are() -> None:
    with pytest.raises(WeightsError, match=r"no model 'bat-huge': give a directory, a hub repository.*shipped"):
        load("bat-huge")
    for name, path in shipped_models().items():
        assert (path / "config.json").is_file()
        assert path.name == name


def test_a_directory_without_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no model directory: config\.json is missing"):
        load(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '"x"',
        '{"name": "x", "encoder": "echo", "reasoner": {"name": "echo", "options": {}}, "thresholds": {}}',
        '{"name": "x", "encoder": {"name": "echo"}, "reasoner": {"name": "echo", "options": {}}, "thresholds": {}}',
        '{"name": "x", "encoder": {"name": "echo", "options": null}, "reasoner": {"name": "echo", "options": {}},'
        ' "thresholds": {}}',
        '{"name": "x", "encoder": {"name": "echo", "options": {}}, "reasoner": {"name": "echo", "options": {}},'
        ' "thresholds": {"loudness": 1}}',
    ],
)
def test_a_broken_config_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    for part in ("encoder", "reasoner"):
        (tmp_path / part).mkdir()
    with pytest.raises(WeightsError, match=r"config\.json is broken") as refused:
        load(tmp_path)
    assert "\n" not in str(refused.value)
    assert "Error(" not in str(refused.value)


@pytest.mark.parametrize("part", ["encoder", "reasoner"])
def test_missing_weights_are_named(bat: Bat, tmp_path: Path, part: str) -> None:
    bat.save_pretrained(tmp_path)
    (tmp_path / part / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=f"no weights at.*{part}"):
        load(tmp_path).reasoner  # noqa: B018
    (tmp_path / part).rmdir()
    with pytest.raises(WeightsError, match=f"{part}/ is missing; copy the whole model"):
        load(tmp_path)


def test_a_failed_save_leaves_no_config(bat: Bat, tmp_path: Path) -> None:
    """The config is written last, so that a directory that has one is complete."""
    (tmp_path / "reasoner").write_text("in the way")
    with pytest.raises((OSError, BadInput), match="reasoner"):
        bat.save_pretrained(tmp_path)
    assert not (tmp_path / "config.json").exists()
