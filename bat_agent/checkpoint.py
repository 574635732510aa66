"""Weights on disk: safetensors for ours, the released ``.pth`` layouts for reading; writes are atomic.

A pickle is opened with ``weights_only``: a file that carries code is refused, while the extras of released files
(optimizer, epoch, scaler, an ``argparse.Namespace``) are accepted.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping
from pathlib import Path, PosixPath, PurePosixPath
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bat_agent.errors import WeightsError
from bat_agent.files.writing import os_error, whole_path

WEIGHTS_FILE = "model.safetensors"
# What stands beside the weights in released files: arguments, with paths in them, and numbers of numpy.
_NUMBERS = [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64, np.bool_)]
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [argparse.Namespace, PurePosixPath, PosixPath, np.dtype, *_NUMBERS]
# numpy 2 moved the function that rebuilds a number; files name either place.
_HARMLESS += [(_SCALAR, "numpy.core.multiarray.scalar"), (_SCALAR, "numpy._core.multiarray.scalar")]


def save_module(module: nn.Module, directory: Path | str, *, half: bool = False) -> None:
    """Write the module's state dict to ``directory/model.safetensors``.

    ``half`` stores matrices as float16; vectors (norms, biases, running statistics) stay float32.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    if half:
        state = {
            key: value.half() if value.is_floating_point() and value.ndim > 1 else value for key, value in state.items()
        }
    write_tensors(Path(directory) / WEIGHTS_FILE, state)


def load_module(module: nn.Module, path: Path | str) -> None:
    """Fill the module from a weights file, or from the one in a directory; every key must fit.

    Raises :class:`~bat_agent.errors.WeightsError` naming what is missing, unexpected or of another shape.
    """
    file = find_weights(path)
    load_state(module, read_tensors(file), str(file))


def load_state(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Fill the module from a state dict; ``where`` names its origin in errors."""
    check_state(module.state_dict(), state, where, type(module).__name__)
    module.load_state_dict(dict(state))


def check_state(own: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str, name: str) -> None:
    """Raise :class:`~bat_agent.errors.WeightsError` where ``state`` is not what the module ``name`` has."""
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    reshaped = [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own.keys() & state.keys()
        if own[key].shape != state[key].shape
    ]
    if missing or unexpected or reshaped:
        problems = [
            f"{len(keys)} {word} ({_some(keys)})"
            for keys, word in ((missing, "missing"), (unexpected, "unexpected"), (sorted(reshaped), "misshapen"))
            if keys
        ]
        raise WeightsError(f"{where} does not fit {name}: {'; '.join(problems)}; it looks like {describe(state)}")


def find_weights(path: Path | str) -> Path:
    """The weights file at ``path``, which may be the file or a directory that holds ``model.safetensors``."""
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / WEIGHTS_FILE
    if not path.is_file():
        raise WeightsError(
            f"no weights at {path}: give a .safetensors or .pth file, or a directory with {WEIGHTS_FILE}"
        )
    return path


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors or PyTorch file; released files keep it under the key ``model``."""
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except SafetensorError as error:
            what = "a git-lfs pointer, not the weights themselves" if _is_lfs_pointer(file) else f"truncated? {error}"
            raise WeightsError(
                f"{file} is not a readable safetensors file ({what}); copy it again, or run 'git lfs pull'"
            ) from error
    if not _starts_like_torch(file):
        raise WeightsError(
            f"{file} is not a PyTorch checkpoint (a git-lfs pointer or a saved web page?): "
            "download the file itself, or give a .safetensors file"
        )
    try:
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of old pickle protocols, which it then reads or refuses
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise WeightsError(
            f"{file} was refused: it contains more than tensors and plain values and could run code when opened; "
            "convert it to safetensors where you trust it"
        ) from error
    except Exception as error:  # a broken pickle raises anything, KeyError and UnicodeDecodeError included
        raise WeightsError(f"{file} is not a readable PyTorch checkpoint (truncated?): {error}") from error
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{file} holds no state dict: expected tensors by name, alone or under the key 'model'")
    prefixes = ("module.", "_orig_mod.")
    return {_strip(str(key), prefixes): value for key, value in content.items()}


def write_tensors(file: Path, tensors: Mapping[str, Tensor], *, advice: str | None = None) -> None:
    """Write safetensors atomically and durably: on a full disk the old file stays, and nothing else is left behind.

    Raises :class:`~bat_agent.errors.BadInput` where it cannot be written; ``advice`` is what helps a full disk.
    """
    needs = sum(value.numel() * value.element_size() for value in tensors.values())
    with whole_path(file, suffix="", durable=True, folder=True, needs=needs, advice=advice) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            # Tied weights share memory, which safetensors refuses; a copy each is small.
            save_file({key: value.clone() for key, value in tensors.items()}, temporary)
        except SafetensorError as error:
            raise (os_error(error) or error) from error
        temporary.chmod(mode)  # save_file makes the file private to its owner, whatever the umask says


def describe(state: Mapping[str, Tensor]) -> str:
    """What a state dict looks like, in words."""
    keys = state.keys()
    if "conv_downsample1.1.weight" in keys:
        return "a DSpAST checkpoint, which the encoder 'dspast' loads"
    if "conv_downsample.0.weight" in keys:
        tokens = state.get("cls_tokens")
        if tokens is None or tokens.ndim != 3:
            return "a Spatial-AST checkpoint without usable class tokens"
        return f"a Spatial-AST checkpoint of width {tokens.shape[-1]} with {tokens.shape[1] // 3} slot(s)"
    if "decoder_embed.weight" in keys or ("pos_embed" in keys and "blocks.0.attn.qkv.weight" in keys):
        return "an AudioMAE checkpoint"
    if any(key.startswith("encoder_projector.") for key in keys):
        return "a released BAT language-side checkpoint"
    if any("self_attn" in key for key in keys):
        return "a language model"
    return f"nothing known here (its first keys: {_some(sorted(keys))})"


def _is_lfs_pointer(file: Path) -> bool:
    """Whether the file is what git leaves in place of a large file that was not fetched."""
    with file.open("rb") as stream:
        return stream.read(24) == b"version https://git-lfs."


def _starts_like_torch(file: Path) -> bool:
    """Whether the file begins as a zip archive or a pickle; an empty one passes as truncated."""
    with file.open("rb") as stream:
        start = stream.read(2)
    return not start or start == b"PK" or start[:1] == b"\x80"


def _strip(key: str, prefixes: tuple[str, ...]) -> str:
    while key.startswith(prefixes):
        key = key.split(".", 1)[1]
    return key


def _some(keys: list[str], most: int = 3) -> str:
    more = f", … {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
