"""The curriculum end to end, tiny: it learns, it goes on where it stopped, and it stops where it must."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import bat_agent
from bat_agent import corpus, train
from bat_agent.config import Recipe, Stage, load_recipe
from bat_agent.errors import BadInput, BatAgentError, WeightsError
from bat_agent.mixtures import Batch, Mixtures
from bat_agent.optimizers import Optimizers
from bat_agent.train import Trainer

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
ANSWER = {
    "name": "answer",
    "trains": "reasoner",
    "steps": 4,
    "seconds_per_step": 1.0,
    "question_types": ["A", "B", "P"],
    "questions_per_clip": 2,
    "two_sources": 0.0,
    "muon": 1.5,
}
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


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of both stages without a break."""
    folder = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        Trainer(tiny(folder, LISTEN, ANSWER)).run()
    return folder / "run"


def weights(run: Path, stage: str) -> dict[str, torch.Tensor]:
    return load_file(run / stage / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def killed_at(monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> None:
    """The run dies in the middle of a step, once."""
    step_of = Trainer._step

    def step(self: Trainer, stage: Stage, optimizers: Optimizers, batch: Batch, step: int) -> Any:
        if (stage.name, step) == (name, at):
            monkeypatch.setattr(Trainer, "_step", step_of)
            raise KeyboardInterrupt
        return step_of(self, stage, optimizers, batch, step)

    monkeypatch.setattr(Trainer, "_step", step)


def losses_of(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, float]]:
    """What every step of every run says: (stage, step, loss)."""
    seen: list[tuple[str, int, float]] = []
    step_of = Trainer._step

    def step(self: Trainer, stage: Stage, *rest: Any) -> dict[str, float]:
        log = step_of(self, stage, *rest)
        seen.append((stage.name, rest[-1], log["loss"]))
        return log

    monkeypatch.setattr(Trainer, "_step", step)
    return seen


def always_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: dict[tuple[int, int], Batch] = {}
    item = Mixtures.__getitem__

    def first(self: Mixtures, step: int) -> Batch:
        return batches.setdefault((self.seed, len(self)), item(self, 0))

    monkeypatch.setattr(Mixtures, "__getitem__", first)


def test_from_nothing_to_an_agent_that_answers(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = losses_of(monkeypatch)
    recipe = write(LISTEN, ANSWER)
    folder = Trainer(recipe).run()
    run = Path(recipe.run_dir)
    assert folder == run / "agent"
    assert [(name, step) for name, step, _ in seen] == [
        *(("listen", i) for i in range(5)),
        *(("answer", i) for i in range(4)),
    ]
    assert load_recipe(str(run / "recipe.yaml")) == recipe
    for stage in ("listen", "answer"):
        assert {"done", "last.safetensors", "model.safetensors"} < {path.name for path in (run / stage).iterdir()}
        assert list((run / stage).glob("events.out.tfevents*"))

    bat = bat_agent.load(folder, device="cpu")
    assert bat.config.name == "mouse"
    sound = corpus.validation(recipe, 1, seconds=0.5)[0].waveform[0]
    answers = bat.ask(sound, ["Where is the sound?", "What is it?"])
    assert all(0 <= answer.confidence <= 1 for answer in answers)
    (source, *_) = bat.perceive(sound).sources
    assert 0 <= source.azimuth_deg < 360


def test_a_stage_trains_its_part_and_nothing_else(write: Write) -> None:
    """Weights, and the encoder's running statistics, which a forward pass in training mode would move."""
    trainer = Trainer(write(LISTEN, ANSWER))
    states: list[list[dict[str, torch.Tensor]]] = []
    stage_of = trainer._stage

    def note() -> None:
        parts = (trainer.encoder, trainer.reasoner)
        states.append([{k: v.clone() for k, v in part.state_dict().items()} for part in parts])

    def stage(number: int, which: Stage, progress: Any) -> None:
        stage_of(number, which, progress)
        note()

    trainer._stage = stage  # type: ignore[method-assign]
    note()
    trainer.run()
    begin, listened, answered = states
    assert not same(begin[0], listened[0])
    assert same(begin[1], listened[1])
    assert same(listened[0], answered[0])
    assert not same(listened[1], answered[1])


@pytest.mark.parametrize(("stage", "at"), [("listen", 0), ("listen", 3), ("answer", 1), ("answer", 3)])
def test_a_run_that_was_killed_goes_on_to_the_same_result(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, straight: Path, stage: str, at: int
) -> None:
    """Bit for bit: the weights, the optimiser's state, and whatever is drawn after the break."""
    killed_at(monkeypatch, stage, at)
    broken = write(LISTEN, ANSWER, run="broken")
    with pytest.raises(KeyboardInterrupt):
        Trainer(broken).run()
    assert not (tmp_path / "broken" / stage / "done").exists()
    seen = losses_of(monkeypatch)
    Trainer(broken).run()
    assert (stage, 2 * (at // 2)) == seen[0][:2]  # from the last checkpoint, not from the start
    for name in ("listen", "answer"):
        assert same(weights(straight, name), weights(tmp_path / "broken", name))
        assert same(*(load_file(run / name / "last.safetensors") for run in (straight, tmp_path / "broken")))


def test_worker_processes_change_nothing(write: Write, tmp_path: Path) -> None:
    for workers in (0, 2):
        Trainer(write(LISTEN, run=str(workers), workers=workers)).run()
    assert same(*(weights(tmp_path / str(workers), "listen") for workers in (0, 2)))


def test_another_seed_is_another_run(write: Write, tmp_path: Path) -> None:
    for seed in (0, 1):
        Trainer(write(LISTEN | {"steps": 1}, run=str(seed), seed=seed)).run()
    assert not same(*(weights(tmp_path / str(seed), "listen") for seed in (0, 1)))


def test_a_finished_stage_is_not_trained_again(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    second = LISTEN | {"name": "more", "steps": 2}
    Trainer(write(LISTEN)).run()
    before = weights(tmp_path / "run", "listen")
    seen = losses_of(monkeypatch)
    trainer = Trainer(write(LISTEN, second))
    trainer.run()
    assert {name for name, _, _ in seen} == {"more"}
    assert same(before, weights(tmp_path / "run", "listen"))
    seen.clear()
    Trainer(write(LISTEN, second)).run()
    assert not seen
    # What follows starts from what was learnt, also where that was in another process.
    Trainer(write(LISTEN, second, run="straight")).run()
    assert same(weights(tmp_path / "run", "more"), weights(tmp_path / "straight", "more"))


def test_the_encoder_learns_a_batch_by_heart(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    always_the_first_batch(monkeypatch)
    seen = losses_of(monkeypatch)
    stage = LISTEN | {"steps": 60, "learning_rate": 1e-2, "warmup": 0.1}
    options = ENCODER | {"drop_path": 0.0, "spec_time_frames": 0, "spec_mels": 0, "mask_time": 0.0}
    Trainer(write(stage, encoder={"name": "spatial-ast", "options": options})).run()
    assert seen[-1][2] < 0.35 * seen[0][2]


def test_the_reasoner_learns_its_answers_by_heart(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    always_the_first_batch(monkeypatch)
    seen = losses_of(monkeypatch)
    Trainer(write(ANSWER | {"steps": 20, "learning_rate": 3e-3, "seconds_per_step": 1.0})).run()
    assert seen[0][2] > 5  # near the logarithm of the vocabulary of 2048
    assert seen[-1][2] < 0.2 * seen[0][2]


def test_clips_reach_an_encoder_of_fixed_length_padded_to_it(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second must not be stretched to the frames of a full clip, neither in training nor in validation."""
    lengths = set()
    options = ENCODER | {"clip_seconds": 1.0, "target_frames": 100}
    trainer = Trainer(write(LISTEN | {"steps": 1}, encoder={"name": "spatial-ast", "options": options}))
    trainer.encoder.register_forward_pre_hook(lambda _, inputs: lengths.add(inputs[0].shape[-1]))
    trainer.run()
    assert lengths == {32_000}


# --- where it stops ---


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_not_a_number_stops_the_run_and_names_the_step(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    """A gradient that is not a number would spoil the weights, and the checkpoint with them."""
    calls, loss_of = [], train.encoder_loss

    def loss(*arguments: Any) -> Any:
        value, log = loss_of(*arguments)
        calls.append(value)
        if len(calls) == 4 and what == "loss":
            value = value * math.nan
        elif len(calls) == 4:
            value.register_hook(lambda gradient: gradient * math.nan)
        return value, log

    monkeypatch.setattr(train, "encoder_loss", loss)
    with pytest.raises(BatAgentError, match=f"stage listen: the {what} of step 3 is nan; lower learning_rate"):
        Trainer(write(LISTEN)).run()
    kept = load_file(tmp_path / "run" / "listen" / "last.safetensors")
    assert int(kept["step"]) == 2
    assert all(bool(value.isfinite().all()) for value in kept.values())


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


def test_an_imagined_stage_trains_the_reasoner_without_the_encoder(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(self: Trainer, batch: Batch) -> None:
        raise AssertionError("an imagined stage has no sound to hear")

    trainer = Trainer(write({**ANSWER, "imagined": True}))
    monkeypatch.setattr(Trainer, "_hear", deaf)
    monkeypatch.setattr(Trainer, "_validate", lambda *_: None)
    before = {name: value.clone() for name, value in trainer.reasoner.state_dict().items()}
    trainer.run()
    assert any(not torch.equal(before[name], value) for name, value in trainer.reasoner.state_dict().items())


def test_the_encoder_cannot_be_trained_on_imagination(write: Write) -> None:
    with pytest.raises(BadInput, match="needs sound"):
        write({**LISTEN, "imagined": True})
