"""Weights on disk: round trips, released layouts, and what is said of files that do not fit."""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bat_agent import checkpoint
from bat_agent.checkpoint import WEIGHTS_FILE, describe, load_module, load_state, read_tensors, save_module
from bat_agent.errors import BadInput, WeightsError


def module(seed: int = 0) -> nn.Sequential:
    """A matrix, vectors, float buffers and an integer one."""
    net = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5))
    random = torch.Generator().manual_seed(seed)
    for value in net.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=random) * 1e-3)
        else:
            value.fill_(seed + 3)
    return net


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert value.dtype == b[key].dtype, key
        assert torch.equal(value, b[key]), key


def refusal(file: Path, into: nn.Module | None = None) -> str:
    """The one-line message with which a file is refused."""
    with pytest.raises(WeightsError) as caught:
        load_module(into or module(1), file)
    message = str(caught.value)
    assert str(file) in message
    return message


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    first, second = module(0), module(1)
    save_module(first, tmp_path / "new" / "folder")
    load_module(second, tmp_path / "new" / "folder")
    assert_same(second.state_dict(), first.state_dict())
    save_module(second, tmp_path / "again")
    files = [tmp_path / name / WEIGHTS_FILE for name in ("new/folder", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()
    load_module(module(2), files[0])  # the file itself is accepted as well


def test_half_precision_halves_matrices_only(tmp_path: Path) -> None:
    first, second = module(0), module(1)
    save_module(first, tmp_path, half=True)
    stored = read_tensors(tmp_path / WEIGHTS_FILE)
    assert {key for key, value in stored.items() if value.dtype == torch.float16} == {"0.weight"}
    load_module(second, tmp_path)
    for key, value in first.state_dict().items():
        loaded = second.state_dict()[key]
        assert loaded.dtype == value.dtype
        assert torch.equal(loaded, value.half().float() if key == "0.weight" else value)


def test_tied_weights_are_saved(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    save_module(net, tmp_path)
    assert_same(read_tensors(tmp_path / WEIGHTS_FILE), dict(net.state_dict()))


RELEASED: dict[str, Any] = {"args": argparse.Namespace(lr=1e-3, out="runs"), "epoch": 1, "optimizer": {"state": {}}}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("key", ["model", "state_dict", None])
def test_released_layouts_are_read(tmp_path: Path, key: str | None, prefix: str, zipped: bool) -> None:
    state = module(0).state_dict()
    stored: Any = {prefix + name: value for name, value in state.items()}
    stored = {key: stored, **RELEASED} if key else stored
    torch.save(stored, tmp_path / "finetuned.pth", _use_new_zipfile_serialization=zipped)
    net = module(1)
    load_module(net, tmp_path / "finetuned.pth")
    assert_same(net.state_dict(), state)


def test_misfit_names_what_is_missing_unexpected_and_misshapen(tmp_path: Path) -> None:
    state = dict(module(0).state_dict())
    del state["1.running_mean"]
    state["extra"] = torch.zeros(1)
    state["0.weight"] = torch.zeros(5, 8)
    torch.save(state, tmp_path / "odd.pth")
    net = module(1)
    message = refusal(tmp_path / "odd.pth", net)
    assert "1 missing (1.running_mean)" in message
    assert "1 unexpected (extra)" in message
    assert "1 misshapen (0.weight is (5, 8), expected (5, 7))" in message
    assert "does not fit Sequential" in message
    assert_same(net.state_dict(), module(1).state_dict())  # nothing was half loaded


def test_long_lists_are_cut(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"7 missing \(0\.bias, 0\.weight, 1\.bias, … 4 more\)"):
        load_state(module(), {}, "nowhere")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["conv_downsample1.1.weight", "conv_downsample.0.weight"], "DSpAST"),
        (["decoder_embed.weight"], "AudioMAE"),
        (["pos_embed", "blocks.0.attn.qkv.weight"], "AudioMAE"),
        (["encoder_projector.query"], "BAT language-side"),
        (["model.layers.0.self_attn.q_proj.weight"], "language model"),
        (["a", "b"], "nothing known here (its first keys: a, b)"),
    ],
)
def test_other_layouts_are_recognised(keys: list[str], words: str) -> None:
    assert words in describe({key: torch.zeros(1) for key in keys})


def test_spatial_ast_is_recognised_with_its_size_and_also_without_class_tokens() -> None:
    """Once a KeyError: the description of a file that lacked ``cls_tokens`` looked at them."""
    state = {"conv_downsample.0.weight": torch.zeros(1), "distance_head.weight": torch.zeros(1)}
    assert "Spatial-AST" in describe(state)
    assert "Spatial-AST" in describe({**state, "cls_tokens": torch.zeros(3)})
    assert "of width 64 with 2 slot(s)" in describe({**state, "cls_tokens": torch.zeros(1, 6, 64)})


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_truncated_file_is_named_as_such(tmp_path: Path, kind: str, share: float) -> None:
    if kind == "safetensors":
        save_module(module(), tmp_path)
        file = tmp_path / WEIGHTS_FILE
    else:
        file = tmp_path / "weights.pth"
        torch.save(module().state_dict(), file, _use_new_zipfile_serialization=kind == "zip")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    assert "truncated" in refusal(file)


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", b"<html>", b"hello", b"\0" * 600])
def test_file_of_another_kind_is_not_called_dangerous(tmp_path: Path, content: bytes) -> None:
    """Once "could run code" for a git-lfs pointer, and a bare KeyError for a text file."""
    (tmp_path / "weights.pth").write_bytes(content)
    assert "is not a PyTorch checkpoint" in refusal(tmp_path / "weights.pth")


def test_a_git_lfs_pointer_says_how_to_fetch_the_file(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_FILE).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5000000\n")
    assert "git-lfs pointer" in refusal(tmp_path)
    assert refusal(tmp_path).endswith("; copy it again, or run 'git lfs pull'")


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.check_call, (["touch", str(self.path)],)


@pytest.mark.parametrize("zipped", [True, False, None])
def test_pickle_with_code_is_refused_and_not_run(tmp_path: Path, zipped: bool | None) -> None:
    file, trace = tmp_path / "weights.pth", tmp_path / "trace"
    content = {"model": module().state_dict(), "args": _Touch(trace)}
    if zipped is None:
        file.write_bytes(pickle.dumps(_Touch(trace)))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
    message = refusal(file)
    assert not trace.exists()
    if zipped:
        assert "could run code" in message


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, {"a": torch.zeros(1), "b": "text"}])
def test_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pth")
    assert "holds no state dict" in refusal(tmp_path / "weights.pth")


def test_missing_file_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights at .*model\.safetensors: give"):
        load_module(module(), tmp_path)
    with pytest.raises(WeightsError, match=r"no weights at .*absent\.pth"):
        load_module(module(), tmp_path / "absent.pth")


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_module(module(0), tmp_path)

    def full_disk(tensors: dict[str, Tensor], file: Path) -> None:
        file.write_bytes(b"half a fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    with pytest.raises(BadInput, match="No space left"):
        save_module(module(1), tmp_path)
    assert os.listdir(tmp_path) == [WEIGHTS_FILE]
    assert_same(read_tensors(tmp_path / WEIGHTS_FILE), dict(module(0).state_dict()))


def test_weights_are_as_readable_as_any_new_file(tmp_path: Path) -> None:
    """Once private to the owner (mode 0600), so that a colleague could not load a shared model."""
    save_module(module(), tmp_path)
    (tmp_path / "other").touch()
    assert (tmp_path / WEIGHTS_FILE).stat().st_mode == (tmp_path / "other").stat().st_mode
