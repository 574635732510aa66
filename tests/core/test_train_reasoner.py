"""The reasoner's stages in two processes, shared out, killed and resumed: the result of one that ran through."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import bat_agent
from bat_agent.errors import BadInput
from bat_agent.recipes.loading import load_recipe
from bat_agent.training.folder import read_losses
from bat_agent.training.trainer import Trainer

STEPS = 6
EAR: dict[str, Any] = {"clip_seconds": 0.5, "target_frames": None, "patch_frames": 10, "patch_mels": 32, "width": 32}
EAR |= {"depth": 1, "heads": 2, "store_front_end": False}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
TORCHRUN += ["-m", "bat_agent.train"]
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model in a folder, in bfloat16 when it is loaded."""
    from bat_agent_llama.language_model import build_tiny
    from bat_agent_llama.tokenizer import shipped_tokenizer

    folder = tmp_path_factory.mktemp("llm")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        build_tiny(4).save_pretrained(folder)
    shipped_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def write(tmp_path: Path, llm: Path) -> Write:
    """Writes a recipe with one reasoner stage on a frozen language model."""

    def recipe(options: dict[str, Any] | None = None, **changes: Any) -> Path:
        given = {"llm": str(llm), "adapter": "llama-adapter-v2+lora", "lora_dropout": 0.0, "dtype": "float32"}
        given |= {"projector_dim": 32, "num_queries": 2, "max_answer_tokens": 4, "adapter_prompts": 3}
        stage = {"name": "answer", "trains": "reasoner", "steps": STEPS, "seconds_per_step": 2.0}
        stage |= {"question_types": ["A", "B", "P"], "questions_per_clip": 2, "two_sources": 0.0}
        content = {
            "name": "mouse",
            "encoder": {"name": "spatial-ast", "options": EAR},
            "reasoner": {"name": "llama", "options": given | (options or {})},
            "sounds": [{"source": "procedural:5", "train_folds": [1, 2, 3], "valid_folds": [4]}],
            "rooms": [{"simulator": "echo", "scenes": 8, "valid_scenes": 4, "sources": 3, "seconds": 0.05}],
            "mixing": {"window_seconds": [0.5]},
            "stages": [stage],
            "workers": 0,
            "save_every": 2,
            "validation_clips": 4,
            **changes,
        }
        file = tmp_path / "mouse.yaml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        return file

    return recipe


def in_two_processes(*arguments: object) -> str:
    """Train under torchrun; what it printed."""
    found = subprocess.run(
        [*TORCHRUN, *map(str, arguments)],
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stdout


def curve(run: Path) -> list[tuple[int, float]]:
    return read_losses(run / "answer" / "losses.csv")


def close(one: Path, other: Path, tolerance: float = 1e-4) -> None:
    """Losses and weights of two runs."""
    assert len(curve(one)) == STEPS
    assert [loss for _, loss in curve(other)] == pytest.approx([loss for _, loss in curve(one)], abs=tolerance)
    states = [load_file(run / "answer" / "model.safetensors") for run in (one, other)]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, atol=tolerance, rtol=1e-3, msg=key)


@pytest.mark.slow
def test_two_processes_come_to_the_result_of_one(write: Write, tmp_path: Path) -> None:
    """Answers differ in length, so a mean of the processes' means would be another loss; the Q-Former has dropout.

    One process also computes its step in pieces, which must not matter either.
    """
    file = write({"projector": "qformer", "projector_dim": 48, "projector_layers": 2, "projector_heads": 4})
    Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/one", "stages.0.accumulate=3"])).run()
    out = in_two_processes(file, f"run_dir={tmp_path}/two")
    assert out.count("agent saved") == 1
    close(tmp_path / "one", tmp_path / "two")
    with_adapter = load_file(tmp_path / "two" / "answer" / "model.safetensors")
    assert not [name for name in with_adapter if name.startswith("llm.") and "lora_" not in name]


@pytest.mark.slow
def test_shared_out_parameters_come_to_the_result_of_one_process(write: Write, tmp_path: Path) -> None:
    """FSDP2: a frozen base in bfloat16 beside an adapter in float32; saved whole, and loaded as any other."""
    file = write({"dtype": "bfloat16"})
    Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/one"])).run()
    in_two_processes(file, f"run_dir={tmp_path}/two", "sharding=full", "stages.0.accumulate=2")
    close(tmp_path / "one", tmp_path / "two", 2e-2)
    agent = bat_agent.load(tmp_path / "two" / "agent")
    assert agent.ask(torch.randn(2, 16_000) * 0.1, "What?").text is not None


@pytest.mark.slow
def test_a_run_that_is_shared_out_is_killed_and_goes_on(write: Write, tmp_path: Path) -> None:
    """The optimiser's state is gathered, and shared out again; all comes to what one process has that ran through.

    Of oracle encodings, whose lots must be alike in both: a process that validates something else would hang the other.
    """
    file = write({"spoken_slots": 1}, stages=[_long() | {"steps": STEPS, "oracle_heads": True}])
    Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/one"])).run()
    shared = [str(file), f"run_dir={tmp_path}/two", "sharding=full"]
    killed = subprocess.Popen(
        [*TORCHRUN, *shared],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (tmp_path / "two" / "answer" / "last.safetensors").exists() and killed.poll() is None:
        time.sleep(0.002)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "two" / "answer" / "done").exists()
    in_two_processes(*shared)
    close(tmp_path / "one", tmp_path / "two")
    last, expected = (load_file(tmp_path / run / "answer" / "last.safetensors") for run in ("two", "one"))
    assert last.keys() == expected.keys()
    assert any(name.startswith("optimizer.") for name in last)
    for name, value in expected.items():
        torch.testing.assert_close(last[name], value, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_the_losses_are_identical(write: Write, tmp_path: Path) -> None:
    file = write({"lora_dropout": 0.1}, stages=[_long()])
    Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/straight"])).run()
    broken = tmp_path / "broken" / "answer"
    process = subprocess.Popen(
        [sys.executable, "-m", "bat_agent.train", str(file), f"run_dir={tmp_path}/broken"],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    moment = 5 + int(time.time()) % 10  # another one each time
    while len(read_losses(broken / "losses.csv")) < moment and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (broken / "done").exists()
    Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/broken"])).run()
    assert curve(tmp_path / "broken") == curve(tmp_path / "straight")
    states = [load_file(tmp_path / run / "answer" / "last.safetensors") for run in ("straight", "broken")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_the_best_weights_are_kept_beside_the_last(write: Write, tmp_path: Path) -> None:
    """A learning rate that ruins the model towards the end: what validated best is still there."""
    stage = _long() | {"steps": 12, "learning_rate": 3e-3, "warmup": 0.9}
    file = write(stages=[stage], validate_every=3)
    Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/run"])).run()
    folder = tmp_path / "run" / "answer"
    note = json.loads((folder / "best.json").read_text())
    losses = dict(_logged(folder, "valid/loss"))
    assert note["step"] in losses
    assert note["loss"] == pytest.approx(min(losses.values()))
    best, last = load_file(folder / "best.safetensors"), load_file(folder / "model.safetensors")
    assert best.keys() == last.keys()
    assert all(torch.equal(best[k], last[k]) for k in best) == (note["step"] == 12)


def test_tensorboard_has_rates_memory_and_answers_to_read(write: Write, tmp_path: Path) -> None:
    Trainer(load_recipe(str(write()), [f"run_dir={tmp_path}/run"])).run()
    folder = tmp_path / "run" / "answer"
    for name in ("loss", "learning_rate", "memory_gib", "clips_per_second", "answer_tokens_per_second"):
        assert all(value > 0 for _, value in _logged(folder, f"train/{name}"))
        assert _logged(folder, f"train/{name}")
    text = _text(folder, "valid/answers")
    assert text.startswith("| type | question | truth | answer |")
    assert len(text.splitlines()) > 4


def test_out_of_memory_names_the_knobs(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    trainer = Trainer(load_recipe(str(write()), [f"run_dir={tmp_path}/run"]))
    monkeypatch.setattr(trainer.reasoner, "loss", full)
    with pytest.raises(BadInput, match=r"stages\.0\.accumulate.*gradient_checkpointing=true.*seconds_per_step"):
        trainer.run()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sharding": "half"}, "'none' or 'full'"),
        ({"stages": [{"name": "a", "trains": "mind", "steps": 1}]}, "must be 'encoder' or 'reasoner', got 'mind'"),
    ],
)
def test_recipes_that_cannot_be_trained(write: Write, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        load_recipe(str(write(**changes)))


def _long() -> dict[str, Any]:
    return {
        "name": "answer",
        "trains": "reasoner",
        "steps": 24,
        "seconds_per_step": 1.0,
        "question_types": ["A", "B"],
        "questions_per_clip": 2,
        "two_sources": 0.0,
    }


def _logged(folder: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def _text(folder: Path, name: str) -> str:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return events.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val[0].decode()
