"""Names that were changed: recipes, files and plugins that have the old ones are still read."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import yaml

from bat_agent.clips.token_cache import flatten, unflatten
from bat_agent.errors import BadInput, OldNameWarning
from bat_agent.hearing import perception
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.recipes.loading import load_recipe, to_yaml
from bat_agent.recipes.renamed import RENAMED
from bat_agent.recipes.schema import Stage

ENCODER = {"name": "one", "trains": "encoder", "steps": 3, "feature_epochs": 5, "slot_features": True, "mask_weight": 2}
REASONER = {
    "name": "two", "trains": "reasoner", "steps": 2, "question_types": ["A", "B"], "oracle_heads": True,
    "oracle_tokens": True,
}  # fmt: skip
NEW = {"name": "small", "encoder": {"name": "echo"}, "word_dropout": 0.25, "stages": [ENCODER, REASONER]}


def written(folder: Path, content: object, old: bool, name: str = "recipe") -> str:
    """The recipe as a file, with its new or its old keys."""
    text = yaml.safe_dump(content)
    for names in RENAMED.values() if old else ():
        for before, now in names.items():
            text = text.replace(f"{now}:", f"{before}:")
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return str(folder / f"{name}.yaml")


def test_every_new_key_is_there_and_no_old_one() -> None:
    for kind, names in RENAMED.items():
        fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
        assert set(names.values()) <= set(fields)
        assert not set(names) & set(fields)


def test_a_recipe_with_old_keys_is_the_one_with_new_keys(tmp_path: Path) -> None:
    wanted = load_recipe(written(tmp_path, NEW, old=False))
    with pytest.warns(OldNameWarning, match=r"recipe recipe.yaml has old names, read until bat-agent 0\.3: ") as told:
        found = load_recipe(written(tmp_path, NEW, old=True))
    assert found == wanted
    assert found.stages[0].feature_epochs == 5
    (said,) = [str(warning.message) for warning in told]
    for names in RENAMED.values():
        assert all(f"{old} (now {new})" in said for old, new in names.items())


def test_the_recipe_of_an_older_run_is_read(tmp_path: Path) -> None:
    """A run writes every key, also those that it left as they are."""
    recipe = load_recipe(written(tmp_path, NEW, old=False))
    with pytest.warns(OldNameWarning):
        assert load_recipe(written(tmp_path, yaml.safe_load(to_yaml(recipe)), old=True)) == recipe


def test_old_keys_of_a_base_give_way_to_new_ones(tmp_path: Path) -> None:
    written(tmp_path, NEW, old=True, name="below")
    with pytest.warns(OldNameWarning, match=r"recipe below\.yaml"):
        found = load_recipe(written(tmp_path, {"base": "below", "name": "above", "word_dropout": 0.5}, old=False))
    assert (found.word_dropout, found.stages[0].mask_weight) == (0.5, 2)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("stages.0.passes=7", 7),
        ("stages[0].passes=7", 7),
        ("stages=[{name: one, trains: encoder, steps: 3, passes: 7}]", 7),
        ("loose_words=0.5", 5),
    ],
)
def test_overrides_may_have_old_keys(tmp_path: Path, override: str, value: int) -> None:
    with pytest.warns(OldNameWarning, match=r"override .* has old names, read until"):
        found = load_recipe(written(tmp_path, NEW, old=False), [override])
    assert found.stages[0].feature_epochs == value
    assert found.word_dropout == (0.5 if "words" in override else 0.25)


def test_new_keys_are_read_without_a_word(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        overrides = ["word_dropout=0.5", "stages=[{name: one, trains: encoder, steps: 3}]"]
        assert load_recipe(written(tmp_path, NEW, old=False), overrides).stages == [Stage("one", "encoder", 3)]


def test_the_old_and_the_new_key_together_are_refused(tmp_path: Path) -> None:
    both = {**NEW, "stages": [{**ENCODER, "passes": 4}]}
    with pytest.raises(BadInput, match="has both passes and feature_epochs, which is its new name: leave passes out"):
        load_recipe(written(tmp_path, both, old=False))


def test_commands_tell_old_names_in_one_line(tmp_path: Path) -> None:
    file = written(tmp_path, {**NEW, "stages": [REASONER]}, old=True)
    command = [sys.executable, "-m", "bat_agent.train", file, "stages.0.no_such_key=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    note, error = done.stderr.splitlines()
    assert note.startswith("note: recipe recipe.yaml has old names, read until bat-agent 0.3: loose_words (now word_")
    assert error.startswith("error: override 'stages.0.no_such_key=1'")


def test_masks_of_slots_are_found_as_claims() -> None:
    slots = SlotEncoding(torch.zeros(1, 2), torch.zeros(1, 2, 355))
    slots.claims = torch.ones(1, 2, 3, 128)
    assert slots.masks is slots.claims
    tensors = flatten(Encoding(torch.zeros(1, 2, 4), slots=slots))
    tensors["slots.claims"] = tensors.pop("slots.masks")  # as token files of an older version have it
    found = unflatten(tensors).slots
    assert found is not None
    assert found.masks is tensors["slots.claims"]


def test_a_function_that_plugins_import_is_found_under_its_old_name() -> None:
    assert perception.told_apart is perception.exclusive_directions
