"""Weights of released encoders: which file it is, and what of it this encoder takes.

An AudioMAE checkpoint (pretrained or finetuned) holds the transformer only. It is taken as a beginning, as BAT does,
with a warning that class tokens, the 3×3 convolution and the heads are still untrained.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from bat_agent.checkpoint import describe, find_weights, load_state, read_tensors
from bat_agent.errors import WeightsError

SHARED_WITH_AUDIOMAE = ("blocks.", "patch_embed.proj.", "pos_embed")


class UntrainedWarning(UserWarning):
    """Part of the encoder has no trained weights yet."""


def load(module: nn.Module, path: Path | str) -> None:
    """Fill an encoder from a file or folder; AudioMAE's transformer begins one.

    Raises :class:`~bat_agent.errors.WeightsError` where the file is another model, or the same one in another size.
    """
    file = find_weights(path)
    state = read_tensors(file)
    if describe(state) == "an AudioMAE checkpoint":
        _begin_from(module, state, file)
        return
    own = module.state_dict()
    head = state.get("head.weight")
    if head is not None and "head.weight" in own and head.shape[1:] == own["head.weight"].shape[1:]:
        classes, expected = len(head), len(own["head.weight"])
        if classes != expected:
            raise WeightsError(
                f"{file} was trained on a label table of {classes} classes, expected the {expected} of this library; "
                "train the class head anew, or give a checkpoint trained on them"
            )
    load_state(module, state, str(file))


def _begin_from(module: nn.Module, state: Mapping[str, Tensor], file: Path) -> None:
    own = module.state_dict()
    wanted = [key for key in own if key.startswith(SHARED_WITH_AUDIOMAE)]
    wrong = [key for key in wanted if key not in state or state[key].shape != own[key].shape]
    if wrong:
        found = tuple(state[wrong[0]].shape) if wrong[0] in state else "missing"
        raise WeightsError(
            f"{file} is an AudioMAE checkpoint of another size: {wrong[0]} is {found}, expected "
            f"{tuple(own[wrong[0]].shape)}; only an encoder of AudioMAE's width, depth and patches can begin from it"
        )
    module.load_state_dict({**own, **{key: state[key] for key in wanted}})
    warnings.warn(
        f"{file.name} is an AudioMAE checkpoint: its {len(wanted)} transformer tensors were taken, everything else "
        "(class tokens, first convolution, heads) is untrained; train before use",
        UntrainedWarning,
        stacklevel=4,
    )
