"""Two processes under ``torchrun`` come to the result of one; and the parts that make it so, against torch's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import distributed as dist
from torch import nn

from bat_agent import distributed
from bat_agent.clips import corpus
from bat_agent.errors import BadInput
from bat_agent.recipes.loading import load_recipe
from bat_agent.training.folder import read_losses
from bat_agent.training.trainer import Trainer

RECIPE: dict[str, Any] = {
    "name": "mouse",
    "encoder": {
        "name": "spatial-ast",
        "options": {
            "clip_seconds": 0.5,
            "target_frames": None,
            "patch_frames": 10,
            "patch_mels": 32,
            "width": 32,
            "depth": 2,
            "heads": 2,
            "drop_path": 0.2,
            "num_slots": 2,
            "store_front_end": False,
        },
    },
    "sounds": [{"source": "procedural:5", "train_folds": [1, 2, 3], "valid_folds": [4]}],
    "rooms": [{"simulator": "echo", "scenes": 8, "valid_scenes": 4, "sources": 3, "seconds": 0.05}],
    "mixing": {"window_seconds": [0.5], "two_sources": 0.3, "noise_dbfs": [-90, -70], "roll": True, "gain": True},
    "stages": [
        {
            "name": "class",
            "trains": "encoder",
            "steps": 2,
            "distance_weight": 0,
            "direction_weight": 0,
            "seconds_per_step": 3,
        },
        {
            "name": "all",
            "trains": "encoder",
            "steps": 3,
            "class_weight": 100,
            "seconds_per_step": 4,
        },
    ],
    "workers": 0,
    "save_every": 2,
    "validation_clips": 4,
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def in_two_processes(script: list[str]) -> subprocess.CompletedProcess[str]:
    """Run under torchrun."""
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *script],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_two_processes_come_to_the_result_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses and weights within 1e-4 at equal total batch, with masks, drop path, batch norms and unused heads."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    file = tmp_path / "mouse.yaml"
    file.write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    Trainer(load_recipe(str(file), [f"run_dir={tmp_path}/one"])).run()
    two = in_two_processes(["-m", "bat_agent.train", str(file), f"run_dir={tmp_path}/two"])
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("agent saved") == 1  # one process speaks for both
    for stage, steps in (("class", 2), ("all", 3)):
        curves = [read_losses(tmp_path / name / stage / "losses.csv") for name in ("one", "two")]
        assert [step for step, _ in curves[1]] == list(range(steps))
        assert [loss for _, loss in curves[1]] == pytest.approx([loss for _, loss in curves[0]], rel=1e-5, abs=1e-4)
        states = [load_file(tmp_path / name / stage / "model.safetensors") for name in ("one", "two")]
        assert states[0].keys() == states[1].keys()
        for key, value in states[0].items():
            torch.testing.assert_close(states[1][key].float(), value.float(), atol=1e-4, rtol=1e-4, msg=key)


def test_a_step_that_cannot_be_shared_is_told_before_rooms_are_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rooms take minutes; the second stage's steps of seven clips are known to be odd at once."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(corpus, "open_banks", lambda *_, **__: pytest.fail("rooms were rendered"))
    file = tmp_path / "mouse.yaml"
    file.write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    recipe = load_recipe(str(file), [f"run_dir={tmp_path}/run", "stages.1.seconds_per_step=3.5"])
    with pytest.raises(BadInput, match=r"a step of 7 clips .* cannot be shared evenly by 2 processes"):
        Trainer(recipe).run()


# --- the parts, in two processes without a model ---


def _one_of_two(folder: str) -> None:
    """What each process does; the file is then run as a script."""
    dist.init_process_group("gloo")
    rank, found = dist.get_rank(), {}
    torch.manual_seed(3)
    found["rand"] = distributed.clip_rand(3, 5)
    found["after"] = torch.rand(1)
    torch.manual_seed(3)
    with distributed.computing(6, 1, 3):
        found["piece"] = distributed.clip_rand(2, 5)
        torch.manual_seed(3)
        found["copies"] = distributed.clip_rand(4, 5)
    for number, (norm, x) in enumerate(norms()):
        norm = distributed.synchronise(nn.Sequential(norm))
        mine = x[: len(x) // 3] if rank == 0 else x[len(x) // 3 :]  # shares of different size
        mine = mine.clone().requires_grad_(True)
        out = norm(mine)
        (out**3).sum().backward()
        found |= {f"{number}.out": out.detach(), f"{number}.grad": mine.grad}
        found |= {f"{number}.{key}": value for key, value in norm.state_dict().items()}
        found |= {f"{number}.grad.{key}": value.grad for key, value in norm.named_parameters()}
        norm.eval()
        found[f"{number}.eval"] = norm(mine).detach()
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def norms() -> list[tuple[nn.Module, torch.Tensor]]:
    """Batch norms as Spatial-AST has them, and what goes in: far from zero, as decibels are."""
    random = torch.Generator().manual_seed(1)
    affine = nn.BatchNorm2d(2)
    with torch.no_grad():
        affine.weight.copy_(torch.tensor([0.5, 2.0]))
        affine.bias.copy_(torch.tensor([1.0, -1.0]))
    maps = 20 * torch.randn(6, 2, 4, 3, generator=random) - 50
    return [
        (nn.BatchNorm2d(2, affine=False), maps),
        (affine, maps),
        (nn.BatchNorm1d(7, momentum=None), torch.randn(9, 7, generator=random)),
    ]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("both")
    ended = in_two_processes([__file__, str(folder)])
    assert ended.returncode == 0, ended.stderr
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_numbers_for_clips_do_not_depend_on_processes_and_pieces(both: list[dict[str, torch.Tensor]]) -> None:
    torch.manual_seed(3)
    alone = distributed.clip_rand(6, 5)
    after = torch.rand(1)
    for rank, found in enumerate(both):
        assert torch.equal(found["rand"], alone[rank::2])
        assert torch.equal(found["after"], after)  # and what is drawn for the whole batch behind them
        assert torch.equal(found["piece"], alone[rank::2][1:3])
        torch.manual_seed(3)
        copies = torch.rand(2, 6, 5)
        assert torch.equal(found["copies"], copies[:, rank::2][:, 1:3].flatten(0, 1))


def test_batch_norm_over_processes_is_torchs_over_all_clips(both: list[dict[str, torch.Tensor]]) -> None:
    """Output, running statistics, evaluation, and the gradients of input, weight and bias."""
    for number, (norm, x) in enumerate(norms()):
        alone = nn.Sequential(norm)
        x = x.clone().requires_grad_(True)
        out = alone(x)
        (out**3).sum().backward()
        alone.eval()

        def near(key: str, wanted: torch.Tensor, number: int = number) -> None:
            together = torch.cat([found[f"{number}.{key}"] for found in both])
            torch.testing.assert_close(together, wanted, atol=2e-5, rtol=2e-5)

        near("out", out.detach())
        assert x.grad is not None
        near("grad", x.grad)
        near("eval", alone(x).detach())
        for key, value in alone.state_dict().items():
            for found in both:
                torch.testing.assert_close(found[f"{number}.{key}"], value)
        for key, parameter in alone.named_parameters():
            assert parameter.grad is not None
            summed = both[0][f"{number}.grad.{key}"] + both[1][f"{number}.grad.{key}"]
            torch.testing.assert_close(summed, parameter.grad, atol=1e-4, rtol=1e-4)


def test_alone_nothing_is_replaced_or_drawn_otherwise() -> None:
    norm = nn.BatchNorm2d(2)
    assert distributed.synchronise(norm) is norm
    torch.manual_seed(0)
    wanted = torch.rand(4, 3)
    torch.manual_seed(0)
    with distributed.computing(4, 0, 4):
        assert torch.equal(distributed.clip_rand(4, 3), wanted)


if __name__ == "__main__":
    _one_of_two(sys.argv[1])
