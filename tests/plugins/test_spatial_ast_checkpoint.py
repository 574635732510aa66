"""Checkpoints of released encoders: recognised, begun from, or refused with one sentence."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bat_agent
from bat_agent.checkpoint import describe
from bat_agent.errors import WeightsError
from bat_agent_spatial_ast.checkpoint import UntrainedWarning
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST

SMALL: dict[str, Any] = {"width": 32, "depth": 2, "heads": 4, "clip_seconds": 2.0, "target_frames": 208}


def build() -> SpatialAST:
    return SpatialAST(SpatialASTConfig(**SMALL))


def load(path: Path) -> SpatialAST:
    encoder = bat_agent.load_encoder("spatial-ast", weights=path, **SMALL)
    assert isinstance(encoder, SpatialAST)
    return encoder


def audiomae(prefix: str = "", width: int = 32, decoder: bool = True) -> dict[str, torch.Tensor]:
    """A state dict in AudioMAE's layout: the transformer with a class token, and its decoder where pretrained."""
    torch.manual_seed(3)
    own = SpatialAST(SpatialASTConfig(**{**SMALL, "width": width})).state_dict()
    state = {key: torch.randn_like(own[key]) for key in own if key.startswith(("blocks.", "patch_embed", "pos_embed"))}
    state |= {"cls_token": torch.zeros(1, 1, width), "norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
    if decoder:
        state |= {"decoder_embed.weight": torch.zeros(16, width), "mask_token": torch.zeros(1, 1, 16)}
    else:
        state |= {"head.weight": torch.zeros(527, width), "head.bias": torch.zeros(527)}
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("decoder", [True, False])
def test_an_audiomae_checkpoint_begins_an_encoder_and_says_what_is_untrained(
    tmp_path: Path, prefix: str, decoder: bool
) -> None:
    state = audiomae(prefix, decoder=decoder)
    torch.save({"model": state, "epoch": 3}, tmp_path / "pretrained.pth")
    with pytest.warns(UntrainedWarning, match=r"27 transformer tensors were taken, everything else .* is untrained"):
        encoder = load(tmp_path / "pretrained.pth")
    taken = 0
    for key, value in encoder.state_dict().items():
        if prefix + key in state and not key.startswith("head"):
            assert torch.equal(value, state[prefix + key])
            taken += 1
    assert taken == 27


def test_audiomae_of_another_size_is_refused(tmp_path: Path) -> None:
    torch.save({"model": audiomae(width=64)}, tmp_path / "large.pth")
    with pytest.raises(WeightsError, match=r"AudioMAE checkpoint of another size: .* expected"):
        load(tmp_path / "large.pth")


def test_the_extras_of_a_released_file_are_accepted(tmp_path: Path) -> None:
    """Optimizer, epoch, scaler, arguments with paths in them, numbers of numpy."""
    trained = build()
    args = argparse.Namespace(blr=1e-3, output_dir=Path("out"), nb_classes=355, dist_on_itp=False)
    extras = {
        "optimizer": torch.optim.AdamW(trained.parameters()).state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "epoch": 17,
        "best": np.float64(0.5),
        "args": args,
    }
    torch.save({"model": trained.state_dict(), **extras}, tmp_path / "finetuned.pth")
    loaded = load(tmp_path / "finetuned.pth")
    assert all(torch.equal(value, trained.state_dict()[key]) for key, value in loaded.state_dict().items())


class Payload:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_file_that_carries_code_is_refused_unopened(tmp_path: Path, how: str) -> None:
    file, marker = tmp_path / "evil.pth", tmp_path / "ran"
    content = {"model": build().state_dict(), "args": Payload(str(marker))}
    if how == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match="could run code when opened"):
        load(file)
    assert not marker.exists()


def test_another_label_table_is_named(tmp_path: Path) -> None:
    state = build().state_dict()
    state["head.weight"], state["head.bias"] = torch.zeros(527, 32), torch.zeros(527)
    torch.save({"model": state}, tmp_path / "audioset.pth")
    with pytest.raises(WeightsError, match=r"label table of 527 classes, expected the 355"):
        load(tmp_path / "audioset.pth")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    torch.save({"model": build().state_dict()}, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"half.pth is not a readable PyTorch checkpoint"):
        load(tmp_path / "half.pth")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"conv_downsample1.1.weight": torch.zeros(1)}, "a DSpAST checkpoint, which the encoder 'dspast' loads"),
        ({"encoder_projector.query": torch.zeros(1)}, "a released BAT language-side checkpoint"),
        ({"model.layers.0.self_attn.q_proj.weight": torch.zeros(1)}, "a language model"),
        ({"fc.weight": torch.zeros(1)}, "nothing known here"),
    ],
)
def test_other_layouts_are_recognised(tmp_path: Path, state: dict[str, torch.Tensor], words: str) -> None:
    assert words in describe(state)
    torch.save({"model": state}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=words):
        load(tmp_path / "other.pth")


def test_state_dict_round_trip_is_byte_identical(tmp_path: Path) -> None:
    from bat_agent.checkpoint import save_module

    trained = build()
    save_module(trained, tmp_path / "a")
    save_module(load(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
