"""What a recipe will cost, before it is trained: parameters, memory, steps and time of every stage (``--dry-run``).

Nothing is guessed from tables: a clip goes through the parts, and its operations, forward and backward, are counted by
torch's FLOP counter, as is every tensor that is kept for the backward pass. A part that is built for real is timed on
the way, on the CPU. A language model whose weights are not loaded goes through torch's meta device, which computes
shapes alone; its time is an estimate, by the device's own matmul rate, measured now, and the share of it that training
usually reaches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bat_agent import distributed, registry
from bat_agent.clips import corpus
from bat_agent.clips.batch import truth_of
from bat_agent.clips.rehearsed import Rehearsed
from bat_agent.datasets.draw_qa import PAPER_COUNTS
from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding
from bat_agent.questions import HeardSource, Question, generate
from bat_agent.questions.curriculum import question_types
from bat_agent.recipes.schema import Recipe, Stage
from bat_agent.scene import Position
from bat_agent.sound.features import NUM_MELS, num_frames
from bat_agent.training.cached_features import check_feature_epochs, features_of
from bat_agent.training.losses import encoder_loss
from bat_agent.training.optimizers import trained_parameters

REACHED = {"cpu": 0.6, "cuda": 0.25}
"""Share of the matmul rate that training reaches, by benchmarks/bench_reasoner.py: on a CPU, and on an H200."""
RELEASED = {1: "AB", 2: "ABCD", 3: "ABCDE"}
"""Question types of the released question files."""
STATES = 12
"""Bytes per trained parameter beside the parameter: gradient and both moments of AdamW, float32."""
_SCENE = (
    HeardSource(("Dog",), Position(130.0, 20.0, 2.0)),
    HeardSource(("Music",), Position(30.0, -15.0, 4.5)),
)


@dataclass(frozen=True)
class Cost:
    """Of one clip through a part."""

    flop: float
    """Floating-point operations, forward, and backward where it is trained."""
    kept_bytes: int
    """Tensors that wait for the backward pass."""
    seconds: float | None = None
    """Measured in one CPU process that has its cores to itself; none for what was only counted."""


@dataclass(frozen=True)
class StageCost:
    """Of one stage."""

    name: str
    steps: int
    clips: int
    """Clips a step, of all processes."""
    questions: int
    """Questions a step; 0 for an encoder."""
    trained: int
    """Parameters that are trained."""
    frozen: int
    """Other parameters, of both parts."""
    memory_bytes: float
    """Of each process: parameters, gradients, optimiser, tensors kept for the backward pass."""
    costs: tuple[Cost, ...]
    """Of a clip, through each part."""
    assumed: bool = False
    """Whether the records are not at hand, and were counted as those of the release."""

    @property
    def flop(self) -> float:
        """Of a step of all processes."""
        return self.clips * sum(cost.flop for cost in self.costs)

    def seconds(self, rate: float, device: str) -> float:
        """Estimated time of the stage, with ``rate`` matmul FLOP/s in each process; what was measured counts as it is,
        on a CPU.
        """
        each = sum(
            cost.seconds if cost.seconds is not None and device == "cpu" else cost.flop / (rate * REACHED[device])
            for cost in self.costs
        )
        return self.steps * self.clips * each / distributed.world_size()


def count(work: Callable[[], Tensor | None]) -> Cost:
    """Operations of ``work`` and of the backward pass from its result, and what it keeps for that."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        base = tensor._base if tensor._base is not None else tensor
        if not isinstance(base, nn.Parameter) and not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
            alive.append(storage)  # a number is used again for another storage once this one is gone
        return tensor

    alive: list[Any] = []
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = work()
        if loss is not None and loss.requires_grad:
            loss.backward()
    meta = loss is not None and loss.device.type == "meta"
    return Cost(float(counter.get_total_flops()), sum(kept.values()), None if meta else _timed(work))


def _timed(work: Callable[[], Tensor | None]) -> float:
    """Seconds of a run; it has run before, to be counted. The clock stands still while other processes have the core:
    a busy machine is no slow one.
    """
    began = time.thread_time()
    loss = work()
    if loss is not None and loss.requires_grad:
        loss.backward()
    return time.thread_time() - began


def stage_costs(recipe: Recipe) -> list[StageCost]:
    """The cost of every stage. Raises :class:`~bat_agent.errors.BadInput` for parts or sounds that are not there."""
    encoder: Any = registry.load_encoder(recipe.encoder.name, **recipe.encoder.options)
    options = {"token_dim": encoder.token_dim, **recipe.reasoner.options}
    reasoner: Any = registry.outline("reasoner", recipe.reasoner.name, options)
    return [_stage(recipe, number, encoder, reasoner) for number in range(len(recipe.stages))]


def _stage(recipe: Recipe, number: int, encoder: Any, reasoner: Any) -> StageCost:
    stage = recipe.stages[number]
    clips, world = corpus.clips_per_step(recipe, stage), distributed.world_size()
    trains, half = stage.trains == "encoder", recipe.precision == "bf16"
    seconds = float(np.average(recipe.mixing.window_seconds, weights=recipe.mixing.window_weights))
    per_clip = 0 if trains else _questions_per_clip(stage)
    if trains:
        costs = [_encoder_cost(encoder, stage, seconds, half, train=True)]
    else:
        costs = (
            []
            if stage.oracle_heads or stage.free_queries
            else [_encoder_cost(encoder, stage, seconds, half, train=False)]
        )
        costs.append(_reasoner_cost(encoder, reasoner, stage, per_clip, half))
    module: nn.Module = encoder if trains else reasoner
    trained = sum(parameter.numel() for _, parameter in trained_parameters(module, stage))
    everything = [*encoder.parameters(), *reasoner.parameters()]
    weights = sum(parameter.numel() * parameter.element_size() for parameter in everything)
    shared = world if recipe.sharding == "full" and not trains else 1
    at_once = -(-clips // (world * stage.accumulate))
    memory = (weights + STATES * trained) / shared + at_once * costs[-1].kept_bytes
    steps, assumed = steps_of_stage(recipe, number)
    return StageCost(
        stage.name, steps, clips, clips * per_clip, trained,
        sum(parameter.numel() for parameter in everything) - trained, memory, tuple(costs), assumed,
    )  # fmt: skip


def steps_of_stage(recipe: Recipe, number: int) -> tuple[int, bool]:
    """Steps of a stage, and whether its records are not at hand: then as many as the released ones would make."""
    stage = recipe.stages[number]
    try:
        return corpus.steps_of(recipe, number), False
    except BadInput:
        if stage.records is None or stage.records_stage not in RELEASED:
            raise
        records = sum(PAPER_COUNTS.get(letter, 0) for letter in stage.question_types or RELEASED[stage.records_stage])
        epochs = (stage.epochs or 0) * stage.epoch_fraction
        return math.ceil(epochs * records / corpus.clips_per_step(recipe, stage)), True


def _encoder_cost(encoder: Any, stage: Stage, seconds: float, bf16: bool, train: bool) -> Cost:
    encoder.train(train)
    samples = round(min(seconds, encoder.clip_seconds) * encoder.sample_rate_hz)
    if getattr(encoder, "fixed_length", True):
        samples = round(encoder.clip_seconds * encoder.sample_rate_hz)
    # In training two: a batch norm over one clip would have nothing to norm.
    clips = 2 if train else 1
    waveform = 0.1 * torch.randn(clips, 2, samples)
    truth = truth_of([_SCENE[:1]] * clips)
    if stage.mask_weight:
        truth.energy_db = torch.zeros(*truth.active.shape, num_frames(samples), NUM_MELS)

    def work() -> Tensor | None:
        with torch.set_grad_enabled(train), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            encoding = encoder(waveform)
            return encoder_loss(encoding, truth, stage)[0] if train else None

    def train_on_features() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return encoder_loss(encoder.place_heads(summary), many, stage)[0]

    with torch.random.fork_rng(devices=[]):
        if not stage.feature_epochs:
            cost = count(work)
        else:
            check_feature_epochs(encoder, stage)
            # A step is one product with the weights whatever the batch, so it is timed with that of the stage.
            rows = stage.clips_per_batch
            summary = features_of(encoder, stage, waveform, truth)[0][:1, 0].repeat(rows, 1)
            many = truth_of([_SCENE[:1]] * rows)
            once = count(lambda: features_of(encoder, stage, waveform, truth)[0])
            cost = _together(once, count(train_on_features), stage.feature_epochs * clips / rows)
    encoder.zero_grad(set_to_none=True)
    return Cost(cost.flop / clips, cost.kept_bytes // clips, None if cost.seconds is None else cost.seconds / clips)


def _together(once: Cost, often: Cost, times: float) -> Cost:
    """Of clips that are encoded once and whose features are trained on so many times."""
    seconds = None if once.seconds is None or often.seconds is None else once.seconds + times * often.seconds
    return Cost(once.flop + times * often.flop, round(often.kept_bytes), seconds)


def _reasoner_cost(encoder: Any, reasoner: Any, stage: Stage, per_clip: int, bf16: bool) -> Cost:
    device = next((parameter.device for parameter in reasoner.parameters()), torch.device("cpu"))
    encoder.eval()
    with torch.no_grad():
        full = round(encoder.clip_seconds * encoder.sample_rate_hz)
        encoding: Encoding = encoder(0.1 * torch.randn(1, 2, full)).to(device)
    asked = sample_questions(stage, per_clip)
    reasoner.train()
    half = torch.autocast("cpu", torch.bfloat16, enabled=bf16 and device.type == "cpu")

    def work() -> Tensor:
        with half:
            loss: Tensor = reasoner.loss(encoding, [q.text for q in asked], [q.answer for q in asked])
            return loss

    cost = count(work)
    reasoner.zero_grad(set_to_none=True)
    return cost


def _questions_per_clip(stage: Stage) -> int:
    return 1 if stage.records is not None else stage.questions_per_clip


def sample_questions(stage: Stage, number: int) -> list[Question]:
    """``number`` questions such as the stage asks, about a scene of one or two sources; or what it reads."""
    if stage.free_queries:
        return Rehearsed(questions=number, steps=1, seed=0)[0].questions[0]
    types = question_types(stage.question_types or ["A", "B", "C", "D", "E"])
    sources = _SCENE if any(2 in kind.sources for kind in types) else _SCENE[:1]
    fitting = [kind for kind in types if len(sources) in kind.sources]
    found = generate(sources, fitting, np.random.default_rng(0), number, kinds=stage.question_kinds)
    return (found * number)[:number]


def matmul_rate(device: torch.device, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """FLOP/s of matrix products of 1024 (CPU, one process' threads) or 8192 on the device, measured now."""
    size = 8192 if device.type == "cuda" else 1024
    left = torch.randn(size, size, device=device, dtype=dtype)
    left @ left
    clock = time.perf_counter if device.type == "cuda" else time.thread_time
    done, began = 0, clock()
    while clock() - began < seconds:
        left @ left
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        done += 1
    return done * 2 * size**3 / (clock() - began)


def rows(costs: Sequence[StageCost], rate: float, device: str) -> list[tuple[str, ...]]:
    """Cells of the table that ``--dry-run`` prints."""
    return [
        (
            cost.name,
            f"{cost.steps:,}",
            f"{cost.clips:,}",
            f"{cost.questions:,}" if cost.questions else "–",
            f"{cost.trained / 1e6:,.2f}",
            f"{cost.frozen / 1e6:,.1f}",
            f"{cost.memory_bytes / 2**30:,.1f}",
            f"{cost.flop / 1e12:,.2f}",
            duration(cost.seconds(rate, device)),
        )
        for cost in costs
    ]


COLUMNS = ("stage", "steps", "clips", "questions", "trained, M", "frozen, M", "GiB", "TFLOP", "time")


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``, ``12 days``."""
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86_400:,.0f} days"
