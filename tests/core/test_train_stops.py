"""Where training stops: numbers that are none, clips that are not finite, checkpoints of something else."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from bat_agent import checkpoint
from bat_agent.clips import corpus
from bat_agent.clips.mixtures import Batch, Mixtures
from bat_agent.errors import BadInput, BatAgentError, WeightsError
from bat_agent.files.locking import locked
from bat_agent.recipes.loading import load_recipe
from bat_agent.recipes.schema import Recipe
from bat_agent.training import objective
from bat_agent.training.folder import Best, keep_recipe, read_losses
from bat_agent.training.step import Now, Stepper
from bat_agent.training.trainer import Trainer

ENCODER = {
    "clip_seconds": 0.5,
    "target_frames": None,
    "patch_frames": 10,
    "patch_mels": 128,
    "width": 32,
    "depth": 1,
    "heads": 2,
    "num_slots": 2,
    "drop_path": 0.2,
    "mask_mels": 0.0,
    "store_front_end": False,
}

LLAMA = {"tiny_layers": 1, "projector_dim": 32, "num_queries": 2, "num_cls_tokens": 6, "max_answer_tokens": 4}

LISTEN = {"name": "listen", "trains": "encoder", "steps": 5, "seconds_per_step": 2.0, "class_weight": 100}

Write = Callable[..., Recipe]


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def tiny(folder: Path, *stages: dict[str, Any], run: str = "run", **changes: Any) -> Recipe:
    """A recipe that runs in ``folder``/RUN, with a language model only where a stage trains it."""
    asks = any(stage["trains"] == "reasoner" for stage in stages)
    content = {
        "name": "mouse",
        "run_dir": str(folder / run),
        "encoder": {"name": "spatial-ast", "options": ENCODER},
        "reasoner": {"name": "llama", "options": LLAMA} if asks else {"name": "echo"},
        "sounds": [{"source": "procedural:5", "train_folds": [1, 2, 3], "valid_folds": [4]}],
        "rooms": [{"simulator": "echo", "scenes": 8, "valid_scenes": 4, "sources": 3, "seconds": 0.05}],
        "mixing": {"window_seconds": [0.5], "two_sources": 0.3, "noise_dbfs": [-90, -70]},
        "stages": list(stages),
        "workers": 0,
        "save_every": 2,
        "validation_clips": 4,
    }
    file = folder / f"{run}.yaml"
    file.write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return load_recipe(str(file))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(tiny, tmp_path)


def killed_at(monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> None:
    """The run dies in the middle of a step, once."""
    step_of = Stepper.take

    def step(self: Stepper, now: Now, batch: Batch, step: int) -> Any:
        if (now.stage.name, step) == (name, at):
            monkeypatch.setattr(Stepper, "take", step_of)
            raise KeyboardInterrupt
        return step_of(self, now, batch, step)

    monkeypatch.setattr(Stepper, "take", step)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_not_a_number_stops_the_run_names_the_batch_and_keeps_the_state(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    """A gradient that is not a number would spoil the weights, and the checkpoint with them."""
    calls, loss_of = [], objective.encoder_loss

    def loss(*arguments: Any) -> Any:
        value, log = loss_of(*arguments)
        calls.append(value)
        if len(calls) == 4 and what == "loss":
            value = value * math.nan
        elif len(calls) == 4:
            value.register_hook(lambda gradient: gradient * math.nan)
        return value, log

    recipe = write(LISTEN)
    ids = corpus.training(recipe, 0)[3].ids
    monkeypatch.setattr(objective, "encoder_loss", loss)
    with pytest.raises(BatAgentError) as stopped:
        Trainer(recipe).run()
    said = str(stopped.value)
    assert said.startswith(
        f"stage listen: the {what} of step 3 is nan (its clips {'; '.join(ids[:3])}; … 1 more); lower"
    )
    assert "\n" not in said
    stage = tmp_path / "run" / "listen"
    kept, failed = load_file(stage / "last.safetensors"), load_file(stage / "failed.safetensors")
    assert (int(kept["step"]), int(failed["step"])) == (2, 3)
    assert all(bool(value.isfinite().all()) for value in (*kept.values(), *failed.values()))
    told = json.loads((stage / "failed.json").read_text())
    assert (told["step"], told["what"], told["value"], told["clips"]) == (3, what, "nan", ids)
    assert [step for step, _ in read_losses(stage / "losses.csv")] == [0, 1, 2]


def test_a_clip_that_is_not_finite_is_the_suspect(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    item = Mixtures.__getitem__

    def broken(self: Mixtures, step: int) -> Batch:
        batch = item(self, step)
        if step == 1 and self.steps == 5:
            batch.waveform[2, 1, 100] = math.inf
        return batch

    monkeypatch.setattr(Mixtures, "__getitem__", broken)
    recipe = write(LISTEN)
    name = corpus.training(recipe, 0)[1].ids[2]
    with pytest.raises(BatAgentError) as stopped:
        Trainer(recipe).run()
    assert f"step 1 is nan (not finite are the clips {name});" in str(stopped.value)
    told = json.loads((tmp_path / "run" / "listen" / "failed.json").read_text())
    assert told["clips_not_finite"] == [name]


def test_a_checkpoint_of_another_architecture_is_refused(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at(monkeypatch, "listen", 3)
    with pytest.raises(KeyboardInterrupt):
        Trainer(write(LISTEN)).run()
    wider = {"name": "spatial-ast", "options": ENCODER | {"width": 64}}
    with pytest.raises(BadInput, match="holds a run with another encoder"):
        Trainer(write(LISTEN, encoder=wider)).run()
    (tmp_path / "run" / "recipe.yaml").unlink()
    with pytest.raises(WeightsError, match=r"last\.safetensors does not fit SpatialAST.*misshapen"):
        Trainer(write(LISTEN, encoder=wider)).run()


def test_two_trainings_do_not_share_a_folder(write: Write, tmp_path: Path) -> None:
    """Both ran, and wrote every loss twice."""
    recipe = write(LISTEN)
    with (
        locked(tmp_path / "run", "held"),
        pytest.raises(BadInput, match=r"another training is running in .*run; wait for it, or give run_dir="),
    ):
        Trainer(recipe).run()
    assert not (tmp_path / "run" / "recipe.yaml").exists()
    Trainer(recipe).run()
    assert len(read_losses(tmp_path / "run" / "listen" / "losses.csv")) == LISTEN["steps"]


def test_a_full_disk_at_a_checkpoint_is_one_sentence_and_the_old_one_stays(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was a traceback of safetensors, or "[Errno 28]" without the name of a file; then the run goes on."""
    recipe = write(LISTEN)
    last, saved = tmp_path / "run" / "listen" / "last.safetensors", []
    save_file = checkpoint.save_file

    def save(tensors: Any, file: Path) -> None:
        saved.append(file)
        if len(saved) == 2:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save_file(tensors, file)

    monkeypatch.setattr(checkpoint, "save_file", save)
    said = rf"^cannot write {last} \(No space left on device: it takes .* MB, .* are free\); free some space there and"
    with pytest.raises(BadInput, match=said):
        Trainer(recipe).run()
    assert int(load_file(last)["step"]) == 2
    assert not list(tmp_path.rglob("*.part*"))
    Trainer(write(LISTEN)).run()
    assert [step for step, _ in read_losses(last.parent / "losses.csv")] == list(range(5))


@pytest.mark.parametrize("left", ["", "name: mouse\nencoder:\n  na"])
def test_a_recipe_that_a_full_disk_cut_off_is_not_taken_for_a_wrong_one(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left: str
) -> None:
    """An empty one made every resume say "missing mandatory value: name"."""
    kept = tmp_path / "run" / "recipe.yaml"
    kept.parent.mkdir()
    kept.write_text(left)
    with pytest.raises(BadInput, match=r"recipe.yaml, which the run keeps, is (empty|cut off); delete it and give"):
        keep_recipe(write(LISTEN), kept.parent)
    kept.unlink()
    keep_recipe(write(LISTEN), kept.parent)
    whole, recipe = kept.read_text(), write(LISTEN)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(BadInput, match=r"cannot write .*recipe.yaml"):
        keep_recipe(recipe, kept.parent)
    monkeypatch.undo()
    assert kept.read_text() == whole
    kept.write_text(whole.replace("seed:", "sead:"))
    with pytest.raises(BadInput, match=r"is not what was written: .*no key 'sead'"):
        keep_recipe(write(LISTEN), kept.parent)


def test_a_note_of_the_best_weights_that_is_none_is_told(tmp_path: Path) -> None:
    assert Best(tmp_path).loss == math.inf
    (tmp_path / "best.json").write_text("[" * 10_000)
    with pytest.raises(BadInput, match=r"best\.json does not say how good .* remove it"):
        assert Best(tmp_path).loss
