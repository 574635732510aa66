"""Epochs over cached features: only the part that localises learns, it mirrors, it resumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bat_agent.clips.batch import Truth
from bat_agent.errors import BadInput
from bat_agent.hearing.targets import targets_from_position
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.recipes.loading import load_recipe
from bat_agent.recipes.schema import Recipe, Stage
from bat_agent.scene import Position, mirror_azimuth_deg
from bat_agent.training import cached_features as module
from bat_agent.training.cached_features import CachedFeatures
from bat_agent.training.folder import read_losses
from bat_agent.training.trainer import Trainer

ENCODER = {
    "clip_seconds": 0.5, "target_frames": None, "patch_frames": 10, "patch_mels": 128, "width": 32, "depth": 1,
    "heads": 2, "num_slots": 2, "mask_time": 0.0, "mask_mels": 0.0, "store_front_end": False, "slot_summary": True,
    "summary_hidden": 32,
}  # fmt: skip
PLACE = {
    "name": "place", "trains": "encoder", "steps": 6, "seconds_per_step": 4.0, "feature_epochs": 5,
    "clips_per_batch": 8, "two_sources": 0.2, "smoothing_deg": 10.0,
}  # fmt: skip


def recipe(folder: Path, stage: dict[str, Any] = PLACE, **changes: Any) -> Recipe:
    import yaml

    content = {
        "name": "mouse",
        "run_dir": str(folder / "run"),
        "encoder": {"name": "spatial-ast", "options": ENCODER},
        "sounds": [{"source": "procedural:5", "train_folds": [1, 2, 3], "valid_folds": [4]}],
        "rooms": [{"simulator": "echo", "scenes": 8, "valid_scenes": 4, "sources": 3, "seconds": 0.05}],
        "mixing": {"window_seconds": [0.5]},
        "stages": [stage],
        "workers": 0,
        "save_every": 1,
        "validation_clips": 4,
    }
    folder.mkdir(exist_ok=True)
    (folder / "mouse.yaml").write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return load_recipe(str(folder / "mouse.yaml"))


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(module, "STEPS_A_FILE", 2)


def test_it_learns_places_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    trainer = Trainer(recipe(tmp_path, PLACE | {"feature_epochs": 30, "learning_rate": 3e-3}))
    before = {name: value.clone() for name, value in trainer.encoder.state_dict().items()}
    trainer.run()
    losses = [loss for _, loss in read_losses(tmp_path / "run" / "place" / "losses.csv")]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    parts = ("slot_summary.first", "slot_summary.rest", "slot_summary.norm", "doa_norm", "dis_norm", "azimuth_head")
    parts += ("elevation_head", "distance_head")
    for name, value in trainer.encoder.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith(parts), name
    cached = sorted(file.name for file in (tmp_path / "run" / "place").glob("features-*"))
    assert cached == [f"features-{start:06d}.safetensors" for start in (0, 2, 4)]


def test_of_slots_every_source_is_cached_and_the_masks_stay(tmp_path: Path) -> None:
    stage = PLACE | {"feature_epochs": 30, "learning_rate": 3e-3, "two_sources": 1.0, "slot_features": True}
    trainer = Trainer(recipe(tmp_path, stage))
    masks = trainer.encoder.slot_summary.slot_factors.weight.clone()
    trainer.run()
    losses = [loss for _, loss in read_losses(tmp_path / "run" / "place" / "losses.csv")]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert torch.equal(trainer.encoder.slot_summary.slot_factors.weight, masks)
    kept = load_file(tmp_path / "run" / "place" / "features-000000.safetensors")
    # Two steps of eight clips; in rooms where no two sounds can be told apart a clip has one.
    assert 2 * 8 < len(kept["summary"]) == len(kept["bins"]) <= 2 * 8 * 2


def test_each_source_is_cached_with_the_slot_that_holds_it() -> None:
    """An encoder whose slots say all they know, in an order that differs between the two ways round."""

    class Known:
        def slot_summaries(self, sound: torch.Tensor) -> tuple[Encoding, torch.Tensor]:
            azimuths = sound[:, 0, :2].long()
            if (sound[:, 1] > sound[:, 0]).all():  # swapped: as another pair, the other way round
                azimuths = (180 - sound[:, 1, :2].long().flip(1)) % 360
            logits = 50.0 * torch.nn.functional.one_hot(azimuths, 360)
            slots = SlotEncoding(torch.zeros(len(sound), 2), torch.zeros(len(sound), 2, 355), azimuth_logits=logits)
            return Encoding(torch.zeros(len(sound), 2, 1), azimuth_logits=logits[:, 0], slots=slots), azimuths[
                ..., None
            ]

    azimuth = torch.tensor([[10, 200], [300, 40]])
    sound = torch.zeros(2, 2, 4)
    sound[:, 0, :2], sound[:, 1] = azimuth.float(), -1.0
    bins = torch.zeros(2, 2, dtype=torch.long)
    truth = Truth(torch.tensor([[True, True], [False, True]]), torch.zeros(2, 2, 355), bins, azimuth, bins)
    stage = Stage(name="x", trains="encoder", direction_weight=1.0, distance_weight=0.0, class_weight=0.0)
    stage.slot_features = True
    summary, kept = module.features_of(Known(), stage, sound, truth)
    assert summary[:, 0, 0].tolist() == kept[:, 1].tolist() == [10, 200, 40]
    assert summary[:, 1, 0].tolist() == [170, 340, 140]


@pytest.mark.parametrize("at", ["clips", "steps"])
@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    Trainer(recipe(tmp_path / "straight")).run()
    with monkeypatch.context() as patch:
        if at == "clips":
            written = module.write_tensors
            files = iter((written, written))
            patch.setattr(module, "write_tensors", lambda *some: next(files)(*some))
        else:
            saved = module.save_checkpoint

            def save(file: Path, part: Any, optimizers: Any, step: int) -> None:
                saved(file, part, optimizers, step)
                if step == 10:
                    raise KeyboardInterrupt

            patch.setattr(module, "save_checkpoint", save)
        with pytest.raises((KeyboardInterrupt, StopIteration, RuntimeError)):
            Trainer(recipe(tmp_path / "broken")).run()
    for file in (tmp_path / "broken" / "run" / "place").glob("features-*"):  # as an older version called them
        file.rename(file.with_name(file.name.replace("features", "kept")))
    Trainer(recipe(tmp_path / "broken")).run()
    one, other = (load_file(tmp_path / name / "run" / "place" / "model.safetensors") for name in ("straight", "broken"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_stage_that_teaches_masks_trains_and_validates(tmp_path: Path) -> None:
    """Validation clips know where each source is, too, as the loss asks for it."""
    stage = {"name": "slots", "trains": "encoder", "steps": 2, "seconds_per_step": 2.0, "two_sources": 1.0}
    Trainer(recipe(tmp_path, stage | {"mask_weight": 1.0})).run()
    assert (tmp_path / "run" / "slots" / "best.json").exists()


def test_swapped_ears_have_the_mirrored_azimuth() -> None:
    places = [Position(float(azimuth), -20.0, 2.0) for azimuth in range(360)]
    bins = torch.tensor([targets_from_position(place) for place in places])
    summary = torch.stack((torch.arange(360), -torch.arange(360)), dim=1)[:, :, None].half()
    seen = list(batches(CachedFeatures(summary, bins.short())))
    assert sum(len(values) for values, _ in seen) == 360
    swapped = 0
    for values, truth in seen:
        for value, azimuth in zip(values[:, 0].tolist(), truth.azimuth[:, 0].tolist(), strict=True):
            swapped += value < 0
            wanted = mirror_azimuth_deg(-value) if value < 0 else value
            assert azimuth == wanted % 360
    assert 120 < swapped < 240


def batches(cached: CachedFeatures) -> Iterator[Any]:
    return cached.batches(40, seed=3)


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the encoder EchoEncoder has no features to cache"):
        Trainer(recipe(tmp_path, encoder={"name": "echo"})).run()
    with pytest.raises(BadInput, match=r"cached .* clips with one source, fewer than a batch of 500"):
        Trainer(recipe(tmp_path / "few", PLACE | {"clips_per_batch": 500})).run()
    with pytest.raises(BadInput, match="feature_epochs are for the encoder"):
        recipe(tmp_path, PLACE | {"trains": "reasoner", "question_types": ["A", "C"]})


@pytest.mark.slow
def test_each_epoch_may_hear_other_microphones(tmp_path: Path) -> None:
    """Another loss from the second step on, the same one again for the same seed; and only where it is possible."""
    plain = Trainer(recipe(tmp_path / "plain"))
    plain.run()
    coloured = [Trainer(recipe(tmp_path / name, PLACE | {"feature_colour_db": 3.0})) for name in ("one", "two")]
    for trainer in coloured:
        trainer.run()
    losses = [read_losses(tmp_path / name / "run" / "place" / "losses.csv") for name in ("plain", "one", "two")]
    assert losses[1] == losses[2]
    assert losses[0] != losses[1]
    with pytest.raises(BadInput, match="needs feature_epochs"):
        recipe(tmp_path / "none", PLACE | {"feature_epochs": 0, "feature_colour_db": 3.0})
