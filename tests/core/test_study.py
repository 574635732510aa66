"""Studies: every variant and seed once, on the same clips, and intervals that mean what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.recipes.loading import load_recipe
from bat_agent.recipes.schema import Recipe
from bat_agent.training import study as module
from bat_agent.training.study import Outcome, Study, Variant, differences, load_study, run_study, table

RECIPE = "spatial-ast-tiny"
MONO = ["encoder.options.features=mono"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """Training and measuring replaced by what they would get; a run's figure is its seed plus 10 for mono."""
    runs: list[Recipe] = []

    class Trainer:
        def __init__(self, recipe: Recipe) -> None:
            self.recipe = recipe

        def run(self) -> None:
            runs.append(self.recipe)
            Path(self.recipe.run_dir).mkdir(parents=True)

    def measure(recipe: Recipe, agent: Path, *_: Any) -> dict[str, dict[str, float]]:
        value = runs[-1].seed + 10.0 * (
            recipe.encoder.options["features"] == "mono" if "features" in recipe.encoder.options else 0
        )
        assert recipe.seed == 0, "all runs are measured on the clips of seed 0"
        assert agent == Path(recipe.run_dir) / "agent"
        return {"mae_deg": {"value": value, "low": value - 1.96, "high": value + 1.96, "count": 100}}

    monkeypatch.setattr(module, "Trainer", Trainer)
    monkeypatch.setattr(module, "measure", measure)
    return runs


def study(**changes: Any) -> Study:
    plain = {"name": "s", "recipe": RECIPE, "seeds": [0, 2], "variants": [Variant("all"), Variant("mono", MONO)]}
    return Study(**{**plain, **changes})  # type: ignore[arg-type]


def test_every_variant_is_trained_once_a_seed_and_not_again(tmp_path: Path, trained: list[Recipe]) -> None:
    found = run_study(study(), tmp_path, overrides=["workers=0"])
    assert [(run.seed, run.encoder.options.get("features")) for run in trained] == [
        (0, None), (2, None), (0, "mono"), (2, "mono"),
    ]  # fmt: skip
    assert all(run.workers == 0 and run.rooms_dir == str(tmp_path / "rooms") for run in trained)
    assert found["all"]["mae_deg"].values == (0.0, 2.0)
    assert found["mono"]["mae_deg"].values == (10.0, 12.0)
    assert run_study(study(), tmp_path) == found
    assert len(trained) == 4
    wider = run_study(study(seeds=[0, 2, 4]), tmp_path, only=["mono"])
    assert (list(wider), len(trained), wider["mono"]["mae_deg"].mean) == (["mono"], 5, 12.0)


def test_rooms_that_are_not_there_are_told_before_anything_is_trained(tmp_path: Path, trained: list[Recipe]) -> None:
    elsewhere = study(rooms=[f"measured:{tmp_path / 'nowhere'}"])
    with pytest.raises(BadInput, match="nowhere"):
        run_study(elsewhere, tmp_path)
    assert not trained
    assert run_study(elsewhere, tmp_path, train=False) == {}


def test_a_report_trains_nothing(tmp_path: Path, trained: list[Recipe]) -> None:
    assert run_study(study(), tmp_path, train=False) == {}
    run_study(study(), tmp_path, only=["all"])
    assert list(run_study(study(), tmp_path, train=False)) == ["all"]
    assert len(trained) == 2


def test_the_error_of_a_mean_is_that_of_clips_and_seeds() -> None:
    """Simulated: seeds differ by 3, all hear the same clips, whose choice moves every figure by 2."""
    rng = np.random.default_rng(0)
    means = [np.mean(rng.normal(0, 3, 4)) + rng.normal(0, 2) for _ in range(20_000)]
    outcomes = [Outcome(tuple(rng.normal(0, 3, 4)), 2.0).error ** 2 for _ in range(2000)]
    assert np.mean(outcomes) == pytest.approx(np.var(means), rel=0.05)
    assert Outcome((5.0,), 2.0).error == 2.0


def test_differences_and_table_are_printed() -> None:
    outcomes = {"all": {"mae_deg": Outcome((40.0, 44.0), 0.0)}, "mono": {"mae_deg": Outcome((88.0, 88.0), 0.0)}}
    lines = differences(study(differences=["mae_deg: mono - all"]), outcomes)
    assert lines == ["mae_deg, mono − all: +46 (+42.1…+49.9)"]
    assert differences(study(differences=["mae_deg: mono - all"]), {"all": outcomes["all"]}) == []
    assert table(outcomes, ["mae_deg", "map"]).row_count == 2


def test_many_measures_are_rows() -> None:
    outcomes = {"all": {f"m{number}": Outcome((1.0,), 0.1) for number in range(20)}}
    assert table(outcomes, list(outcomes["all"])).row_count == 20


@pytest.mark.slow
def test_the_curriculum_is_measured_after_every_stage(tmp_path: Path) -> None:
    chosen = load_study("curriculum")
    chosen.seeds, chosen.clips = [0], 2
    short = [f"stages.{number}.{key}" for number in range(3) for key in ("steps=1", "seconds_per_step=1")]
    short += ["validation_clips=1", "reasoner.options.tiny_layers=1", "reasoner.options.max_answer_tokens=2"]
    found = run_study(chosen, tmp_path, only=["three stages"], overrides=short)["three stages"]
    assert {"A exact", "B region", "C exact", "D distance", "E direction", "E distance", "E closer"} <= found.keys()
    assert {"perception: A exact", "separation: D region", "separation: E distance"} <= found.keys()
    assert all(0 <= outcome.mean <= 1 for outcome in found.values())


@pytest.mark.parametrize("name", ["ablations", "capture", "curriculum", "heads", "level", "slots"])
def test_shipped_studies_fit_their_recipes(name: str) -> None:
    chosen = load_study(name)
    assert chosen.differences
    for variant in chosen.variants:
        recipe = load_recipe(chosen.recipe, variant.overrides)
        from bat_agent import registry

        registry.config_of("encoder", recipe.encoder.name, recipe.encoder.options)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"name": "s", "recipe": RECIPE, "variants": []}, "needs variants with different names"),
        ({"name": "s", "recipe": RECIPE, "variants": [{"name": "a"}], "differences": ["mae: a - b"]}, "must be"),
        ({"name": "s", "recipe": RECIPE, "varaints": []}, "varaints"),
        ({"name": "s", "recipe": RECIPE, "variants": [{"name": "a"}], "measure": "hearing"}, "measure must be one of"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(json.dumps(content))
    with pytest.raises(BadInput, match=words) as caught:
        load_study(str(file))
    assert "\n" not in str(caught.value)


def test_an_unknown_study_names_those_there_are() -> None:
    with pytest.raises(
        BadInput, match="no study 'ablation'; give a YAML file or one of: ablations, capture, curriculum, "
    ):
        load_study("ablation")
