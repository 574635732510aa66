"""Epochs over cached features: how the part of an encoder that localises is trained at next to no cost.

To render a clip and to encode it takes some twenty milliseconds; a few thousand numbers of it are all that the part
needs which reads distance and direction of a single source, and a step over those takes microseconds. So clips
go through the encoder once, these numbers (features) are cached in files of the stage's folder, and every further epoch
reads them there. Of clips with several sources the features depend on the masks of the slots, so such a stage comes
after those that teach the slots their masks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from rich.progress import Progress
from torch import Tensor, nn

from bat_agent import distributed
from bat_agent.checkpoint import read_tensors, write_tensors
from bat_agent.clips.batch import Batch, Truth
from bat_agent.errors import BadInput, BatAgentError
from bat_agent.interfaces import NUM_AZIMUTH_BINS, NUM_CLASSES
from bat_agent.recipes.schema import Stage
from bat_agent.sound.waveform import fit
from bat_agent.training.display import say
from bat_agent.training.folder import LAST, LossCurve, resume, save_checkpoint
from bat_agent.training.losses import encoder_loss, match_slots
from bat_agent.training.optimizers import Optimizers, schedule

STEPS_A_FILE = 100
_BINS = ("distance", "azimuth", "elevation")


def check_feature_epochs(encoder: Any, stage: Stage) -> None:
    """Refuse a stage of epochs over cached features for an encoder that has none, or cannot do what the stage wants."""
    if stage.feature_colour_db and not hasattr(encoder, "recolour"):
        raise BadInput(
            f"stage {stage.name!r} has feature_colour_db, but the encoder {type(encoder).__name__} cannot recolour its "
            "features; leave it out"
        )
    if getattr(encoder, "slot_summaries" if stage.slot_features else "place_summary", None) is None:
        raise BadInput(
            f"stage {stage.name!r} has feature_epochs, but the encoder {type(encoder).__name__} has no features "
            "to cache; leave feature_epochs out, or take spatial-ast with slot_summary"
        )


def features_of(encoder: Any, stage: Stage, sound: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
    """What is cached of clips: features (N, 2, V), the second with the ears swapped, and bins (N, 3) int64 on the CPU.

    One row for each clip with one source, or, over slots, for each source of any clip, of the slot that it is matched
    to by the stage's own loss.
    """
    if not stage.slot_features:
        one = truth.active.sum(dim=1) == 1
        bins = torch.stack([getattr(truth, head)[one, 0] for head in _BINS], dim=1)
        return encoder.place_summary(sound[one.to(sound.device)]), bins
    active = truth.active
    mirrored = replace(truth, azimuth=mirror_bins(truth.azimuth))
    rows = []
    for waveform, true in ((sound, truth), (sound.flip(1), mirrored)):
        encoding, said = encoder.slot_summaries(waveform)
        holds = match_slots(encoding, true, stage)
        rows.append(said[torch.arange(len(said), device=said.device)[:, None], holds][active.to(said.device)])
    bins = torch.stack([getattr(truth, head)[active] for head in _BINS], dim=1)
    return torch.stack(rows, dim=1), bins


def mirror_bins(azimuth: Tensor) -> Tensor:
    """Azimuth bins with the ears swapped."""
    return (NUM_AZIMUTH_BINS // 2 - azimuth) % NUM_AZIMUTH_BINS


class LocalisationObjective(nn.Module):
    """The loss of distance and direction from cached features."""

    def __init__(self, encoder: Any, stage: Stage) -> None:
        super().__init__()
        check_feature_epochs(encoder, stage)
        self.encoder, self.stage = encoder, stage

    def forward(self, summary: Tensor, truth: Truth) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss of clips with one source, and its parts."""
        return encoder_loss(self.encoder.place_heads(summary), truth, self.stage)


@dataclass
class CachedFeatures:
    """Features of N clips with one source each, or of N sources, and the truth about them."""

    summary: Tensor
    """(N, 2, V) float16: as they are, and with the ears swapped."""
    bins: Tensor
    """(N, 3) int16: distance, azimuth, elevation."""

    def __len__(self) -> int:
        return len(self.summary)

    def batches(self, size: int, seed: int) -> Iterator[tuple[Tensor, Truth]]:
        """One epoch, in an order of its own; each clip is taken with or without the ears swapped."""
        draw = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self), generator=draw)
        swapped = torch.randint(2, (len(self),), generator=draw)
        for some in order[: len(order) // size * size].split(size):
            turned = swapped[some]
            bins = self.bins[some].long()
            bins[:, 1] = torch.where(turned.bool(), mirror_bins(bins[:, 1]), bins[:, 1])
            yield self.summary[some, turned].float(), truth_of_bins(bins)


@dataclass(frozen=True)
class FeatureStage:
    """A stage of epochs over cached features: what it trains, and where the features are."""

    stage: Stage
    folder: Path
    encoder: Any
    objective: nn.Module
    device: torch.device
    bf16: bool


def train_on_features(
    run: FeatureStage,
    batches: Callable[[int], Iterator[tuple[int, Batch]]],
    seed: Callable[[int], int],
    progress: Progress,
    *,
    leads: bool,
    save_every: int,
) -> int:
    """Cache the features of a stage and train on them, from where it was left; returns the number of optimiser steps.

    ``batches`` gives (step, batch) from a step on, ``seed`` of a step that of all that is drawn in it.
    """
    stage = run.stage
    task = progress.add_task(f"{stage.name}: clips", total=stage.steps)
    cached = cache_features(run, batches, done=lambda step: progress.update(task, completed=step))
    progress.remove_task(task)
    size = stage.clips_per_batch // distributed.world_size()
    per_epoch = min(gather_object([len(cached) // max(size, 1)]))  # alike in all processes
    total = stage.feature_epochs * per_epoch
    if not total:
        raise BadInput(
            f"stage {stage.name!r} cached {len(cached)} clips with one source, fewer than a batch of "
            f"{stage.clips_per_batch}: raise steps, or lower clips_per_batch"
        )
    optimizers = Optimizers(run.encoder, stage)
    rates = schedule(replace(stage, steps=total), stage.clips_per_batch)
    start = resume(run.folder, run.encoder, optimizers)
    if start and leads:
        say(f"{stage.name}: resumed at step {start} of {total}")
    curve = LossCurve(run.folder, start, keep=leads)
    task = progress.add_task(stage.name, total=total)
    for step, (summary, truth) in _steps(cached, size, per_epoch, range(start, total), seed):
        torch.manual_seed(seed(step))
        summary = _recoloured(run, summary, seed(step))
        mean = _step(run, optimizers, rates.rate(step), step, summary, truth)
        curve.add(step, mean)
        progress.update(task, completed=step + 1, description=f"{stage.name} loss {mean:.3f}")
        if leads and ((step + 1) % save_every == 0 or step + 1 == total):
            save_checkpoint(run.folder / LAST, run.encoder, optimizers, step + 1)
    progress.remove_task(task)
    return total


def _recoloured(run: FeatureStage, summary: Tensor, seed: int) -> Tensor:
    """Each clip as other microphones would have given it, others in each epoch; a third as much between the ears."""
    spread_db = run.stage.feature_colour_db
    if not spread_db:
        return summary
    draw = torch.Generator().manual_seed(seed ^ distributed.rank())
    recoloured: Tensor = run.encoder.recolour(summary, spread_db, spread_db / 3, draw)
    return recoloured


def _step(run: FeatureStage, optimizers: Optimizers, rate: float, step: int, summary: Tensor, truth: Truth) -> float:
    """One step of the optimiser; the mean loss of all processes."""
    optimizers.zero()
    run.encoder.train()
    with torch.autocast(run.device.type, torch.bfloat16, enabled=run.bf16):
        loss, _ = run.objective(summary.to(run.device), truth)
    loss.backward()
    mean = float(distributed.summed(loss.detach())) / distributed.world_size()
    norm = optimizers.update(rate)
    if not (math.isfinite(mean) and bool(norm.isfinite())):
        raise BatAgentError(f"stage {run.stage.name}: the loss of step {step} is {mean:g}; lower learning_rate")
    return mean


def _steps(
    cached: CachedFeatures, size: int, per_epoch: int, steps: range, seed: Callable[[int], int]
) -> Iterator[tuple[int, tuple[Tensor, Truth]]]:
    """Batches of the steps that are left, epoch by epoch."""
    for number in range(steps.start // per_epoch, -(-steps.stop // per_epoch)):
        # Seeds behind those of all steps; each process has clips of its own.
        order = seed(steps.stop + number) ^ distributed.rank()
        for at, batch in enumerate(itertools.islice(cached.batches(size, order), per_epoch)):
            if number * per_epoch + at >= steps.start:
                yield number * per_epoch + at, batch


def truth_of_bins(bins: Tensor) -> Truth:
    """The truth of clips with one source of no class, from bins (B, 3)."""
    active = torch.ones(len(bins), 1, dtype=torch.bool)
    classes = torch.zeros(1, 1, 1).expand(len(bins), 1, NUM_CLASSES)
    return Truth(active, classes, *bins[:, :, None].unbind(dim=1))


def cache_features(
    run: FeatureStage,
    batches: Callable[[int], Iterator[tuple[int, Batch]]],
    *,
    done: Callable[[int], None],
) -> CachedFeatures:
    """Run the encoder over the clips of a stage, from where it was left, and read the features of all of them.

    Every ``STEPS_A_FILE`` steps are written to a file.
    """
    steps, encoder = run.stage.steps, run.encoder
    share = "" if distributed.world_size() == 1 else f"-{distributed.rank()}-of-{distributed.world_size()}"
    files = [run.folder / f"features{share}-{start:06d}.safetensors" for start in range(0, steps, STEPS_A_FILE)]
    for file in files:
        if (old := file.with_name(file.name.replace("features", "kept", 1))).exists():  # their name until bat-agent 0.3
            old.rename(file)
    there = next((number for number, file in enumerate(files) if not file.exists()), len(files))
    parts: list[tuple[Tensor, Tensor]] = []
    encoder.eval()
    for step, batch in batches(there * STEPS_A_FILE) if there < len(files) else ():
        sound = fit(batch.waveform.to(run.device), encoder)
        summary, bins = features_of(encoder, run.stage, sound, batch.truth)
        parts.append((summary.half().cpu(), bins.short()))
        done(step + 1)
        if (step + 1) % STEPS_A_FILE == 0 or step + 1 == steps:
            summary, bins = (torch.cat(column) for column in zip(*parts, strict=True))
            write_tensors(files[step // STEPS_A_FILE], {"summary": summary, "bins": bins})
            parts = []
    found = [read_tensors(file) for file in files]
    return CachedFeatures(torch.cat([part["summary"] for part in found]), torch.cat([part["bins"] for part in found]))
