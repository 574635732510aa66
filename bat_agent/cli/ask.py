"""``bat-agent ask``: questions about a recording, answered in plain language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import LEVEL_NOTE, print_json, print_notes

if TYPE_CHECKING:
    from bat_agent.agent import Answer


def ask(
    audio: inputs.AudioFile,
    questions: Annotated[list[str], typer.Argument(metavar="QUESTION", help="What to ask; quote each question.")],
    model: inputs.Model = inputs.DEFAULT_MODEL,
    encoder: inputs.EncoderName = None,
    encoder_weights: inputs.EncoderWeights = None,
    mono: inputs.MonoFiles = inputs.Mono.refuse,
    channels: inputs.Channels = None,
    device: inputs.Device = None,
    json: inputs.AsJson = False,
) -> None:
    """Answer questions about a recording, one line each."""
    from bat_agent.questions import parse_distance, parse_location

    waveform, notes = inputs.read_ears(audio, mono, channels)
    bat = inputs.open_bat(model, device, encoder, encoder_weights)
    answers = bat.ask(waveform, questions)
    notes += [note for answer in answers for note in answer.notes]
    if any(parse_location(answer.text) or parse_distance(answer.text) for answer in answers):
        notes.append(LEVEL_NOTE)
    print_notes(notes)
    if json:
        print_json([answer.to_dict() for answer in answers])
        return
    for answer in answers:
        print(_line(answer))


def _line(answer: Answer) -> str:
    sure = "" if answer.confidence is None else f"  (confidence {answer.confidence:.2f})"
    return f"{answer.text}{sure}"
