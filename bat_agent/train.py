"""``python -m bat_agent.train RECIPE [key=value …]``: the curriculum, stage by stage, from nothing to a model.

Everything random depends on (seed, stage, step), so a run that was interrupted goes on to the same result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from bat_agent import corpus, registry
from bat_agent.agent import Bat, ModelConfig
from bat_agent.checkpoint import load_module, load_state, read_tensors, save_module, write_tensors
from bat_agent.cli.entry import run_app
from bat_agent.config import Part, Recipe, Stage, load_recipe, to_yaml
from bat_agent.errors import BadInput, BatAgentError
from bat_agent.evaluate import encoder_figures, question_figures
from bat_agent.imagined import imagine
from bat_agent.interfaces import Encoding
from bat_agent.losses import encoder_loss
from bat_agent.mixtures import Batch, Mixtures
from bat_agent.optimizers import Optimizers, learning_rate
from bat_agent.waveform import fit

console = Console()
IMAGINED_TOKENS = 16


class Trainer:
    """One run: builds the parts, goes through the stages, saves the agent."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.folder = Path(recipe.run_dir)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(recipe.seed)
        self.encoder: Any = _build("encoder", recipe.encoder)
        options = {"token_dim": self.encoder.token_dim, **recipe.reasoner.options}
        self.reasoner_part = Part(recipe.reasoner.name, options, recipe.reasoner.weights)
        self.reasoner: Any = _build("reasoner", self.reasoner_part)
        self.encoder.to(self.device)
        self.reasoner.to(self.device)

    def run(self) -> Path:
        """Train every stage that is not done yet; return the folder of the finished agent."""
        # What is wrong with the sounds is told before rooms are rendered, which takes minutes.
        corpus.open_pool(self.recipe, "train")
        corpus.open_pool(self.recipe, "valid")
        self._keep_recipe()
        with _progress() as progress:
            for split in ("train", "valid"):
                task = progress.add_task(f"rooms ({split})", total=None)
                corpus.open_banks(self.recipe, split, progress=partial(_show, progress, task))
                progress.remove_task(task)
            for number, stage in enumerate(self.recipe.stages):
                self._stage(number, stage, progress)
        agent = self.folder / "agent"
        self.agent().save_pretrained(agent, half=True)
        console.print(f"agent saved in {agent}")
        return agent

    def _keep_recipe(self) -> None:
        """Write the recipe into the run folder; what the stages trained so far depend on must not have changed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f"cannot make the run folder {self.folder} ({error.strerror}); give run_dir=another/folder"
            ) from error
        file = self.folder / "recipe.yaml"
        if file.exists():
            before, stages = load_recipe(str(file)), {stage.name: stage for stage in self.recipe.stages}
            begun = [stage for stage in before.stages if (self.folder / stage.name / "last.safetensors").exists()]
            matters = ["seed", "encoder", "sounds", "rooms", "mixing"]
            matters += (
                ["reasoner", "wordings", "loose_words"] if any(stage.trains == "reasoner" for stage in begun) else []
            )
            changed = [name for name in matters if getattr(before, name) != getattr(self.recipe, name)]
            changed += [f"stage {stage.name}" for stage in begun if stages.get(stage.name) != stage]
            if begun and changed:
                raise BadInput(
                    f"{self.folder} holds a run with another {', another '.join(changed)}: "
                    "give run_dir=another/folder, or delete that one"
                )
        file.write_text(to_yaml(self.recipe), encoding="utf-8")

    def agent(self) -> Bat:
        """The agent as it is now."""
        recipe = self.recipe
        config = ModelConfig(
            recipe.name,
            {"name": recipe.encoder.name, "options": recipe.encoder.options},
            {"name": self.reasoner_part.name, "options": self.reasoner_part.options},
        )
        return Bat(config, self.encoder, self.reasoner, str(self.device))

    def _stage(self, number: int, stage: Stage, progress: Progress) -> None:
        folder = self.folder / stage.name
        module = self.encoder if stage.trains == "encoder" else self.reasoner
        if (folder / "done").exists():
            load_module(module, folder)
            return
        optimizers = Optimizers(module, stage)
        start = _resume(folder, module, optimizers)
        writer = SummaryWriter(str(folder))
        task = progress.add_task(stage.name, total=stage.steps, completed=start)
        smooth = Smooth()
        for step, batch in self._batches(number, stage, start):
            torch.manual_seed(hash((self.recipe.seed, number, step)) % 2**63)
            log = self._step(stage, optimizers, batch, step)
            smooth.add(log, len(batch.waveform))
            progress.update(task, completed=step + 1, description=f"{stage.name} loss {smooth['loss']:.3f}")
            last = step + 1 == stage.steps
            if step % 20 == 0:
                for name, value in {**log, "clips_per_second": smooth.rate()}.items():
                    writer.add_scalar(f"train/{name}", value, step)
            if (step + 1) % self.recipe.save_every == 0 or last:
                _save(folder, module, optimizers, step + 1)
            if (step + 1) % self.recipe.validate_every == 0 or last:
                self._validate(stage, writer, step + 1)
        save_module(module, folder)
        (folder / "done").touch()
        progress.remove_task(task)
        writer.close()

    def _batches(self, number: int, stage: Stage, start: int) -> Iterator[tuple[int, Batch]]:
        data: Mixtures = corpus.training(self.recipe, number)
        loader = DataLoader(
            data,
            batch_size=None,
            sampler=range(start, stage.steps),
            num_workers=self.recipe.workers,
            prefetch_factor=4 if self.recipe.workers else None,
        )
        yield from zip(range(start, stage.steps), loader, strict=True)

    def _step(self, stage: Stage, optimizers: Optimizers, batch: Batch, step: int) -> dict[str, float]:
        rate = learning_rate(stage, step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            loss, log = self._loss(stage, batch)
        if not bool(loss.isfinite()):
            raise BatAgentError(f"stage {stage.name}: the loss of step {step} is {loss.item()}; lower learning_rate")
        norm = optimizers.step(loss, rate)
        if not bool(norm.isfinite()):
            raise BatAgentError(f"stage {stage.name}: the gradient of step {step} is {norm:g}; lower learning_rate")
        return {"loss": float(loss.detach()), "gradient_norm": float(norm), "learning_rate": rate, **log}

    def _loss(self, stage: Stage, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        if stage.trains == "encoder":
            self.encoder.train()
            return encoder_loss(self._hear(batch), batch.truth.to(self.device), stage)
        self.encoder.eval()
        self.reasoner.train()
        with torch.no_grad():
            encoding = self._imagine(batch) if stage.imagined else self._hear(batch)
        questions = [q for asked in batch.questions for q in asked]
        loss = self.reasoner.loss(encoding, [q.text for q in questions], [q.answer for q in questions])
        return loss, {"questions": float(len(questions))}

    def _hear(self, batch: Batch) -> Encoding:
        return self.encoder(fit(batch.waveform.to(self.device), self.encoder))

    def _imagine(self, batch: Batch) -> Encoding:
        # A generator of its own, seeded from the one that every step seeds.
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        return imagine(batch.truth, self.encoder.token_dim, IMAGINED_TOKENS, generator).to(self.device)

    def _validate(self, stage: Stage, writer: SummaryWriter, step: int) -> None:
        self.encoder.eval()
        self.reasoner.eval()
        seconds = max(zip(self.recipe.mixing.window_weights, self.recipe.mixing.window_seconds, strict=True))[1]
        clips = self.recipe.validation_clips
        if stage.trains == "encoder":
            figures = encoder_figures(self.encoder, corpus.validation(self.recipe, clips, seconds=seconds), self.device)
        else:
            data = corpus.validation(
                self.recipe,
                clips,
                seconds=seconds,
                two_sources=self.recipe.mixing.two_sources if stage.two_sources is None else stage.two_sources,
                letters=stage.question_types,
                questions_per_clip=4,
            )
            figures = question_figures(self.agent(), data)
        for name, value in figures.items():
            writer.add_scalar(f"valid/{name}", value, step)
        writer.flush()
        console.print(f"{stage.name} {step}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))


class Smooth:
    """Running means for the progress bar, and the clips a second."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.clips, self.since = 0, time.monotonic()

    def add(self, log: dict[str, float], clips: int) -> None:
        """Take in one step."""
        for name, value in log.items():
            self.values[name] = 0.98 * self.values.get(name, value) + 0.02 * value
        self.clips += clips

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def rate(self) -> float:
        """Clips a second since the start of the stage."""
        return self.clips / max(time.monotonic() - self.since, 1e-6)


def _build(kind: str, part: Part) -> nn.Module:
    load = registry.load_encoder if kind == "encoder" else registry.load_reasoner
    return load(part.name, weights=part.weights, **part.options)  # type: ignore[return-value]


def _save(folder: Path, module: nn.Module, optimizers: Optimizers, step: int) -> None:
    """One atomic file with weights, optimiser state and step."""
    tensors = {f"module.{key}": value for key, value in module.state_dict().items()}
    tensors |= {f"optimizer.{key}": value for key, value in optimizers.state().items()}
    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    write_tensors(folder / "last.safetensors", {**tensors, "step": torch.tensor(step)})


def _resume(folder: Path, module: nn.Module, optimizers: Optimizers) -> int:
    """Take up an interrupted stage; returns the next step."""
    file = folder / "last.safetensors"
    if not file.exists():
        return 0
    state = read_tensors(file)
    step = int(state.pop("step"))
    load_state(module, _beginning_with("module.", state), str(file))
    optimizers.load_state(_beginning_with("optimizer.", state))
    return step


def _beginning_with(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _show(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes, e.g. seed=1 stages.0.steps=100.")
    ] = None,
) -> None:
    """Train an agent by a recipe. Run the same command again to resume."""
    # Questions are only tokenised in this process, so worker processes need no warning about it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not torch.cuda.is_available():
        # Data is made in worker processes; a second OpenMP thread here would fight with them for the cores.
        torch.set_num_threads(1)
    Trainer(load_recipe(recipe, overrides)).run()


if __name__ == "__main__":
    run_app(app, "python -m bat_agent.train")
