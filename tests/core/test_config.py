"""Recipes: what is written in them arrives, and what is wrong in them is said before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

from bat_agent.clips import corpus
from bat_agent.errors import BadInput
from bat_agent.questions import RELEASED_TYPES, QuestionType
from bat_agent.questions.curriculum import LETTERS, question_types
from bat_agent.recipes.loading import load_recipe, shipped_recipes, to_yaml
from bat_agent.recipes.schema import Part, Recipe, Rooms, Sounds, Stage
from bat_agent.registry import config_of
from bat_agent.training.optimizers import schedule

MINIMAL = """
name: small
encoder: {name: echo, options: {token_dim: 8}}
reasoner: {name: echo}
stages: [{name: one, trains: encoder, steps: 3}, {name: two, trains: reasoner, steps: 2, question_types: [A, B]}]
"""
Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def call(text: str) -> str:
        file = tmp_path / "recipe.yaml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return call


def test_what_is_written_arrives_and_the_rest_has_its_default(write: Write) -> None:
    recipe = load_recipe(write(MINIMAL))
    assert (recipe.name, recipe.seed, recipe.run_dir) == ("small", 0, "runs/small")
    assert recipe.encoder == Part("echo", {"token_dim": 8})
    assert recipe.stages[1] == Stage("two", "reasoner", 2, question_types=["A", "B"])


def test_a_recipe_may_leave_the_reasoner_out(write: Write) -> None:
    recipe = load_recipe(write("name: ear\nencoder: {name: echo}\nstages: [{name: one, trains: encoder, steps: 3}]"))
    assert recipe.reasoner == Part("rules")
    assert load_recipe(write(to_yaml(recipe))) == recipe


def test_overrides_reach_every_depth_and_leave_the_rest(write: Write) -> None:
    overrides = [
        "seed=5",
        "stages.1.steps=7",
        "stages[0].learning_rate=3e-4",
        "encoder.options.clip_seconds=2.0",
        "mixing.window_seconds=[2,4]",
        "mixing.window_weights=[1,3]",
        "stages.1.two_sources=null",
        "run_dir=some/where=else",
    ]
    recipe = load_recipe(write(MINIMAL), overrides)
    assert recipe.seed == 5
    assert [stage.steps for stage in recipe.stages] == [3, 7]
    assert recipe.stages[0].learning_rate == 3e-4
    assert recipe.encoder.options == {"token_dim": 8, "clip_seconds": 2.0}
    assert recipe.mixing.window_seconds == [2.0, 4.0]
    assert recipe.stages[1].two_sources is None
    assert recipe.run_dir == "some/where=else"


@pytest.mark.parametrize(
    ("added", "overrides", "said"),
    [
        ("sede: 1", [], r"recipe.yaml has no key 'sede', did you mean 'seed'\?"),
        ("xyzzy: 1", [], "has no key 'xyzzy', known are name, seed"),
        ("mixing: {mirrr: 1}", [], r"recipe.yaml: mixing has no key 'mirrr', did you mean 'mirror'\?"),
        ("sounds: [{sorce: x}]", [], r"an entry of sounds has no key 'sorce', did you mean 'source'\?"),
        ("", ["sede=1"], r"override 'sede=1': the recipe has no key 'sede', did you mean 'seed'\?"),
        (
            "",
            ["stages.0.stepz=3"],
            r"^override 'stages.0.stepz=3': a stage has no key 'stepz', did you mean 'steps'\?$",
        ),
        ("", ["encoder.nme=x"], r"override 'encoder.nme=x': encoder has no key 'nme', did you mean 'name'\?"),
        ("", ["stages=[{name: a, stepz: 3}]"], "'stepz'"),
        ("", ["seed.x=1"], "override 'seed.x=1': seed is one value and has no key 'x'"),
        ("", ["stages.x.steps=3"], "stages is a list, expected the number of an entry such as stages.0"),
        ("", ["mixing.window_seconds.x=3"], "override 'mixing.window_seconds.x=3': "),
        ("", ["seed=[1"], "override 'seed=\\[1': the value is no YAML"),
        ("", ["seed"], "override 'seed' must have the form key=value"),
        ("mixing: {mirror: much}", [], r"'much'.*could not be converted to Float \(key mixing.mirror\)"),
        ("", ["seed=1.5"], r"'1.5'.*could not be converted to Integer \(key seed\)"),
        ("", ["seed=null"], "seed"),
        ("", ["stages.9.steps=1"], "there is no stages.9; the recipe has stages 0 to 1"),
        ("", ["rooms.0.scenes=1"], "there is no rooms.0; the recipe has no rooms"),
        ("", ["seed=-1"], "seed must be 0 or more, got -1"),
        ("", ["stages.1.steps=-1"], "stages.1.steps must be 0 or more, got -1"),
        ("", ["stages.0.learning_rate=-1e-3"], "stages.0.learning_rate must be 0 or more, got -0.001"),
        ("", ["stages.0.direction_weight=-2"], "stages.0.direction_weight must be 0 or more, got -2"),
        ("", ["sounds=[{source: procedural, weight: -1}]"], "sounds.0.weight must be 0 or more, got -1"),
        ("", ["mixing.window_weights=[-1]"], "mixing.window_weights.0 must be 0 or more, got -1"),
        ("", ["save_every=0"], "save_every must be 1 or more, got 0"),
        ("", ["rooms=[{simulator: echo, repeats: 0}]"], r"rooms.0.repeats must be 1 or more.*got 0"),
        ("", ["rooms=[{simulator: echo, fresh: true, repeats: 2}]"], r"repeats must be .*1 for fresh rooms.*got 2"),
        ("", ["rooms=[{simulator: echo, rirs: some, repeats: 2}]"], r"repeats must be .*for released RIRs, got 2"),
        ("precision: bfloat16", [], "precision must be 'no' or 'bf16', got 'bfloat16'"),
        ("", ["stages.0.trains=everything"], "'one': trains must be 'encoder' or 'reasoner', got 'everything'"),
        ("", ["stages.1.name=one"], "names must differ"),
        ("", ["stages.1.question_types=[]"], "'two' trains the reasoner, so it needs question_types"),
        ("", ["stages.1.question_types=[A,X]"], r"unknown question types \['X'\], expected letters out of A, B"),
        ("", ["stages.1.two_sources=0.3"], r"none of question_types \['A', 'B'\] fits clips with 2 source.*30%"),
        ("", ["stages.1.question_types=[E]"], r"none of question_types \['E'\] fits clips with 1 source.*100%"),
        ("mixing: {window_seconds: [1, 2]}", [], "must have the same length"),
        ("", ["stages.0.epochs=2"], "'one' has both steps and epochs, give one: got 3 and 2"),
        ("", ["stages.0.steps=0", "stages.0.epochs=0"], "'one': epochs and epoch_fraction must be above 0, got 0"),
        ("", ["stages.0.warmup_epochs=1"], r"'one': warmup_epochs must be 0 to epochs \(None\), got 1"),
        ("", ["stages.0.layer_decay=0"], "'one': layer_decay is a factor above 0 and at most 1, got 0"),
        ("", ["stages.0.accumulate=0"], "'one': accumulate must be 1 or more, got 0"),
        ("", ["stages.0.min_learning_rate=1"], "'one': min_learning_rate must be 0 to learning_rate"),
    ],
)
def test_every_mistake_is_one_sentence_that_names_it(write: Write, added: str, overrides: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        load_recipe(write(MINIMAL + added), overrides)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["a: [", "- a\n- b", "just words", "", "seed: 1", "\tname: x"])
def test_what_is_no_recipe_at_all_is_refused(write: Write, text: str) -> None:
    with pytest.raises(BadInput, match=r"recipe\.yaml") as refused:
        load_recipe(write(text))
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(BadInput, match=r"r\.yaml is no UTF-8 text, expected a YAML file"):
        load_recipe(str(tmp_path / "r.yaml"))


@pytest.mark.parametrize("name", ["bat-smal", "nowhere/recipe.yaml"])
def test_an_unknown_recipe_lists_those_there_are(name: str) -> None:
    with pytest.raises(BadInput, match=f"no recipe '{name}'.*{'.*'.join(shipped_recipes())}"):
        load_recipe(name)
    assert "bat-small" in shipped_recipes()


def test_a_recipe_prints_itself_and_reads_itself_back(write: Write) -> None:
    recipe = load_recipe(write(MINIMAL), ["mixing.noise_dbfs=[-90,-60]", "encoder.options.clip_seconds=2.0"])
    recipe.sounds.append(Sounds("manifest:$BAT_SHARED/x.csv", [1, 2], None, 2.0))
    recipe.rooms.append(Rooms(options={"head": "sphere", "deep": {"er": [1, 2]}}))
    assert load_recipe(write(to_yaml(recipe))) == recipe


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_complete_and_can_be_repeated_from_its_print(write: Write, name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert load_recipe(write(to_yaml(recipe))) == recipe
    assert recipe.stages
    assert (recipe.sounds and recipe.rooms) or all(stage.records or stage.free_queries for stage in recipe.stages)
    for kind, part in (("encoder", recipe.encoder), ("reasoner", recipe.reasoner)):
        config_of(kind, part.name, part.options)  # type: ignore[arg-type]
    for rooms in recipe.rooms:
        config_of("simulator", rooms.simulator, rooms.options)


@pytest.mark.parametrize("name", shipped_recipes())
def test_no_shipped_recipe_validates_on_what_it_trains_on(name: str) -> None:
    """Neither by fold nor, where sounds have no folds, by source: an empty list of folds takes none of an entry."""
    sources: dict[str, set[str]] = {"train": set(), "valid": set()}
    for sounds in load_recipe(name).sounds:
        train, valid = sounds.train_folds, sounds.valid_folds
        if train and valid:
            assert not set(train) & set(valid)
            continue
        assert (train == []) != (valid == [])  # for one of both splits alone
        sources["valid" if train == [] else "train"].add(sounds.source)
    assert not sources["train"] & sources["valid"]


class _Pool:
    def __init__(self, clips: int) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return self.clips


# Steps from the sizes of the released lists (1 861 750 unbalanced and 18 373 balanced clips) by hand.
PUBLISHED = [
    # recipe, stage, clips, clips a step, steps, warm-up steps, peak, betas, decay, losses' weights
    ("spatial-ast-2m", 0, 1_861_750, 512, 21_818, 3_636, 2e-3, (0.9, 0.95), 1e-4, (1, 0, 0)),
    ("spatial-ast-2m", 1, 1_861_750, 512, 14_545, 1_818, 2e-3, (0.9, 0.95), 1e-4, (1250, 1, 2)),
    ("spatial-ast-20k", 0, 18_373, 256, 3_589, 359, 1e-3, (0.9, 0.95), 1e-4, (1250, 1, 2)),
    ("dspast", 0, 1_861_750, 128, 145_450, 14_545, 5e-4, (0.9, 0.999), 5e-4, (1, 0, 0)),
    ("dspast", 1, 1_861_750, 128, 7_273, 1_455, 5e-4, (0.9, 0.999), 5e-4, (100, 2, 1)),
    ("dspast", 2, 1_861_750, 128, 7_273, 1_455, 5e-5, (0.9, 0.999), 5e-4, (100, 2, 1)),
]


@pytest.mark.parametrize(
    ("name", "number", "clips", "batch", "steps", "warmup", "peak", "betas", "decay", "weights"), PUBLISHED
)
def test_published_recipes_have_the_published_values(
    monkeypatch: pytest.MonkeyPatch, name: str, number: int, clips: int, batch: int, steps: int, warmup: int,
    peak: float, betas: tuple[float, float], decay: float, weights: tuple[float, float, float],
) -> None:  # fmt: skip
    """Table 5 of BAT and the released scripts (spatial-ast), README and scripts of DSpAST."""
    monkeypatch.setattr(corpus, "open_pool", lambda recipe, split: _Pool(clips))
    recipe = load_recipe(name)
    stage = recipe.stages[number]
    assert corpus.clips_per_step(recipe, stage) == batch
    assert corpus.steps_of(recipe, number) == steps
    rates = schedule(replace(stage, steps=steps), batch)
    assert rates.rate(0) == pytest.approx(peak / warmup)
    assert rates.rate(warmup - 1) == pytest.approx(peak)
    assert rates.rate(warmup) == pytest.approx(peak)
    middle = 1e-6 + (peak - 1e-6) / 2
    assert rates.rate(warmup + (steps - warmup) // 2) == pytest.approx(middle, rel=1e-3)
    assert rates.rate(steps) == pytest.approx(1e-6)
    assert (tuple(stage.betas), stage.weight_decay, stage.layer_decay) == (betas, decay, 0.75)
    assert (stage.class_weight, stage.distance_weight, stage.direction_weight) == weights
    assert (recipe.mixing.mixup, recipe.mixing.normalise, recipe.mixing.roll, recipe.mixing.gain) == (0.5, *[True] * 3)
    assert recipe.sounds[0].balance == ("none" if name == "spatial-ast-20k" else "bat")
    assert recipe.reasoner == Part("rules")


@pytest.mark.parametrize("name", ["spatial-ast-2m", "spatial-ast-20k", "dspast"])
def test_the_encoder_starts_from_audiomae_where_that_is_given(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("BAT_AUDIOMAE", raising=False)
    assert load_recipe(name).encoder.weights is None
    assert load_recipe(name, ["encoder.weights=here.pth"]).encoder.weights == "here.pth"
    monkeypatch.setenv("BAT_AUDIOMAE", "/models/pretrained.pth")
    assert load_recipe(name).encoder.weights == "/models/pretrained.pth"


def test_the_two_splits_of_a_recipe_share_neither_sounds_nor_rooms(write: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write(MINIMAL), [f"run_dir={tmp_path}"])
    recipe.sounds = [Sounds("procedural:5", [1, 2, 3], [4])]
    recipe.rooms = [Rooms("echo", scenes=20, valid_scenes=20, seconds=0.01), Rooms("echo", scenes=20, valid_scenes=5)]
    pools = [{sound.id for sound in corpus.open_pool(recipe, split).sets[0]} for split in ("train", "valid")]
    assert pools[0]
    assert pools[1]
    assert not pools[0] & pools[1]
    rooms = [{s.to_json() for b in corpus.open_banks(recipe, split) for s in b.scenes} for split in ("train", "valid")]
    assert [len(split) for split in rooms] == [40, 25]
    assert not rooms[0] & rooms[1]


def test_a_recipe_without_sounds_or_rooms_says_what_to_add(write: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write(MINIMAL), [f"run_dir={tmp_path}"])
    with pytest.raises(BadInput, match="names no sounds for train; add"):
        corpus.open_pool(recipe, "train")
    with pytest.raises(BadInput, match="names no rooms; add"):
        corpus.open_banks(recipe, "train")


@pytest.mark.parametrize(
    ("place", "first"), [("$BAT_SHARED/m.csv", "set BAT_SHARED to"), ("m.csv", "change its source")]
)
def test_a_missing_manifest_says_how_to_train_without_recordings(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, first: str
) -> None:
    monkeypatch.setenv("BAT_SHARED", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(write(MINIMAL), [f"sounds=[{{source: 'manifest:{place}'}}]"])
    with pytest.raises(BadInput, match=r"no sound manifest at .*m\.csv, expected a CSV file") as refused:
        corpus.open_pool(recipe, "train")
    assert first in str(refused.value)
    advice = str(refused.value).split('"')[1]  # it can be pasted as it is
    assert len(corpus.open_pool(load_recipe(write(MINIMAL), [advice]), "valid").sets[0])


def test_an_empty_fold_is_told_with_the_folds_there_are(write: Write, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.full(320, 0.1), 32_000)
    (tmp_path / "m.csv").write_text("file,labels,fold\na.wav,Dog,1\nb.wav,Dog,2\n", encoding="utf-8")
    source = f"manifest:{tmp_path}/m.csv"
    recipe = load_recipe(write(MINIMAL))
    recipe.sounds = [Sounds(source, [1], [4])]
    assert len(corpus.open_pool(recipe, "train").sets[0]) == 1
    with pytest.raises(BadInput) as refused:
        corpus.open_pool(recipe, "valid")
    assert str(refused.value) == f"{source!r} has no sound in folds [4], it has folds [1, 2]; change valid_folds"


def test_letters_stand_for_the_papers_types() -> None:
    """The released ``question_type`` strings of each letter (BAT, table 2); a doubled letter counts twice."""
    assert question_types(["A", "E", "A"]) == [
        QuestionType("CLASSIFICATION"),
        QuestionType("MIXUP_DIRECTION"),
        QuestionType("MIXUP_DISTANCE_BOTH"),
        QuestionType("CLASSIFICATION"),
    ]
    assert {kind for kinds in LETTERS.values() for kind in kinds} == {
        *RELEASED_TYPES, QuestionType.PLAIN, QuestionType.NOT_HEARD
    }  # fmt: skip
    assert all(kind.letter == letter for letter in "ABCDEP" for kind in LETTERS[letter])


def test_every_field_of_a_recipe_can_be_written_in_yaml() -> None:
    """Each is of a type that OmegaConf can hold; a new field of another type would only fail in a run."""
    assert set(OmegaConf.structured(Recipe)) == set(Recipe.__dataclass_fields__)


EARS = """
name: talker
encoder: bat-small
reasoner: {name: llama, options: {tiny_layers: 1}}
stages: [{name: one, trains: reasoner, steps: 1, oracle_heads: true, question_types: [A]}]
"""


def test_an_agents_encoder_brings_its_thresholds_and_calibration(write: Write, tmp_path: Path) -> None:
    """An agent trained on bat-small's encoder is read as bat-small is: it used to lose what was chosen for it."""
    from bat_agent.hearing.model_folder import read_config
    from bat_agent.recipes.ears import agent_folder, reading
    from bat_agent.training.trainer import Trainer

    theirs = read_config(agent_folder("bat-small"))
    recipe = load_recipe(write(EARS), [f"run_dir={tmp_path / 'run'}"])
    assert (recipe.encoder.name, recipe.encoder.options) == (theirs.encoder["name"], theirs.encoder["options"])
    assert recipe.encoder.weights == str(agent_folder("bat-small") / "encoder")
    assert str(agent_folder("bat-small")) not in to_yaml(recipe)  # a run may go on on another machine
    assert load_recipe(write(to_yaml(recipe))) == recipe
    config = Trainer(recipe).agent().config
    assert (config.thresholds, config.calibration) == (theirs.thresholds, theirs.calibration)
    trained = replace(recipe, stages=[Stage("one", "encoder", 1)])
    assert reading(trained) == {}


def test_an_agent_that_is_not_there_is_refused(write: Write) -> None:
    with pytest.raises(BadInput, match=r"there is no agent 'bat-smal'; .* shipped one \(bat-small"):
        load_recipe(write(EARS.replace("encoder: bat-small", "encoder: bat-smal")))
    with pytest.raises(BadInput, match=r"is spatial-ast, but encoder\.name is echo; leave name out"):
        load_recipe(write(EARS.replace("encoder: bat-small", "encoder: {agent: bat-small, name: echo}")))


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_recipe_is_told_from_a_wrong_one(write: Write, text: str) -> None:
    """What a full disk once left of a run's own was "missing mandatory value: name"."""
    with pytest.raises(BadInput, match="is empty; write it, or, where a run kept it, delete it"):
        load_recipe(write(text))


@pytest.mark.parametrize("wrong", ["stages: {a: b}", "rooms: {a: 1}", "encoder: {options: [1]}"])
def test_lists_and_mappings_in_place_of_each_other_are_told(wrong: str, tmp_path: Path) -> None:
    """omegaconf 2.4.0 raises a TypeError that is none of its own errors, and names no key."""
    (tmp_path / "r.yaml").write_text(f"name: x\n{wrong}\n")
    with pytest.raises(BadInput, match=r"recipe r\.yaml: a list stands where keys and values belong"):
        load_recipe(str(tmp_path / "r.yaml"))
