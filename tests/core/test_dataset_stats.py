"""Statistics of sets: counts that are known, released files, and the figures of the paper."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bat_agent.datasets import stats
from bat_agent.datasets.stats_figure import statistics_figure, woodworth_s
from bat_agent.errors import BadInput
from bat_agent.scene import Listener, Position, point_at


def write_set(folder: Path, places: list[Position], heading_deg: float | None = None) -> Path:
    """A released reverberation file: positions and nothing else, unless a heading is given."""
    listener = Listener((3.0, 1.5, 4.0), heading_deg or 0.0)
    extra = {} if heading_deg is None else {"heading_deg": heading_deg}
    data = [
        {
            "fname": f"house/{n}.npy",
            "sensor_position": "3.0,1.5,4.0",
            "source_position": ",".join(map(str, point_at(listener, place))),
        }
        | extra
        for n, place in enumerate(places)
    ]
    file = folder / "mp3d_reverb/train_reverberation.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"data": data}))
    return file


PLACES = [
    Position(90.0, 0.0, 1.0),
    Position(200.0, 31.0, 1.2),
    Position(10.0, -40.0, 1.3),
    Position(300.0, -10.0, 7.1),
    Position(45.0, 5.0, 12.0),
]


def test_positions_of_a_released_set(tmp_path: Path) -> None:
    """No RIR files and no headings: distances and directions all the same, and a word on the rest."""
    found = stats.statistics(write_set(tmp_path, PLACES))
    assert found.azimuth_deg == pytest.approx([p.azimuth_deg for p in PLACES])
    assert found.elevation_deg == pytest.approx([p.elevation_deg for p in PLACES])
    assert found.distance_m == pytest.approx([p.distance_m for p in PLACES])
    counts = found.distance_counts()
    assert {i: int(n) for i, n in enumerate(counts) if n} == {2: 2, 3: 1, 14: 1, 20: 1}
    figures = found.to_dict()
    assert (figures["headings"], figures["measured"], figures["files_missing"]) == ("assumed 0", 0, 5)
    assert figures["azimuth_deg"]["counts"] == [1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0]
    assert figures["elevation_deg"]["counts"] == [0, 1, 1, 2, 1, 0]
    assert figures["distance_m"]["mode"] == 1.0
    assert figures["regions_percent"] == {
        "left, behind, above": 20.0,
        "right, behind, below": 20.0,
        "right, front, above": 40.0,
        "right, front, below": 20.0,
    }
    json.dumps(figures, allow_nan=False)


def test_headings_turn_the_directions(tmp_path: Path) -> None:
    file = write_set(tmp_path, PLACES, heading_deg=77.0)
    found = stats.statistics(file)
    assert found.azimuth_deg == pytest.approx([p.azimuth_deg for p in PLACES])
    assert found.to_dict()["headings"] == "stored"


def test_a_folder_is_searched_for_both_splits(tmp_path: Path) -> None:
    file = write_set(tmp_path, PLACES)
    file.with_name("eval_reverberation.json").write_text(file.read_text())
    for path, expected in ((tmp_path, 10), (tmp_path / "mp3d_reverb", 10), (file, 5)):
        assert stats.statistics(path).to_dict()["rirs"] == expected


@given(counts=st.lists(st.integers(0, 50), min_size=21, max_size=21).filter(any), seed=st.integers(0, 9))
def test_distance_error_rates_are_those_of_guessing(counts: list[int], seed: int) -> None:
    """Against the metric's own definition, all pairs of truth and guess counted one by one."""
    array = np.array(counts)
    truths = np.repeat(np.arange(21), array)
    drawn = np.abs(truths[:, None] - truths[None]) > 1
    assert stats.der_of_drawn_percent(array) == pytest.approx(100 * drawn.mean())
    near = np.abs(truths[:, None] - np.array([2, 3, 4])) > 1
    assert stats.der_of_near_percent(array) == pytest.approx(100 * near.mean())


def test_the_papers_table_is_copied_right(shared: Path) -> None:
    """BAT, table 6, as the text of the paper has it: names on one line, times on the next."""
    paper = (shared / "reference/paper.txt").read_text(encoding="utf-8")
    _, names, times = paper[paper.index("Table6. Average") :].splitlines()[:3]
    expected = dict(zip(re.findall(r"[A-Z][a-z]+(?:Room)?", names), map(float, times.split()[1:]), strict=True))
    ours = {name.title().replace(" ", ""): seconds for name, seconds in stats.PAPER_RT60_S.items()}
    assert ours == expected


def rir_of(azimuth_deg: float, rt60_s: float, drr_db: float) -> np.ndarray:
    """Clicks as far apart as on a sphere, 6 dB apart, then decaying noise: (2, 16000)."""
    rir = np.zeros((2, 16_000))
    lead = round(woodworth_s(np.array(azimuth_deg)) * 32_000)
    rir[0, 40], rir[1, 40 + lead] = (1.0, 0.5) if lead > 0 else (0.5, 1.0)
    t = np.arange(15_500) / 32_000
    tail = np.random.default_rng(1).standard_normal((2, len(t))) * 10 ** (-3 * t / rt60_s)
    rir[:, 500:] = tail * math.sqrt(1.25 / np.square(tail).sum() * 10 ** (-drr_db / 10))
    return rir


def test_rirs_are_measured(tmp_path: Path) -> None:
    places = [Position(180.0, 0.0, 1.0), Position(0.0, 0.0, 2.0), Position(150.0, 0.0, 3.0)]
    file = write_set(tmp_path, places, heading_deg=0.0)
    folder = file.parent / "binaural/house"
    folder.mkdir(parents=True)
    for number, (place, rt60) in enumerate(zip(places[:2], (0.2, 0.4), strict=True)):
        np.save(folder / f"{number}.npy", rir_of(place.azimuth_deg, rt60, 5.0))
    seen: list[tuple[int, int]] = []
    found = stats.statistics(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert list(found.measured) == [0, 1]
    assert found.files_missing == 1
    assert seen[-1] == (3, 3)
    assert found.values["rt60_s"] == pytest.approx([0.2, 0.4], rel=0.06)
    assert found.values["drr_db"] == pytest.approx([5, 5], abs=0.01)
    assert found.values["ild_db"] == pytest.approx([6.02, -6.02], abs=0.01)
    assert found.values["itd_s"] == pytest.approx([21 / 32_000, -21 / 32_000], abs=2e-6)
    assert found.to_dict()["abs_ild_db"]["mean"] == pytest.approx(6.02, abs=0.01)
    assert stats.statistics(tmp_path, measure=1).to_dict()["measured"] == 1
    assert stats.statistics(tmp_path, measure=0).to_dict()["files_missing"] == 0


def test_the_real_released_rir_is_read(shared: Path, tmp_path: Path) -> None:
    """In its own folder, where its JSON would list it; the place is that found from its direct sound."""
    real = (shared / "data/spatialsoundqa/mp3d_reverb/binaural/sample/74.npy").resolve()
    file = write_set(tmp_path, [Position(202.0, -29.5, 0.7)])
    text = file.read_text().replace("house/0.npy", "sample/74.npy")
    file.write_text(text)
    (file.parent / "binaural").symlink_to(real.parents[1])
    figures = stats.statistics(tmp_path).to_dict()
    assert figures["measured"] == 1
    assert figures["ild_db"]["mean"] == pytest.approx(14, abs=1)
    assert figures["drr_db"]["mean"] == pytest.approx(29.6, abs=0.5)


def test_a_free_field_set_has_no_reverberation(tmp_path: Path) -> None:
    """NaN and infinity are counted, not averaged, and the JSON stays JSON."""
    file = write_set(tmp_path, PLACES[:1])
    (file.parent / "binaural/house").mkdir(parents=True)
    click = np.zeros((2, 400))
    click[:, 50] = 1
    np.save(file.parent / "binaural/house/0.npy", click)
    figures = stats.statistics(tmp_path).to_dict()
    assert figures["rt60_s"] == {"mean": None, "median": None, "p10": None, "p90": None, "not_finite": 1}
    assert figures["drr_db"]["not_finite"] == 1
    assert figures["abs_ild_db"]["mean"] == 0
    json.dumps(figures, allow_nan=False)
    statistics_figure(stats.statistics(tmp_path)).canvas.draw()


@pytest.mark.parametrize("with_sound", [True, False])
def test_the_picture_shows_what_was_counted(tmp_path: Path, with_sound: bool) -> None:
    places = [Position(float(a), 0.0, 1 + a / 100) for a in range(5, 360, 30)]
    file = write_set(tmp_path, places)
    if with_sound:
        (file.parent / "binaural/house").mkdir(parents=True)
        for number, place in enumerate(places):
            np.save(file.parent / f"binaural/house/{number}.npy", rir_of(place.azimuth_deg, 0.3, 0.0))
    found = stats.statistics(tmp_path)
    figure = statistics_figure(found)
    figure.canvas.draw()
    titled = {ax.get_title(): ax for ax in figure.axes}
    assert len(titled) == (7 if with_sound else 3)
    bars = [bar.get_height() for bar in titled["Distance"].patches[1:]]  # the first is the paper's band
    assert bars == found.distance_counts().tolist()
    if with_sound:
        dots = titled["Time difference, direct sound"].collections[0].get_offsets()
        assert np.asarray(dots)[:, 0] == pytest.approx(found.azimuth_deg)
        assert np.asarray(dots)[:, 1] == pytest.approx(1e6 * found.values["itd_s"])


def test_woodworths_sphere() -> None:
    """0.656 ms from the side, none from ahead, positive on the left; (a/c)(θ + sin θ) at 30° is 0.261 ms."""
    at = woodworth_s(np.array([180.0, 90.0, 0.0, 270.0, 120.0]))
    assert 1e3 * at == pytest.approx([0.656, 0, -0.656, 0, 0.261], abs=1e-3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"nonsense", r"0\.npy is no whole \.npy file"),
        (np.zeros((1, 9)), r"0\.npy has the shape \(1, 9\), expected finite numbers \(2, samples\)"),
        (np.full((2, 9), np.nan), r"expected finite numbers"),
        (np.full((2, 9), 1e300), r"up to 2\^32"),
    ],
)
def test_a_broken_rir_is_named(tmp_path: Path, content: bytes | np.ndarray, says: str) -> None:
    file = write_set(tmp_path, PLACES[:1])
    rir = file.parent / "binaural/house/0.npy"
    rir.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        rir.write_bytes(content)
    else:
        np.save(rir, content)
    with pytest.raises(BadInput, match=says):
        stats.statistics(tmp_path)


def test_where_there_is_no_set_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"does not exist; name a reverberation JSON or the folder"):
        stats.statistics(tmp_path / "absent")
    with pytest.raises(BadInput, match=r"holds neither .*train_reverberation\.json nor .*eval_reverberation\.json"):
        stats.statistics(tmp_path)
    with pytest.raises(BadInput, match=r"lists no RIR"):
        stats.statistics(write_set(tmp_path, []))
    with pytest.raises(BadInput, match=r"--measure must be 0 or more, got -1"):
        stats.statistics(tmp_path, measure=-1)
