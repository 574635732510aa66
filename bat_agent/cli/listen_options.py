"""The options of ``bat-listen``, in the order of its help: what to listen to, what to ask, where to show it, how."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bat_agent.cli.recordings import Ambisonics


class View(str, Enum):
    """How to show what is heard."""

    radar = "radar"
    plain = "plain"
    none = "none"


# --- what to listen to ---

Microphone = Annotated[
    str | None,
    typer.Option(help="Number or part of the name of a microphone, see bat-listen devices; else the default."),
]
File = Annotated[Path | None, typer.Option(help="An audio file, or a scene file (.yaml), as if it sounded now.")]
Walk = Annotated[
    str | None, typer.Option(metavar="LABEL|FILE", help="A rendered sound, Siren or dog.wav, walks around you.")
]
Raw = Annotated[bool, typer.Option("--raw", help="Interleaved samples on standard input, e.g. from arecord.")]
Tcp = Annotated[str | None, typer.Option(metavar="[HOST:]PORT", help="Wait for a robot that sends samples.")]
Ws = Annotated[str | None, typer.Option(metavar="[HOST:]PORT", help="The same as a WebSocket.")]
Rate = Annotated[int, typer.Option(help="Sample rate of --raw, --tcp and --ws, Hz.")]
Form = Annotated[str, typer.Option("--format", help="Their samples: s16le, s32le or f32le.")]
NumChannels = Annotated[int, typer.Option(help="How many channels they send.")]
AllowRemote = Annotated[bool, typer.Option(help="Let --tcp and --ws be reached by other machines.")]
Channels = Annotated[str | None, typer.Option(metavar="L,R", help="Which channels are the ears, counted from 1.")]
Headings = Annotated[
    Path | None, typer.Option(help="Where the head of --file faced: CSV, columns t_s and heading_deg, left positive.")
]
HeadingChannel = Annotated[
    int | None, typer.Option(min=1, help="Channel with the heading, counted from 1; full scale is half a circle.")
]
Ambisonic = Annotated[
    Ambisonics,
    typer.Option("--ambisonics", help="Format of an ambisonic --file, or no; auto: what it says or looks like."),
]
Swap = Annotated[bool, typer.Option("--swap", help="The ears are the wrong way round.")]
Fast = Annotated[bool, typer.Option("--fast", help="A file as fast as possible: the same events each time.")]
Loop = Annotated[bool, typer.Option("--loop", help="The file again and again.")]
Start = Annotated[float, typer.Option(metavar="SECONDS", help="Where to begin in the file.")]

# --- what to ask ---

Ask = Annotated[list[str] | None, typer.Option(metavar="QUESTION", help="Asked once; may be given again.")]
AskEvery = Annotated[float | None, typer.Option(metavar="SECONDS", help="Ask again after so long.")]

# --- where to show it ---

Shown = Annotated[View | None, typer.Option(help="Radar in a terminal, or plain lines, or nothing.")]
Jsonl = Annotated[str | None, typer.Option(metavar="PATH|-", help="Also write one JSON object a look.")]
Web = Annotated[bool, typer.Option("--web", help="Also show a page in the browser, on this machine alone.")]
Port = Annotated[int, typer.Option(help="Port of the page.")]
Host = Annotated[str, typer.Option(help="Address of the page; others than 127.0.0.1 need the token it prints.")]
AllowHost = Annotated[list[str] | None, typer.Option(help="A name under which the page may be called.")]

# --- how to listen, and what of it to tell and to keep ---

Lite = Annotated[bool, typer.Option("--lite", help="Without torch, on one thread: the same as --model lite.")]
Window = Annotated[float, typer.Option(metavar="SECONDS", help="How much sound a look is about.")]
Hop = Annotated[float, typer.Option(metavar="SECONDS", help="Time between looks.")]
Level = Annotated[
    bool | None,
    typer.Option("--level-known/--unknown-level", help="Whether the level tells distances; by itself for files."),
]
Only = Annotated[list[str] | None, typer.Option(metavar="LABEL", help="Tell of this class alone; may be given again.")]
Without = Annotated[list[str] | None, typer.Option("--not", metavar="LABEL", help="Never tell of this class.")]
MinConfidence = Annotated[float, typer.Option(help="Tell of nothing less sure.")]
Save = Annotated[Path | None, typer.Option(help="Write what is heard into this folder; nothing is kept otherwise.")]
SaveMost = Annotated[float, typer.Option(help="Delete the oldest beyond this.")]
Seconds = Annotated[float | None, typer.Option("--for", metavar="SECONDS", help="Stop by itself.")]


@dataclass(frozen=True)
class Input:
    """What to listen to, as given: one of the first six, the default microphone where all are left out."""

    microphone: str | None
    file: Path | None
    walk: str | None
    raw: bool
    tcp: str | None
    ws: str | None
    rate_hz: int
    """This and what follows until ``remote``: of samples that somebody sends."""
    form: str
    num_channels: int
    remote: bool
    fast: bool
    """This and what follows: of files."""
    loop: bool
    start_s: float
    seconds: float | None
    """Length of a rendered walk or scene; ``None`` goes on."""
    ambisonics: Ambisonics = Ambisonics.auto
    headings: Path | None = None
    """Table of headings, of a file."""
    """What the channels of a file are."""
