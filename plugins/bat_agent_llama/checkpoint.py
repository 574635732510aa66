"""Weights of the reasoner on disk: ours, and the released BAT's ``model.pt`` (Q-Former and LoRA).

Only what is trained is kept. The released file is a plain state dict of 303 tensors without configuration
(X-LANCE/SLAM-LLM, examples/seld_spatialsoundqa): ``encoder_projector.…`` and
``llm.base_model.model.model.layers.N.self_attn.{q,v}_proj.lora_{A,B}.default.weight``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from bat_agent.checkpoint import check_state, read_tensors
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
    """Raise :class:`~bat_agent.errors.WeightsError` naming what is missing, unexpected or of another shape, and why."""
    try:
        check_state(wanted, found, str(file), "this reasoner")
    except WeightsError as error:
        released = any(n.startswith("projector.qformer") for n in found) and any("lora_" in n for n in found)
        what = f"those of the released BAT: {RELEASED_OPTIONS}" if released else "those it was trained with"
        of_another = (
            " (another language model, or an encoder of another width?)" if found.keys() == wanted.keys() else ""
        )
        raise WeightsError(f"{error}; build it with options that are {what}{of_another}") from error
