"""``bat-agent evaluate run``: every finished stage of a run asked once, runs side by side, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from bat_agent.distributed.sharding import trained_state
from bat_agent.errors import BadInput, WeightsError
from bat_agent.recipes.loading import load_recipe
from bat_agent.recipes.schema import Recipe, Stage
from bat_agent.scoring import asked, stages, trained
from bat_agent.scoring.asked import oracle_encodings, questions_of
from bat_agent.scoring.curricula import letter_of
from bat_agent.scoring.stages import averaged
from bat_agent.scoring.trained import Ears, open_run

Run = Callable[..., tuple[int, str, str]]
ENCODER = {
    "clip_seconds": 0.5,
    "target_frames": None,
    "patch_frames": 10,
    "patch_mels": 128,
    "width": 32,
    "depth": 1,
    "heads": 2,
    "num_slots": 2,
    "store_front_end": False,
}
LLAMA = {"tiny_layers": 1, "projector_dim": 32, "num_queries": 2, "num_cls_tokens": 6, "max_answer_tokens": 4}
ASKS = {"one": ["A", "B"], "two": ["A", "B", "C", "D"], "three": ["A", "B", "C", "D", "E", "N", "P"]}


def recipe_of(run_dir: Path) -> dict[str, Any]:
    """The encoder, then the three stages of the paper, a step each."""
    listen = {"name": "listen", "trains": "encoder", "steps": 1, "seconds_per_step": 2.0}
    answer = {"trains": "reasoner", "steps": 1, "seconds_per_step": 1.0, "questions_per_clip": 2}
    answers = [{"name": name, **answer, "question_types": letters, "two_sources": 0.0 if name == "one" else 0.5}
               for name, letters in ASKS.items()]  # fmt: skip
    return {
        "name": "mouse",
        "run_dir": str(run_dir),
        "encoder": {"name": "spatial-ast", "options": ENCODER},
        "reasoner": {"name": "llama", "options": LLAMA},
        "sounds": [{"source": "procedural:5", "train_folds": [1, 2, 3], "valid_folds": [4]}],
        "rooms": [{"simulator": "echo", "scenes": 8, "valid_scenes": 4, "sources": 3, "seconds": 0.05}],
        "mixing": {"window_seconds": [0.5]},
        "stages": [listen, *answers],
        "workers": 0,
        "validation_clips": 4,
    }


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with all stages; nobody may write into it."""
    from bat_agent.training.trainer import Trainer

    folder = tmp_path_factory.mktemp("runs")
    file = folder / "mouse.yaml"
    file.write_text(yaml.safe_dump(recipe_of(folder / "run")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        Trainer(load_recipe(str(file))).run()
    return folder / "run"


Make = Callable[..., Path]


@pytest.fixture
def make(finished: Path, tmp_path: Path) -> Make:
    """Copies of the run, elsewhere, with a recipe that says something else."""

    def copy(name: str = "run", **changes: Any) -> Path:
        shutil.copytree(finished, tmp_path / name)
        file = tmp_path / name / "recipe.yaml"
        content = yaml.safe_load(file.read_text())
        for key, value in changes.items():
            part, _, inner = key.partition("__")
            content[part] = value if not inner else {**content[part], inner: value}
        file.write_text(yaml.safe_dump(content))
        return tmp_path / name

    return copy


def oracle(run: Path) -> Path:
    """The run, as if its reasoner had learnt without sound."""
    content = yaml.safe_load((run / "recipe.yaml").read_text())
    for stage in content["stages"][1:]:
        stage["oracle_heads"] = True
    (run / "recipe.yaml").write_text(yaml.safe_dump(content))
    return run


# --- the command ---


def test_each_stage_is_asked_once_and_stands_in_its_row(
    run: Run, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = make(), tmp_path / "out"
    code, text, err = run("evaluate", "run", folder, "--out", out, "--json")
    assert code == 0, err
    found = json.loads(text)
    assert found == json.loads((out / "tables.json").read_text())
    assert [(each["name"], each["rows"]) for each in found["results"]] == [
        ("mouse/one", ["10/stage-1"]),
        ("mouse/two", ["10/stages-1-2"]),
        ("mouse/three", ["4/three-stages", "10/three-stages"]),
    ]
    assert list(found["rows"]) == ["random", "prompt only", "majority", "oracle"]
    first, *others = found["tables"]
    assert first["title"].startswith("mouse, stage by stage: 16 questions drawn from the validation split of mouse")
    assert first["columns"] == ["type", "measure", *ASKS, "random", "prompt only"]
    assert {line[0] for line in first["rows"]} >= {"A", "B", "E"}
    assert [table["title"].split(":")[0] for table in others] == [f"BAT, table {n}" for n in (4, 10, 11, 12)]
    ours = [[line[-4] for line in table["rows"] if "ours: " in line[-4]] for table in others[1:]]
    assert ours == [[f"ours: mouse/{name}" for name in ASKS], [], []]
    assert [line[2] for line in others[0]["rows"] if "ours: " in line[2]] == ["ours: mouse/three"]
    assert "### BAT, table 12" in (out / "tables.md").read_text()

    kept = {name: folder / name / "evaluation" for name in ASKS}
    before = {name: (place / "answers.jsonl").read_bytes() for name, place in kept.items()}
    assert all(len(lines.splitlines()) == 16 for lines in before.values())
    scores = json.loads((kept["two"] / "scores.json").read_text())
    assert scores["run"]["rows"] == ["10/stages-1-2"]
    assert scores["scores"] == found["results"][1]["scores"]

    (kept["two"] / "answers.jsonl").write_bytes(before["two"][:-40])  # killed in its last line
    assert run("evaluate", "run", folder, "--json")[1] == text
    assert (kept["two"] / "answers.jsonl").read_bytes() == before["two"]
    monkeypatch.setattr(stages, "Ears", None)  # no model is built where nothing is left to ask
    code, text, err = run("evaluate", "run", folder, "--stage", "two", "--questions", 9)
    assert code == 0, err
    assert "ours: mouse/two" in text
    assert "ours: mouse/three" not in text
    assert "stage by stage: 9 questions" in text


def test_seeds_of_one_recipe_share_a_row_and_other_recipes_do_not(run: Run, make: Make, data_set: Path) -> None:
    one, two = make("first"), make("second", seed=1, run_dir="elsewhere")
    other = make("other", mixing__mirror=0.0)
    code, text, err = run("evaluate", "run", one, two, other, one, "--data", data_set, "--stage", "three", "--json")
    assert code == 0, err
    found = json.loads(text)
    assert [(each["name"], each["seeds"]) for each in found["results"]] == [
        ("first/three, 2 seeds", [0, 1]),
        ("other/three", [0]),
    ]
    region = found["results"][0]["scores"]["types"]["DOA"]["region"]
    assert region["low"] == region["value"] == sum(region["seeds"]) / 2
    assert "standard error over the seeds" in found["tables"][0]["note"]
    assert all("standard error over the seeds" in table["note"] for table in found["tables"][2:])
    assert found["tables"][0]["title"].startswith("first, 2 seeds, stage by stage: 7 questions of set")
    assert "hears only the first 0.5 s of each clip of 10 s" in err
    assert "different questions" not in err


def test_the_mean_over_seeds_has_its_standard_error() -> None:
    def of(value: float, **more: Any) -> dict[str, Any]:
        figure = {"value": value, "low": 0.0, "high": 1.0, "count": 10}
        return {"count": 10, "embedder": "e", "types": {"DOA": {"region": figure}, **more}, "binary": {}, "swap": {},
                "notes": ["n"]}  # fmt: skip

    alone = of(0.5)
    assert averaged([alone]) is alone
    found = averaged([of(0.2), of(0.6, PLAIN={"accuracy": {"value": 1.0, "low": 1.0, "high": 1.0, "count": 3}})])
    region = found["types"]["DOA"]["region"]
    assert region == {"value": 0.4, "low": pytest.approx(0.2), "high": pytest.approx(0.6), "count": 10,
                      "seeds": [0.2, 0.6]}  # fmt: skip
    assert found["types"]["PLAIN"]["accuracy"]["seeds"] == [1.0]
    assert found["notes"] == ["n"]


def test_what_learnt_without_sound_is_told_the_truth(run: Run, make: Make, data_set: Path) -> None:
    folder = oracle(make(reasoner__options={**LLAMA, "spoken_slots": 2}))
    for stage in ASKS:
        module = Ears(open_run(folder)).reasoner
        save_file({k: v.clone() for k, v in trained_state(module).items()}, folder / stage / "model.safetensors")
    code, text, err = run("evaluate", "run", folder, "--stage", "three", "--json")
    assert code == 0, err
    (found,) = json.loads(text)["results"]
    assert found["name"] == "mouse/three, oracle heads"
    assert found["rows"] == ["4/three-stages", "10/three-stages"]
    assert "heard no sound" in err
    code, _, err = run("evaluate", "run", folder, "--data", data_set)
    assert code == 2
    assert "answers.jsonl, line 1 is of another run" in err
    shutil.rmtree(folder / "three" / "evaluation")
    code, _, err = run("evaluate", "run", folder, "--data", data_set)
    assert code == 2
    assert "question DOA-0 does not say where its sounds are" in err


def test_oracle_encodings_do_not_depend_on_their_batch(finished: Path) -> None:
    records = questions_of(open_run(finished).recipe).records
    encode = oracle_encodings(records, 8)
    together, alone = encode([0, 9, 12]), encode([9])
    assert together.tokens.shape == (3, asked.ORACLE_TOKENS, 8)
    assert together.slots is not None
    assert alone.slots is not None
    assert torch.equal(together.slots.activity_logits[[1]], alone.slots.activity_logits)
    assert torch.equal(together.azimuth_logits[[1]], alone.azimuth_logits)  # type: ignore[index]


# --- what is asked ---


def test_drawn_questions_stay_when_more_are_asked_for_and_whatever_the_seed(finished: Path, make: Make) -> None:
    recipe = open_run(finished).recipe
    few, many, seeded = questions_of(recipe, count=5), questions_of(recipe, count=130), open_run(make(seed=7)).recipe
    assert list(few.records) == list(range(5))
    assert len(many.records) == 130
    assert all(many.records[n] == record for n, record in few.records.items())
    assert questions_of(seeded, count=5).records == few.records
    assert few.id == many.id == questions_of(seeded).id
    assert {letter_of(record.type) for record in many.records.values()} == set("ABCDENP")
    assert few.sound.waveform(0).shape == (2, 16_000)
    assert torch.equal(few.sound.waveform(0), few.sound.waveform(3))
    assert not torch.equal(few.sound.waveform(0), few.sound.waveform(4))


def test_a_stage_that_learnt_records_is_asked_those_of_their_evaluation(data_set: Path) -> None:
    recipe = Recipe("r", stages=[Stage("s", "reasoner", records=str(data_set), records_stage=1)])
    found = questions_of(recipe)
    assert found.words == "7 questions of set"
    assert found.id == questions_of(recipe, data_set, count=2).id
    assert len(questions_of(recipe, data_set, count=2).records) == 2
    other = data_set / "closed-end" / "stage3-mixup" / "eval-stage3-direction.json"
    assert questions_of(recipe, other).id != found.id


# --- the agent of a stage ---


def test_each_stage_has_its_own_weights_and_the_ears_it_listened_with(finished: Path) -> None:
    opened = open_run(finished)
    ears = Ears(opened)
    for stage in opened.stages:
        bat = ears.after(stage)
        state = load_file(finished / stage.name / "model.safetensors")
        assert all(torch.equal(value, state[key]) for key, value in trained_state(bat.reasoner).items())
    heard = load_file(finished / "listen" / "model.safetensors")
    assert all(torch.equal(value, heard[key]) for key, value in ears.encoder.state_dict().items())
    assert len({opened.weights_id(stage) for stage in opened.stages}) == 3


def test_ears_that_were_never_trained_are_those_that_training_drew(make: Make) -> None:
    folder = make(seed=3)
    (folder / "listen" / "done").unlink()
    drawn = [Ears(open_run(folder)).encoder.state_dict() for _ in range(2)]
    assert all(torch.equal(value, drawn[1][key]) for key, value in drawn[0].items())


def test_weights_that_do_not_fit_are_told(tmp_path: Path) -> None:
    save_file({"bias": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="1 missing"):
        trained._load(nn.Linear(2, 2), tmp_path)


# --- bad input ---


def test_other_weights_or_questions_do_not_go_on_from_what_was_answered(run: Run, make: Make) -> None:
    folder = make()
    assert run("evaluate", "run", folder, "--stage", "one")[0] == 0
    shutil.copy(folder / "two" / "model.safetensors", folder / "one" / "model.safetensors")
    code, out, err = run("evaluate", "run", folder)
    assert (code, out) == (2, "")
    assert "answers.jsonl, line 1 is of another run" in err
    assert f"move {folder / 'one' / 'evaluation'} away to ask anew" in err


def test_runs_that_are_asked_different_questions_are_told(run: Run, make: Make) -> None:
    code, _, err = run("evaluate", "run", make(), make("other", mixing__normalise=False), "--stage", "one")
    assert code == 0
    assert "note: the runs were asked different questions" in err


def test_stages_that_are_not_finished_are_left_out_and_told(run: Run, make: Make) -> None:
    folder = make()
    (folder / "two" / "done").unlink()
    (folder / "three" / "done").unlink()
    code, text, err = run("evaluate", "run", folder)
    assert code == 0
    assert "ours: mouse/one" in text
    assert f"note: {folder}: not finished, so not asked: two, three" in err


@pytest.mark.parametrize(
    ("remove", "arguments", "says"),
    [
        ("recipe.yaml", (), "holds no recipe.yaml, expected a folder that python -m bat_agent.train wrote"),
        ("*/done", (), "has no finished reasoner stage (its recipe has one, two, three); finish one with"),
        ("two/model.safetensors", (), "stage two of R is marked as finished, but R/two/model.safetensors is not there"),
        ("listen/model.safetensors", (), "stage listen of R is marked as finished"),
        (None, ("--stage", "four"), "no run has a finished reasoner stage 'four'; there are one, three, two"),
        (None, ("--data", "nowhere"), "nowhere does not exist; name a QA file or the root of a data set"),
        (None, ("--device", "cuda:9"), "device 'cuda:9' cannot be used here"),
        (None, ("--out", "R/recipe.yaml"), "it is a file; name a folder with --out"),
        (None, ("--questions", "0"), "--questions"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_line_with_exit_code_2(
    run: Run, make: Make, remove: str | None, arguments: tuple[str, ...], says: str
) -> None:
    folder = make()
    for file in folder.glob(remove) if remove else ():
        file.unlink()
    code, out, err = run("evaluate", "run", folder, *(part.replace("R/", f"{folder}/") for part in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err.replace(str(folder), "R")


def test_a_recipe_without_a_reasoner_has_nothing_to_ask(make: Make) -> None:
    folder = make()
    content = yaml.safe_load((folder / "recipe.yaml").read_text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**content, "stages": content["stages"][:1]}))
    with pytest.raises(BadInput, match=r"trains no reasoner, so there is no stage to ask; score its agent with"):
        open_run(folder)
