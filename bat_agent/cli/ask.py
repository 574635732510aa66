"""``bat-agent ask``: questions about a recording, answered in plain language."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bat_agent.cli import inputs, recordings
from bat_agent.cli.output import print_json, print_notes
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    from bat_agent.hearing.answers import Answer

# What the reasoner ``rules`` says; it is a plugin like any other, so nothing is imported from it.
NOT_UNDERSTOOD = "I did not understand the question."


def ask(
    audio: inputs.AudioFile,
    questions: Annotated[
        list[str] | None, typer.Argument(metavar="QUESTION", help="What to ask, at least once; quote each question.")
    ] = None,
    model: inputs.Model = inputs.DEFAULT_MODEL,
    encoder: inputs.EncoderName = None,
    encoder_option: inputs.EncoderOptions = None,
    weights: inputs.Weights = None,
    reasoner: inputs.ReasonerName = None,
    reasoner_option: inputs.ReasonerOptions = None,
    mono: inputs.MonoFiles = inputs.Mono.refuse,
    channels: inputs.Channels = None,
    ambisonics: recordings.Ambisonic = recordings.Ambisonics.auto,
    heading: recordings.Heading = 0.0,
    start: recordings.Start = None,
    seconds: recordings.Seconds = None,
    device: inputs.Device = None,
    threads: inputs.Threads = None,
    unknown_level: inputs.UnknownLevel = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Answer questions about a recording, one line each."""
    from bat_agent.questions import parse_distance, parse_location

    questions = _questions(audio, questions)
    reading = recordings.Reading(mono, inputs.two_channels(channels), ambisonics, heading)
    recording = reading.open(audio)
    instead = inputs.Instead(encoder, encoder_option, weights, reasoner, reasoner_option)
    bat = inputs.open_bat(model, device, instead, level_known=not unknown_level)
    waveform, notes = reading.read(recording, bat.encoder.clip_seconds, start, seconds)
    answers = bat.ask(waveform, questions)
    notes += [note for answer in answers for note in answer.notes]
    if any(parse_location(answer.text) or parse_distance(answer.text) for answer in answers):
        notes.append(bat.level_note)
    if any(answer.text == NOT_UNDERSTOOD for answer in answers):
        notes.append('try "Where is the dog?" or "What do you hear?"')
    print_notes(notes)
    if json:
        print_json([answer.to_dict() for answer in answers])
        return
    for answer in answers:
        print(_line(answer))
    print_notes(f"{answer.question!r} was not answered: {answer.failed}" for answer in answers if answer.failed)


def _questions(audio: Path, questions: list[str] | None) -> list[str]:
    name = str(audio)
    if name != "-" and not audio.exists() and (" " in name.strip() or name.endswith("?")):
        raise BadInput(f"no audio file at {name!r}; the recording comes first, then the questions")
    if not questions:
        wanted = 'write bat-agent ask AUDIO "Where is the sound?"'
        raise BadInput(f"no question was given, expected at least one; {wanted}")
    return questions


def _line(answer: Answer) -> str:
    sure = "" if answer.confidence is None else f"  (confidence {answer.confidence:.2f})"
    return f"{answer.text if answer.failed else answer.spoken}{sure}"
