"""A fixed list of clips to evaluate on: JSON lines, one clip a line, nothing left to chance.

::

    {"id": "000000", "seconds": 10.0, "seed": 0, "sources": [{
      "library": "audioset:$DATA/AudioSet/eval", "sound": "eval/audio/Yabc.wav", "labels": ["Dog", "Bark"],
      "rirs": "$DATA", "rir": "q9vSo1VnCiC/0.npy",
      "azimuth_deg": 143.1, "elevation_deg": 12.0, "distance_m": 2.4}]}

A sound is one of a ``library`` (:mod:`bat_agent.datasets.sound_libraries`) or an ``audio`` file; a room is a RIR
of a released root ``rirs``, a ``rir`` file alone, or a ``scene`` with one source that a simulator renders. A sound
begins with its clip, unless ``begin_s`` says how far into it the clip begins: then it has gone on before. Relative
paths of ``audio``, ``rirs`` and ``rir`` start at the manifest's folder, those in a ``library`` where the command is
run; ``~`` and ``$VARIABLES`` are filled in when it is read, so that it may name data that lies elsewhere.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_json
from bat_agent.files.writing import write_bytes
from bat_agent.interfaces import CLIP_SECONDS
from bat_agent.labels import class_number, labels
from bat_agent.questions import HeardSource
from bat_agent.scene import Position, Scene, angle_between_deg
from bat_agent.sound.audio import expand

MOST_SOURCES = 2
_NEAR_DEG, _NEAR_M = 0.5, 0.01
_SOURCE_KEYS = frozenset(
    (
        "library",
        "sound",
        "audio",
        "labels",
        "rirs",
        "rir",
        "scene",
        "begin_s",
        "azimuth_deg",
        "elevation_deg",
        "distance_m",
    )
)
_CLIP_KEYS = frozenset(("id", "seconds", "seed", "sources"))


@dataclass(frozen=True)
class ClipSource:
    """One source of a clip: what sounds, where the sound and the room come from, and where it is heard."""

    labels: tuple[str, ...]
    position: Position
    library: str | None = None
    """A specification as recipes have it, with ``sound``."""
    sound: str | None = None
    """Id within the library."""
    audio: str | None = None
    """An audio file instead of both."""
    rirs: str | None = None
    """Root of a set in the released layout."""
    rir: str | None = None
    """``scene/n.npy`` within that set, or a file of its own."""
    scene: Scene | None = None
    """A scene of this one source instead of both."""
    begin_s: float | None = None
    """Where the clip begins in a sound that goes on: it was heard before, and is repeated where it ends. Without, the
    sound begins with the clip, in a silent room.
    """

    @property
    def heard(self) -> HeardSource:
        """Labels and position alone."""
        return HeardSource(self.labels, self.position)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; :func:`read_manifest` reads it back."""
        place = dict(zip(("azimuth_deg", "elevation_deg", "distance_m"), map(float, self.position), strict=True))
        texts = {name: getattr(self, name) for name in ("library", "sound", "audio", "rirs", "rir")}
        scene = {} if self.scene is None else {"scene": self.scene.to_dict()}
        begin = {} if self.begin_s is None else {"begin_s": self.begin_s}
        texts = {name: text for name, text in texts.items() if text is not None}
        return {**texts, **begin, "labels": list(self.labels), **place, **scene}


@dataclass(frozen=True)
class Clip:
    """One line of a manifest."""

    id: str
    sources: tuple[ClipSource, ...]
    seconds: float = CLIP_SECONDS
    seed: int = 0
    """Seed that the clip was drawn with; says where it comes from, nothing is drawn from it again."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        sources = [source.to_dict() for source in self.sources]
        return {"id": self.id, "seconds": self.seconds, "seed": self.seed, "sources": sources}


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Write one line a clip; all of it or nothing. Raises :class:`~bat_agent.errors.BadInput` for a bad place."""
    if path.is_dir():
        raise BadInput(f"cannot write the manifest to {path}: it is a folder; name a file such as eval.jsonl")
    lines = [json.dumps(clip.to_dict(), ensure_ascii=False, allow_nan=False) for clip in clips]
    write_bytes(path, ("\n".join(lines) + "\n").encode(), folder=True)


def read_manifest(path: str | os.PathLike[str]) -> list[Clip]:
    """Every clip of a manifest.

    Raises :class:`~bat_agent.errors.BadInput` where there is no such file or no clip in it, and with file and line
    number for a line that is no clip: broken JSON, an unknown key or label, a direction that its scene contradicts.
    """
    file = Path(path)
    if not file.is_file():
        raise BadInput(f"no manifest at {file}; write one with bat-agent evaluate manifest, or check the name")
    clips: list[Clip] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            clip = _clip(parse_json(line))
        except json.JSONDecodeError as error:
            raise BadInput(
                f"{file}:{number}: is no JSON ({error.msg}), expected one clip a line; mend the line"
            ) from None
        except BadInput as error:
            raise BadInput(f"{file}:{number}: {error}") from None
        if clip.id in seen:
            raise BadInput(f"{file}:{number}: id {clip.id!r} is also on line {seen[clip.id]}; give each its own")
        seen[clip.id] = number
        clips.append(clip)
    if not clips:
        raise BadInput(f"{file} holds no clip, expected one a line; write one with bat-agent evaluate manifest")
    return clips


def place_of(path: str, folder: Path) -> Path:
    """A path of a manifest in ``folder``, with ``~`` and variables expanded."""
    return folder / expand(path)


def _lines(file: Path) -> Sequence[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise BadInput(f"{file} is no UTF-8 text, expected JSON lines; name a manifest") from None


def _clip(data: Any) -> Clip:
    _check_keys("a clip", data, _CLIP_KEYS, ("id", "sources"))
    entries = data["sources"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_SOURCES:
        raise BadInput(f"sources must be a list of 1 to {MOST_SOURCES} sources, got {entries!r:.60}")
    seconds, seed = data.get("seconds", CLIP_SECONDS), data.get("seed", 0)
    if not _is_number(seconds) or seconds <= 0:
        raise BadInput(f"seconds must be a number above 0, got {seconds!r}")
    if not isinstance(seed, int):
        raise BadInput(f"seed must be a whole number, got {seed!r}")
    return Clip(str(data["id"]), tuple(_source(entry) for entry in entries), float(seconds), seed)


def _source(data: Any) -> ClipSource:
    _check_keys("a source", data, _SOURCE_KEYS, ("labels", "azimuth_deg", "elevation_deg", "distance_m"))
    names = data["labels"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise BadInput(f"labels must be a list of display names, got {names!r:.60}")
    place = [data[name] for name in ("azimuth_deg", "elevation_deg", "distance_m")]
    if not all(map(_is_number, place)) or not -90 <= place[1] <= 90 or place[2] <= 0:
        raise BadInput(f"azimuth_deg, elevation_deg (−90 to 90) and distance_m (above 0) must be numbers, got {place}")
    texts = {name: data.get(name) for name in ("library", "sound", "audio", "rirs", "rir")}
    if wrong := [name for name, value in texts.items() if value is not None and not isinstance(value, str)]:
        raise BadInput(f"{', '.join(wrong)} must be text")
    has = {name for name, value in texts.items() if value}
    if has & {"library", "sound", "audio"} not in ({"library", "sound"}, {"audio"}):
        raise BadInput("a source needs library and sound, or audio alone")
    if (has & {"rirs", "rir"}, "scene" in data) not in (({"rirs", "rir"}, False), ({"rir"}, False), (set(), True)):
        raise BadInput("a source needs rir (with or without rirs), or scene alone")
    begin_s = data.get("begin_s")
    if begin_s is not None and (not _is_number(begin_s) or begin_s < 0):
        raise BadInput(
            f"begin_s must be a number of seconds, 0 or more, got {begin_s!r}; leave it out for a sound that begins"
        )
    scene = Scene.from_dict(data["scene"]) if "scene" in data else None
    position = Position(place[0] % 360.0, place[1], place[2])
    if scene is not None:
        _check_scene(scene, position)
    # Mids and any case of letters are taken; what is said and compared is the display name.
    shown = tuple(labels()[class_number(name)] for name in names)
    return ClipSource(shown, position, **texts, scene=scene, begin_s=begin_s)


def _check_scene(scene: Scene, position: Position) -> None:
    if len(scene.sources) != 1:
        raise BadInput(f"scene must have the one source that it stands beside, got {len(scene.sources)}")
    heard = scene.positions()[0]
    off_deg = angle_between_deg(heard[:2], position[:2])
    if off_deg > _NEAR_DEG or abs(heard.distance_m - position.distance_m) > _NEAR_M:
        raise BadInput(
            f"the scene puts the source at azimuth {heard.azimuth_deg:.1f}, elevation {heard.elevation_deg:.1f}, "
            f"{heard.distance_m:.2f} m, the line at {position.azimuth_deg:.1f}, {position.elevation_deg:.1f}, "
            f"{position.distance_m:.2f} m; mend one of them"
        )


def _check_keys(what: str, data: Any, known: Iterable[str], needed: Iterable[str]) -> None:
    if not isinstance(data, Mapping):
        raise BadInput(f"{what} must be a JSON object, got {type(data).__name__}")
    if unknown := sorted(set(data) - set(known)):
        raise BadInput(f"{what} has unknown keys {unknown}, known are {sorted(known)}")
    if missing := sorted(set(needed) - set(data)):
        raise BadInput(f"{what} lacks {', '.join(missing)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
