"""Exported by torch, heard by ONNX Runtime: files, what they say beside torch, and what cannot be exported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import config

import bat_agent
from bat_agent import lite
from bat_agent.agent import Bat
from bat_agent.errors import BadInput, WeightsError
from bat_agent.exporting import export
from bat_agent.hearing.heads import sigmoid, softmax
from bat_agent.hearing.model_folder import ModelConfig
from bat_agent.registry import load_encoder
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.reasoner import RulesReasoner

for needed in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(needed)

RELEASED: dict[str, Any] = {"clip_seconds": 1.0, "target_frames": 112, "width": 32, "depth": 1, "heads": 2}
"""The released architecture in small: one length alone, stretched to so many frames."""
SLOTS: dict[str, Any] = {
    "clip_seconds": 2.0, "target_frames": None, "patch_frames": 8, "patch_mels": 128, "width": 32, "depth": 1,
    "heads": 2, "store_front_end": False, "num_slots": 2, "mask_time": 0.0, "mask_mels": 0.0, "symmetric": True,
    "level": "token", "summary_frames": 96, "slot_summary": True, "direct_sound": True, "summary_hidden": 32,
}  # fmt: skip
EXPERTS: dict[str, Any] = {
    "experts": ({**SLOTS, "noise_floor_dbfs": -120.0}, {**SLOTS, "noise_floor_dbfs": -100.0}), "gate_hidden": 8,
}  # fmt: skip


def bat_of(options: dict[str, Any]) -> Bat:
    torch.manual_seed(0)
    name = "spatial-ast-experts" if "experts" in options else "spatial-ast"
    encoder: Any = load_encoder(name, **options)
    for key, parameter in encoder.named_parameters():
        if "head" in key and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    made = ModelConfig("small", {"name": name, "options": options}, {"name": "rules", "options": {}})
    return Bat(made, encoder, RulesReasoner(RulesConfig()))


@pytest.fixture
def _unchecked() -> Iterator[None]:
    """A length that torch.export keeps open is no ``int``, which the shape checks of the tests would refuse."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.mark.slow
@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize("options", [RELEASED, SLOTS, EXPERTS], ids=["released", "slots", "experts"])
def test_what_is_exported_says_what_torch_says(options: dict[str, Any], tmp_path: Path) -> None:
    bat = bat_of(options)
    found = export(bat, tmp_path / "out", tell=lambda text: None)
    assert [one.precision for one in found] == ["int8", "float32", "float16"]
    assert found[1].apart < 1e-3
    assert found[2].num_bytes <= found[1].num_bytes
    rng = np.random.default_rng(0)
    seconds = 1.0 if bat.encoder.clip_seconds == 1 else 1.37
    sounds = (0.1 * rng.standard_normal((3, 2, round(seconds * 32_000)))).astype(np.float32)
    with torch.inference_mode():
        wanted = bat.encoder(torch.from_numpy(sounds))
    said = lite.LiteEncoder(tmp_path / "out", precision="float32")(sounds)
    np.testing.assert_allclose(sigmoid(said.class_logits), sigmoid(wanted.class_logits), atol=1e-3)
    np.testing.assert_allclose(softmax(said.azimuth_logits), softmax(wanted.azimuth_logits), atol=1e-3)
    ears = bat_agent.load(tmp_path / "out")
    assert isinstance(ears, lite.LiteBat)
    assert ears.encoder.precision == "int8"
    assert ears.perceive(sounds[0]).class_probs.keys() == bat.perceive(sounds[0]).class_probs.keys()
    with pytest.raises(WeightsError, match=r"exported to ONNX, which torch does not compute; load it with"):
        Bat.from_pretrained(tmp_path / "out")


def test_an_encoder_without_a_graph_is_refused(tmp_path: Path) -> None:
    made = ModelConfig("echo", {"name": "echo", "options": {}}, {"name": "rules", "options": {}})
    bat = Bat(made, EchoEncoder(EchoEncoderConfig()), RulesReasoner(RulesConfig()))
    with pytest.raises(BadInput, match=r"encoder 'echo' cannot be exported: it has no method graph"):
        export(bat, tmp_path)


def test_a_reasoner_that_needs_torch_is_refused(tmp_path: Path) -> None:
    bat = bat_of(RELEASED)
    made = ModelConfig("echo", bat.config.encoder, {"name": "echo", "options": {}})
    with pytest.raises(BadInput, match=r"reasoner 'echo' needs torch.*take 'rules', or the model"):
        export(Bat(made, bat.encoder, EchoReasoner(EchoReasonerConfig())), tmp_path)


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no precision 'int4', only int8, float32, float16"):
        export(bat_of(RELEASED), tmp_path, ["int4"])
