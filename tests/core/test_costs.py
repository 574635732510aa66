"""What --dry-run foretells: operations and memory against closed forms and the real thing, and what it prints."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bat_agent.cli.train import main
from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding
from bat_agent.recipes.loading import load_recipe, shipped_recipes
from bat_agent.recipes.schema import Stage
from bat_agent.training import costs
from bat_agent.training.costs import Cost, StageCost, count, duration, sample_questions


def test_operations_of_a_linear_map_are_those_of_its_products() -> None:
    """2·M·N·K forward; backward as much for the weight, and once more for an input that needs it."""
    layer, frozen = nn.Linear(30, 20), nn.Linear(30, 20).requires_grad_(False)
    x = torch.randn(7, 30)
    once = 2 * 7 * 30 * 20
    assert count(lambda: layer(x).sum()).flop == 2 * once
    needing = torch.randn(7, 30, requires_grad=True)
    assert count(lambda: frozen(needing).sum()).flop == 2 * once
    assert count(lambda: layer(needing).sum()).flop == 3 * once
    assert count(lambda: None).flop == 0


def test_kept_tensors_are_counted_once_and_parameters_never() -> None:
    weight = nn.Parameter(torch.randn(64, 64))
    x = torch.randn(16, 64, requires_grad=True)
    both = count(lambda: (x @ weight + x @ weight.t()).sum())
    assert both.kept_bytes == 16 * 64 * 4  # x, for both products


def test_a_model_without_weights_costs_what_the_real_one_costs(tmp_path: Path) -> None:
    """Nearly: the fused attention of CPUs is not counted and keeps less than the plain one."""
    from bat_agent_llama.config import LlamaReasonerConfig
    from bat_agent_llama.language_model import build_tiny
    from bat_agent_llama.reasoner import LlamaReasoner
    from bat_agent_llama.tokenizer import shipped_tokenizer

    build_tiny(2).save_pretrained(tmp_path)
    shipped_tokenizer().save_pretrained(tmp_path)
    config = LlamaReasonerConfig(llm=str(tmp_path), token_dim=32, dtype="float32", adapter="llama-adapter-v2")
    real, outline = LlamaReasoner(config), LlamaReasoner.outline(config)
    encoding = Encoding(tokens=torch.randn(2, 40, 32))
    texts, answers = ["Where is the dog?", "What is that?"] * 2, ["left, front, above; 2m", "dog"] * 2
    found = [
        count(lambda: real.loss(encoding, texts, answers)),
        count(lambda: outline.loss(encoding.to("meta"), texts, answers)),
    ]
    assert found[1].flop == pytest.approx(found[0].flop, rel=0.1)
    assert found[1].kept_bytes == pytest.approx(found[0].kept_bytes, rel=0.15)
    assert found[0].seconds is not None
    assert found[1].seconds is None


def test_a_core_that_others_have_takes_no_time() -> None:
    """On a busy server ``--dry-run`` told several times the CPU seconds that a step takes."""
    assert (count(lambda: time.sleep(0.3)).seconds or 0) < 0.1


def test_seven_billion_parameters_cost_what_the_paper_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q-Former and adapter: 73.58 million trained. A question takes 4·P·T operations, forward and to the adapter."""
    monkeypatch.setenv("BAT_DATA", "/nowhere")
    monkeypatch.delenv("BAT_LLAMA2", raising=False)
    recipe = load_recipe("bat-llama2-7b")
    # Records of the release, a tenth of them an epoch, 16 a step.
    steps = [costs.steps_of_stage(recipe, number) for number in range(3)]
    assert all(assumed for _, assumed in steps)
    steps = [number for number, _ in steps]
    assert steps == [-(-2 * 278_784 // 16), -(-2 * 514_784 // 16), -(-5 * 872_312 // 32)]
    (cost,) = costs.stage_costs(replace(recipe, stages=recipe.stages[2:]))
    assert (cost.name, cost.steps) == ("reasoning", steps[2])
    assert cost.trained == 69_367_296 + 4_215_744
    assert 100 < cost.costs[1].flop / (4 * 6.6e9) < 140
    assert 25 < cost.memory_bytes / 2**30 < 45


def test_time_is_measured_or_reckoned_by_the_rate_and_shared_by_processes() -> None:
    stage = StageCost("a", 10, 4, 0, 1, 1, 1.0, (Cost(2e12, 0, None), Cost(1e12, 0, 0.5)))
    assert stage.flop == 4 * 3e12
    assert stage.seconds(1e12, "cpu") == pytest.approx(10 * 4 * (2 / 0.6 + 0.5))
    assert stage.seconds(1e12, "cuda") == pytest.approx(10 * 4 * (2 + 1) / 0.25)


@pytest.mark.parametrize(
    ("seconds", "words"), [(12, "12 s"), (300, "5 min"), (9000, "2.5 h"), (432_000, "5 days"), (1e8, "1,157 days")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_questions_are_those_of_the_stage() -> None:
    kinds = ["side", "which_side", "is_side"]
    one = sample_questions(Stage("s", "reasoner", 1, question_types=["P"], question_kinds=kinds), 8)
    assert len(one) == 8
    assert {question.type.letter for question in one} == {"P"}
    assert all(question.kind.startswith(("side", "which_side", "is_side")) for question in one)


def test_stages_over_cached_features_and_with_masks_are_counted() -> None:
    """All stages of the shipped recipe."""
    sounds = "sounds=[{source: 'procedural:5', train_folds: [1], valid_folds: [4]}]"
    stages = {stage.name: stage for stage in costs.stage_costs(load_recipe("bat-small", [sounds]))}
    places, slots, together, placed = (stages[name] for name in ("places", "slots", "together", "placed"))
    # Over slots the whole encoder hears every clip, both ways round.
    assert placed.flop > places.flop
    assert slots.trained < together.trained
    assert 0 < places.flop < 24 * together.flop
    assert slots.flop > 0


def test_the_command_prints_a_table_and_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    changes: list[Any] = ["sounds=[{source: procedural, train_folds: [1], valid_folds: [4]}]"]
    main("spatial-ast-tiny", [*changes, "rooms=[{simulator: echo, scenes: 4}]"], dry_run=True)
    out = capsys.readouterr().out
    assert "nothing was trained" in out
    assert "CPU thread(s)" in out
    assert list(tmp_path.iterdir()) == []


# --- recipes that stand on others ---


def test_every_shipped_recipe_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in shipped_recipes():
        assert load_recipe(name).stages, name
    assert load_recipe("bat-tinyllama").reasoner.options["adapter"] == "llama-adapter-v2"
    assert load_recipe("bat-tinyllama").stages == load_recipe("bat-llama2-7b").stages
    assert [stage.name for stage in load_recipe("bat-llama2-7b-one-stage").stages] == ["all"]
    monkeypatch.setenv("BAT_LLAMA2", "/models/llama")
    assert load_recipe("bat-llama2-7b").reasoner.options["llm"] == "/models/llama"


def test_a_bare_no_is_the_precision_of_that_name() -> None:
    """YAML reads it as false, so precision=no was refused as 'False'."""
    assert load_recipe("bat-llama2-7b", ["precision=no"]).precision == "no"


def test_table_5_is_in_the_recipe() -> None:
    for stage, epochs in zip(load_recipe("bat-llama2-7b").stages, (20, 20, 25), strict=True):
        assert (stage.epochs, stage.epoch_fraction, stage.warmup_epochs) == (epochs, 0.1, 2)
        assert (stage.learning_rate, stage.per_256, stage.weight_decay) == (1e-3, True, 0.05)
        assert list(stage.betas) == [0.9, 0.95]
        assert stage.seconds_per_step == 8 * 2 * 10


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("base: me\nname: x", "based on itself"),
        ("base: bat-smal\nname: x", "did you mean 'bat-small'"),
        ("base: bat-small\nnam: x", "no key 'nam', did you mean 'name'"),
    ],
)
def test_bases_that_cannot_be_used(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "me.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=says):
        load_recipe(str(tmp_path / "me.yaml"))


def test_a_base_beside_the_recipe_goes_before_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "bat-small.yaml").write_text("name: mine\nencoder: {name: echo}\nstages: []\nseed: 3", encoding="utf-8")
    (tmp_path / "me.yaml").write_text("base: bat-small\nname: x", encoding="utf-8")
    recipe = load_recipe(str(tmp_path / "me.yaml"), ["seed=4"])
    assert (recipe.name, recipe.seed, recipe.stages) == ("x", 4, [])
