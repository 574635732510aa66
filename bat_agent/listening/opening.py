"""``bat_agent.listen``: from the name of a source to open ears."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bat_agent.errors import BadInput
from bat_agent.listening import feeds, simulated
from bat_agent.listening.ambisonic import AmbisonicFile, ambisonic_file
from bat_agent.listening.blocks import SoundSource
from bat_agent.listening.engine import LiveEars
from bat_agent.listening.intake import Sides
from bat_agent.listening.microphone import Microphone
from bat_agent.listening.saving import Recorder
from bat_agent.listening.settings import Settings, SettingsGiven
from bat_agent.listening.sides import DeviceSides, load_sides
from bat_agent.recordings import Ambisonics

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from bat_agent.ears import Ears

FIRST_TWO = (1, 2)
SCENE_FILES = (".yaml", ".yml", ".json")


def listen(
    source: SoundSource | str | os.PathLike[str] | int | None = None,
    *,
    model: str | os.PathLike[str] | Ears | None = None,
    device: str | None = None,
    level_known: bool | None = None,
    threads: int | None = None,
    channels: tuple[int, int] | None = None,
    swap: bool = False,
    headings: str | os.PathLike[str] | None = None,
    heading_channel: int | None = None,
    fast: bool = False,
    save: str | os.PathLike[str] | Recorder | None = None,
    **settings: Unpack[SettingsGiven],
) -> LiveEars:
    """Ears that stay open: iterate over the result for :class:`~bat_agent.listening.events.Update` objects.

    >>> for update in bat_agent.listen("kitchen.wav", fast=True):  # doctest: +SKIP
    ...     print(update.t_s, [source.source.labels for source in update.sources])

    ``source``: ``None`` for the default microphone, a number or name of a device, an audio file, ``tcp://HOST:PORT``,
    ``walk:LABEL`` for a rendered sound that walks around the listener, or any
    :class:`~bat_agent.listening.blocks.SoundSource`. ``model``: as for :func:`bat_agent.load`, or ears that are loaded.
    ``level_known``: whether the level tells distances; by itself for files and rendered rooms only. ``threads``: of the
    processor that the model computes with; by itself what is fastest. ``channels`` are
    the left and the right one, counted from 1; unless they are named, what is heard has two. Of a head that turns,
    the heading comes in a channel of its own, ``heading_channel`` (full scale is half a circle, counter-clockwise),
    with the blocks of the source, or for a file from a table ``headings`` with columns ``t_s`` and ``heading_deg``:
    looks are then joined over headings (:mod:`bat_agent.hearing.turning`). ``fast`` hears a file as fast as possible;
    ``save`` writes what is heard into a folder. ``settings`` are those of
    :class:`~bat_agent.listening.settings.Settings`, such as ``window_s``, ``hop_s`` and ``questions``.

    Raises :class:`~bat_agent.errors.BadInput` where the source or a setting cannot be used.
    """
    from bat_agent.ears import Ears
    from bat_agent.loading import load

    opened = open_source(source, channels=channels or FIRST_TWO, fast=fast, headings=headings)
    calibrated = default_level_known(opened) if level_known is None else level_known
    ears = model
    if not isinstance(ears, Ears):
        more = {} if threads is None else {"threads": threads}
        ears = load(None if ears is None else os.fspath(ears), device=device, level_known=calibrated, **more)
    try:
        chosen = Settings(**settings)
    except TypeError as error:
        known = ", ".join(Settings.__dataclass_fields__)
        raise BadInput(f"listen takes no such setting ({str(error).split(' ', 1)[-1]}); there are {known}") from error
    sides = sides_of(opened, channels, swap, heading_channel)
    recorder = Recorder(save) if isinstance(save, str | os.PathLike) else save
    return LiveEars(opened, ears, chosen, sides=sides, recorder=recorder)


def open_source(
    source: SoundSource | str | os.PathLike[str] | int | None,
    *,
    channels: tuple[int, int] = FIRST_TWO,
    fast: bool = False,
    headings: str | os.PathLike[str] | None = None,
) -> SoundSource:
    """The source of a name; see :func:`listen`. It is not opened yet."""
    found: SoundSource
    is_file = isinstance(source, str | os.PathLike) and Path(source).is_file()
    if headings is not None and not is_file:
        raise BadInput("a table of headings is for a file: others send theirs with the sound")
    if source is None or isinstance(source, int):
        found = Microphone(source, channels=channels)
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if name.startswith("walk:"):
            return simulated.walk(name.removeprefix("walk:"), pace="fast" if fast else "real")
        if name.startswith("tcp://"):
            found = _tcp(name)
        elif name == "-":
            found = feeds.Raw()
        elif Path(name).exists() or Path(name).suffix:
            return open_file(name, fast=fast, ambisonics="auto" if channels == (1, 2) else "no", headings=headings)
        else:
            found = Microphone(name, channels=channels)
    else:
        found = source
    if fast and found.live:
        raise BadInput(f"{found.name} comes at its own pace: fast is for files and rendered rooms")
    return found


def open_file(
    path: str | os.PathLike[str],
    *,
    fast: bool = False,
    start_s: float = 0.0,
    loop: bool = False,
    seconds: float | None = None,
    ambisonics: Ambisonics = "auto",
    headings: str | os.PathLike[str] | None = None,
) -> SoundSource:
    """An audio file, or a scene file, which is rendered for ``seconds``; it is not opened yet.

    ``ambisonics`` as in :class:`bat_agent.recordings.Recording`: such a file is rendered to two ears.
    """
    pace = "fast" if fast else "real"
    if Path(path).suffix.lower() not in SCENE_FILES:
        recording = ambisonic_file(path, ambisonics)
        if recording is not None and headings is not None:
            raise BadInput(f"{path} is ambisonic, which is rendered for a head at rest: leave the headings out")
        if recording is not None:
            return AmbisonicFile(recording, pace=pace, start_s=start_s, loop=loop)
        return feeds.File(path, pace=pace, start_s=start_s, loop=loop, headings=headings)
    if start_s or loop:
        raise BadInput(f"{path} is a scene file, which begins at 0 s and goes on as it says: leave start and loop out")
    return simulated.scene(os.fspath(path), pace=pace, seconds=seconds)


def sides_of(
    source: SoundSource, channels: tuple[int, int] | None, swap: bool, heading_channel: int | None = None
) -> Sides:
    """Which channels of its blocks are the ears, for a microphone with what ``bat-listen calibrate`` found.

    Raises :class:`~bat_agent.errors.BadInput` for no such pair.
    """
    left, right = channels or FIRST_TWO
    if left == right or min(left, right) < 1:
        raise BadInput(f"channels must be two different numbers from 1, left first, got {left},{right}")
    heading = None if heading_channel is None else heading_channel - 1
    if heading is not None and (heading < 0 or heading_channel in (left, right)):
        raise BadInput(
            f"the heading must come in another channel than {left} and {right}, from 1, got {heading_channel}"
        )
    if not isinstance(source, Microphone):
        return Sides(left - 1, right - 1, swap, heading=heading, named=channels is not None)
    if heading is not None:
        raise BadInput("a microphone brings no heading: send samples and heading to --tcp, --ws or --raw")
    # It hands over the two ears alone.
    known = load_sides(source.name) or DeviceSides(False, 0.0)
    return Sides(0, 1, known.swap != swap, -known.gain_db)


def _tcp(name: str) -> SoundSource:
    host, _, port = name.removeprefix("tcp://").rpartition(":")
    if not port.isdecimal():
        raise BadInput(f"{name} names no port: write e.g. tcp://127.0.0.1:9000")
    return feeds.Tcp(int(port), host or "127.0.0.1")


def default_level_known(source: SoundSource) -> bool:
    """Whether its level is that of the clips that the model was trained with, as rendered ones have it."""
    return isinstance(source, feeds.File | simulated.Simulated)
