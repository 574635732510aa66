"""What the commands have in common: arguments, the recording, the agent, options of a component."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import bat_agent
from bat_agent.cli.output import print_notes
from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from torch import Tensor

    from bat_agent.agent import Bat


class Mono(str, Enum):
    """What to do with a recording of one channel."""

    refuse = "refuse"
    duplicate = "duplicate"


AudioFile = Annotated[
    Path, typer.Argument(metavar="AUDIO", help="A binaural recording, left ear first: WAV, FLAC, OGG or MP3.")
]
Model = Annotated[str, typer.Option(help="A shipped model, a folder, or a hub repository owner/name.")]
Device = Annotated[str | None, typer.Option(help="Where to compute, e.g. cpu or cuda:0; default: the best there is.")]
MonoFiles = Annotated[
    Mono,
    typer.Option(help="What to do with a mono file: refuse it, or duplicate it to both ears (no direction)."),
]
Channels = Annotated[
    str | None, typer.Option(metavar="L,R", help="Which two channels are the ears, counted from 0, e.g. 0,1.")
]
EncoderName = Annotated[
    str | None,
    typer.Option(help="Listen with another encoder (see bat-agent plugins); questions are then answered by rules."),
]
EncoderWeights = Annotated[Path | None, typer.Option(help="Weights of that encoder, a file or a folder.")]
ReasonerName = Annotated[
    str | None, typer.Option(help="Let another reasoner answer, such as scene-prompt (see bat-agent plugins).")
]
ReasonerOptions = Annotated[
    list[str] | None, typer.Option("--reasoner-option", metavar="KEY=VALUE", help="Its option; may be given again.")
]
UnknownLevel = Annotated[
    bool, typer.Option("--unknown-level", help="The recording's level is not calibrated: judge distance without it.")
]
RecipeChanges = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A change to the recipe; may be given again.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

DEFAULT_MODEL = "bat-small"


def read_ears(path: Path, mono: Mono, channels: str | None) -> tuple[Tensor, list[str]]:
    """The recording, (2, N) at 32 kHz, and remarks on how it was read.

    Raises :class:`~bat_agent.errors.BadInput` for what cannot be read as two ears.
    """
    import soundfile

    waveform = bat_agent.read_audio(path, mono=mono.value, channels=_two_numbers(channels))
    rate_hz = soundfile.info(path).samplerate
    return waveform, [] if rate_hz == SAMPLE_RATE_HZ else [f"resampled from {rate_hz} Hz to {SAMPLE_RATE_HZ} Hz"]


def open_bat(
    model: str,
    device: str | None = None,
    encoder: str | None = None,
    encoder_weights: Path | None = None,
    *,
    level_known: bool = True,
    reasoner: str | None = None,
    reasoner_options: Sequence[str] | None = None,
) -> Bat:
    """The agent ``model``, with the encoder named ``encoder`` and the ``reasoner`` in place of its own where given.

    Raises :class:`~bat_agent.errors.BatAgentError` where model, device, plugin or weights are not there.
    """
    if encoder is None and encoder_weights is not None:
        raise BadInput("--encoder-weights was given without --encoder; name the encoder these weights belong to")
    if reasoner is None and reasoner_options:
        raise BadInput("--reasoner-option was given without --reasoner; name the reasoner these options belong to")
    check_device(device)
    from bat_agent.registry import config_of

    options = key_values(reasoner_options, "--reasoner-option") if reasoner_options else {}
    # An unknown name is told at once, before a model is loaded.
    if reasoner is not None:
        config_of("reasoner", reasoner, options)
    if encoder is not None:
        config_of("encoder", encoder, {})
    bat = bat_agent.load(model, device=device, level_known=level_known)
    if encoder is not None:
        bat = _with_encoder(bat, encoder, encoder_weights)
    return bat if reasoner is None else _with_reasoner(bat, reasoner, options)


def _with_encoder(bat: Bat, encoder: str, encoder_weights: Path | None) -> Bat:
    weights = None if encoder_weights is None else str(encoder_weights)
    bat = bat.with_encoder(encoder, weights=weights)
    learns = any(p.requires_grad for p in getattr(bat.encoder, "parameters", tuple)())
    if weights is None and learns:
        print_notes([f"the encoder {encoder!r} has no weights, so what it says means nothing; give --encoder-weights"])
    return bat


def _with_reasoner(bat: Bat, reasoner: str, options: dict[str, Any]) -> Bat:
    bat = bat.with_reasoner(reasoner, **options)
    if any(p.requires_grad for p in getattr(bat.reasoner, "parameters", tuple)()):
        print_notes(
            [f"the reasoner {reasoner!r} was not trained, so what it says means nothing; train one, and use --model"]
        )
    return bat


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


def _two_numbers(channels: str | None) -> tuple[int, int] | None:
    if channels is None:
        return None
    parts = channels.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise BadInput(f"--channels {channels!r} was not understood, expected two channel numbers such as 0,1")
    return int(parts[0]), int(parts[1])


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
