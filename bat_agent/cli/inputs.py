"""What the commands have in common: arguments, the recording, the agent, options of a component."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import bat_agent
from bat_agent.cli.output import print_notes
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from bat_agent.agent import Bat
    from bat_agent.ears import Ears
    from bat_agent.registry import Kind


def _shipped() -> list[str]:
    from bat_agent.hearing.model_folder import shipped_models

    return list(shipped_models())


def _installed(kind: Kind) -> Callable[[], list[str]]:
    """What a shell completes: the components of a kind."""

    def names() -> list[str]:
        from bat_agent.registry import components

        return list(components(kind))

    return names


def _set_threads(threads: int | None) -> int | None:
    if threads is not None:
        _given["threads"] = threads
        if find_spec("torch"):
            from bat_agent.threads import choose

            choose(threads)
    return threads


_given: dict[str, int] = {}
"""What the command line says of threads, for models that torch does not compute."""


class Mono(str, Enum):
    """What to do with a recording of one channel."""

    refuse = "refuse"
    duplicate = "duplicate"


AudioFile = Annotated[
    Path,
    typer.Argument(
        metavar="AUDIO", help="A recording, left ear first, or ambisonic: WAV, FLAC, OGG or MP3; - is standard input."
    ),
]
Model = Annotated[
    str,
    typer.Option(help="A shipped model, a folder, or a hub repository owner/name.", autocompletion=_shipped),
]
Device = Annotated[str | None, typer.Option(help="Where to compute, e.g. cpu or cuda:0; default: the best there is.")]
MonoFiles = Annotated[
    Mono,
    typer.Option(help="What to do with a mono file: refuse it, or duplicate it to both ears (no direction)."),
]
Channels = Annotated[
    str | None, typer.Option(metavar="L,R", help="Which two channels are the ears, counted from 1, e.g. 1,2.")
]
EncoderName = Annotated[
    str | None,
    typer.Option(
        help="Listen with another encoder (see bat-agent plugins); questions are then answered by rules.",
        autocompletion=_installed("encoder"),
    ),
]
EncoderOptions = Annotated[
    list[str] | None, typer.Option("--encoder-option", metavar="KEY=VALUE", help="Its option; may be given again.")
]
Weights = Annotated[Path | None, typer.Option(help="Weights of that encoder, a file or a folder.")]
ReasonerName = Annotated[
    str | None,
    typer.Option(
        help="Let another reasoner answer, such as scene-prompt (see bat-agent plugins).",
        autocompletion=_installed("reasoner"),
    ),
]
ReasonerOptions = Annotated[
    list[str] | None, typer.Option("--reasoner-option", metavar="KEY=VALUE", help="Its option; may be given again.")
]
SimulatorOptions = Annotated[
    list[str] | None,
    typer.Option("--simulator-option", metavar="KEY=VALUE", help="An option of the simulator; may be given again."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads that compute; default: what is fastest, one for bat-small and without torch.",
        callback=_set_threads,
    ),
]
"""Seen to while the command line is read: the command itself has nothing to do."""
UnknownLevel = Annotated[
    bool, typer.Option("--unknown-level", help="The recording's level is not calibrated: judge distance without it.")
]
RecipeChanges = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A change to the recipe; may be given again.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

DEFAULT_MODEL = "bat-small" if find_spec("torch") else "lite"
"""As :func:`bat_agent.loading.default_model` has it."""


def read_ears(path: Path, mono: Mono, channels: tuple[int, int] | None) -> tuple[np.ndarray, list[str]]:
    """The recording, (2, N) at 32 kHz, and remarks on how it was read.

    Raises :class:`~bat_agent.errors.BadInput` for what cannot be read as two ears.
    """
    from bat_agent.sound import audio

    ears, notes = audio.read_ears(path, mono=mono.value, channels=channels)
    return ears, list(notes)


@dataclass(frozen=True)
class Instead:
    """An encoder and a reasoner in place of the model's own, as ``--encoder``, ``--reasoner`` and their like say."""

    encoder: str | None = None
    encoder_options: Sequence[str] | None = None
    weights: Path | None = None
    """Of that encoder."""
    reasoner: str | None = None
    reasoner_options: Sequence[str] | None = None

    def check(self) -> None:
        """Tell before a model is loaded what is amiss; raises :class:`~bat_agent.errors.BatAgentError`."""
        from bat_agent.registry import config_of

        for given, name, kind in (
            (self.weights, "--weights", "encoder"),
            (self.encoder_options, "--encoder-option", "encoder"),
            (self.reasoner_options, "--reasoner-option", "reasoner"),
        ):
            if given and getattr(self, kind) is None:
                raise BadInput(f"{name} was given without --{kind}; name the {kind} that it belongs to")
        if self.encoder is not None:
            config_of("encoder", self.encoder, self.of_encoder)
        if self.reasoner is not None:
            config_of("reasoner", self.reasoner, self.of_reasoner)

    @property
    def of_encoder(self) -> dict[str, Any]:
        """The options of the encoder."""
        return key_values(self.encoder_options or (), "--encoder-option")

    @property
    def of_reasoner(self) -> dict[str, Any]:
        """The options of the reasoner."""
        return key_values(self.reasoner_options or (), "--reasoner-option")


def open_bat(
    model: str, device: str | None = None, instead: Instead | None = None, *, level_known: bool = True
) -> Ears:
    """The agent ``model``, with another encoder and another reasoner where ``instead`` names them.

    Raises :class:`~bat_agent.errors.BatAgentError` where model, device, plugin or weights are not there.
    """
    instead = instead or Instead()
    if is_exported(model):
        if instead.encoder is not None or instead.reasoner is not None:
            raise BadInput(
                f"the model {model!r} is exported, so it is heard as it is, without --encoder and --reasoner: leave "
                "them out, or name the model that it was exported from"
            )
        return bat_agent.load(model, device=device, level_known=level_known, **_given)
    instead.check()
    if find_spec("torch"):
        check_device(device)
    bat = bat_agent.load(model, device=device, level_known=level_known)
    if instead.encoder is not None:
        weights = None if instead.weights is None else str(instead.weights)
        bat = bat.with_encoder(instead.encoder, weights=weights, **instead.of_encoder)
        if weights is None and has_weights(bat.encoder):
            print_notes(
                [f"the encoder {instead.encoder!r} was given no weights, so what it says means nothing; give --weights"]
            )
    if instead.reasoner is not None:
        bat = bat.with_reasoner(instead.reasoner, **instead.of_reasoner)
        if has_weights(bat.reasoner):
            print_notes(
                [
                    f"the reasoner {instead.reasoner!r} was not trained, so what it says means nothing; train one, and "
                    "use --model"
                ]
            )
    return bat


def of_torch(ears: Ears) -> Bat:
    """Ears for what an export cannot do; raises :class:`~bat_agent.errors.BadInput` for an export."""
    from bat_agent.agent import Bat

    if not isinstance(ears, Bat):
        raise BadInput(
            f"the model {ears.config.name!r} is exported, and this needs what torch computes: name the model that it "
            "was exported from"
        )
    return ears


def is_exported(model: str) -> bool:
    """Whether a model is one that ``bat-agent export`` wrote; raises as :func:`bat_agent.load` where there is none."""
    from bat_agent.hearing.graph_folder import is_graph_folder
    from bat_agent.hearing.model_folder import find_model

    return is_graph_folder(find_model(model))


def has_weights(module: Any) -> bool:
    """Whether there is anything to learn in it, which means nothing before it was."""
    return any(parameter.requires_grad for parameter in getattr(module, "parameters", tuple)())


def check_device(device: str | None) -> None:
    """Raise :class:`~bat_agent.errors.BadInput` for a device that this machine does not have."""
    import torch

    if device is None:
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        have = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise BadInput(f"device {device!r} cannot be used here; choose one of {', '.join(have)}") from error


def two_channels(channels: str | None) -> tuple[int, int] | None:
    """``L,R`` of ``--channels``, counted from 1; raises :class:`~bat_agent.errors.BadInput` for anything else."""
    if channels is None:
        return None
    parts = channels.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise BadInput(f"--channels must be two numbers from 1, left first, as in 1,2; got {channels!r}")
    from bat_agent.sound.audio import counted_from_1

    left, right = counted_from_1((int(parts[0]), int(parts[1])))
    return left, right


def key_values(pairs: Sequence[str], option: str = "--option") -> dict[str, Any]:
    """``key=value`` as recipes read them: numbers, true and false, lists; the component says what fits."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    for pair in pairs:
        key, equals, _ = pair.partition("=")
        try:
            if not key.strip() or not equals:
                raise ValueError
            OmegaConf.to_container(OmegaConf.from_dotlist([pair]), resolve=True)
        except (OmegaConfBaseException, YAMLError, ValueError, RecursionError) as error:
            raise BadInput(f"{option} {pair[:60]!r} was not understood, expected KEY=VALUE such as order=8") from error
    return OmegaConf.to_container(OmegaConf.from_dotlist(list(pairs)), resolve=True)  # type: ignore[return-value]
