"""A run folder as :mod:`bat_agent.training.trainer` leaves it, and the agent that it had after any of its stages."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from bat_agent.agent import Bat, ModelConfig
from bat_agent.checkpoint import WEIGHTS_FILE, find_weights, read_tensors
from bat_agent.distributed.sharding import load_trained_state
from bat_agent.errors import BadInput
from bat_agent.recipes.loading import load_recipe
from bat_agent.recipes.schema import Recipe, Stage
from bat_agent.registry import load_encoder, load_reasoner
from bat_agent.scoring.curricula import has_oracle_heads, reasoner_stages

RECIPE, DONE = "recipe.yaml", "done"
_PORTION = 2**20  # bytes read at once


@dataclass(frozen=True)
class TrainedRun:
    """A run and those of its reasoner stages that are looked at."""

    folder: Path
    recipe: Recipe
    """As it was trained by; its ``run_dir`` is ``folder``, wherever that is now."""
    stages: list[Stage]
    """Finished reasoner stages, in their order."""
    notes: list[str] = field(default_factory=list)

    @property
    def oracle_heads(self) -> bool:
        """Whether its reasoner is given oracle encodings instead of sound."""
        return has_oracle_heads(self.recipe)

    @property
    def oracle_tokens(self) -> bool:
        """Whether the tokens of oracle encodings hold the truth too."""
        return self.oracle_heads and reasoner_stages(self.recipe)[-1].oracle_tokens

    def encoder_stage(self, stage: Stage) -> Stage | None:
        """The stage that trained the encoder which ``stage`` listened with: the last finished one before it."""
        before = self.recipe.stages[: self.recipe.stages.index(stage)]
        done = [s for s in before if s.trains == "encoder" and _is_done(self.folder, s)]
        return done[-1] if done else None

    def weights_id(self, stage: Stage) -> str:
        """Digest of the weights that answer after ``stage``: another training gives another one."""
        ears, encoder = self.recipe.encoder.weights, self.encoder_stage(stage)
        files = [self.folder / stage.name]
        files += [self.folder / encoder.name] if encoder else [Path(ears)] if ears else []
        found = hashlib.sha256()
        for file in files:
            with find_weights(file).open("rb") as stream:
                while part := stream.read(_PORTION):
                    found.update(part)
        return found.hexdigest()


def open_run(folder: Path | str, only: tuple[str, ...] = ()) -> TrainedRun:
    """The run in ``folder``, with its finished reasoner stages, or those of them that ``only`` names.

    Raises :class:`~bat_agent.errors.BadInput` for what is no run folder, has no finished reasoner stage, or lacks the
    weights of a finished stage.
    """
    folder = Path(folder)
    if not (folder / RECIPE).is_file():
        raise BadInput(
            f"{folder} holds no {RECIPE}, expected a folder that python -m bat_agent.train wrote; name such a folder"
        )
    recipe = replace(load_recipe(str(folder / RECIPE)), run_dir=str(folder))
    asked = reasoner_stages(recipe)
    if not asked:
        raise BadInput(
            f"the recipe of {folder} trains no reasoner, so there is no stage to ask; score its agent with "
            f"bat-agent evaluate qa DATA {folder / 'agent'}"
        )
    done = [stage for stage in asked if _is_done(folder, stage)]
    if not done:
        names = ", ".join(stage.name for stage in asked)
        raise BadInput(
            f"{folder} has no finished reasoner stage (its recipe has {names}); finish one with "
            f"python -m bat_agent.train {folder / RECIPE}"
        )
    missing = [stage.name for stage in asked if stage not in done]
    notes = [f"{folder}: not finished, so not asked: {', '.join(missing)}"] if missing and not only else []
    run = TrainedRun(folder, recipe, [stage for stage in done if not only or stage.name in only], notes)
    for stage in run.stages:
        for each in (stage, run.encoder_stage(stage)):
            _check_weights(folder, each)
    return run


class Ears:
    """Builds the parts of a run once, and fills them with the weights of one stage after the other."""

    def __init__(self, run: TrainedRun, device: str | None = None) -> None:
        """``device`` is the best there is unless given."""
        self.run, self.device = run, device or ("cuda" if torch.cuda.is_available() else "cpu")
        part, stages = run.recipe.encoder, [run.encoder_stage(stage) for stage in run.stages]
        with torch.random.fork_rng(devices=[]):
            # Weights that were never trained nor loaded are drawn as training draws them.
            torch.manual_seed(run.recipe.seed)
            # What a stage has trained needs no weights to start from, which may not be on this machine.
            first = part.weights if None in stages else None
            self.encoder: Any = load_encoder(part.name, weights=first, **part.options)
        part = run.recipe.reasoner
        self.options = {"token_dim": self.encoder.token_dim, **part.options}
        self.reasoner: Any = load_reasoner(part.name, **self.options)

    def after(self, stage: Stage) -> Bat:
        """The agent as it was after ``stage``; it shares its parts with those asked for before.

        Raises :class:`~bat_agent.errors.WeightsError` for weights that do not fit.
        """
        encoder = self.run.encoder_stage(stage)
        if encoder is not None:
            _load(self.encoder, self.run.folder / encoder.name)
        _load(self.reasoner, self.run.folder / stage.name)
        recipe = self.run.recipe
        config = ModelConfig(
            recipe.name,
            {"name": recipe.encoder.name, "options": recipe.encoder.options},
            {"name": recipe.reasoner.name, "options": self.options},
        )
        return Bat(config, self.encoder, self.reasoner, self.device)


def _load(module: Any, folder: Path) -> None:
    file = find_weights(folder)
    load_trained_state(module, read_tensors(file), str(file))


def _is_done(folder: Path, stage: Stage) -> bool:
    return (folder / stage.name / DONE).exists()


def _check_weights(folder: Path, stage: Stage | None) -> None:
    if stage is not None and not (folder / stage.name / WEIGHTS_FILE).is_file():
        raise BadInput(
            f"stage {stage.name} of {folder} is marked as finished, but {folder / stage.name / WEIGHTS_FILE} is not "
            f"there; copy it, or remove the file {DONE} and train the stage again"
        )
