"""What a run leaves in its folder: its recipe; of a stage checkpoints, every loss, and the state where it failed."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bat_agent.checkpoint import read_tensors, write_tensors
from bat_agent.distributed.sharding import load_trained_state, trained_state
from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_json
from bat_agent.files.writing import RESUMES, write_json, write_text, writing
from bat_agent.recipes.loading import load_recipe, to_yaml
from bat_agent.recipes.schema import Recipe
from bat_agent.training.optimizers import Optimizers

LAST, BEST, FAILED, LOSSES = "last.safetensors", "best.safetensors", "failed.safetensors", "losses.csv"


def make_run_folder(folder: Path) -> None:
    """Make it if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"cannot make the run folder {folder} ({error.strerror}); give run_dir=another/folder"
        ) from error


def keep_recipe(recipe: Recipe, folder: Path) -> None:
    """Write the recipe into the run folder; what the stages trained so far depend on must not have changed."""
    make_run_folder(folder)
    file = folder / "recipe.yaml"
    if file.exists():
        before, stages = _kept_recipe(file), {stage.name: stage for stage in recipe.stages}
        begun = [stage for stage in before.stages if (folder / stage.name / LAST).exists()]
        matters = ["seed", "encoder", "sounds", "rooms", "mixing"]
        if any(stage.trains == "reasoner" for stage in begun):
            matters += ["reasoner", "wordings", "word_dropout"]
        changed = [name for name in matters if getattr(before, name) != getattr(recipe, name)]
        changed += [f"stage {stage.name}" for stage in begun if stages.get(stage.name) != stage]
        if begun and changed:
            raise BadInput(
                f"{folder} holds a run with another {', another '.join(changed)}: "
                "give run_dir=another/folder, or delete that one"
            )
    write_text(file, to_yaml(recipe), durable=True)


def _kept_recipe(file: Path) -> Recipe:
    """The recipe that a run keeps; what a full disk or a crash left of one is told from one that is wrong."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if not (text.endswith("\n") and re.search(r"^name: ", text, re.M) and re.search(r"^stages:", text, re.M)):
        raise BadInput(
            f"{file}, which the run keeps, is {'cut off' if text else 'empty'}; delete it and give the recipe the run "
            "was begun with again: it goes on from its checkpoints"
        )
    try:
        return load_recipe(str(file))
    except BadInput as error:
        raise BadInput(
            f"{file}, which the run keeps, is not what was written: {error}; or give run_dir=another/folder"
        ) from error


class LossCurve:
    """``losses.csv``: the loss of every step, digit for digit, written as it happens."""

    def __init__(self, folder: Path, start: int, keep: bool = True) -> None:
        """Go on at step ``start``: later lines, of steps that are done again, go. ``keep`` false writes nothing."""
        self._file = folder / LOSSES
        self._keep = keep
        if keep:
            folder.mkdir(parents=True, exist_ok=True)
            self._cut(start)

    def _cut(self, start: int) -> None:
        before = [(step, loss) for step, loss in read_losses(self._file) if step < start] if start else []
        write_text(self._file, _lines([("step", "loss"), *before]), advice=RESUMES)

    def add(self, step: int, loss: float) -> None:
        """One more line; it survives the death of the process."""
        if self._keep:
            with writing(self._file, advice=RESUMES), self._file.open("a", encoding="utf-8", newline="") as stream:
                stream.write(_lines([(step, loss)]))


def _lines(rows: Sequence[tuple[object, object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def read_losses(file: Path) -> list[tuple[int, float]]:
    """(step, loss) of every complete line of a ``losses.csv``; empty where there is no such file."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    rows = (line.strip().split(",") for line in lines[1:] if line.endswith("\n"))
    return [(int(step), float(loss)) for step, loss in rows]


def save_checkpoint(file: Path, module: nn.Module, optimizers: Optimizers, step: int, *, writes: bool = True) -> None:
    """One atomic file with what is trained, optimiser state and step.

    Where parameters are shared out, every process must call it; one of them ``writes``.
    """
    tensors = {f"module.{key}": value for key, value in trained_state(module).items()}
    tensors |= {f"optimizer.{key}": value for key, value in optimizers.state().items()}
    if writes:
        tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        write_tensors(file, {**tensors, "step": torch.tensor(step)}, advice=RESUMES)


class Best:
    """``best.safetensors``: the weights that validated with the lowest loss, and in ``best.json`` when that was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._note = (folder / BEST).with_suffix(".json")

    @property
    def loss(self) -> float:
        """The lowest validation loss so far."""
        if not self._note.exists():
            return math.inf
        try:
            return float(parse_json(self._note.read_text(encoding="utf-8"))["loss"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadInput(
                f"{self._note} does not say how good the best weights are ({error}); remove it, and the next "
                "validation counts as the best"
            ) from error

    def offer(self, module: nn.Module, step: int, loss: float, *, writes: bool = True) -> None:
        """Keep the weights if the loss is lower than ever before; as :func:`save_checkpoint` for who must call."""
        if not loss < self.loss:
            return
        tensors = {key: value.detach().cpu().contiguous() for key, value in trained_state(module).items()}
        if writes:
            write_tensors(self.folder / BEST, tensors, advice=RESUMES)
            write_text(self._note, json.dumps({"step": step, "loss": loss}) + "\n", durable=True, advice=RESUMES)


def resume(folder: Path, module: nn.Module, optimizers: Optimizers) -> int:
    """Take up an interrupted stage; returns the next step."""
    file = folder / LAST
    if not file.exists():
        return 0
    state = read_tensors(file)
    step = int(state.pop("step"))
    load_trained_state(module, _beginning_with("module.", state), str(file))
    optimizers.load_state(_beginning_with("optimizer.", state))
    return step


@dataclass(frozen=True)
class Failure:
    """A step whose loss or gradient was not finite."""

    step: int
    what: str
    """``loss`` or ``gradient``."""
    value: float
    seed: int
    """Seed of what was drawn while it was computed."""
    clips: Sequence[tuple[str, bool]]
    """Its clips, and whether all samples of each are finite."""

    @property
    def suspects(self) -> str:
        """The clips that are not finite themselves, or the first ones."""
        broken = [name for name, finite in self.clips if not finite]
        names = broken or [name for name, _ in self.clips]
        more = f"; … {len(names) - 3} more" if len(names) > 3 else ""
        return f"{'not finite are the' if broken else 'its'} clips {'; '.join(names[:3])}{more}"


def save_failure(
    folder: Path, module: nn.Module, optimizers: Optimizers, failure: Failure, *, writes: bool = True
) -> None:
    """Keep the state before a failed step (its running statistics have seen it), and which clips it was made of."""
    save_checkpoint(folder / FAILED, module, optimizers, failure.step, writes=writes)
    if not writes:
        return
    content = asdict(failure) | {
        "value": str(failure.value),
        "clips": [name for name, _ in failure.clips],
        "clips_not_finite": [name for name, finite in failure.clips if not finite],
    }
    file = (folder / FAILED).with_suffix(".json")
    write_json(file, content)


def _beginning_with(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
