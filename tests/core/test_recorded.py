"""Training on written-down questions: every record once an epoch, mirrored truly, the same for any workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bat_agent.clips import corpus
from bat_agent.clips.recorded import Recorded
from bat_agent.datasets.spatialsoundqa import SpatialSoundQA
from bat_agent.errors import BadInput
from bat_agent.questions import QARecord, mirror
from bat_agent.questions.verify import verify
from bat_agent.recipes.loading import load_recipe
from bat_agent.recipes.schema import Mixing, Recipe
from bat_agent.training.trainer import Trainer

SHORT = Mixing(window_seconds=[0.1], window_weights=[1.0], mirror=0.0)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def data(qa_set: Path) -> SpatialSoundQA:
    return SpatialSoundQA(qa_set, stages=[1], split="train", limit=20)


def asked(batches: Recorded, steps: range) -> list[str]:
    return [q.text for step in steps for (q,) in batches[step].questions]


def test_in_their_order_as_they_are(data: SpatialSoundQA) -> None:
    batches = Recorded(data, SHORT, clips_per_step=4, steps=5)
    assert asked(batches, range(5)) == [record.question for record in data]
    batch = batches[1]
    assert batch.waveform.shape == (4, 2, 3200)
    assert torch.equal(batch.waveform[2], data.waveform(6)[:, :3200])
    assert batch.heard[0] == list(data[4].geometry or ())
    assert batch.ids[0].endswith("stage1-clsdoa/train.json, record 4")
    assert batch.truth.active.sum() == 4


def test_shuffled_each_record_comes_once_an_epoch(data: SpatialSoundQA) -> None:
    batches = Recorded(data, SHORT, clips_per_step=5, steps=8, seed=1, shuffle=True)
    first, second = asked(batches, range(4)), asked(batches, range(4, 8))
    assert sorted(first) == sorted(second) == sorted(record.question for record in data)
    assert first != second
    again = Recorded(data, SHORT, clips_per_step=5, steps=8, seed=1, shuffle=True)
    assert asked(again, range(7, 8)) == second[-5:], "a step depends on nothing before it"


def test_shares_of_processes_make_up_the_step(data: SpatialSoundQA) -> None:
    whole = Recorded(data, SHORT, clips_per_step=4, steps=5, seed=2, shuffle=True)[3]
    shares = [Recorded(data, SHORT, clips_per_step=4, steps=5, seed=2, shuffle=True, shard=(r, 2))[3] for r in (0, 1)]
    assert [q for pair in zip(*(s.questions for s in shares), strict=True) for q in pair] == whole.questions
    with pytest.raises(BadInput, match="cannot be shared evenly by 3 processes"):
        Recorded(data, SHORT, clips_per_step=4, steps=5, shard=(0, 3))
    with pytest.raises(BadInput, match="shard must be"):
        Recorded(data, SHORT, clips_per_step=4, steps=5, shard=(2, 2))


def test_mirrored_clips_have_mirrored_truth(data: SpatialSoundQA) -> None:
    """Ears swapped, left and right exchanged in question and answer; and the verifier agrees with the result."""
    always = Mixing(window_seconds=[0.1], window_weights=[1.0], mirror=1.0)
    mirrored = Recorded(data, always, clips_per_step=20, steps=1, seed=3, shuffle=True)[0]
    plain = Recorded(data, SHORT, clips_per_step=20, steps=1, seed=3, shuffle=True)[0]
    assert torch.equal(mirrored.waveform, plain.waveform.flip(1))
    for (q,), (p,), heard, name in zip(mirrored.questions, plain.questions, mirrored.heard, mirrored.ids, strict=True):
        assert (q.text, q.answer) == (mirror(p.text), mirror(p.answer))
        record = QARecord(
            "a", "r", None, None, 0, q.type.value, q.text, q.answer, geometry=tuple(heard), kind=q.kind
        )  # fmt: skip
        assert verify(record) is None, name


def recipe(folder: Path, root: Path, **stage: Any) -> Recipe:
    encoder = {
        "clip_seconds": 0.5, "target_frames": None, "patch_frames": 10, "patch_mels": 128, "width": 32, "depth": 1,
        "heads": 2, "store_front_end": False,
    }  # fmt: skip
    llama = {"tiny_layers": 1, "projector_dim": 32, "num_queries": 2, "num_cls_tokens": 3, "max_answer_tokens": 4}
    answer = {"name": "answer", "trains": "reasoner", "steps": 3, "seconds_per_step": 2.0, "records": str(root)}
    content = {
        "name": "mouse",
        "run_dir": str(folder / "run"),
        "encoder": {"name": "spatial-ast", "options": encoder},
        "reasoner": {"name": "llama", "options": llama},
        "mixing": {"window_seconds": [0.5]},
        "stages": [answer | stage],
        "workers": 0,
        "validation_clips": 6,
    }
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_recipe(str(file))


def test_a_reasoner_learns_from_records_without_sounds_or_rooms(
    qa_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipe names a data set and nothing else; the agent is saved, and validated on the eval files."""
    agent = Trainer(recipe(tmp_path, qa_set, records_stage=3, question_types=["A", "E"])).run()
    assert (agent / "config.json").is_file()
    assert len((tmp_path / "run/answer/losses.csv").read_text().splitlines()) == 4
    assert "BINARY/accuracy" in capsys.readouterr().out
    assert json.loads((agent / "config.json").read_text())["name"] == "mouse"


def test_epochs_count_records(qa_set: Path, tmp_path: Path) -> None:
    settings = recipe(tmp_path, qa_set, records_stage=1, steps=0, epochs=2.0)
    assert settings.stages[0].question_types == []
    records = len(SpatialSoundQA(qa_set, stages=[1], split="train"))
    assert corpus.training(settings, 0).steps == -(-2 * records // 4)


def test_validation_is_spread_over_all_files(qa_set: Path, tmp_path: Path) -> None:
    """Files hold one kind of question each, so the first ones alone would be about one kind."""
    settings = recipe(tmp_path, qa_set, records_stage=3)
    batches = corpus.recorded(settings, settings.stages[0], "eval")
    asked_types = {q.type.value for step in range(len(batches)) for (q,) in batches[step].questions}
    assert {"MIXUP_DIRECTION", "MIXUP_DISTANCE_BOTH"} <= asked_types
    assert [d.question_id for d in batches.data] == sorted({d.question_id for d in batches.data})


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"trains": "encoder"}, "records hold questions, so they are for a reasoner"),
        ({"oracle_heads": True}, "oracle_heads and question_kinds do not belong to it"),
        ({"records": None, "records_stage": 1, "question_types": ["A"]}, "name records too"),
        ({"question_types": ["Q"]}, "unknown question types"),
    ],
)
def test_recipes_that_contradict_themselves(qa_set: Path, tmp_path: Path, stage: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        recipe(tmp_path, qa_set, **stage)


def test_a_set_without_evaluation_is_told_before_training(qa_set: Path, tmp_path: Path) -> None:
    (tmp_path / "half/closed-end/stage1-clsdoa").mkdir(parents=True)
    file = "closed-end/stage1-clsdoa/train.json"
    (tmp_path / "half" / file).write_bytes((qa_set / file).read_bytes())
    with pytest.raises(BadInput, match="holds no eval question file"):
        Trainer(recipe(tmp_path, tmp_path / "half")).run()
