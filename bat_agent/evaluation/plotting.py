"""Pictures of a scene and of what was heard in it.

Figures are plain ``matplotlib.figure.Figure`` objects: no display, no pyplot, nothing global. Directions are in the
frame drawn in :mod:`bat_agent.scene`; seen from above, front is up. Truth and hearing differ by colour, shape and line
style, so that no reader depends on one of them; the two hues stay apart in every common colour blindness (Okabe, Ito).
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrow, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from bat_agent.errors import BadInput
from bat_agent.files.writing import write_bytes
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.scene import Listener, MeshRoom, Position, Room, Scene, Source, point_at, relative_position, unit_vector
from bat_agent.sound.rir_measures import energy_decay_db

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

    from bat_agent.hearing.perception import PerceivedSource, Perception

FORMATS = (".png", ".pdf", ".svg")

_SOURCE_STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#AA4499", ":"))
_EARS = (("left ear", "#222222", "-"), ("right ear", "#8A8A8A", "--"))
_LEVEL_FRAME_S, _LEVEL_RANGE_DB, _DECAY_RANGE_DB = 0.05, 60.0, 60.0
_TRUE, _HEARD, _INK, _WALL, _FLOOR = "#0072B2", "#D55E00", "#222222", "#555555", "#F6F4EF"
_RING = {"markerfacecolor": "white", "markeredgecolor": _HEARD, "markeredgewidth": 2.2}
_FRAME, _LOWEST_HZ, _RANGE_DB = 1024, 50.0, 70.0
_FLOOR_DBFS = -120.0
_UNKNOWN_DISTANCE_M = 1.0
_Label = tuple[tuple[float, float], str, str]
"""Where it stands in data coordinates, what it says, its colour."""
_LABEL_SPOTS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))


def scene_figure(scene: Scene, perception: Perception, waveform: Any) -> Figure:
    """The scene from above, to scale, with true and heard sources, beside the spectrograms of both ears.

    ``waveform`` is (2, N) at 32 kHz, what the listener of ``scene`` hears and ``perception`` was made from. A heard
    source stands where its direction and distance, taken at their word, would put it, even behind a wall; one without
    a direction is left out.
    """
    figure, left, right = _panels(lambda f, spot: f.add_subplot(spot))
    heard = [(point_at(scene.listener, _position(source)), source) for source in _placeable(perception)]
    _draw_walls(left, scene.room)
    labels = [
        *(_draw_true(left, source, scene.listener) for source in scene.sources),
        *(_draw_heard(left, point, source, scene.listener) for point, source in heard),
    ]
    _frame_top_view(left, scene, [point for point, _ in heard])
    _draw_head(left, scene.listener)
    _draw_spectrograms(figure, right, waveform)
    _top_view_legend(left, heard=bool(heard))
    _place_labels(figure, left, labels, centre=(scene.listener.position_m[0], scene.listener.position_m[2]))
    return figure


def perception_figure(perception: Perception, waveform: Any) -> Figure:
    """What was heard, as directions and distances around the listener, beside the spectrograms of both ears.

    ``waveform`` is (2, N) at 32 kHz.
    """
    figure, left, right = _panels(lambda f, spot: f.add_subplot(spot, projection="polar"))
    # Matplotlib's polar angle runs as our azimuth does: 0 right, counter-clockwise.
    left.set_thetagrids(
        range(0, 360, 45), ["right\n0°", "45°", "front 90°", "135°", "left\n180°", "225°", "behind 270°", "315°"]
    )
    left.tick_params(axis="x", pad=8)
    heard = [(_position(source), source) for source in _placeable(perception)]
    farthest = max([2.0, *(position.distance_m for position, _ in heard)])
    left.set_ylim(0, math.ceil(farthest * 1.15))
    left.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    left.yaxis.set_major_formatter(FuncFormatter(lambda metres, _: f"{metres:g} m"))
    left.set_rlabel_position(_free_angle_deg([position.azimuth_deg for position, _ in heard]))
    left.tick_params(axis="y", labelsize=8, labelcolor=_WALL)
    left.plot(0, 0, "o", color=_INK, markersize=9, zorder=4)
    labels = []
    for position, source in heard:
        angle = math.radians(position.azimuth_deg)
        left.plot([angle, angle], [0, position.distance_m], "--", color=_HEARD, linewidth=1.4)
        left.plot(angle, position.distance_m, "D", markersize=9, zorder=5, **_RING)
        labels.append(((angle, position.distance_m), _heard_text(source), _HEARD))
    left.set_title(_title(perception, bool(labels)), fontweight="bold", pad=18)
    left.set_xlabel("distance from the centre in metres, angle = azimuth", labelpad=10, fontsize=9)
    _draw_spectrograms(figure, right, waveform)
    _place_labels(figure, left, labels, centre=(0.0, 0.0))
    return figure


def render_figure(
    scene: Scene, rirs: Sequence[Any], waveform: Any, ways: Sequence[Sequence[tuple[float, ...]]] = ()
) -> Figure:
    """The scene from above, to scale, beside the decay of each source's RIR and the level that each ear hears.

    ``rirs`` holds (2, taps) for each source, ``waveform`` is (2, N), all at 32 kHz; ``ways`` are lists of points
    (x, y, z) in metres that something passes, drawn dotted up to an arrow; scene and RIRs are then those at 0 s.
    """
    figure = Figure(figsize=(13, 6.2), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.1, 1.0))
    left = figure.add_subplot(grid[:, 0])
    _draw_walls(left, scene.room)
    for way in ways:
        left.plot([point[0] for point in way], [point[2] for point in way], ":", color=_INK, linewidth=2, zorder=2)
        (x, _, z), (end_x, _, end_z) = way[0] if len(way) < 2 else way[-2], way[-1]
        shape = {"arrowstyle": "-|>", "color": _INK, "linestyle": "", "mutation_scale": 18}
        left.annotate("", (end_x, end_z), (x, z), arrowprops=shape)
    styles = [_SOURCE_STYLES[number % len(_SOURCE_STYLES)] for number in range(len(scene.sources))]
    labels = [
        _draw_true(left, source, scene.listener, colour)
        for source, (colour, _) in zip(scene.sources, styles, strict=True)
    ]
    _frame_top_view(left, scene, [(p[0], p[1], p[2]) for way in ways for p in way])
    _draw_head(left, scene.listener)
    entries = [Line2D([], [], color=_INK, marker="^", linestyle="", markersize=8, label="listener and heading")]
    entries += [Line2D([], [], color=_INK, linestyle=":", linewidth=2, label="path")] if ways else []
    left.legend(handles=entries, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=9)
    _draw_decays(figure.add_subplot(grid[0, 1]), scene, rirs, styles, " at 0 s" if ways else "")
    _draw_levels(figure.add_subplot(grid[1, 1]), np.asarray(waveform))
    _place_labels(figure, left, labels, centre=(scene.listener.position_m[0], scene.listener.position_m[2]))
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write ``figure`` as the format its suffix names (PNG, PDF or SVG); nothing is left behind if drawing fails.

    Raises :class:`~bat_agent.errors.BadInput` for another suffix, and where the file cannot be written.
    """
    check_figure_path(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=Path(path).suffix[1:].lower(), dpi=150)
    write_bytes(path, buffer.getvalue())


def check_figure_path(path: str | Path) -> None:
    """Raise :class:`~bat_agent.errors.BadInput` unless :func:`save_figure` knows the suffix and the folder exists."""
    if Path(path).suffix.lower() not in FORMATS:
        raise BadInput(f"cannot draw to {str(path)!r}: the file name must end in one of {', '.join(FORMATS)}")
    if not Path(path).parent.is_dir():
        raise BadInput(f"cannot draw to {str(path)!r}: the folder {str(Path(path).parent)!r} does not exist; create it")


def spectrogram_db(channel: np.ndarray) -> np.ndarray:
    """Level in dBFS, (513 bins, frames), of ``channel`` (N,): a full-scale sine has 0 dB in its bin.

    20·log10(2·|Σ w·x| / Σ w) with a periodic Hann window of 1024 samples, hop 512; floor −120 dB.
    """
    samples = np.pad(np.asarray(channel, dtype=np.float64), (0, max(0, _FRAME - len(channel))))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[:: _FRAME // 2]
    magnitude = 2 * np.abs(np.fft.rfft(frames * window, axis=1)) / window.sum()
    return 20 * np.log10(np.maximum(magnitude.T, 10 ** (_FLOOR_DBFS / 20)))


def _panels(make_left: Any) -> tuple[Figure, Any, list[Axes]]:
    figure = Figure(figsize=(13, 6.2), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.1, 1.0))
    left = make_left(figure, grid[:, 0])
    upper = figure.add_subplot(grid[0, 1])
    return figure, left, [upper, figure.add_subplot(grid[1, 1], sharex=upper, sharey=upper)]


def _draw_spectrograms(figure: Figure, axes: list[Axes], waveform: Any) -> None:
    levels = [spectrogram_db(np.asarray(channel)) for channel in waveform]
    top = max(_FLOOR_DBFS + _RANGE_DB, math.ceil(max(float(level.max()) for level in levels)))
    seconds = np.arange(levels[0].shape[1] + 1) * (_FRAME // 2) / SAMPLE_RATE_HZ
    bin_hz = SAMPLE_RATE_HZ / _FRAME
    edges_hz = np.maximum((np.arange(_FRAME // 2 + 2) - 0.5) * bin_hz, bin_hz / 4)
    for ax, level, ear in zip(axes, levels, ("Left ear", "Right ear"), strict=True):
        # One scale for both ears: the difference of level is what one looks for.
        mesh = ax.pcolormesh(
            seconds, edges_hz, level, cmap="magma", vmin=top - _RANGE_DB, vmax=top, rasterized=True, shading="flat"
        )
        ax.set_yscale("log")
        ax.set_ylim(_LOWEST_HZ, SAMPLE_RATE_HZ / 2)
        ax.set_yticks([100, 300, 1000, 3000, 10000], ["0.1", "0.3", "1", "3", "10"])
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_ylabel("frequency (kHz)")
        ax.set_title(ear, loc="left", fontweight="bold")
    axes[0].tick_params(labelbottom=False)
    axes[1].set_xlabel("time (s)")
    figure.colorbar(mesh, ax=axes, label="level (dBFS per bin)", pad=0.02)


def _draw_decays(ax: Axes, scene: Scene, rirs: Sequence[Any], styles: Sequence[tuple[str, str]], when: str) -> None:
    longest_ms = 1.0
    for source, rir, (colour, line) in zip(scene.sources, rirs, styles, strict=True):
        decay = energy_decay_db(np.linalg.norm(np.asarray(rir, dtype=np.float64), axis=0))
        shown = decay > -_DECAY_RANGE_DB - 5
        time_ms = 1000 * np.arange(len(decay)) / SAMPLE_RATE_HZ
        longest_ms = max(longest_ms, float(time_ms[shown].max(initial=0.0)))
        ax.plot(time_ms[shown], decay[shown], line, color=colour, linewidth=1.8, label=_name(source.labels) or "source")
    ax.set_ylim(-_DECAY_RANGE_DB, 3)
    ax.set_xlim(0, 1.02 * longest_ms)
    _finish(ax, f"Energy left in the room response{when}", "time (ms)", "energy decay (dB)")


def _draw_levels(ax: Axes, waveform: np.ndarray) -> None:
    """RMS of each ear in frames of 50 ms."""
    frame = round(_LEVEL_FRAME_S * SAMPLE_RATE_HZ)
    padded = np.pad(waveform.astype(np.float64), ((0, 0), (0, -waveform.shape[1] % frame)))
    rms = np.sqrt(np.square(padded.reshape(2, -1, frame)).mean(axis=-1))
    levels = 20 * np.log10(np.maximum(rms, 10 ** (_FLOOR_DBFS / 20)))
    for level, (ear, colour, line) in zip(levels, _EARS, strict=True):
        ax.plot((np.arange(len(level)) + 0.5) * _LEVEL_FRAME_S, level, line, color=colour, linewidth=1.6, label=ear)
    top = math.ceil(float(levels.max()) / 5) * 5 + 3
    ax.set_ylim(max(top - _LEVEL_RANGE_DB, float(levels.min()) - 3), top)
    ax.set_xlim(0, waveform.shape[1] / SAMPLE_RATE_HZ)
    _finish(ax, "What the ears hear", "time (s)", "level (dBFS)")
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=9)


def _finish(ax: Axes, title: str, x: str, y: str) -> None:
    ax.set_title(title, loc="left", fontweight="bold")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(color="#DDDDDD", linewidth=0.6)
    ax.legend(loc="upper right", fontsize=9)


def _draw_walls(ax: Axes, room: Room | MeshRoom) -> None:
    if isinstance(room, Room):
        width, _, depth = room.size_m
        ax.add_patch(Rectangle((0, 0), width, depth, facecolor=_FLOOR, edgecolor=_WALL, linewidth=3, zorder=1))


def _draw_head(ax: Axes, listener: Listener) -> None:
    """A head with two ears and an arrow in its heading; larger than life, so that it can be seen."""
    x, _, z = listener.position_m
    radius = 0.024 * abs(ax.get_xlim()[1] - ax.get_xlim()[0])
    for azimuth in (0.0, 180.0):
        dx, _, dz = unit_vector(azimuth + listener.heading_deg, 0.0)
        ax.add_patch(Circle((x + radius * dx, z + radius * dz), radius / 3, color=_INK, zorder=6))
    dx, _, dz = unit_vector(90.0 + listener.heading_deg, 0.0)
    length = 3.4 * radius
    shape: dict[str, Any] = {"width": radius / 3, "head_width": 1.2 * radius, "head_length": 1.2 * radius}
    ax.add_patch(FancyArrow(x, z, length * dx, length * dz, color=_INK, zorder=6, length_includes_head=True, **shape))
    ax.add_patch(Circle((x, z), radius, facecolor="white", edgecolor=_INK, linewidth=2, zorder=7))


def _draw_true(ax: Axes, source: Source, listener: Listener, colour: str = _TRUE) -> _Label:
    x, _, z = source.position_m
    ax.plot([listener.position_m[0], x], [listener.position_m[2], z], "-", color=colour, linewidth=1.2, zorder=3)
    ax.plot(x, z, "o", color=colour, markersize=11, zorder=5)
    here = relative_position(listener, source.position_m)
    return (x, z), _text(source.labels, here.distance_m, here.elevation_deg), colour


def _draw_heard(ax: Axes, point: tuple[float, float, float], source: PerceivedSource, listener: Listener) -> _Label:
    x, _, z = point
    ax.plot([listener.position_m[0], x], [listener.position_m[2], z], "--", color=_HEARD, linewidth=1.6, zorder=4)
    ax.plot(x, z, "D", markersize=9, zorder=5, **_RING)  # type: ignore[arg-type]
    return (x, z), _heard_text(source), _HEARD


def _frame_top_view(ax: Axes, scene: Scene, heard: Sequence[tuple[float, float, float]]) -> None:
    points = [scene.listener.position_m, *(source.position_m for source in scene.sources), *heard]
    if isinstance(scene.room, Room):
        points += [(0.0, 0.0, 0.0), scene.room.size_m]
    xs, zs = [point[0] for point in points], [point[2] for point in points]
    margin = 0.09 * max(max(xs) - min(xs), max(zs) - min(zs), 1.0)
    ax.set_aspect("equal", adjustable="box")
    ax.set_xlim(min(xs) - margin, max(xs) + margin)
    ax.set_ylim(max(zs) + margin, min(zs) - margin)  # downwards: −z, the front at heading 0, is up
    ax.set_xlabel("x, right (m)")
    ax.set_ylabel("z, behind (m)")
    ax.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    ax.grid(color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set_title(f"{_room_text(scene.room)}, seen from above", fontweight="bold", pad=34)


def _top_view_legend(ax: Axes, heard: bool) -> None:
    entries = [
        Line2D([], [], color=_INK, marker="^", linestyle="", markersize=8, label="listener and heading"),
        Line2D([], [], color=_TRUE, marker="o", markersize=9, label="true source"),
    ]
    if heard:
        entries.append(Line2D([], [], color=_HEARD, marker="D", linestyle="--", markersize=8, label="heard", **_RING))  # type: ignore[arg-type]
    else:
        entries.append(Line2D([], [], linestyle="", label="nothing heard"))
    ax.legend(handles=entries, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=9)


def _place_labels(figure: Figure, ax: Axes, labels: Sequence[_Label], centre: tuple[float, float]) -> None:
    """Write each label beside its marker where it hides least; the side away from ``centre`` is tried first."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # the layout must stand before boxes can be compared
    frame = ax.get_window_extent(renderer)
    middle = ax.transData.transform(centre)
    pixels = [ax.transData.transform(point) for point, _, _ in labels]
    rays = [middle + share * (pixel - middle) for pixel in pixels for share in np.linspace(0, 1, 40)]
    taken: list[Bbox] = []
    for number, (point, text, colour) in enumerate(labels):
        note = ax.annotate(
            text, point, (0, 0), textcoords="offset points", fontsize=9, color=colour, zorder=5.5, parse_math=False,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        )  # fmt: skip
        note.set_in_layout(False)
        outward = (pixels[number] - middle) / max(1e-9, float(np.hypot(*(pixels[number] - middle))))
        markers = pixels[:number] + pixels[number + 1 :]

        def cost(spot: tuple[int, int], note: Any = note, outward: Any = outward, markers: Any = markers) -> float:
            box = _move(note, spot).get_window_extent(renderer)
            labels_hidden = sum(box.overlaps(other) for other in taken)
            markers_hidden = sum(box.padded(10).contains(*marker) for marker in markers)
            rays_hidden = sum(box.contains(*pixel) for pixel in rays)
            outside = not _inside(box, frame)
            inward = -float(outward @ np.array(spot)) / math.hypot(*spot)
            return 20 * labels_hidden + 8 * markers_hidden + 12 * outside + 0.4 * rays_hidden + inward

        taken.append(_move(note, min(_LABEL_SPOTS, key=cost)).get_window_extent(renderer))


def _move(note: Annotation, spot: tuple[int, int]) -> Annotation:
    """``note`` set 11 points away from its marker; ``spot`` is (−1 left … 1 right, −1 below … 1 above)."""
    dx, dy = spot
    note.xyann = (11 * dx, 11 * dy)
    note.set(ha=("right", "center", "left")[dx + 1], va=("top", "center", "bottom")[dy + 1])
    return note


def _free_angle_deg(taken_deg: Sequence[float]) -> float:
    """The angle between two spokes of the polar grid that is farthest from all of ``taken_deg``."""
    gap = {a: min([abs((a - t + 180) % 360 - 180) for t in taken_deg], default=0.0) for a in range(337, 0, -45)}
    return max(gap, key=lambda angle: gap[angle])


def _inside(inner: Bbox, outer: Bbox) -> bool:
    return inner.x0 >= outer.x0 and inner.x1 <= outer.x1 and inner.y0 >= outer.y0 and inner.y1 <= outer.y1


def _position(source: PerceivedSource) -> Position:
    distance = _UNKNOWN_DISTANCE_M if source.distance_m is None else source.distance_m
    return Position(source.azimuth_deg or 0.0, source.elevation_deg or 0.0, distance)


def _placeable(perception: Perception) -> list[PerceivedSource]:
    """The sources that have a direction: an encoder without that head cannot be drawn from above."""
    return [source for source in perception.sources if source.azimuth_deg is not None]


def _title(perception: Perception, placed: bool) -> str:
    if placed or not perception.sources:
        return "Heard from above" if placed else "Nothing heard"
    names = "; ".join(dict.fromkeys(_name(source.labels) or "something" for source in perception.sources))
    return "\n".join(["Heard, but not from where:", *textwrap.wrap(names, 40)])


def _heard_text(source: PerceivedSource) -> str:
    return f"{_text(source.labels, source.distance_m, source.elevation_deg)}, {source.confidence:.0%} sure"


def _text(labels: Sequence[str], distance_m: float | None, elevation_deg: float | None) -> str:
    name = _name(labels)
    place = ["distance unknown" if distance_m is None else f"{distance_m:.1f} m"]
    if elevation_deg is not None:
        place.append(f"{abs(elevation_deg):.0f}° {'up' if elevation_deg >= 0 else 'down'}")
    return "\n".join([*textwrap.wrap(name, 26), ", ".join(place)])


def _name(labels: Sequence[str]) -> str:
    # "Crowing, cock-a-doodle-doo" → "Crowing": what follows the comma are synonyms, and space is short.
    return textwrap.shorten("; ".join(label.split(",")[0] for label in labels), 40, placeholder=" …")


def _room_text(room: Room | MeshRoom) -> str:
    if isinstance(room, MeshRoom):
        return f"Mesh room {Path(room.path).name}"
    x, y, z = room.size_m
    walls = ", ".join(dict.fromkeys(room.materials)) or "free field"
    echo = textwrap.shorten(walls, 40, placeholder=" …") if room.rt60_s is None else f"RT60 {room.rt60_s:.2f} s"
    return f"Room {x:.1f} × {z:.1f} m, {y:.1f} m high, {echo}"
