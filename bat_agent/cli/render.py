"""``bat-agent render``: what a listener hears in a scene that a person wrote down, at rest or moving."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json, print_notes, print_table
from bat_agent.errors import BadInput
from bat_agent.interfaces import CLIP_SECONDS, SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from torch import Tensor

    from bat_agent.interfaces import Simulator
    from bat_agent.scene import Scene
    from bat_agent.scenes.moving import StreamState, Track
    from bat_agent.scenes.scene_file import Playing, SceneFile

LONGEST_S = 3600.0
_STEP_AT_REST_S = 1.0
_COLUMNS = ("source", "sound", "azimuth", "elevation", "distance", "RT60", "DRR", "ILD", "ITD")


def render(
    scene_file: Annotated[Path, typer.Argument(metavar="SCENE", help="The scene: YAML, or JSON.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="WAV file to write: two ears, 32 kHz, 32-bit float.")],
    plot: Annotated[Path | None, typer.Option(help="Also draw a picture into this file: PNG, PDF or SVG.")] = None,
    rir: Annotated[Path | None, typer.Option(help="Also write the room responses at 0 s: .npy or .wav.")] = None,
    sound: Annotated[
        list[Path] | None, typer.Option(help="Audio file for the next source, in their order; repeat for more.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="How long; default: as long as the paths or the sounds, or 10 s.")
    ] = None,
    simulator: Annotated[
        str | None, typer.Option(help="Render with this simulator (see bat-agent plugins), not the scene's own.")
    ] = None,
    simulator_option: inputs.SimulatorOptions = None,
    json: inputs.AsJson = False,
) -> None:
    """Render a scene file: what its listener hears of its sources, as a binaural WAV file."""
    from bat_agent.evaluation import plotting
    from bat_agent.scenes.playing import track_of
    from bat_agent.scenes.scene_file import read_scene_file
    from bat_agent.sound.audio import write_wav

    _check_outputs(out, plot, rir, scene_file)
    described = with_sounds(read_scene_file(scene_file), sound or [])
    scene, engine = with_simulator(
        described.moving.scene, simulator, inputs.key_values(simulator_option or [], "--simulator-option")
    )
    moving = dataclasses.replace(described.moving, scene=scene)
    files, notes = _read_files(described.playing, (out, rir))
    seconds = _seconds(seconds, moving.times_s, described.playing, files, scene)
    tracks = [
        track_of(number, source, playing, samples, seconds, scene.seed)
        for number, (source, playing, samples) in enumerate(zip(scene.sources, described.playing, files, strict=True))
    ]
    waveform, first, last = listen(engine, moving, tracks, seconds)
    peak_dbfs = _peak_dbfs(waveform)
    notes += _notes(peak_dbfs)

    ways = [way.values for way in (moving.listener_m, *moving.sources_m) if way is not None]
    rirs = [response.cpu().numpy() for response in first.rirs]
    outcome = {
        "seconds": waveform.shape[-1] / SAMPLE_RATE_HZ,
        "peak_dbfs": peak_dbfs,
        "scene": first.scene.to_dict(),
        "sources": measure(first, described.playing),
        "sources_at_end": measure(last, described.playing) if moving.times_s else None,
        "files": [str(file) for file in (out, rir, plot) if file is not None],
        "notes": notes,
    }
    figure = None if plot is None else plotting.render_figure(first.scene, rirs, waveform.numpy(), ways)
    write_wav(out, waveform)
    if rir is not None:
        _write_rirs(rir, first.rirs)
    if figure is not None and plot is not None:
        plotting.save_figure(figure, plot)
    _report(outcome, json)


def with_sounds(described: SceneFile, sounds: Sequence[Path]) -> SceneFile:
    """The scene with these files for its first sources; raises :class:`~bat_agent.errors.BadInput` for too many."""
    if len(sounds) > len(described.playing):
        raise BadInput(
            f"--sound was given {len(sounds)} times, but the scene has {len(described.playing)} sources; give at most "
            "one for each"
        )
    changed = [dataclasses.replace(p, sound=s) for p, s in zip(described.playing, sounds, strict=False)]
    return dataclasses.replace(described, playing=(*changed, *described.playing[len(sounds) :]))


def with_simulator(scene: Scene, name: str | None, options: dict[str, Any]) -> tuple[Scene, Simulator]:
    """The simulator of the scene, or another one, with some options changed; and the scene that says so."""
    from bat_agent.scene import MeshRoom
    from bat_agent.scenes.rendering import DEFAULTS, simulator_of

    if name is not None and name != scene.simulator.get("name"):
        scene = dataclasses.replace(scene, simulator={"name": name})
    engine = simulator_of(scene, **options)
    used = {
        "name": scene.simulator.get("name") or DEFAULTS[isinstance(scene.room, MeshRoom)],
        "options": getattr(engine, "options", None) or {**(scene.simulator.get("options") or {}), **options},
    }
    return dataclasses.replace(scene, simulator=used), engine


def listen(
    engine: Simulator, moving: Any, tracks: Sequence[Track], seconds: float
) -> tuple[Tensor, StreamState, StreamState]:
    """What is heard, (2, N), as the mean of the sources (BAT, section 3.2); and the first and the last state."""
    from bat_agent.scenes.moving import STEP_S, render_moving

    states: list[StreamState] = []

    def keep(state: StreamState) -> None:
        states[1:] = [state]

    step_s = STEP_S if moving.times_s else _STEP_AT_REST_S
    waveform = render_moving(engine, moving.at, tracks, seconds, step_s=step_s, watch=keep)
    return waveform.cpu() / len(tracks), states[0], states[-1]


def measure(state: StreamState, playing: Sequence[Playing]) -> list[dict[str, Any]]:
    """What is known of each source of a scene: place and measures of its RIR; ``None`` for what it has not."""
    from bat_agent.sound import rir_measures

    rows = []
    for source, position, rir, each in zip(
        state.scene.sources, state.scene.positions(), state.rirs, playing, strict=True
    ):
        response = rir.cpu().numpy()
        rows.append(
            {
                "labels": list(source.labels),
                "sound": None if each.sound is None else str(each.sound),
                "azimuth_deg": position.azimuth_deg,
                "elevation_deg": position.elevation_deg,
                "distance_m": position.distance_m,
                "region": position.region,
                "rt60_s": _finite(rir_measures.reverberation_time_s(response)),
                "drr_db": _finite(rir_measures.direct_to_reverberant_db(response)),
                "ild_db": _finite(rir_measures.interaural_level_db(response)),
                "itd_s": _finite(rir_measures.interaural_time_s(response)),
            }
        )
    return rows


def _check_outputs(out: Path, plot: Path | None, rir: Path | None, scene_file: Path) -> None:
    """Before anything is computed: what cannot be written is told at once."""
    from bat_agent.evaluation import plotting

    if out.suffix.lower() != ".wav":
        raise BadInput(f"cannot write sound to {str(out)!r}: the file name must end in .wav")
    if rir is not None and rir.suffix.lower() not in (".npy", ".wav"):
        raise BadInput(f"cannot write room responses to {str(rir)!r}: the file name must end in .npy or .wav")
    for file in filter(None, (out, rir)):
        if not file.parent.is_dir():
            raise BadInput(f"cannot write {file}: the folder {file.parent} does not exist; make it first")
        if file.is_dir():
            raise BadInput(f"cannot write {file}: it is a folder; name a file")
    if plot is not None:
        plotting.check_figure_path(plot)
    names = [file.resolve() for file in (scene_file, out, rir, plot) if file is not None]
    if len(set(names)) < len(names):
        raise BadInput("the scene file, --out, --rir and --plot must all be different files; name another one")


def _read_files(
    playing: Sequence[Playing], outputs: Sequence[Path | None]
) -> tuple[list[np.ndarray | None], list[str]]:
    """The sound file of each source, mono at 32 kHz, ``None`` where it has none; and remarks on how they were read."""
    import soundfile

    from bat_agent.sound.audio import read_mono

    sounds: list[np.ndarray | None] = []
    notes = []
    for file in (each.sound for each in playing):
        if file is None:
            sounds.append(None)
            continue
        if file.resolve() in [output.resolve() for output in outputs if output is not None]:
            raise BadInput(f"{file} is the sound of a source and would be overwritten; write to another place")
        sounds.append(read_mono(file))
        info = soundfile.info(file)
        if info.samplerate != SAMPLE_RATE_HZ:
            notes.append(f"{file}: resampled from {info.samplerate} Hz to {SAMPLE_RATE_HZ} Hz")
        if info.channels > 1:
            notes.append(f"{file}: only the first of {info.channels} channels is played")
    return sounds, notes


def _seconds(
    asked: float | None,
    times_s: Sequence[float],
    playing: Sequence[Playing],
    files: Sequence[np.ndarray | None],
    scene: Scene,
) -> float:
    """How long to listen: as asked, to the end of the paths, until the files have died away, or 10 s."""
    if asked is not None:
        if not 0 < asked <= LONGEST_S:
            raise BadInput(f"--seconds must lie in (0, {LONGEST_S:g}], got {asked:g}")
        return asked
    if times_s and times_s[-1] > 0:
        return min(times_s[-1], LONGEST_S)
    ends_s = [
        each.start_s + len(samples) / SAMPLE_RATE_HZ
        for each, samples in zip(playing, files, strict=True)
        if samples is not None and not each.loop
    ]
    dying_away_s = getattr(scene.room, "rt60_s", None) or 1.0
    return min(max(ends_s) + dying_away_s, LONGEST_S) if ends_s and max(ends_s) > 0 else CLIP_SECONDS


def _write_rirs(path: Path, rirs: Sequence[Tensor]) -> None:
    """``.npy``: float32 (sources, 2, taps); ``.wav``: left and right ear of each source in turn."""
    import numpy as np
    import torch

    from bat_agent.files.writing import whole_file
    from bat_agent.sound.acoustics import fit_length
    from bat_agent.sound.audio import write_wav

    taps = max(rir.shape[-1] for rir in rirs)
    stacked = torch.stack([fit_length(rir.cpu(), taps) for rir in rirs])
    if path.suffix.lower() == ".wav":
        write_wav(path, stacked.flatten(0, 1))
        return
    with whole_file(path) as file:
        np.save(file, stacked.numpy().astype(np.float32))


def _peak_dbfs(waveform: Tensor) -> float | None:
    import math

    peak = float(waveform.abs().max())
    return 20 * math.log10(peak) if peak > 0 else None


def _notes(peak_dbfs: float | None) -> list[str]:
    if peak_dbfs is None:
        return ["nothing is heard: no source sounds in this time"]
    if peak_dbfs > 0:
        return [f"the sound peaks {peak_dbfs:.1f} dB above full scale: kept in the float file, but players may clip it"]
    return []


def _finite(value: float) -> float | None:
    import math

    return value if math.isfinite(value) else None


def _report(outcome: dict[str, Any], json: bool) -> None:
    if json:
        print_json(outcome)
        return
    moving = outcome["sources_at_end"] is not None
    print_table("Sources at 0 s" if moving else "Sources", _COLUMNS, map(_row, outcome["sources"]))
    if moving:
        print_table(f"Sources at {outcome['seconds']:g} s", _COLUMNS, map(_row, outcome["sources_at_end"]))
    print_notes(outcome["notes"])
    peak = "silent" if outcome["peak_dbfs"] is None else f"peak {outcome['peak_dbfs']:.1f} dBFS"
    first, *others = outcome["files"]
    print(f"{first}: {outcome['seconds']:.2f} s, two ears, {SAMPLE_RATE_HZ} Hz, 32-bit float, {peak}")
    for file in others:
        print(file)


def _row(source: dict[str, Any]) -> tuple[str, ...]:
    def show(key: str, form: str, unit: str, scale: float = 1.0) -> str:
        return "–" if source[key] is None else f"{format(scale * source[key], form)}{unit}"

    return (
        "; ".join(source["labels"]) or "–",
        "synthesised" if source["sound"] is None else Path(source["sound"]).name,
        show("azimuth_deg", ".0f", "°"),
        show("elevation_deg", "+.0f", "°"),
        show("distance_m", ".2f", " m"),
        show("rt60_s", ".2f", " s"),
        show("drr_db", "+.1f", " dB"),
        show("ild_db", "+.1f", " dB"),
        show("itd_s", "+.0f", " µs", 1e6),
    )
