"""``python -m bat_agent.train``: what a user gets wrong is told in one line, before anything is rendered or trained."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bat_agent import train
from bat_agent.cli.entry import run_app
from bat_agent.clips import corpus
from bat_agent.errors import BadInput, BatAgentError
from bat_agent.recipes.loading import load_recipe
from bat_agent.recipes.schema import Recipe
from bat_agent.training.launch import slow_precision
from bat_agent.training.trainer import Trainer

RECIPE = {
    "name": "mouse",
    "encoder": {"name": "echo"},
    "reasoner": {"name": "echo"},
    "sounds": [{"source": "procedural:5", "train_folds": [1, 2, 3], "valid_folds": [4]}],
    "rooms": [{"simulator": "echo", "scenes": 8, "valid_scenes": 4, "seconds": 0.05}],
    "stages": [{"name": "listen", "trains": "encoder", "steps": 5}],
}


def write(folder: Path, **changes: Any) -> Recipe:
    file = folder / "mouse.yaml"
    file.write_text(yaml.safe_dump(RECIPE | {"run_dir": str(folder / "run")} | changes), encoding="utf-8")
    return load_recipe(str(file))


@pytest.mark.parametrize(
    ("error", "code"), [(BadInput("no such thing"), 2), (BatAgentError("loss is nan"), 1), (None, 0)]
)
def test_the_command_returns_what_went_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception | None, code: int
) -> None:
    given = []

    def trainer(recipe: Recipe) -> Any:
        given.append(recipe)
        if error:
            raise error
        return type("Trainer", (), {"run": lambda self: None})()

    monkeypatch.setattr("bat_agent.training.trainer.Trainer", trainer)
    assert command("bat-small", "seed=9", "stages.0.steps=1") == code
    assert (given[0].seed, given[0].stages[0].steps) == (9, 1)
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"error: {error}\n" if error else "")


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run_app(train.app, "python -m bat_agent.train", arguments)
    return int(str(ended.value.code))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no-such-recipe"], "no recipe 'no-such-recipe'"),
        ([], "missing argument 'RECIPE'; see 'python -m bat_agent.train --help'"),
        (["bat-small", "--seed"], "no such option: --seed"),
        (["bat-small", "stages.0.stepz=3"], "did you mean 'steps'"),
    ],
)
def test_bad_input_to_the_command_is_one_line_on_standard_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert command(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


def test_missing_recordings_are_told_before_rooms_are_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms take minutes; a recipe whose validation sounds are missing must not cost them."""
    monkeypatch.setattr(corpus, "open_banks", lambda *_, **__: pytest.fail("rooms were rendered first"))
    folds = [{"source": "procedural:5", "train_folds": [1], "valid_folds": [9]}]
    with pytest.raises(BadInput, match=r"no sound in folds \[9\], it has folds \[1, 2, 3, 4, 5\]"):
        Trainer(write(tmp_path, sounds=folds)).run()
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"cannot make the run folder .*file/run.*; give run_dir=another/folder"):
        Trainer(write(tmp_path, run_dir=str(tmp_path / "file" / "run"))).run()


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file() or platform.machine() != "x86_64", reason="needs Linux on x86")
def test_bfloat16_on_a_processor_without_it_is_told_of() -> None:
    recipe = load_recipe("bat-small")
    assert recipe.precision == "bf16"
    can = " avx512bw " in Path("/proc/cpuinfo").read_text()
    said = slow_precision(recipe, torch.device("cpu"))
    assert (said is None) == can
    assert said is None or "add precision=no" in said
    assert slow_precision(recipe, torch.device("cuda")) is None
    assert slow_precision(load_recipe("bat-small", ["precision=no"]), torch.device("cpu")) is None
