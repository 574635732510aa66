"""Pictures: everything stands where the geometry says, and the levels are those of known signals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

from bat_agent.errors import BadInput
from bat_agent.evaluation.plotting import perception_figure, save_figure, scene_figure, spectrogram_db
from bat_agent.hearing.perception import PerceivedSource, Perception
from bat_agent.scene import Listener, MeshRoom, Position, Room, Scene, Source, point_at

SILENCE = np.zeros((2, 3200), dtype=np.float32)
ROOM = Room((6.2, 2.7, 4.8))
LISTENER = Listener((3.0, 1.5, 2.6), heading_deg=30.0)


def _scene(*sources: Source, listener: Listener = LISTENER, room: Room | MeshRoom = ROOM) -> Scene:
    return Scene(room, listener, sources)


def _heard(*positions: tuple[float | None, float | None, float | None], label: str = "Dog") -> Perception:
    return Perception(tuple(PerceivedSource((label,), *position, confidence=0.8) for position in positions))


def _markers(ax: Axes, marker: str) -> list[tuple[float, float]]:
    return [tuple(line.get_xydata()[0]) for line in ax.lines if line.get_marker() == marker]


def _texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for ax in figure.axes for text in (*ax.texts, ax.title))


def _pixel(figure: Figure, ax: Axes, point: tuple[float, float]) -> np.ndarray:
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    return ax.transData.transform(point)


def test_a_perception_that_is_the_truth_lies_on_the_true_sources() -> None:
    scene = _scene(Source((1.1, 1.2, 1.3), ("Dog",)), Source((5.2, 2.0, 3.4), ("Bell",)))
    figure = scene_figure(scene, _heard(*scene.positions()), SILENCE)
    true = _markers(figure.axes[0], "o")
    assert true == [(1.1, 1.3), (5.2, 3.4)]
    assert np.allclose(_markers(figure.axes[0], "D"), true)


def test_front_is_up_and_left_is_left_on_the_page() -> None:
    listener = Listener((3.0, 1.5, 2.6))
    figure = scene_figure(_scene(listener=listener), _heard((90.0, 0.0, 1.0), (180.0, 0.0, 1.0)), SILENCE)
    top_view = figure.axes[0]
    head = _pixel(figure, top_view, (3.0, 2.6))
    front, left = (_pixel(figure, top_view, point) for point in _markers(top_view, "D"))
    assert front[0] == pytest.approx(head[0])
    assert front[1] > head[1] + 20
    assert left[1] == pytest.approx(head[1])
    assert left[0] < head[0] - 20
    # to scale: a metre to the front is as long as a metre to the left
    assert front[1] - head[1] == pytest.approx(head[0] - left[0])


def test_the_polar_view_has_the_same_orientation() -> None:
    figure = perception_figure(_heard((90.0, 0.0, 2.0), (180.0, 0.0, 2.0)), SILENCE)
    polar = figure.axes[0]
    centre = _pixel(figure, polar, (0.0, 0.0))
    front, left = (_pixel(figure, polar, point) - centre for point in _markers(polar, "D"))
    assert front[1] > 20
    assert abs(front[0]) < 1
    assert left[0] < -20
    assert abs(left[1]) < 1


def test_walls_are_drawn_where_the_room_ends() -> None:
    walls = [patch for patch in scene_figure(_scene(), _heard(), SILENCE).axes[0].patches if type(patch) is Rectangle]
    assert [wall.get_bbox().bounds for wall in walls] == [(0.0, 0.0, 6.2, 4.8)]


def test_a_source_heard_behind_the_wall_is_still_on_the_page() -> None:
    far = Position(180.0, 0.0, 9.5)
    figure = scene_figure(_scene(), _heard(far), SILENCE)
    x, _, z = point_at(LISTENER, far)
    low, high = sorted(figure.axes[0].get_xlim()), sorted(figure.axes[0].get_ylim())
    assert low[0] < x < low[1]
    assert high[0] < z < high[1]


def test_labels_of_sources_apart_hide_neither_each_other_nor_leave_the_page() -> None:
    scene = _scene(Source((0.3, 1.2, 0.3), ("Male speech, man speaking",)), Source((5.9, 2.0, 4.5), ("Bell",)))
    figure = scene_figure(scene, _heard(*scene.positions()), SILENCE)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    boxes = [t.get_window_extent(renderer) for t in figure.axes[0].texts if isinstance(t, Annotation)]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(figure.bbox.contains(*corner) for box in boxes for corner in (box.min, box.max))


@pytest.mark.parametrize(
    ("position", "drawn", "says"),
    [((None, None, None), 0, ""), ((10.0, None, 2.0), 1, "2.0 m"), ((10.0, 5.0, None), 1, "distance unknown")],
)
def test_what_an_encoder_cannot_say_is_not_drawn(
    position: tuple[float | None, float | None, float | None], drawn: int, says: str
) -> None:
    for figure in (scene_figure(_scene(), _heard(position), SILENCE), perception_figure(_heard(position), SILENCE)):
        assert len(_markers(figure.axes[0], "D")) == drawn
        assert says in _texts(figure)


def test_silence_says_that_nothing_was_heard() -> None:
    assert "Nothing heard" in _texts(perception_figure(Perception(), SILENCE))


def test_a_label_is_not_read_as_a_formula(tmp_path: Path) -> None:
    save_figure(perception_figure(_heard((10.0, 5.0, 2.0), label="$\\broken"), SILENCE), tmp_path / "p.png")


def test_a_mesh_room_is_drawn_without_walls() -> None:
    figure = scene_figure(_scene(Source((1.0, 1.0, 1.0)), room=MeshRoom("place/house.glb")), _heard(), SILENCE)
    assert "house.glb" in _texts(figure)
    assert not [patch for patch in figure.axes[0].patches if type(patch) is Rectangle]


@pytest.mark.parametrize(("amplitude", "level_db"), [(1.0, 0.0), (0.1, -20.0)])
def test_a_sine_has_its_level_in_its_bin(amplitude: float, level_db: float) -> None:
    sine = amplitude * np.sin(2 * np.pi * 32 / 1024 * np.arange(8000))
    levels = spectrogram_db(sine)
    assert levels.shape == (513, 1 + (8000 - 1024) // 512)
    assert np.allclose(levels[32], level_db, atol=0.01)
    assert (levels.argmax(axis=0) == 32).all()


def test_silence_and_a_single_sample_have_a_spectrogram() -> None:
    assert (spectrogram_db(np.zeros(5000)) == -120).all()
    assert spectrogram_db(np.ones(1)).shape == (513, 1)


def test_the_same_picture_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_figure(perception_figure(_heard((10.0, 5.0, 2.0)), SILENCE), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("place", "complaint"), [("p.xyz", "must end in"), ("nowhere/p.png", "does not exist")])
def test_a_place_that_cannot_hold_a_picture_is_refused(tmp_path: Path, place: str, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        save_figure(Figure(), tmp_path / place)


def test_a_picture_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.png").mkdir()
    with pytest.raises(BadInput, match=r"cannot write .*p\.png \(Is a directory\); choose another place"):
        save_figure(Figure(), tmp_path / "p.png")


def test_drawing_leaves_pyplot_and_torch_alone() -> None:
    code = (
        "import sys, bat_agent.evaluation.plotting; sys.exit(bool({'matplotlib.pyplot', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
