"""Official AudioMAE files: which they are, what fits, and the classes of an AudioSet head that SpatialSoundQA keeps."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from torch import Tensor, nn

from bat_agent.checkpoint import describe, find_weights, load_state, read_tensors
from bat_agent.errors import WeightsError
from bat_agent.interfaces import NUM_CLASSES
from bat_agent_baselines.config import AudioMAEConfig

AUDIOSET_CLASSES = 527
HEAD = ("head.weight", "head.bias")
BODY = ("cls_token", "pos_embed", "patch_embed.", "blocks.")
PRETRAINING_ONLY = ("decoder_", "mask_token", "norm.")


@cache
def audioset_rows() -> tuple[int, ...]:
    """The AudioSet class number (0 to 526) of each of the 355 classes, in their order.

    The released label table keeps the numbers of AudioSet's own ``class_labels_indices.csv`` in its column ``index``.
    """
    table = resources.files("bat_agent.data").joinpath("class_labels_indices_subset.csv").read_text(encoding="utf-8")
    return tuple(int(row[0]) for row in list(csv.reader(table.splitlines()))[1:] if row)


def load_audiomae(model: nn.Module, config: AudioMAEConfig, path: Path | str) -> None:
    """Fill ``model`` from a file that this encoder saved or from an official one (finetuned or pretrained).

    A head of 527 classes is cut down to the 355, which leaves their logits as they were. A pretrained file has no
    classifier: its encoder is taken, and a warning names what starts untrained; so it is with ``new_head``.
    Raises :class:`~bat_agent.errors.WeightsError` for another layout, another size or a head of other classes.
    """
    file = find_weights(path)
    state = read_tensors(file)
    if not any(key.startswith("blocks.0.attn.qkv.") for key in state) or "cls_token" not in state:
        raise WeightsError(
            f"{file} is no AudioMAE checkpoint, it looks like {describe(state)}: give an official finetuned or "
            "pretrained AudioMAE file, or one that this encoder has saved"
        )
    classes = len(state.get("head.weight", ()))
    if not classes or any(key.startswith("decoder_") for key in state):
        _load_body(model, config, state, file, PRETRAINING_ONLY)
    elif config.new_head and classes != NUM_CLASSES:
        _load_body(model, config, state, file, ())
    else:
        load_state(model, _with_known_classes(state, classes, file), str(file))


def _with_known_classes(state: Mapping[str, Tensor], classes: int, file: Path) -> dict[str, Tensor]:
    if classes == AUDIOSET_CLASSES:
        rows = list(audioset_rows())
        return {key: value[rows] if key in HEAD and len(value) == classes else value for key, value in state.items()}
    if classes != NUM_CLASSES:
        raise WeightsError(
            f"{file} classifies {classes} classes, expected AudioSet's {AUDIOSET_CLASSES} or the {NUM_CLASSES} of "
            "SpatialSoundQA; give another file, or the option new_head=true to leave out its head and train a new one"
        )
    return dict(state)


def _load_body(
    model: nn.Module, config: AudioMAEConfig, state: Mapping[str, Tensor], file: Path, ignored: tuple[str, ...]
) -> None:
    """Take the file's tensors without its head and keep what ``model`` has drawn for the rest; a warning says so."""
    own_norm = "fc_norm." if config.pooling == "mean" else "norm."
    ignored = tuple(prefix for prefix in ignored if prefix != own_norm)
    taken = {key: value for key, value in state.items() if not key.startswith(ignored) and key not in HEAD}
    # What is missing of the body itself is left missing, so that a file of another size is refused.
    fresh = {key: value for key, value in model.state_dict().items() if key not in taken and not key.startswith(BODY)}
    load_state(model, taken | fresh, str(file))
    warnings.warn(
        f"{file.name}: patches, positions and transformer blocks were taken; {', '.join(sorted(fresh))} start "
        "untrained, so train the encoder before believing what it hears",
        stacklevel=4,
    )
