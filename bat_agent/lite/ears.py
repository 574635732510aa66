"""LiteBat: ears that ONNX Runtime computes, with all that is made of an encoding shared with the ears by torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bat_agent import registry
from bat_agent.ears import Ears, reasoner_options
from bat_agent.errors import BadInput, WeightsError
from bat_agent.hearing.graph_folder import is_graph_folder
from bat_agent.hearing.model_folder import ModelConfig, find_model, read_config
from bat_agent.interfaces import Encoding, Reasoner
from bat_agent.lite.session import LiteEncoder, Provider

LITE = "lite"
"""The model that ships exported: bat-small with int8 weights."""
OF_DEVICE: dict[str, tuple[Provider, ...]] = {"cpu": (), "cuda": ("CUDAExecutionProvider",)}


class LiteBat(Ears):
    """Ears by ONNX Runtime: :meth:`perceive` says what sounds where, :meth:`ask` answers questions in plain language.

    Waveforms are as for :class:`~bat_agent.agent.Bat`; perceptions and answers are of the same classes.
    """

    def __init__(self, config: ModelConfig, encoder: LiteEncoder, level_known: bool = True) -> None:
        options = reasoner_options(config, config.reasoner)

        def load_reasoner() -> Reasoner:
            return registry.load_plain_reasoner(config.reasoner["name"], **options)

        super().__init__(config, encoder, load_reasoner, level_known)
        self.device = "cpu" if len(encoder.providers) == 1 else encoder.providers[0]

    def _encode(self, sound: NDArray[np.float32], heads_only: bool) -> Encoding:
        encoding: Encoding = self.encoder(sound)
        return encoding


def load(
    name_or_dir: str | Path = LITE,
    *,
    level_known: bool = True,
    precision: str | None = None,
    threads: int = 1,
    device: str | None = None,
    providers: Sequence[Provider] | None = None,
) -> LiteBat:
    """Load ears from the shipped export ``lite``, or from a folder that ``bat-agent export`` wrote.

    ``level_known`` as for :func:`bat_agent.load`; ``precision``, ``threads`` and ``providers`` as for
    :class:`~bat_agent.lite.session.LiteEncoder`. ``device`` is short for providers: ``cpu`` or ``cuda``.

    Raises :class:`~bat_agent.errors.WeightsError` where there is none, or none that this version reads, and
    :class:`~bat_agent.errors.BadInput` where ONNX Runtime is missing or cannot do what is asked.
    """
    directory = find_model(name_or_dir)
    if not is_graph_folder(directory):
        raise WeightsError(
            f"the model {str(name_or_dir)!r} is not exported, so it needs torch: load it with bat_agent.load, or write "
            f"an export with bat-agent export {name_or_dir} --onnx DIR"
        )
    if device is not None and device not in OF_DEVICE:
        raise BadInput(f"an exported model knows the devices {', '.join(OF_DEVICE)}, got {device!r}; or name providers")
    providers = OF_DEVICE[device or "cpu"] if providers is None else providers
    encoder = LiteEncoder(directory, precision=precision, threads=threads, providers=providers)
    return LiteBat(read_config(directory), encoder, level_known)
