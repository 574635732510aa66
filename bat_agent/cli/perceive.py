"""``bat-agent perceive``: what sounds where in a recording, as a table, a picture or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bat_agent.cli import inputs, recordings
from bat_agent.cli.output import print_json, print_notes, print_table
from bat_agent.cli.timelines import Wanted, hear_all
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    from bat_agent.hearing.perception import PerceivedSource, Perception

_CLASSES_SHOWN = 5
_LEAST_PROBABILITY = 0.01


def perceive(
    audio: Annotated[
        list[Path] | None,
        typer.Argument(metavar="AUDIO…", help="Recordings, folders or patterns; - is standard input."),
    ] = None,
    known: Annotated[
        bool, typer.Option("--known", help="List the sounds that the model knows instead; needs no recording.")
    ] = False,
    start: recordings.Start = None,
    seconds: recordings.Seconds = None,
    every: recordings.Every = None,
    csv: Annotated[str | None, typer.Option(metavar="PATH|-", help="Write a row a track.")] = None,
    jsonl: Annotated[str | None, typer.Option(metavar="PATH|-", help="Write a JSON object a track.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Write a label track for Audacity; into a folder for several recordings.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Also draw a picture into this file: PNG, PDF or SVG; a folder for several recordings."),
    ] = None,
    model: inputs.Model = inputs.DEFAULT_MODEL,
    encoder: inputs.EncoderName = None,
    encoder_option: inputs.EncoderOptions = None,
    weights: inputs.Weights = None,
    mono: inputs.MonoFiles = inputs.Mono.refuse,
    channels: inputs.Channels = None,
    ambisonics: recordings.Ambisonic = recordings.Ambisonics.auto,
    heading: recordings.Heading = 0.0,
    device: inputs.Device = None,
    threads: inputs.Threads = None,
    unknown_level: inputs.UnknownLevel = False,
    json: inputs.AsJson = False,
) -> None:
    """List what sounds where in a recording: class, direction, distance, each with a confidence.

    A long recording, several, or a stretch of one is told as a timeline: from when to when each source sounded.
    """
    instead = inputs.Instead(encoder, encoder_option, weights)
    if known:
        _print_known(inputs.open_bat(model, device, instead).labels, json)
        return
    if not audio:
        raise BadInput("no recording was given, expected an audio file: write bat-agent perceive AUDIO, or --known")
    files = recordings.expanded(audio)
    wanted = Wanted(start, seconds, every, csv, jsonl, labels, plot, json)
    reading = recordings.Reading(mono, inputs.two_channels(channels), ambisonics, heading)
    one = None if len(files) > 1 or audio[0].is_dir() else reading.open(files[0])
    if plot is not None and one is not None and not plot.is_dir():
        from bat_agent.evaluation import plotting

        plotting.check_figure_path(plot)
    bat = inputs.open_bat(model, device, instead, level_known=not unknown_level)
    if one is None or wanted.asks_for_time or one.seconds > bat.encoder.clip_seconds:
        hear_all(files, wanted, reading.open if one is None else lambda _: one, bat)
        return
    waveform, notes = reading.read(one, bat.encoder.clip_seconds)
    perception = bat.perceive(waveform)
    notes += perception.notes
    if any(source.distance_m is not None for source in perception.sources):
        notes.append(bat.level_note)
    if plot is not None:
        from bat_agent.evaluation import plotting

        plotting.save_figure(plotting.perception_figure(perception, waveform), plot)
    if json:
        print_json({**perception.to_dict(), "notes": notes})
        return
    print_notes(notes)
    _print(perception)
    if plot is not None:
        print(f"picture: {plot}")


def _print_known(labels: Sequence[str], json: bool) -> None:
    if json:
        print_json(list(labels))
        return
    print(f"{len(labels)} sounds:")
    for label in sorted(labels):
        print(f"  {label}")


def _print(perception: Perception) -> None:
    if not perception.sources:
        print("no source heard")
    else:
        columns = ("sound", "azimuth", "elevation", "distance", "region", "confidence")
        print_table("Sources, strongest first", columns, map(_row, perception.sources))
    probable = [item for item in perception.class_probs.items() if item[1] >= _LEAST_PROBABILITY]
    likeliest = sorted(probable, key=lambda item: -item[1])[:_CLASSES_SHOWN]
    if likeliest:
        print_table("Likeliest classes", ("class", "probability"), ((name, f"{p:.2f}") for name, p in likeliest))


def _row(source: PerceivedSource) -> tuple[str, ...]:
    """An encoder may lack a head; what it cannot say stays empty."""
    return (
        ("perhaps " if source.guessed else "") + "; ".join(source.labels),
        "" if source.azimuth_deg is None else f"{source.azimuth_deg:.0f}°",
        "" if source.elevation_deg is None else f"{source.elevation_deg:+.0f}°",
        "" if source.distance_m is None else f"{source.distance_m:.1f} m",
        source.where or "",
        f"{source.confidence:.2f}",
    )
