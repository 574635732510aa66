"""Bat: ears by torch, an encoder and a reasoner of any kind, loaded, changed and saved."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bat_agent import registry
from bat_agent.checkpoint import save_module
from bat_agent.ears import NO_PLACE_ANSWER as NO_PLACE_ANSWER
from bat_agent.ears import SILENCE_ANSWER as SILENCE_ANSWER
from bat_agent.ears import Ears, reasoner_options
from bat_agent.errors import WeightsError
from bat_agent.hearing.answers import Answer
from bat_agent.hearing.graph_folder import is_graph_folder
from bat_agent.hearing.model_folder import ModelConfig, encoder_folder, find_model, read_config, write_config
from bat_agent.interfaces import SAMPLE_RATE_HZ, Encoder, Encoding, Reasoner
from bat_agent.sound.waveform import Prepared
from bat_agent.threads import checked, computing, fastest, weights_of


class Bat(Ears):
    """Ears by torch: :meth:`perceive` says what sounds where, :meth:`ask` answers questions in plain language.

    Waveforms are (2, samples) or (batch, 2, samples), left ear first, 32 kHz, full scale ±1 (numpy or torch). For a
    batch both methods return a list with one entry per clip. A type cannot tell how many axes an array has, so type
    checkers and editors take an array for one clip and a list of clips, such as ``list(batch)``, for a batch.
    """

    def __init__(
        self,
        config: ModelConfig,
        encoder: Encoder,
        reasoner: Reasoner | Callable[[], Reasoner],
        device: str = "cpu",
        level_known: bool = True,
        threads: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.threads = checked(threads)
        """Threads that it computes with on a processor; ``None`` for what is fastest (:mod:`bat_agent.threads`)."""
        super().__init__(config, _ready(encoder, self.device), reasoner, level_known)
        self._encoder_weights = weights_of(encoder)

    def _build_reasoner(self) -> Reasoner:
        # Built as any other module, also where the first question is asked in inference mode.
        with torch.inference_mode(False):
            return _ready(self._load_reasoner(), self.device)

    @torch.inference_mode()
    def _encode(self, sound: NDArray[np.float32], heads_only: bool) -> Encoding:
        encode = getattr(self.encoder, "perceive", self.encoder) if heads_only else self.encoder
        with self.hearing(sound):
            return encode(torch.from_numpy(sound).to(self.device))

    def hearing(self, waveform: Any) -> contextlib.AbstractContextManager[None]:
        """Around all that is computed for a perception of clips: on as many threads as are fastest for it."""
        clips = waveform if isinstance(waveform, list | tuple) else [waveform]
        samples = sum(math.prod(getattr(clip, "shape", ())) for clip in clips)
        return self._computing(self._encoder_weights, samples / 2 / SAMPLE_RATE_HZ)

    def _answering(self) -> contextlib.AbstractContextManager[None]:
        return self._computing(weights_of(self.reasoner))

    def _computing(self, weights: int, seconds: float | None = None) -> contextlib.AbstractContextManager[None]:
        """On as many threads as are fastest for the encoder or the reasoner; other devices have none to spare."""
        if self.device.type != "cpu":
            return contextlib.nullcontext()
        return computing(self.threads or fastest(weights, seconds))

    @torch.inference_mode()
    def _answer(self, prepared: Prepared, encoding: Encoding | None, clip: int, questions: list[str]) -> list[Answer]:
        return super()._answer(prepared, encoding, clip, questions)

    def with_encoder(self, name: str, *, weights: str | None = None, **options: Any) -> Bat:
        """The same ears with another encoder. A language model only understands the encoder it was trained with, so
        questions are then answered by the reasoner ``rules``, from what the encoder's own heads say.
        """
        encoder = registry.load_encoder(name, weights=weights, **options)
        limits = asdict(self.config.thresholds)
        del limits["unsure"]  # how sure is sure enough is decided here
        config = ModelConfig(
            name,
            {"name": name, "options": options},
            {"name": "rules", "options": limits},
            self.config.thresholds,
        )
        return Bat(
            config, encoder, lambda: registry.load_reasoner("rules", **limits), str(self.device), self.level_known,
            self.threads,
        )  # fmt: skip

    def with_reasoner(self, name: str, *, weights: str | None = None, **options: Any) -> Bat:
        """The same ears with another reasoner, built when first asked; the encoder is shared with this one.

        ``token_dim``, and of the thresholds those that the reasoner has, are this model's
        unless given. Raises :class:`~bat_agent.errors.BadInput` for an unknown reasoner or an option it does not take,
        and :class:`~bat_agent.errors.WeightsError` where ``weights`` or a file that an option names are not there.
        """
        # Options and files are checked now, not with the first question.
        config = replace(self.config, reasoner={"name": name, "options": options})
        told = reasoner_options(config, config.reasoner, token_dim=self.encoder.token_dim)
        if "token_dim" in told:  # what the model says is told again when it is loaded; what its encoder is, is kept
            config = replace(config, reasoner={"name": name, "options": {**options, "token_dim": told["token_dim"]}})
        built = registry.config_of("reasoner", name, told)
        if hasattr(built, "check"):
            built.check()
        if weights is not None and not Path(weights).expanduser().exists():
            raise WeightsError(f"there are no reasoner weights at {weights}; give a file or a folder with them")

        def load_reasoner() -> Reasoner:
            return registry.load_reasoner(name, weights=weights, **told)

        return Bat(config, self.encoder, load_reasoner, str(self.device), self.level_known, self.threads)

    def save_pretrained(self, directory: str | Path, *, half: bool = False) -> None:
        """Write ``config.json``, ``encoder/`` and ``reasoner/`` so that :meth:`from_pretrained` reads them back.

        ``half`` stores matrices as float16, which halves the size.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for part, module in (("encoder", self.encoder), ("reasoner", self.reasoner)):
            _save_part(module, directory / part, half)
        # The encoder is written as well, so the folder is whole without the model that it came from.
        own = {key: value for key, value in self.config.encoder.items() if key != "agent"}
        write_config(replace(self.config, encoder=own), directory)

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path,
        *,
        device: str | None = None,
        level_known: bool = True,
        threads: int | None = None,
    ) -> Bat:
        """Load a shipped model by name, a directory, or a hub repository ``owner/name``.

        ``level_known=False`` is for recordings whose level is not calibrated: an encoder that can judges distance
        without it, and the notes say what became of the distances. ``threads``: of the processor that it computes with;
        by itself as many as are fastest, one for bat-small, whatever the environment says. What the caller set for
        models of its own stays as it is.
        Raises :class:`~bat_agent.errors.WeightsError` when there is none, or when files are missing from it.
        """
        directory = find_model(name_or_dir)
        if is_graph_folder(directory):
            raise WeightsError(
                f"{str(name_or_dir)!r} is a model exported to ONNX, which torch does not compute; load it with "
                "bat_agent.load or bat_agent.lite.load"
            )
        config = read_config(directory)
        ears = encoder_folder(config, directory)
        for part in (ears, directory / "reasoner"):
            if not part.is_dir():
                raise WeightsError(
                    f"model directory {part.parent} has no weights: {part.name}/ is missing; copy the whole model"
                )
        encoder = registry.load_encoder(config.encoder["name"], weights=str(ears), **config.encoder["options"])
        wanted = config.reasoner
        borrowed = "agent" in config.encoder
        more = {"token_dim": encoder.token_dim} if borrowed else {}
        options = reasoner_options(config, wanted, **more)
        if borrowed:
            built = registry.config_of("reasoner", wanted["name"], options)
            if hasattr(built, "check"):  # told now, not with the first question
                built.check()

        def load_reasoner() -> Reasoner:
            return registry.load_reasoner(wanted["name"], weights=str(directory / "reasoner"), **options)

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(config, encoder, load_reasoner, device, level_known, threads)


def _ready(module: Any, device: torch.device) -> Any:
    return module.to(device).eval() if isinstance(module, nn.Module) else module


def _save_part(module: Any, directory: Path, half: bool) -> None:
    if hasattr(module, "save_weights"):
        module.save_weights(directory, half=half)
    elif isinstance(module, nn.Module):
        save_module(module, directory, half=half)
