"""Training by a recipe: the curriculum, stage by stage, from nothing to a model.

Everything random depends on (seed, stage, step), so a run that was interrupted goes on to the same result; and under
``torchrun`` or ``accelerate launch`` several processes share each step and come to that of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bat_agent.extras import needed

with needed("train", "training"):
    from torch.utils.tensorboard import SummaryWriter

from bat_agent import distributed, registry
from bat_agent.agent import Bat, ModelConfig
from bat_agent.checkpoint import WEIGHTS_FILE, read_tensors, write_tensors
from bat_agent.clips import corpus
from bat_agent.clips.mixtures import Batch, Mixtures, check_shares
from bat_agent.clips.recorded import Batches, Recorded
from bat_agent.clips.token_cache import TokenCache, digest
from bat_agent.distributed.sharding import is_sharded, load_trained_state, shard, trained_state
from bat_agent.errors import BadInput
from bat_agent.files import leftovers
from bat_agent.files.leftovers import temporary_folder
from bat_agent.files.locking import locked
from bat_agent.files.writing import RESUMES, writing
from bat_agent.interfaces import Encoding
from bat_agent.recipes.ears import reading
from bat_agent.recipes.schema import Part, Recipe, Stage
from bat_agent.sound.waveform import fit
from bat_agent.training import folder as files
from bat_agent.training.cached_features import (
    FeatureStage,
    LocalisationObjective,
    features_of,
    train_on_features,
    truth_of_bins,
)
from bat_agent.training.display import Smooth, console, memory_gib, progress_bar, say, show
from bat_agent.training.launch import accelerator_of_run, shares_out, slow_precision
from bat_agent.training.objective import EncoderObjective, ReasonerObjective
from bat_agent.training.optimizers import Optimizers, only_trained, schedule
from bat_agent.training.step import Now, Stepper
from bat_agent.training.validation import Validation


class Trainer:
    """One run: builds the parts, goes through the stages, saves the agent."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.folder = Path(recipe.run_dir)
        self.accelerator = accelerator_of_run()
        self.device = self.accelerator.device
        self.leads = self.accelerator.is_main_process
        torch.manual_seed(recipe.seed)
        self.encoder: Any = _build("encoder", recipe.encoder)
        options = {"token_dim": self.encoder.token_dim, **recipe.reasoner.options}
        self.reasoner_part = Part(recipe.reasoner.name, options, recipe.reasoner.weights)
        self.reasoner: Any = _build("reasoner", self.reasoner_part)
        self.encoder = distributed.synchronise(self.encoder.to(self.device))
        self.reasoner.to(self.device)
        self.sharded = shares_out(recipe, self.accelerator)
        if self.sharded:
            shard(self.reasoner)
        self.stepper = Stepper(recipe, self.encoder, self.reasoner, self.accelerator)
        self.validation = Validation(recipe, self.encoder, self.reasoner, self.device)

    def run(self) -> Path:
        """Train every stage that is not done yet; return the folder of the finished agent.

        Raises :class:`~bat_agent.errors.BadInput` where another process trains in the folder, or the disk is full.
        """
        remarks = self._check()
        if not self.leads:
            return self._run(remarks)
        files.make_run_folder(self.folder)
        busy = f"another training is running in {self.folder}; wait for it, or give run_dir=another/folder"
        # What writes without naming a file, as TensorBoard's writer does, is told of this folder.
        with writing(self.folder, advice=RESUMES), locked(self.folder, busy):
            leftovers.clear(self.folder, deep=True)
            return self._run(remarks)

    def _check(self) -> list[str]:
        """What is to be said of the sounds; what is wrong with them and with the steps is told before the run folder is
        made and rooms are rendered, which takes minutes.
        """
        for stage in self.recipe.stages:
            if stage.records is not None:
                corpus.recorded(self.recipe, stage, "train")
                corpus.recorded(self.recipe, stage, "eval")
            elif not stage.free_queries:
                shares = (distributed.rank(), distributed.world_size())
                check_shares(self.recipe.mixing, stage.seconds_per_step, shares)
        draws = corpus.draws_clips(self.recipe)
        pools = [corpus.open_pool(self.recipe, split) for split in ("train", "valid") if draws]
        remarks = dict.fromkeys(sounds.left_out_note for pool in pools for sounds in pool.sets)
        return [remark for remark in remarks if remark]

    def _run(self, remarks: list[str]) -> Path:
        draws = corpus.draws_clips(self.recipe)
        if self.leads:
            for remark in remarks:
                console.print(remark)
            files.keep_recipe(self.recipe, self.folder)
            if slow := slow_precision(self.recipe, self.device):
                console.print(slow)
        with progress_bar(self.leads) as progress:
            with self.accelerator.main_process_first():
                for split in ("train", "valid") if draws else ():
                    task = progress.add_task(f"rooms ({split})", total=None)
                    corpus.open_banks(self.recipe, split, progress=partial(show, progress, task))
                    progress.remove_task(task)
            for number, stage in enumerate(self.recipe.stages):
                self._stage(number, stage, progress)
        agent = self.folder / "agent"
        if self.leads or self.sharded:
            # What is shared out is gathered by all, so the others write as well, into the void.
            with temporary_folder() as void:
                self.agent().save_pretrained(agent if self.leads else void, half=True)
        if self.leads:
            console.print(f"agent saved in {agent}")
        self.accelerator.wait_for_everyone()
        return agent

    def agent(self) -> Bat:
        """The agent as it is now."""
        recipe = self.recipe
        config = ModelConfig(
            recipe.name,
            {"name": recipe.encoder.name, "options": recipe.encoder.options},
            {"name": self.reasoner_part.name, "options": self.reasoner_part.options},
        )
        config = replace(config.read_as(reading(recipe)), labels=corpus.labels_learnt(recipe))
        return Bat(config, self.encoder, self.reasoner, str(self.device))

    def _stage(self, number: int, stage: Stage, progress: Progress) -> None:
        folder = self.folder / stage.name
        module = self.encoder if stage.trains == "encoder" else self.reasoner
        if (folder / "done").exists():
            load_trained_state(module, read_tensors(folder / WEIGHTS_FILE), str(folder / WEIGHTS_FILE))
            if self.leads:
                say(f"{stage.name}: done before, its weights were read")
            return
        if stage.frozen and is_sharded(module):
            raise BadInput(f"stage {stage.name!r}: frozen cannot be used with sharding=full; leave one of them out")
        data = corpus.training(self.recipe, number, shard=(distributed.rank(), distributed.world_size()))
        if self.recipe.preload and isinstance(data, Mixtures):
            data.preload(self.recipe.workers)
        if stage.cache_tokens and isinstance(data, Recorded):
            self._fill(data, progress)
        stage = replace(stage, steps=data.steps)
        with only_trained(module, stage):
            rates = schedule(stage, corpus.clips_per_step(self.recipe, stage))
            now = Now(number, stage, folder, module, self._objective(stage), Optimizers(module, stage), rates)
            if stage.feature_epochs:
                self._train_on_features(now, data, progress)
            else:
                self._steps(now, data, files.resume(folder, module, now.optimizers), progress)
        weights = trained_state(module) if self.leads or is_sharded(module) else {}
        if self.leads:
            write_tensors(folder / WEIGHTS_FILE, {k: v.cpu().contiguous() for k, v in weights.items()})
            (folder / "done").touch()
        self.accelerator.free_memory()
        self.accelerator.wait_for_everyone()

    def _fill(self, data: Recorded, progress: Progress) -> None:
        """Let the stage read what the encoder says from files, made now where they are not there."""
        mixing = self.recipe.mixing
        root = Path(self.recipe.rooms_dir or self.folder)
        facts = (self.recipe.encoder.options, data.identity, mixing.window_seconds, data.swaps)
        key = digest(self.encoder, *facts)
        data.tokens = TokenCache(root / "tokens" / key, data.entries)
        if data.tokens.missing():
            self.encoder.eval()

            @torch.no_grad()
            def encode(entries: Sequence[int]) -> Encoding:
                return self.encoder(fit(data.waveforms(entries).to(self.device), self.encoder))

            said = data.tokens.announce(encode)
            if self.leads:
                console.print(said)
            task = progress.add_task("tokens", total=None)
            share = (distributed.rank(), distributed.world_size())
            self.accelerator.wait_for_everyone()
            data.tokens.fill(encode, share=share, progress=partial(show, progress, task))
            progress.remove_task(task)
        self.accelerator.wait_for_everyone()

    def _train_on_features(self, now: Now, data: Batches, progress: Progress) -> None:
        """A stage of epochs over cached features."""
        steps = train_on_features(
            FeatureStage(
                now.stage, now.folder, self.encoder, now.objective, self.device, self.recipe.precision == "bf16"
            ),
            partial(self._batches, data),
            partial(self.stepper.seed, now),
            progress,
            leads=self.leads,
            save_every=10 * self.recipe.save_every,
        )
        if self.leads:
            with SummaryWriter(str(now.folder)) as writer:
                self._validate(now, writer, steps)
        self.accelerator.wait_for_everyone()

    def _objective(self, stage: Stage) -> nn.Module:
        objective = (
            LocalisationObjective(self.encoder, stage)
            if stage.feature_epochs
            else EncoderObjective(self.encoder, stage, self.recipe.compile)
            if stage.trains == "encoder"
            else ReasonerObjective(self.reasoner)
        )
        if distributed.world_size() == 1 or (self.sharded and stage.trains == "reasoner"):
            return objective
        on = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            objective, device_ids=on, find_unused_parameters=True, broadcast_buffers=False
        )

    def _steps(self, now: Now, data: Batches, start: int, progress: Progress) -> None:
        stage, last_step = now.stage, now.stage.steps - 1
        curve = files.LossCurve(now.folder, start, keep=self.leads)
        writer = SummaryWriter(str(now.folder), purge_step=start or None) if self.leads else None
        if start and self.leads:
            say(f"{stage.name}: resumed at step {start} of {stage.steps}")
        task = progress.add_task(stage.name, total=stage.steps, completed=start)
        smooth = Smooth()
        if start:  # the run may have been killed between the checkpoint of this step and its validation
            self._validate_where_due(now, writer, start)
        for step, batch in self._batches(data, start):
            log = self.stepper.take(now, batch, step)
            curve.add(step, log["loss"])
            done = {name: log[name] for name in log if name in ("questions", "answer_tokens")}
            smooth.add(log, {"clips": float(len(batch.waveform) * distributed.world_size()), **done})
            progress.update(task, completed=step + 1, description=f"{stage.name} loss {smooth['loss']:.3f}")
            if step % 20 == 0 and writer:
                for name, value in {**log, **smooth.rates(), "memory_gib": memory_gib(self.device)}.items():
                    writer.add_scalar(f"train/{name}", value, step)
            due = (step + 1) % self.recipe.save_every == 0 or step == last_step
            if due and (self.leads or is_sharded(now.module)):
                where = now.folder / files.LAST
                files.save_checkpoint(where, now.module, now.optimizers, step + 1, writes=self.leads)
            self._validate_where_due(now, writer, step + 1)
        progress.remove_task(task)
        if writer:
            writer.close()

    def _batches(self, data: Batches, start: int) -> Iterator[tuple[int, Batch]]:
        loader = DataLoader(
            data,
            batch_size=None,
            sampler=range(start, data.steps),
            num_workers=self.recipe.workers,
            prefetch_factor=4 if self.recipe.workers else None,
            pin_memory=self.device.type == "cuda",
        )
        for step, batch in zip(range(start, data.steps), loader, strict=True):
            yield step, data.finish(batch, self.device)

    def _validate_where_due(self, now: Now, writer: SummaryWriter | None, done: int) -> None:
        """After ``done`` steps."""
        if done % self.recipe.validate_every == 0 or done == now.stage.steps:
            if self.leads or self.sharded:
                self._validate(now, writer, done)
            self.accelerator.wait_for_everyone()

    def _validate(self, now: Now, writer: SummaryWriter | None, step: int) -> None:
        plain = getattr(now.objective, "module", now.objective)

        def encode(batch: Batch) -> Encoding:
            # Lots of its own, alike in all processes: those that share parameters must compute the same.
            return self.stepper.encode(now.stage, batch, torch.Generator().manual_seed(self.recipe.seed))

        def loss(batch: Batch) -> tuple[Tensor, int]:
            if now.stage.trains == "encoder":
                sound = fit(batch.waveform.to(self.device), self.encoder)
                if now.stage.feature_epochs:
                    summary, bins = features_of(self.encoder, now.stage, sound, batch.truth)
                    return plain(summary[:, 0].float(), truth_of_bins(bins))[0], len(summary)
                return plain(sound, batch.truth)[0], len(batch.waveform)
            asked = [q for some in batch.questions for q in some]
            found, log = plain(encode(batch), [q.text for q in asked], [q.answer for q in asked])
            return found, int(log.get("answer_tokens", log["questions"]))

        seen = self.validation(now.stage, encode, loss)
        files.Best(now.folder).offer(now.module, step, seen.loss, writes=self.leads)
        if writer:
            seen.write(writer, step)
            console.print(f"{now.stage.name} {step}: {seen.line()}")


def _build(kind: str, part: Part) -> nn.Module:
    load = registry.load_encoder if kind == "encoder" else registry.load_reasoner
    return load(part.name, weights=part.weights, **part.options)  # type: ignore[return-value]
