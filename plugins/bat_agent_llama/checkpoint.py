"""Weights of the reasoner on disk: ours, and the released BAT's ``model.pt`` (Q-Former and LoRA).

Only what is trained is kept. The released file is a plain state dict of 303 tensors without configuration
(X-LANCE/SLAM-LLM, examples/seld_spatialsoundqa): ``encoder_projector.…`` and
``llm.base_model.model.model.layers.N.self_attn.{q,v}_proj.lora_{A,B}.default.weight``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from bat_agent.checkpoint import describe, read_tensors
from bat_agent.errors import WeightsError

WEIGHTS_FILE = "model.safetensors"
_RELEASED_PROJECTOR, _RELEASED_LLM = "encoder_projector.", "llm.base_model.model."
RELEASED_OPTIONS = "projector=qformer, adapter=lora and llm=FOLDER of LLaMA-2 7B"


def read_reasoner(path: Path) -> tuple[Path, dict[str, Tensor]]:
    """The file at ``path`` (a file, or a folder with ``model.safetensors``) and its tensors under our names.

    Raises :class:`~bat_agent.errors.WeightsError` where there is none, or none that can be read.
    """
    file = path / WEIGHTS_FILE if path.is_dir() else path
    if not file.is_file():
        raise WeightsError(
            f"there are no reasoner weights at {file}; pass a folder with {WEIGHTS_FILE}, or the released model.pt"
        )
    found = read_tensors(file)
    return file, from_released(found) if is_released(found) else found


def is_released(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the released BAT's."""
    return any(name.startswith(_RELEASED_PROJECTOR) for name in tensors)


def from_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Released names turned into ours; what is not known stays as it is, to be told."""
    return {_ours(name): tensor for name, tensor in tensors.items()}


def to_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`from_released`, for those who go on with the released code."""
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith("projector."):
            name = _RELEASED_PROJECTOR + name.removeprefix("projector.")
        elif name.startswith("llm."):
            name = _RELEASED_LLM + name.removeprefix("llm.")
        renamed[name] = tensor
    return renamed


def _ours(name: str) -> str:
    if name.startswith(_RELEASED_PROJECTOR):
        return "projector." + name.removeprefix(_RELEASED_PROJECTOR)
    return name.replace(_RELEASED_LLM, "llm.", 1) if name.startswith(_RELEASED_LLM) else name


def check_tensors(file: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise :class:`~bat_agent.errors.WeightsError` naming what is missing, unexpected or of another shape."""
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    wrong = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if not (missing or unexpected or wrong):
        return
    parts = [("missing", missing), ("unexpected", unexpected), ("of another shape", wrong)]
    said = "; ".join(f"{len(names)} {what} ({', '.join(names[:3])})" for what, names in parts if names)
    if not missing and not unexpected and len(wrong) > len(found) / 4:
        said += "; as most are, it was trained with another language model, or an encoder of another width"
    released = any(name.startswith("projector.qformer") for name in found) and any("lora_" in name for name in found)
    what = f"the released BAT's, which wants {RELEASED_OPTIONS}" if released else "those it was trained with"
    looks = "" if released else f" (it looks like {describe(found)})" if not found.keys() & wanted.keys() else ""
    raise WeightsError(
        f"{file} does not fit this reasoner{looks}: tensors {said}; build it with options that are {what}"
    )
