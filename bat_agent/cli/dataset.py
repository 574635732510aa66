"""``bat-agent dataset``: sets of RIRs in the released layout: made, made again, and described."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bat_agent.cli import inputs
from bat_agent.cli.audioset import audioset
from bat_agent.cli.dataset_qa import SplitName, check, qa
from bat_agent.cli.dataset_questions import has_questions, has_rirs, print_questions, question_figures, split_of
from bat_agent.cli.output import print_json, print_notes, print_table
from bat_agent.cli.progress import progress_of
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    from bat_agent.datasets.engines import Engine
    from bat_agent.datasets.stats import Statistics
    from bat_agent.scoring.statistics import QAFigures

_SHOWN = 20

app = typer.Typer(
    help="Make, check and describe data sets: room impulse responses (RIRs), and questions about sounds in them.",
    no_args_is_help=True,
)


@app.command()
def rirs(
    simulator: Annotated[str | None, typer.Option(help="What renders, such as shoebox; see bat-agent plugins.")] = None,
    simulator_option: inputs.SimulatorOptions = None,
    rooms: Annotated[int | None, typer.Option(metavar="N", help="How many rooms.")] = None,
    count: Annotated[int | None, typer.Option(metavar="M", help="How many RIRs, spread over the rooms.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the set.")] = None,
    split: Annotated[str, typer.Option(help="train or eval; the same seed draws other rooms for each.")] = "train",
    seed: Annotated[int, typer.Option(help="Another number draws other rooms.")] = 0,
    sources: Annotated[int, typer.Option(metavar="K", help="Sources for each position of the listener.")] = 1,
    seconds: Annotated[float | None, typer.Option(help="Cut or pad every RIR to this length.")] = None,
    mono: Annotated[bool, typer.Option("--mono", help="Also write one-channel RIRs.")] = False,
    workers: Annotated[int, typer.Option(metavar="K", help="Processes on this machine.")] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Work on a Ray cluster: its address, auto, or local.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Make the RIRs of this reverberation file again.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="SCENE/N.NPY", help="Replay just this one; may be given again.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Replay, write nothing, compare with the files; exit code 1 if any differ.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Make a set of RIRs; run the same command again to resume. With --replay, make one again bit for bit."""
    if replay is None and (only or check):
        raise BadInput(f"{'--check' if check else '--only'} goes with --replay JSON; name the reverberation file")
    from bat_agent.datasets.engines import engine_of

    if replay is not None:
        if simulator or simulator_option or rooms or count:
            raise BadInput("--replay takes simulator, options and scenes from the file; leave out what names them")
        _replay(replay, out, only or [], check, engine_of(workers, ray), json)
        return
    given = {"--simulator": simulator, "--rooms": rooms, "--count": count, "--out": out}
    if missing := [name for name, value in given.items() if value is None]:
        raise BadInput(
            f"{', '.join(missing)} missing; write bat-agent dataset rirs --simulator shoebox --rooms 100 "
            "--count 1000 --out DIR"
        )
    from bat_agent.datasets.plan import Plan

    assert simulator is not None
    assert rooms is not None
    assert count is not None
    assert out is not None
    options = inputs.key_values(simulator_option or [], "--simulator-option")
    plan = Plan(simulator, rooms, count, options, split, seed, sources, seconds, mono)
    _make(plan, out, engine_of(workers, ray), json)


@app.command()
def stats(
    path: Annotated[
        Path, typer.Argument(metavar="DIR_OR_JSON", help="A set's folder, a reverberation or a question file.")
    ],
    plot: Annotated[Path | None, typer.Option(help="Also draw a picture of the RIRs: PNG, PDF or SVG.")] = None,
    measure: Annotated[
        int, typer.Option(metavar="N", help="Measure at most N of the RIR files, evenly spread over the set.")
    ] = 1000,
    questions: Annotated[
        int, typer.Option(metavar="N", help="Measure what questions give away on at most N of them.")
    ] = 20_000,
    split: Annotated[SplitName | None, typer.Option(help="Which questions; default: train where there are.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Distances, directions and acoustics of a set, ours or released, beside the figures of the BAT paper.

    Of a set with questions also their types, answers and wordings, and how far the question alone gives an answer away.
    """
    asked = None
    if has_questions(path):
        asked = question_figures(path, split.value if split else split_of(path), questions)
    if asked is None or has_rirs(path):
        _rir_stats(path, plot, measure, json, asked)
    elif json:
        print_json({"questions": asked.to_dict()})
    if asked is not None and not json:
        print_questions(asked)


def _rir_stats(path: Path, plot: Path | None, measure: int, json: bool, asked: QAFigures | None) -> None:
    from bat_agent.datasets.stats import statistics

    if plot is not None:
        from bat_agent.evaluation.plotting import check_figure_path

        check_figure_path(plot)
    with progress_of("measured") as progress:
        found = statistics(path, measure=measure, progress=progress)
    if plot is not None:
        from bat_agent.datasets.stats_figure import statistics_figure
        from bat_agent.evaluation.plotting import save_figure

        save_figure(statistics_figure(found), plot)
    if json:
        print_json(found.to_dict() | ({} if asked is None else {"questions": asked.to_dict()}))
        return
    print_notes(_remarks(found))
    _print(found.to_dict())
    if plot is not None:
        print(f"picture: {plot}")


def _make(plan: Any, out: Path, engine: Engine, json: bool) -> None:
    from bat_agent.datasets.rirs import make_rirs

    begun = time.monotonic()
    try:
        with progress_of("RIRs") as progress:
            summary = make_rirs(plan, out, engine=engine, progress=progress)
    except KeyboardInterrupt:
        print_notes(["what is finished stays; run the same command again to resume"])
        raise
    seconds = time.monotonic() - begun
    if json:
        print_json(summary.to_dict() | {"seconds": round(seconds, 3)})
        return
    speed = f" ({summary.made / seconds:.1f}/s)" if summary.made else ""
    print(f"{summary.rirs} RIRs in {summary.json}, {summary.made} of them made now{speed}")


def _replay(source: Path, out: Path | None, only: list[str], check: bool, engine: Engine, json: bool) -> None:
    from bat_agent.datasets.replay import replay

    if check == (out is not None):
        raise BadInput("--replay wants either --out DIR, to write there, or --check, to compare with what is there")
    with progress_of("RIRs") as progress:
        result = replay(source, out, only=only, engine=engine, progress=progress)
    if json:
        print_json(result.to_dict())
    else:
        for line in result.differing[:_SHOWN]:
            print(line)
        if len(result.differing) > _SHOWN:
            print(f"… and {len(result.differing) - _SHOWN} more")
        print(f"{result.rirs} RIRs made again, {result.rirs - len(result.differing)} of them the same bit for bit")
    if result.differing:
        raise typer.Exit(1)


def _remarks(found: Statistics) -> list[str]:
    notes = []
    if not found.headings_stored:
        notes.append("the entries name no heading; directions are those of a listener with heading 0, as released")
    if found.files_missing:
        notes.append(f"{found.files_missing} RIR files are not there, so their acoustics are not measured")
    return notes


def _print(figures: dict[str, Any]) -> None:
    paper, distance = figures["paper"], figures["distance_m"]
    rows = [
        ("RIRs", f"{figures['rirs']}", "21131"),
        ("distance, most frequent", f"{distance['mode']:g} m", "{:g}–{:g} m".format(*paper["distance_mode_m"])),
        ("distance, mean (10 %, 90 %)", _spread(distance, "m"), ""),
        ("DER of guesses drawn alike", _percent(distance, "der_of_guesses_drawn_alike_percent"), "67 %"),
        ("DER of 1, 1.5 and 2 m", _percent(distance, "der_of_1_to_2_m_percent"), "53 %"),
        ("elevation, mean (10 %, 90 %)", _spread(figures["elevation_deg"], "°", digits=0), ""),
    ]
    if figures["measured"]:
        times = paper["rt60_s"].values()
        rows += [
            ("RT60 (T20)", _spread(figures["rt60_s"], "s"), f"{min(times):.2f}–{max(times):.2f} s"),
            ("direct to reverberant", _spread(figures["drr_db"], "dB", digits=1), ""),
            ("|ILD| of the direct sound", _spread(figures["abs_ild_db"], "dB", digits=1), ""),
            ("|ITD| of the direct sound", _spread(figures["abs_itd_s"], "µs", scale=1e6, digits=0), ""),
        ]
    print_table("Mean (10 %, 90 %) of the set", ("figure", "this set", "BAT"), rows)
    counts = distance["counts"]
    longest = max(counts)
    bars = [(f"{m:g} m", f"{n}", "█" * round(40 * n / longest)) for m, n in zip(distance["bins"], counts, strict=True)]
    print_table("Distances", ("bin", "RIRs", ""), bars)
    regions = sorted(figures["regions_percent"].items(), key=lambda each: -each[1])
    print_table("Regions", ("region", "share"), [(name, f"{share:.1f} %") for name, share in regions])


def _spread(summary: dict[str, Any], unit: str, scale: float = 1.0, digits: int = 2) -> str:
    if summary["mean"] is None:
        return "none"
    mean, low, high = (f"{scale * summary[key]:.{digits}f}" for key in ("mean", "p10", "p90"))
    left_out = f", {summary['not_finite']} without" if summary["not_finite"] else ""
    return f"{mean} {unit} ({low}, {high}{left_out})"


def _percent(distance: dict[str, Any], key: str) -> str:
    return f"{distance[key]:.0f} %"


app.command()(qa)
app.command()(check)
app.command()(audioset)
