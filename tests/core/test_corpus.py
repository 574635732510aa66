"""From a recipe to clips: rooms of every kind, lengths in epochs, and what validation keeps of the switches."""

from __future__ import annotations

import gc
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bat_agent.clips import corpus
from bat_agent.clips.room_bank import FreshRooms, RoomBank
from bat_agent.datasets.rooms import ReleasedRooms
from bat_agent.errors import BadInput
from bat_agent.recipes.schema import Mixing, Part, Recipe, Rooms, Sounds, Stage

RATE_HZ = 32_000
Entry = dict[str, Any]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(
        "mouse",
        encoder=Part("echo"),
        reasoner=Part("echo"),
        sounds=[Sounds("procedural:5", [1, 2, 3], [4])],
        rooms=[Rooms("echo", scenes=6, valid_scenes=5, seconds=0.02)],
        mixing=Mixing(window_seconds=[0.1], two_sources=0.5),
        stages=[Stage("listen", "encoder", steps=7, seconds_per_step=0.8)],
        run_dir=str(tmp_path / "run"),
    )


# --- RIRs in the released layout ---


def released(root: Path, entries: list[Entry], split: str = "train", taps: int = 3000) -> Path:
    """A small set in the released layout; RIR n is a click of height n + 1 at the left ear and half of it right."""
    folder = root / "mp3d_reverb"
    for number, entry in enumerate(entries):
        rir = np.zeros((2, taps))
        rir[:, 32 + number] = (number + 1, (number + 1) / 2)
        path = folder / "binaural" / entry["fname"]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, rir)
    (folder / f"{split}_reverberation.json").write_text(json.dumps({"data": entries}), encoding="utf-8")
    return root


def entries(buildings: int = 3, each: int = 4, listeners: int = 1) -> list[Entry]:
    """Sources around listeners; 1 m away in building 0, 2 m in building 1 and so on."""
    return [
        {
            "fname": f"b{b}/{n}.npy",
            "sensor_position": f"{n % listeners},1.5,0",
            "source_position": f"{n % listeners + (b + 1) * np.cos(n)},1.5,{-(b + 1) * np.sin(n)}",
        }
        for b in range(buildings)
        for n in range(each)
    ]


def test_released_rirs_are_read_where_they_are_needed(tmp_path: Path) -> None:
    """Cut or padded to the length asked for, with the position of the JSON: azimuth n radians, b + 1 metres."""
    root = released(tmp_path, entries())
    for seconds in (0.05, 0.2):
        rooms = ReleasedRooms(root / "mp3d_reverb" / "train_reverberation.json", seconds)
        assert len(rooms) == 12
        seen = set()
        for number in range(len(rooms)):
            place = rooms.place(number, np.random.default_rng(number))
            for row, position in zip(place.rows, place.positions, strict=True):
                rir = rooms.read([row])
                assert rir.shape == (1, 2, round(seconds * RATE_HZ))
                assert rir.dtype == torch.float32
                assert rir[0, 0].nonzero().flatten().tolist() == [32 + row]
                assert rir[0, :, 32 + row].tolist() == [row + 1, (row + 1) / 2]
                assert position.azimuth_deg == pytest.approx(np.degrees(row % 4) % 360)
                assert position.distance_m == pytest.approx(row // 4 + 1)
                assert rooms.name(row, None) == f"b{row // 4}/{row % 4}.npy"
                seen.add(row)
        assert seen == set(range(12))


@pytest.mark.parametrize(("listeners", "together"), [(1, 4), (2, 2), (4, 4)])
def test_a_room_is_a_listener_or_where_each_rir_has_its_own_a_building(
    tmp_path: Path, listeners: int, together: int
) -> None:
    root = released(tmp_path, entries(listeners=listeners))
    rooms = ReleasedRooms(root / "mp3d_reverb" / "train_reverberation.json", 0.05)
    for number in range(12):
        place = rooms.place(number, np.random.default_rng(0))
        assert len(place.rows) == len(set(place.rows)) == together
        assert len({row // 4 for row in place.rows}) == 1


def test_a_recipe_takes_released_rirs_for_training_and_those_of_eval_for_validation(
    recipe: Recipe, tmp_path: Path
) -> None:
    root = released(tmp_path, entries())
    recipe.rooms = [Rooms(rirs=str(root), seconds=0.05)]
    with pytest.raises(BadInput, match=r"has no eval_reverberation\.json"):
        corpus.validation(recipe, 4)
    valid = [{**entry, "fname": f"v{entry['fname']}"} for entry in entries(1)]
    released(tmp_path, valid, "eval")
    trained, tested = corpus.training(recipe, 0)[0], corpus.validation(recipe, 8, seconds=0.1)[0]
    assert all("rooms 0 b" in line for line in trained.ids)
    assert all("rooms 0 vb0/" in line for line in tested.ids)
    assert {len(heard) for heard in trained.heard} == {1, 2}
    assert tested.waveform.any()


def test_21_000_released_rirs_take_a_few_megabytes_and_no_reading(tmp_path: Path) -> None:
    """As many entries as the released set has, and not one of the files there."""
    folder = tmp_path / "mp3d_reverb"
    folder.mkdir()
    many = entries(90, 235)
    (folder / "train_reverberation.json").write_text(json.dumps({"data": many}), encoding="utf-8")
    del many
    tracemalloc.start()
    rooms = ReleasedRooms(folder / "train_reverberation.json", 2.0)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rooms) == 21_150
    # The RIRs themselves are 10 GB; strings that Python shares make some megabytes more or less (16.5 MB in 3.13).
    assert held < 20e6
    with pytest.raises(BadInput, match=r"cannot read the RIR .*b0/0\.npy"):
        rooms.read([0])


def test_a_broken_rir_is_told_by_its_name(tmp_path: Path) -> None:
    root = released(tmp_path, entries(1))
    rooms = ReleasedRooms(root / "mp3d_reverb" / "train_reverberation.json", 0.05)
    np.save(root / "mp3d_reverb" / "binaural" / "b0" / "1.npy", np.zeros((1, 3000)))
    (root / "mp3d_reverb" / "binaural" / "b0" / "2.npy").write_bytes(b"no numpy")
    with pytest.raises(BadInput, match=r"b0/1\.npy has 1 channels, expected 2"):
        rooms.read([1])
    with pytest.raises(BadInput, match=r"cannot read the RIR .*b0/2\.npy"):
        rooms.read([2])


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    root = released(tmp_path, entries(1))
    (root / "mp3d_reverb" / "train_reverberation.json").write_text('{"data": []}', encoding="utf-8")
    with pytest.raises(BadInput, match="lists no reverberation"):
        ReleasedRooms(root / "mp3d_reverb" / "train_reverberation.json", 0.05)


def test_the_real_rir_comes_as_it_is_on_disk(shared: Path, tmp_path: Path) -> None:
    real = shared / "data" / "spatialsoundqa" / "mp3d_reverb" / "binaural" / "sample"
    (tmp_path / "binaural").mkdir()
    (tmp_path / "binaural" / "sample").symlink_to(real)
    entry = {"fname": "sample/74.npy", "sensor_position": "0,1.5,0", "source_position": "1,1.5,0"}
    (tmp_path / "train_reverberation.json").write_text(json.dumps({"data": [entry]}), encoding="utf-8")
    samples = np.load(real / "74.npy")
    kept = ReleasedRooms(tmp_path / "train_reverberation.json", 0.5).read([0])[0].numpy()
    np.testing.assert_array_equal(kept, samples[:, :16_000].astype(np.float32))


# --- fresh rooms, banks ---


def test_fresh_rooms_are_for_training_alone(recipe: Recipe) -> None:
    recipe.rooms[0] = Rooms("shoebox", fresh=True, options={"order": 1}, valid_scenes=3, sources=2, seconds=0.05)
    (fresh,), (bank,) = corpus.open_banks(recipe, "train"), corpus.open_banks(recipe, "valid")
    assert isinstance(fresh, FreshRooms)
    assert isinstance(bank, RoomBank)
    first, again = corpus.training(recipe, 0), corpus.training(recipe, 0)
    assert torch.equal(first[1].waveform, again[1].waveform)
    seen = [line.rsplit("room ", 1)[1] for step in range(7) for line in first[step].ids]
    assert len(set(seen)) == len(seen) == 56


# --- how long, and on what ---


@pytest.mark.parametrize(
    ("epochs", "fraction", "steps"), [(None, 1.0, 7), (1.0, 1.0, 8), (20.0, 1.0, 158), (20.0, 0.1, 16), (0.5, 1.0, 4)]
)
def test_epochs_become_steps(recipe: Recipe, epochs: float | None, fraction: float, steps: int) -> None:
    """21 classes of three training variants each are 63 sounds, eight of them a step."""
    recipe.stages[0].epochs, recipe.stages[0].epoch_fraction = epochs, fraction
    assert len(corpus.open_pool(recipe, "train")) == 63
    assert corpus.clips_per_step(recipe, recipe.stages[0]) == 8
    assert corpus.steps_of(recipe, 0) == len(corpus.training(recipe, 0)) == steps


def test_clips_of_several_lengths_count_by_how_often_they_come(recipe: Recipe) -> None:
    """Clips of several lengths count by how often they come."""
    recipe.mixing.window_seconds, recipe.mixing.window_weights = [2.0, 10.0], [3.0, 1.0]
    stage = Stage("listen", "encoder", seconds_per_step=40)
    assert corpus.clips_per_step(recipe, stage) == (3 * 20 + 4) / 4


def test_validation_keeps_the_task_and_drops_the_augmentation(recipe: Recipe) -> None:
    plain = corpus.validation(recipe, 8, seconds=0.1)[0]
    recipe.mixing = Mixing(
        window_seconds=[0.1], noise_dbfs=[-40, -40], equalise_db=6, mixup=1, roll=True, gain=True, level_jitter_db=9
    )
    assert torch.equal(corpus.validation(recipe, 8, seconds=0.1)[0].waveform, plain.waveform)
    recipe.mixing.reverberation = "none"
    batch = corpus.validation(recipe, 8, seconds=0.1)[0]
    assert torch.equal(batch.waveform[:, 0], batch.waveform[:, 1])
    assert batch.heard == plain.heard


@pytest.mark.parametrize(("asked", "there"), [("worker", "worker"), ("device", "device")])
def test_clips_are_rendered_where_the_recipe_says(recipe: Recipe, asked: str, there: str) -> None:
    recipe.render_on = asked
    assert (corpus.training(recipe, 0)[0].dry is not None) == (there == "device")
    assert corpus.validation(recipe, 2, seconds=0.1)[0].dry is None


def test_by_itself_a_gpu_renders_where_there_is_one(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu, where in ((True, "device"), (False, "worker")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert corpus.render_on(recipe) == where


def test_each_process_gets_its_share(recipe: Recipe) -> None:
    whole = corpus.training(recipe, 0)[3]
    for rank in range(2):
        share = corpus.training(recipe, 0, shard=(rank, 2))[3]
        assert share.ids == whole.ids[rank::2]
        assert torch.equal(share.waveform, whole.waveform[rank::2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"render_on": "gpu"}, "render_on must be one of worker, device, auto, got 'gpu'"),
        ({"mixing.reverberation": "dry"}, "mixing.reverberation must be one of full, direct, none, got 'dry'"),
        ({"sounds.0.balance": "paper"}, "sounds.0.balance must be one of class, bat, none, got 'paper'"),
        ({"mixing.mixup": "1.5"}, "mixing.mixup is a share from 0 to 1, got 1.5"),
        ({"mixing.going_on": "-0.1"}, "mixing.going_on is a share from 0 to 1, got -0.1"),
        ({"mixing.lead_in_seconds": "-1"}, "mixing.lead_in_seconds must be 0 or more, got -1.0"),
        (
            {"mixing.roll": "true", "mixing.going_on": "0.5"},
            "mixing.roll turns a sound around within its clip, and going_on begins it before: leave one out",
        ),
    ],
)
def test_a_switch_that_is_not_known_is_refused(recipe: Recipe, tmp_path: Path, change: Entry, message: str) -> None:
    from bat_agent.recipes.loading import load_recipe, to_yaml

    file = tmp_path / "recipe.yaml"
    file.write_text(to_yaml(recipe), encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        load_recipe(str(file), [f"{key}={value}" for key, value in change.items()])
    assert str(refused.value) == message


def test_validation_has_as_much_sound_that_goes_on_as_training(recipe: Recipe) -> None:
    """Else it would flatter: a sound that begins in silence tells how far away it is by its own reverberation."""
    recipe.mixing.going_on, recipe.mixing.lead_in_seconds = 0.7, 0.2
    for data in (corpus.validation(recipe, 4, seconds=0.5), corpus.training(recipe, 0)):
        assert (data.mixing.going_on, data.mixing.lead_in_seconds) == (0.7, 0.2)


def test_an_entry_without_folds_for_a_split_is_not_in_it() -> None:
    entries = [
        Sounds(source="procedural:5", valid_folds=[], weight=3.0, balance="none"),
        Sounds(source="procedural:10", train_folds=[]),
    ]
    recipe = Recipe(name="r", sounds=entries)
    train, valid = corpus.open_pool(recipe, "train"), corpus.open_pool(recipe, "valid")
    assert (len(train.sets), list(train.weights), list(train.balance)) == (1, [3.0], ["none"])
    assert len(valid) == 2 * len(train)
    with pytest.raises(BadInput, match="names no sounds for valid"):
        corpus.open_pool(Recipe(name="r", sounds=entries[:1]), "valid")
