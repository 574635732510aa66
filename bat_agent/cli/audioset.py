"""``bat-agent dataset audioset``: AudioSet's lists of clips, curated for SpatialSoundQA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json, print_notes, print_table


def audioset(
    source: Annotated[
        list[Path],
        typer.Argument(metavar="DIR_OR_LIST", help="Folder of Google's *_segments.csv, or of the released lists."),
    ],
    out: Annotated[Path, typer.Option(metavar="ROOT", help="Write into ROOT/AudioSet/metadata.")],
    audio: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep only clips whose audio is under DIR (released layout).")
    ] = None,
    json: inputs.AsJson = False,
) -> None:
    """Keep AudioSet's clips that have one of the 355 classes; write lists, sampling weights and the label table."""
    from bat_agent.datasets.audioset import curate
    from bat_agent.labels import labels

    report = curate(source, out, audio=audio)
    if json:
        print_json(report.to_dict())
        return
    print_notes(report.notes())
    columns = ("split", "read", "no class", "no audio", "kept", "BAT", f"classes of {len(labels())}")
    rows = [
        (
            split.split,
            f"{split.read:,}",
            f"{split.no_label:,}",
            "not looked" if split.missing_audio is None else f"{split.missing_audio:,}",
            f"{split.kept:,}",
            f"{split.paper:,}",
            f"{split.classes}",
        )
        for split in report.splits
    ]
    print_table("Clips of AudioSet", columns, rows)
    for split in report.splits:
        if split.kept:
            print(f"written: {split.metadata}, {split.weights}")
