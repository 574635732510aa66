"""A run that is killed without warning goes on to the loss curve it would have had."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from bat_agent.recipes.loading import load_recipe
from bat_agent.training.folder import Best, LossCurve, read_losses
from bat_agent.training.trainer import Trainer

STEPS = 40
BEST = ("best.json", "best.safetensors")
RECIPE = {
    "name": "mouse",
    "encoder": {
        "name": "spatial-ast",
        "options": {
            "clip_seconds": 0.5,
            "target_frames": None,
            "patch_frames": 10,
            "patch_mels": 32,
            "width": 32,
            "depth": 1,
            "heads": 2,
            "store_front_end": False,
        },
    },
    "sounds": [{"source": "procedural:5", "train_folds": [1, 2, 3], "valid_folds": [4]}],
    "rooms": [{"simulator": "echo", "scenes": 8, "valid_scenes": 4, "sources": 3, "seconds": 0.05}],
    "mixing": {"window_seconds": [0.5], "noise_dbfs": [-90, -70], "roll": True, "gain": True, "mixup": 0.5},
    "stages": [{"name": "listen", "trains": "encoder", "steps": STEPS, "seconds_per_step": 2}],
    "workers": 0,
    "save_every": 7,
    "validation_clips": 4,
}


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_the_loss_curve_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL in the middle of training; every step's loss and the weights are identical to the last digit."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    file = tmp_path / "mouse.yaml"
    file.write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/straight"])).run()

    broken = tmp_path / "broken" / "listen"
    process = subprocess.Popen(
        [sys.executable, "-m", "bat_agent.train", str(file), f"run_dir={tmp_path}/broken"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    moment = 10 + int(time.time()) % 10  # another one each time
    while len(read_losses(broken / "losses.csv")) < moment and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (broken / "done").exists()
    done = read_losses(broken / "losses.csv")
    assert moment <= len(done) < STEPS

    trainer = Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/broken"]))
    capsys.readouterr()
    trainer.run()
    (resumed,) = re.findall(rf"^listen: resumed at step (\d+) of {STEPS}$", capsys.readouterr().out, re.MULTILINE)
    assert int(resumed) % 7 == 0  # what is saved every 7 steps
    assert 0 < int(resumed) <= len(done)
    curve = read_losses(broken / "losses.csv")
    assert curve == read_losses(tmp_path / "straight" / "listen" / "losses.csv")
    assert [step for step, _ in curve] == list(range(STEPS))
    assert curve[: len(done)] == done  # steps done again after the last checkpoint came out alike
    assert len({loss for _, loss in curve}) == STEPS
    states = [load_file(tmp_path / run / "listen" / "last.safetensors") for run in ("straight", "broken")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_the_curve_is_cut_to_the_step_it_goes_on_from(tmp_path: Path) -> None:
    """A line that was half written when the process died goes as well; numbers come back digit for digit."""
    curve = LossCurve(tmp_path, 0)
    losses = [1 / 3, 2.5e-17, float(torch.tensor(0.1)), 7.0]
    for step, loss in enumerate(losses):
        curve.add(step, loss)
    with (tmp_path / "losses.csv").open("a") as file:
        file.write("4,0.12")
    assert read_losses(tmp_path / "losses.csv") == list(enumerate(losses))
    again = LossCurve(tmp_path, 3)
    again.add(3, 8.0)
    assert read_losses(tmp_path / "losses.csv") == [*enumerate(losses[:3]), (3, 8.0)]
    LossCurve(tmp_path, 0)
    assert (tmp_path / "losses.csv").read_text() == "step,loss\n"


def test_a_process_that_does_not_lead_writes_no_curve(tmp_path: Path) -> None:
    LossCurve(tmp_path / "stage", 0, keep=False).add(0, 1.0)
    assert not (tmp_path / "stage").exists()


@pytest.mark.parametrize("killed_at", [2, 4])
def test_killed_between_a_checkpoint_and_its_validation_it_is_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """Resumed at that step, the run never validated it: the weights that were the best of all were not kept."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    stage = {**RECIPE["stages"][0], "steps": 4, "seconds_per_step": 1.0}  # type: ignore[index]
    recipe = {**RECIPE, "stages": [stage], "save_every": 2, "validate_every": 2}
    file = tmp_path / "mouse.yaml"
    file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/straight"])).run()

    offer = Best.offer

    def killed(best: Best, module: torch.nn.Module, step: int, loss: float, *, writes: bool = True) -> None:
        if step == killed_at:
            raise KeyboardInterrupt
        offer(best, module, step, loss, writes=writes)

    with monkeypatch.context() as patched:
        patched.setattr(Best, "offer", killed)
        with pytest.raises(KeyboardInterrupt):
            Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/broken"])).run()
    Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/broken"])).run()
    kept = {run: [(tmp_path / run / "listen" / name).read_bytes() for name in BEST] for run in ("straight", "broken")}
    assert json.loads(kept["straight"][0])["step"] == 4
    assert kept["broken"] == kept["straight"]
