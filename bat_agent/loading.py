"""``bat_agent.load``: ears by name, computed by torch or, where they are exported, by ONNX Runtime."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from bat_agent.errors import BadInput
from bat_agent.extras import how_to_have_torch
from bat_agent.hearing.graph_folder import is_graph_folder
from bat_agent.hearing.model_folder import find_model

if TYPE_CHECKING:
    from bat_agent.agent import Bat
    from bat_agent.lite import LiteBat

SMALL, LITE = "bat-small", "lite"


def default_model() -> str:
    """``bat-small``, or, where there is no torch, its export ``lite``."""
    return SMALL if find_spec("torch") else LITE


@overload
def load(
    name_or_dir: Literal["lite"],
    *,
    device: str | None = ...,
    level_known: bool = ...,
    threads: int | None = ...,
    **lite: Any,
) -> LiteBat: ...
@overload
def load(
    name_or_dir: str | Path | None = ...,
    *,
    device: str | None = ...,
    level_known: bool = ...,
    threads: int | None = ...,
    **lite: Any,
) -> Bat: ...
def load(
    name_or_dir: str | Path | None = None,
    *,
    device: str | None = None,
    level_known: bool = True,
    threads: int | None = None,
    **lite: Any,
) -> Bat | LiteBat:
    """Load ears: a shipped model by name, a directory, or a hub repository ``owner/name``.

    ``None`` is ``bat-small``, or where there is no torch ``lite``, which is the same for ONNX Runtime. ``lite``, and a
    directory that ``bat-agent export`` wrote, give a :class:`~bat_agent.lite.LiteBat`, with the options of
    :func:`bat_agent.lite.load` (``precision``, ``providers``); all else a :class:`~bat_agent.agent.Bat`,
    see :meth:`bat_agent.agent.Bat.from_pretrained`. ``threads``: that compute; what is fastest unless given. What they
    perceive and answer is of the same classes.

    Raises :class:`~bat_agent.errors.WeightsError` where there is no such model, and
    :class:`~bat_agent.errors.BadInput` where what computes it is not installed.
    """
    directory = find_model(default_model() if name_or_dir is None else name_or_dir)
    if is_graph_folder(directory):
        from bat_agent.lite import load as load_lite

        return load_lite(directory, device=device, level_known=level_known, threads=threads or 1, **lite)
    if lite:
        raise BadInput(f"{', '.join(lite)}: only models exported to ONNX, such as 'lite', are loaded with that")
    if not find_spec("torch"):
        raise BadInput(
            f"the model {str(name_or_dir)!r} needs torch, which is not installed: take the model 'lite', or "
            f"{how_to_have_torch()}"
        )
    from bat_agent.agent import Bat

    return Bat.from_pretrained(directory, device=device, level_known=level_known, threads=threads)
