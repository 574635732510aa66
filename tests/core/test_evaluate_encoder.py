"""Evaluation of encoders: oracles with known hearing, figures by brute force, manifests that give the same samples."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from bat_agent.clips.batch import Batch
from bat_agent.errors import BadInput
from bat_agent.evaluation import figures
from bat_agent.evaluation.clips import ManifestClips
from bat_agent.evaluation.draw import DrawnPlaces, draw_clips, open_library
from bat_agent.evaluation.hearing import Heard, listen
from bat_agent.evaluation.intervals import RankedClasses, mean_figure, resampled_figure
from bat_agent.evaluation.manifest import Clip, write_manifest
from bat_agent.evaluation.pictures import confusion_figure, error_figure
from bat_agent.interfaces import Encoding
from bat_agent.labels import labels
from bat_agent.scene import angle_between_deg

CPU = "cpu"
BINS = {"distance": 21, "azimuth": 360, "elevation": 180}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 clips of 0.2 s in free field, a quarter with two sources."""
    file = tmp_path_factory.mktemp("manifest") / "clips.jsonl"
    library = open_library("procedural:1", [1])
    clips = draw_clips([library], DrawnPlaces("echo", {}), 64, seed=3, two_sources=0.25, seconds=0.2)
    write_manifest(file, clips)
    return file


@pytest.fixture(scope="module")
def every(manifest: Path) -> list[Batch]:
    return batches_of(ManifestClips(manifest))


@pytest.fixture(scope="module")
def one(every: list[Batch]) -> list[Batch]:
    """The clips with one source; rendered once for all tests."""
    return [some(batch, 1) for batch in every]


def batches_of(clips: ManifestClips) -> list[Batch]:
    return [clips[step] for step in range(len(clips))]


def some(batch: Batch, sources: int) -> Batch:
    rows = [clip for clip, heard in enumerate(batch.heard) if len(heard) == sources]
    truth = batch.truth[rows]
    return Batch(batch.waveform[rows], truth, [batch.heard[row] for row in rows], [[] for _ in rows])


class Oracle:
    """Looks the truth up by the waveform, and mirrors it where it knows the waveform with the ears swapped."""

    sample_rate_hz, clip_seconds, fixed_length, symmetric = 32_000, 10.0, False, True

    def __init__(self, data: list[Batch]) -> None:
        self.known: dict[bytes, tuple[np.ndarray, list[int], bool]] = {}
        for batch in data:
            for wave, truth, bins in zip(batch.waveform, batch.truth.classes[:, 0], _bins(batch), strict=True):
                self.known[wave.numpy().tobytes()] = truth.numpy(), bins, False
                self.known[wave.flip(0).numpy().tobytes()] = truth.numpy(), bins, True

    def __call__(self, waveform: Tensor) -> Encoding:
        found = [self.known[wave.numpy().tobytes()] for wave in waveform]
        classes = torch.stack([torch.from_numpy(20 * truth - 10) for truth, _, _ in found])
        bins = []
        for _, (distance, azimuth, elevation), swapped in found:
            bins.append([distance, (180 - azimuth) % 360 if swapped and self.symmetric else azimuth, elevation])
        heads = [20 * torch.nn.functional.one_hot(column, number).float() for column, number in
                 zip(torch.tensor(bins).T, BINS.values(), strict=True)]  # fmt: skip
        return Encoding(torch.zeros(len(found), 1, 4), classes, *heads)


def _bins(batch: Any) -> list[list[int]]:
    truth = batch.truth
    return torch.stack((truth.distance[:, 0], truth.azimuth[:, 0], truth.elevation[:, 0]), dim=1).tolist()


def heard(rng: np.random.Generator, clips: int = 300, classes: int = 12) -> Heard:
    """Random truth and hearing of it; one class never sounds."""
    truth = rng.random((clips, classes)) < 0.2
    truth[:, 0], truth[:, -1] = True, False
    directions = [np.stack((rng.uniform(0, 360, clips), rng.uniform(-80, 80, clips)), 1) for _ in range(2)]
    bins = rng.integers(0, 21, (2, clips))
    true_bins = np.column_stack((bins[0], directions[0].round() + np.array([0, 90]))).astype(int)
    scores = rng.normal(size=(clips, classes)) + truth
    return Heard(directions[0], true_bins, truth, scores, {"kernel": directions[1]}, distances={"kernel": bins[1]})


# --- figures ---


def test_an_oracle_is_perfect_and_mirrors(one: list[Batch]) -> None:
    oracle = Oracle(one)
    found = listen(oracle, one, CPU, swap=True)
    single = figures.single_source(found)
    assert single["map"].value == pytest.approx(1.0)
    assert single["er20"].value == single["der"].value == 0.0
    assert single["mae_deg"].value < 0.5
    assert figures.single_source(found, "released")["mae_deg"].value == pytest.approx(0.0, abs=1e-9)
    assert {name: figure.value for name, figure in figures.swap_consistency(found).items()} == {
        "mirrors": 1.0, "side_flips": 1.0, "class_stays": 1.0,
    }  # fmt: skip
    assert all(row.average_precision == pytest.approx(1.0) for row in figures.per_class(found))
    assert sum(region["clips"] for region in figures.per_region(found).values()) == len(found)
    errors = figures.calibration(found)
    assert {"label", "direction", "distance"} <= set(errors)
    assert max(errors[name].value for name in ("label", "direction", "distance")) < 0.02  # sure, and right


def test_who_ignores_which_ear_is_which_does_not_mirror(one: list[Batch]) -> None:
    """It says the same with the ears swapped: only directions within 10° of the median plane pass as mirrored."""
    deaf = Oracle(one)
    deaf.symmetric = False
    found = listen(deaf, one, CPU, swap=True)
    azimuth = found.directions_deg["kernel"][:, 0]
    near = np.abs((azimuth % 180) - 90) <= 10
    swap = figures.swap_consistency(found)
    assert swap["mirrors"].value == pytest.approx(near.mean())
    assert swap["side_flips"].value == 0.0
    assert swap["class_stays"].value == 1.0


def test_where_it_fails_tells_cones_from_sides() -> None:
    """Front and behind taken for each other stay on the cone; left and right do not. 60° off the axis in both."""
    true = np.array([[60.0, 0.0], [60.0, 0.0], [60.0, 0.0], [90.0, 40.0]])
    said = np.array([[300.0, 0.0], [120.0, 0.0], [60.0, 0.0], [90.0, 10.0]])
    nothing = np.zeros((4, 2), dtype=bool)
    heard = Heard(true, np.array([[2, 0, 0], [4, 0, 0], [8, 0, 0], [8, 0, 0]]), nothing, None, {"kernel": said})
    found = {name: figure.value for name, figure in figures.where_it_fails(heard).items()}
    assert found == {
        "lateral_mae_deg": pytest.approx((0 + 60 + 0 + 0) / 4),
        "on_cone": pytest.approx(2 / 3),
        "mae_deg below 1.5 m": pytest.approx(120),
        "mae_deg 1.5 to 3 m": pytest.approx(60),
        "mae_deg from 3 m": pytest.approx(15),
        "mae_deg within 30° of the horizon": pytest.approx(60),
        "mae_deg more than 30° above or below": pytest.approx(30),
    }
    assert figures.where_it_fails(Heard(true, heard.true_bins, nothing, None)) == {}


def test_figures_by_brute_force(rng: np.random.Generator) -> None:
    clips = heard(rng)
    said, true = clips.directions_deg["kernel"], clips.true_deg
    angles = np.array([angle_between_deg(tuple(a), tuple(b)) for a, b in zip(said, true, strict=True)])
    found = figures.single_source(clips)
    assert found["mae_deg"].value == pytest.approx(angles.mean())
    assert found["er20"].value == pytest.approx((angles > 20).mean())
    assert found["der"].value == np.mean([abs(a - b) > 1 for a, b in zip(
        clips.distances["kernel"].tolist(), clips.true_bins[:, 0].tolist(), strict=True)])  # fmt: skip
    assert clips.scores is not None
    by_class = [average_precision_score(clips.classes[:, c], clips.scores[:, c]) for c in range(11)]
    assert found["map"].value == pytest.approx(np.mean(by_class))
    rows = figures.per_class(clips)
    assert [row.label for row in rows] == list(labels()[:11])  # the twelfth never sounds
    for number, row in enumerate(rows):
        there = clips.classes[:, number]
        assert row.clips == there.sum()
        assert row.average_precision == pytest.approx(by_class[number])
        assert row.mae_deg == pytest.approx(angles[there].mean())
    for figure in found.values():
        assert figure.low <= figure.value <= figure.high


def test_missing_heads_leave_figures_out(rng: np.random.Generator) -> None:
    clips = heard(rng)
    clips.scores, clips.distances = None, {}
    assert set(figures.single_source(clips)) == {
        "er20", "mae_deg", "left_right", "front_behind", "above_below", "region",
    }  # fmt: skip
    clips.directions_deg = {}
    assert figures.single_source(clips) == {}
    assert clips.missing == ("class", "azimuth", "elevation", "distance")
    assert confusion_figure(clips) is None
    assert error_figure(clips) is None


def test_two_sources_need_two_directions(every: list[Batch], one: list[Batch]) -> None:
    """An encoder that says the first source's direction is wrong by half the angle between them."""
    two = [some(batch, 2) for batch in every]
    pairs = [sources for batch in two for sources in batch.heard]
    apart = [angle_between_deg(*((s.position.azimuth_deg, s.position.elevation_deg) for s in pair)) for pair in pairs]
    found = figures.two_sources(Oracle(two), two, CPU)
    assert found["mae_deg"].value == pytest.approx(np.mean(apart) / 2, abs=0.5)
    assert found["mae_deg"].count == len(pairs) > 6
    with pytest.raises(BadInput, match="no clip has two sources"):
        figures.two_sources(Oracle(one), one, CPU)


def test_matching_takes_the_best_of_all_orders(rng: np.random.Generator) -> None:
    for _ in range(20):
        said = np.stack((rng.uniform(0, 360, 3), rng.uniform(-80, 80, 3)), 1)
        a, b = ((float(rng.uniform(0, 360)), float(rng.uniform(-80, 80))) for _ in range(2))
        every = {
            (i, j): (angle_between_deg(tuple(said[i]), a) + angle_between_deg(tuple(said[j]), b)) / 2
            for i in range(3)
            for j in range(3)
            if i != j
        }
        error, order = figures.match(said, [a, b])
        assert error == pytest.approx(min(every.values()))
        assert every[order[0], order[1]] == pytest.approx(error)


# --- intervals ---


def test_weighted_precision_is_that_of_repeated_clips(rng: np.random.Generator) -> None:
    """Counting a clip twice is having it twice: scikit-learn on the repeated clips says the same, ties included."""
    truth = rng.random((60, 5)) < 0.3
    scores = rng.integers(0, 8, (60, 5)).astype(float)
    ranked = RankedClasses(truth, scores)
    for _ in range(5):
        times = rng.integers(0, 3, 60)
        again_truth, again_scores = np.repeat(truth, times, axis=0), np.repeat(scores, times, axis=0)
        expected = np.mean([average_precision_score(again_truth[:, c], again_scores[:, c]) for c in range(5)
                            if again_truth[:, c].any()])  # fmt: skip
        assert ranked(times) == pytest.approx(expected)


def test_intervals_are_as_wide_as_theory_says(rng: np.random.Generator) -> None:
    """Mean of 400 normal numbers: ± 1.96/√400; and both kinds of bootstrap agree on it."""
    values = rng.normal(3, 1, 400)
    means, times = mean_figure(values), resampled_figure(lambda n: float((values * n).sum() / n.sum()), 400)
    for figure in (means, times):
        assert figure.value == pytest.approx(values.mean())
        assert (figure.high - figure.low) / 2 == pytest.approx(1.96 / 20, rel=0.2)


def test_the_interval_of_a_share_ends_at_one() -> None:
    """How many clips are there at all: resamples miss a third of them, and are moved back by it."""
    figure = resampled_figure(lambda times: float((times > 0).mean()), 50)
    assert figure.value == 1.0
    assert 0.8 < figure.low < 1.0
    assert figure.high == 1.0


# --- manifests ---


def test_encoders_that_cannot_be_compared_are_refused(one: list[Batch]) -> None:
    class Broken(Oracle):
        def __call__(self, waveform: Tensor) -> Encoding:
            encoding = super().__call__(waveform)
            assert encoding.class_logits is not None
            encoding.class_logits = self.change(encoding.class_logits)
            return encoding

        change: Callable[[Tensor], Tensor]

    broken = Broken(one)
    broken.change = lambda logits: logits[:, : 527 - 355]
    with pytest.raises(BadInput, match="class head of 172 outputs, expected 355"):
        listen(broken, one, CPU)
    broken.change = lambda logits: logits * float("nan")
    with pytest.raises(BadInput, match="NaN or infinite class logits"):
        listen(broken, one, CPU)
    with pytest.raises(BadInput, match="no clips to evaluate on"):
        listen(broken, list[Batch](), CPU)


def test_directions_at_the_ends_are_no_errors() -> None:
    """Straight up has no bin of its own, and 12 m is the last bin: an encoder that says the last bins is right."""
    true, bins = np.array([[30.0, 90.0]]), np.array([[20, 30, 179]])
    clip = Heard(true, bins, np.ones((1, 1), dtype=bool), None, {"kernel": np.array([[200.0, 89.0]])},
                 distances={"kernel": np.array([20])})  # fmt: skip
    assert figures.single_source(clip)["mae_deg"].value <= 2.0
    assert figures.single_source(clip)["der"].value == 0.0


# --- the command ---


def test_the_commands_from_drawing_to_the_folder(run: Run, tmp_path: Path) -> None:
    file, out = tmp_path / "m.jsonl", tmp_path / "figures"
    arguments = ["--sounds", "procedural:1", "--simulator", "echo", "--clips", 24, "--two-sources", 0.3]
    assert run("evaluate", "manifest", *arguments, "--seconds", 0.2, "-o", file)[0] == 0
    code, printed, error = run("evaluate", "encoder", "--encoder", "echo", "--manifest", file, "--json", "--out", out)
    assert (code, error.count("written")) == (0, 1)
    data = json.loads(printed)
    assert data == json.loads((out / "figures.json").read_text())
    assert set(data["figures"]) == {
        "one source", "one source, decoded as released", "two sources", "ears swapped", "calibration error",
    }  # fmt: skip
    side = data["figures"]["one source"]["left_right"]
    assert side["value"] > 0.7  # the null encoder hears the side by level
    assert data["figures"]["ears swapped"]["mirrors"]["value"] == 1.0
    rows = list(csv.DictReader((out / "per_class.csv").read_text().splitlines()))
    assert sum(int(row["clips"]) for row in rows) >= data["clips"]
    assert {path.name for path in out.iterdir()} == {
        "figures.json", "per_class.csv", "tables.md", "confusion.png", "errors.png", "cone.png",
    }  # fmt: skip
    again = run("evaluate", "encoder", "--encoder", "echo", "--manifest", file, "--json")[1]
    assert json.loads(again) == data


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["encoder", "--encoder", "echo"], "no clips to evaluate on"),
        (["encoder", "--encoder", "echo", "--manifest", "none.jsonl"], "no manifest at none.jsonl"),
        (["encoder", "bat-small", "--encoder", "echo"], "both name what to evaluate"),
        (["encoder", "bat-small", "--weights", "w.pth"], "belong to --encoder"),
        (["encoder", "--encoder", "echo", "--manifest", "m", "--recipe", "r"], "both name clips"),
        (["encoder", "--encoder", "echo", "--row", "9/x", "--recipe", "bat-small"], "no row '9/x'"),
        (["encoder", "--encoder", "echo", "--result", "none.json"], "no figures at none.json"),
        (["encoder", "--encoder", "nosuch", "--recipe", "bat-small"], "nosuch"),
        (["manifest", "-o", "x.jsonl"], "name --sounds"),
        (["manifest", "-o", "x.jsonl", "--recipe", "bat-small", "--rirs", "y"], "--recipe names sounds"),
        (["manifest", "-o", "x.jsonl", "--sounds", "procedural:1", "--folds", "a", "--rirs", "y"], "'a' was not"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(run: Run, arguments: list[str], says: str) -> None:
    code, out, error = run("evaluate", *arguments)
    assert (code, out) == (2, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert says in error


def test_a_clip_keeps_what_it_was_drawn_with() -> None:
    clip = next(draw_clips([open_library("procedural:1")], DrawnPlaces("echo", {}), 1, seed=9, seconds=2.0))
    assert isinstance(clip, Clip)
    assert (clip.seed, clip.seconds, clip.id) == (9, 2.0, "000000")
    assert clip.sources[0].scene is not None
    assert clip.sources[0].scene.simulator["name"] == "echo"
    with pytest.raises(BadInput, match="no two sources had different labels"):
        list(draw_clips([open_library("procedural:1")], _OnePlace(), 1, two_sources=1.0))


class _OnePlace(DrawnPlaces):
    def __init__(self) -> None:
        super().__init__("echo", {})

    def draw(self, rng: np.random.Generator, sources: int) -> Any:
        return super().draw(rng, 1)[:1]
