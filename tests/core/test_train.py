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
from bat_agent.clips import corpus
from bat_agent.clips.mixtures import Batch, Mixtures
from bat_agent.errors import BadInput
from bat_agent.recipes.loading import load_recipe
from bat_agent.recipes.schema import Recipe, Stage
from bat_agent.training.folder import read_losses
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
    step_of = Stepper.take

    def step(self: Stepper, now: Now, batch: Batch, step: int) -> Any:
        if (now.stage.name, step) == (name, at):
            monkeypatch.setattr(Stepper, "take", step_of)
            raise KeyboardInterrupt
        return step_of(self, now, batch, step)

    monkeypatch.setattr(Stepper, "take", step)


def losses_of(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, float]]:
    """What every step of every run says: (stage, step, loss)."""
    seen: list[tuple[str, int, float]] = []
    step_of = Stepper.take

    def step(self: Stepper, now: Now, batch: Batch, step: int) -> dict[str, float]:
        log = step_of(self, now, batch, step)
        seen.append((now.stage.name, step, log["loss"]))
        return log

    monkeypatch.setattr(Stepper, "take", step)
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
        there = {path.name for path in (run / stage).iterdir()}
        assert {"done", "last.safetensors", "losses.csv", "model.safetensors"} < there
        assert read_losses(run / stage / "losses.csv") == [(step, loss) for name, step, loss in seen if name == stage]
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


def test_a_stage_of_oracle_heads_trains_the_reasoner_without_the_encoder(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(self: Stepper, batch: Batch) -> None:
        raise AssertionError("a stage of oracle heads has no sound to hear")

    trainer = Trainer(write({**ANSWER, "oracle_heads": True}))
    monkeypatch.setattr(Stepper, "_hear", deaf)
    monkeypatch.setattr(Trainer, "_validate", lambda *_: None)
    before = {name: value.clone() for name, value in trainer.reasoner.state_dict().items()}
    trainer.run()
    assert any(not torch.equal(before[name], value) for name, value in trainer.reasoner.state_dict().items())


def test_the_encoder_cannot_be_trained_on_imagination(write: Write) -> None:
    with pytest.raises(BadInput, match="needs sound"):
        write({**LISTEN, "oracle_heads": True})


def test_only_heads_that_are_weighted_are_trained(write: Write) -> None:
    """BAT's first stage: what the class loss does not reach stays, weight decay included."""
    trainer = Trainer(write(LISTEN | {"distance_weight": 0.0, "direction_weight": 0.0, "weight_decay": 0.5}))
    before = {name: value.clone() for name, value in trainer.encoder.state_dict().items()}
    trainer.run()
    after = trainer.encoder.state_dict()
    assert torch.equal(before["azimuth_head.weight"], after["azimuth_head.weight"])
    assert not torch.equal(before["head.weight"], after["head.weight"])


def test_what_a_stage_freezes_stays_as_it_was(write: Write) -> None:
    trainer = Trainer(write(LISTEN | {"frozen": ["blocks", "head"], "steps": 2}))
    before = {name: value.clone() for name, value in trainer.encoder.named_parameters()}
    trainer.run()
    stays = {name for name, value in trainer.encoder.named_parameters() if torch.equal(value, before[name])}
    frozen = {name for name in before if name.startswith(("blocks", "head"))}
    assert frozen == stays - {"pos_embed"}


def test_a_recipe_without_a_reasoner_gives_an_agent_that_answers_by_rules(write: Write) -> None:
    recipe = write(LISTEN | {"steps": 1}, reasoner={"name": "rules"})
    file = Path(recipe.run_dir).parent / "run.yaml"
    content = yaml.safe_load(file.read_text())
    del content["reasoner"]
    file.write_text(yaml.safe_dump(content))
    bare = load_recipe(str(file))
    bat = bat_agent.load(Trainer(bare).run(), device="cpu")
    assert bat.config.reasoner["name"] == "rules"
    assert str(bat.ask(corpus.validation(bare, 1, seconds=0.5)[0].waveform[0], "Where is the sound?"))


def test_epochs_give_the_steps(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = write(LISTEN | {"steps": 0, "epochs": 0.4, "epoch_fraction": 0.5, "warmup_epochs": 0.2})
    sounds = len(corpus.open_pool(recipe, "train"))
    seen = losses_of(monkeypatch)
    Trainer(recipe).run()
    assert len(seen) == math.ceil(0.4 * 0.5 * sounds / 4)
    assert len(seen) > 1
    rates = logged(tmp_path / "run" / "listen", "train/learning_rate")
    assert rates[0] == pytest.approx(recipe.stages[0].learning_rate / round(len(seen) / 2), rel=1e-6)


def logged(folder: Path, name: str) -> list[float]:
    """A curve as TensorBoard reads it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.value for event in events.Scalars(name)]


@pytest.mark.parametrize("tasks", [["class"], ["direction"]])
def test_pieces_of_a_step_add_up_to_it(write: Write, tmp_path: Path, tasks: list[str]) -> None:
    """An encoder without batch norms, with every random mask: one piece or four (of 2, 2, 2 and 1 clips), one result.

    The heads that its other tasks would need are not there, and are not missed.
    """
    options = ENCODER | {"num_slots": 1, "patch_mels": 32, "mask_mels": 0.25, "tasks": tasks}
    stage = LISTEN | {"steps": 2, "seconds_per_step": 3.5, "direction_weight": 100}
    for pieces in (1, 4):
        recipe = write(
            stage | {"accumulate": pieces},
            run=str(pieces),
            encoder={"name": "spatial-ast", "options": options},
            mixing={"window_seconds": [0.5], "mirror": 0.5},
        )
        trainer = Trainer(recipe)
        for module in trainer.encoder.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()
                module.train = lambda mode=True, self=module: self  # type: ignore[method-assign, misc]
        trainer.run()
    one, many = (read_losses(tmp_path / str(pieces) / "listen" / "losses.csv") for pieces in (1, 4))
    assert [loss for _, loss in many] == pytest.approx([loss for _, loss in one], rel=1e-5)
    assert one[0][1] != one[1][1]
    for name, value in weights(tmp_path / "1", "listen").items():
        torch.testing.assert_close(weights(tmp_path / "4", "listen")[name], value, atol=1e-4, rtol=1e-3)


def test_a_compiled_encoder_is_trained_and_saved_as_itself(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler itself is left out (it takes a minute), and so is an encoder whose shapes beartype checks: it cannot
    be traced.
    """
    compile_, compiled = torch.compile, []

    def traced(module: torch.nn.Module) -> Any:
        compiled.append(module)
        return compile_(module, backend="eager")

    monkeypatch.setattr(torch, "compile", traced)
    states = []
    for wanted in (False, True):
        recipe = write(
            LISTEN | {"steps": 2, "two_sources": 0.0}, run=str(wanted), encoder={"name": "echo"}, compile=wanted
        )
        trainer = Trainer(recipe)
        trainer.run()
        states.append(trainer.encoder.state_dict())
    assert compiled == [trainer.encoder]
    assert list(states[0]) == list(states[1]) == ["sharpness"]
    torch.testing.assert_close(states[0], states[1])
    assert float(states[0]["sharpness"]) != pytest.approx(0.1)


def test_the_encoder_may_adapt_its_heads_to_the_truth(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(write(LISTEN | {"steps": 2}))
    seen = []

    def adapt(encoding: Any, truth: Any) -> Any:
        seen.append((len(encoding.tokens), len(truth.active), trainer.encoder.training))
        return encoding

    trainer.encoder.adapt = adapt
    trainer.run()
    assert seen == [(4, 4, True)] * 2
