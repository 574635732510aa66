"""A scene as a person writes it: YAML or JSON with room, listener and sources, what they play and where they go.

All fields of :class:`bat_agent.scene.Scene`, and these more::

    listener:
      path: {0: [1, 1.5, 2], 4: {position_m: [3, 1.5, 2], heading_deg: 90}}   # seconds → place, heading or both
    sources:
      - position_m: [4, 1.2, 1]
        labels: [Siren]
        sound: siren.wav          # beside the scene file; without it, the label is synthesised
        start_s: 0.5              # also stop_s and loop, as of bat_agent.scenes.moving.Track
        path: {1: [4, 1.2, 1], 3: [2, 1.2, 1]}

What moves goes straight from waypoint to waypoint; ``position_m`` and ``heading_deg`` are where it is at 0 s.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bat_agent.errors import BadInput
from bat_agent.files.reading import NotYaml, parse_json, parse_yaml
from bat_agent.scene import Listener, MeshRoom, Room, Scene, Source
from bat_agent.scenes.moving import MovingScene, Waypoints

_PLAYING = ("sound", "start_s", "stop_s", "loop")


@dataclass(frozen=True)
class Playing:
    """What a source of a scene file plays, and when."""

    sound: Path | None = None
    """Audio file; ``None`` leaves it to whoever renders, as by synthesising the source's label."""
    start_s: float = 0.0
    """When it begins; see :class:`bat_agent.scenes.moving.Track`, also for the next two."""
    stop_s: float | None = None
    """When it falls silent."""
    loop: bool = False
    """Again and again, or once."""


@dataclass(frozen=True)
class SceneFile:
    """What a scene file says."""

    moving: MovingScene
    """The scene, and what moves in it."""
    playing: tuple[Playing, ...]
    """One for each source."""


def read_scene_file(path: Path) -> SceneFile:
    """Read a scene from YAML, or JSON where the name ends so. Files it names are looked for beside it.

    Raises :class:`~bat_agent.errors.BadInput`, with the file and, for broken syntax, the line, for whatever is no
    scene: unknown or missing fields, values that do not fit, a way that leaves the room. Sounds are not opened.
    """
    data = _parse(path)
    try:
        return _scene_file(data, path.parent)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def _parse(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInput(f"no scene file at {path}; check the name") from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise BadInput(f"cannot read {path} as a scene ({why}), expected YAML or JSON; name another file") from error
    try:
        return parse_json(text) if path.suffix.lower() == ".json" else parse_yaml(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}, line {error.lineno}: this is no JSON ({error.msg}); correct that line") from error
    except NotYaml as error:
        line = f", line {error.line}" if error.line else ""
        raise BadInput(f"{path}{line}: this is no YAML ({error}); correct that line") from error


def _scene_file(data: Any, folder: Path) -> SceneFile:
    _check_fields(data, _fields(Scene), "the scene", needs=("room", "listener", "sources"))
    if not isinstance(data["sources"], list) or not data["sources"]:
        raise BadInput("sources must be a list with at least one source, each beginning with '- position_m:'")
    room = _room(data["room"], folder)
    _check_fields(data["listener"], [*_fields(Listener), "path"], "the listener")
    listener, listener_ways = _split_ways(data["listener"], "the listener", Listener)
    sources, ways, playing = [], [], []
    for number, entry in enumerate(data["sources"]):
        whose = f"source {number}"
        _check_fields(entry, [*_fields(Source), *_PLAYING, "path"], whose)
        source, way = _split_ways(entry, whose, Source)
        playing.append(_playing({key: source.pop(key) for key in _PLAYING if key in source}, whose, folder))
        sources.append(source)
        ways.append(way.get("position_m"))
    simulator = data.get("simulator") or {}
    simulator = {"name": simulator} if isinstance(simulator, str) else simulator
    scene = Scene.from_dict({**data, "room": room, "listener": listener, "sources": sources, "simulator": simulator})
    moving = MovingScene(scene, listener_ways.get("position_m"), listener_ways.get("heading_deg"), tuple(ways))
    for time_s in moving.times_s:  # rooms are convex: what is inside at every waypoint is inside between them
        moving.at(time_s)
    return SceneFile(moving, tuple(playing))


def _room(data: Any, folder: Path) -> dict[str, Any]:
    mesh = isinstance(data, Mapping) and "path" in data
    _check_fields(data, _fields(MeshRoom if mesh else Room), "the room", needs=() if mesh else ("size_m",))
    beside = folder / str(data["path"]) if mesh else folder
    return {**data, "path": str(beside)} if mesh and beside.is_file() else dict(data)


def _split_ways(data: dict[str, Any], whose: str, kind: type[Listener | Source]) -> tuple[dict[str, Any], Any]:
    """The fields at 0 s, without ``path``; and the waypoints of each quantity that the path gives."""
    known = ("position_m", "heading_deg") if kind is Listener else ("position_m",)
    path = data.get("path", {})
    if not isinstance(path, Mapping) or ("path" in data and not path):
        raise BadInput(f"path of {whose} must map seconds to places, such as {{0: [1, 1.5, 2], 4: [3, 1.5, 2]}}")
    given: dict[str, dict[float, tuple[float, ...]]] = {}
    for key, entry in path.items():
        time_s, at = _seconds(key, f"a time in the path of {whose}"), f"the path of {whose} at {key} s"
        entry = {"position_m": entry} if isinstance(entry, list | tuple) else entry
        _check_fields(entry, known, at)
        for quantity, value in entry.items():
            given.setdefault(quantity, {})[time_s] = _value(kind, quantity, value, at)
    start = {key: value for key, value in data.items() if key != "path"}
    for quantity, at_times in given.items():
        if quantity in data:
            at_rest = _value(kind, quantity, data[quantity], whose)
            if at_times.setdefault(0.0, at_rest) != at_rest:
                raise BadInput(f"{whose} has one {quantity} and its path another at 0 s; leave one of them out")
        first = at_times[min(at_times)]
        start[quantity] = list(first) if quantity == "position_m" else first[0]
    if "position_m" not in start:
        raise BadInput(f"{whose} lacks position_m, three numbers (x, y, z) in metres; add it")
    ways = {
        key: Waypoints(tuple(sorted(times)), tuple(times[t] for t in sorted(times))) for key, times in given.items()
    }
    return start, ways


def _value(kind: type[Listener | Source], quantity: str, value: Any, whose: str) -> tuple[float, ...]:
    """The numbers of a quantity, checked by the class that has it."""
    try:
        if quantity == "heading_deg":
            return (float(Listener((0, 0, 0), value).heading_deg),)
        return kind(value).position_m
    except (BadInput, TypeError) as error:
        raise BadInput(f"{whose}: {error}") from error


def _playing(data: dict[str, Any], whose: str, folder: Path) -> Playing:
    start_s, stop_s, loop = data.get("start_s", 0.0), data.get("stop_s"), data.get("loop", False)
    if not isinstance(loop, bool):
        raise BadInput(f"loop of {whose} must be true or false, got {loop!r}")
    start_s = _seconds(start_s, f"start_s of {whose}", least=-math.inf)
    stop_s = None if stop_s is None else _seconds(stop_s, f"stop_s of {whose}")
    if stop_s is not None and stop_s <= start_s:
        raise BadInput(f"stop_s of {whose} must come after its start_s, got {stop_s:g} and {start_s:g}")
    sound = data.get("sound")
    if sound is not None and not isinstance(sound, str):
        raise BadInput(f"sound of {whose} must be the name of an audio file, got {sound!r}")
    return Playing(None if sound is None else folder / sound, start_s, stop_s, loop)


def _seconds(value: Any, what: str, least: float = 0.0) -> float:
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= least):
        bound = "" if least < 0 else ", 0 or more"
        raise BadInput(f"{what} must be a number of seconds{bound}, got {value!r}")
    return seconds


def _check_fields(data: Any, known: Iterable[str], whose: str, needs: Iterable[str] = ()) -> None:
    known = list(known)
    if not isinstance(data, Mapping):
        raise BadInput(f"{whose} must be a mapping with fields such as {', '.join(known[:3])}, got {data!r:.60}")
    for name in data:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
            raise BadInput(f"{whose} has no field {str(name)!r}; {hint}")
    if missing := [name for name in needs if name not in data]:
        raise BadInput(f"{whose} lacks {' and '.join(missing)}; add what is missing")


def _fields(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]
