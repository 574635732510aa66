"""From a recipe to what it trains and validates on: sound pools and rooms, the two splits never sharing either."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, cast

import torch

from bat_agent.clips.mixtures import Mixtures, clips_in
from bat_agent.clips.recorded import Batches, Recorded
from bat_agent.clips.rehearsed import Rehearsed
from bat_agent.clips.room_bank import FreshRooms, open_bank
from bat_agent.clips.sound_bank import SoundPool
from bat_agent.datasets.layout import SPLITS, find_reverberations
from bat_agent.datasets.rooms import ReleasedRooms, Rooms
from bat_agent.datasets.sound_libraries import MissingSounds, open_sounds
from bat_agent.datasets.sounds import Balance, SoundSet
from bat_agent.datasets.spatialsoundqa import SpatialSoundQA
from bat_agent.errors import BadInput
from bat_agent.labels import labels
from bat_agent.questions.curriculum import question_types
from bat_agent.recipes.ears import known_before
from bat_agent.recipes.schema import Mixing, Recipe, Stage
from bat_agent.recipes.schema import Rooms as RoomsEntry
from bat_agent.registry import load_simulator
from bat_agent.sound.audio import expand

Split = Literal["train", "valid"]
SYNTHESISED = '"sounds=[{source: procedural, train_folds: [1, 2, 3], valid_folds: [4]}]"'
"""The override that trains without recordings, quoted as a shell wants it."""
# Room seeds of the splits lie this far apart, so that no scene is in both.
_SPLIT_SEED = {"train": 0, "valid": 1_000_000}


def open_pool(recipe: Recipe, split: Split) -> SoundPool:
    """The sounds of one split: the folds that the recipe names for it."""
    sets: list[SoundSet] = []
    kept = []
    for entry in recipe.sounds:
        folds = entry.train_folds if split == "train" else entry.valid_folds
        if folds is not None and not folds:
            continue
        kept.append(entry)
        sounds = _open(entry.source)
        sounds = sounds if entry.labels is None else sounds.filter(labels=entry.labels)
        sets.append(sounds if folds is None else _only(sounds, folds, entry.source, f"{split}_folds"))
    if not sets:
        raise BadInput(f"the recipe names no sounds for {split}; add e.g. sounds: [{{source: procedural}}]")
    balance = [cast(Balance, entry.balance) for entry in kept]
    return SoundPool(sets, [entry.weight for entry in kept], balance)


def labels_learnt(recipe: Recipe) -> tuple[str, ...]:
    """The classes that the encoder knows when all stages are done, in the order of the table: those of its training
    sounds, and those it knew before. Empty where that cannot be told: it began with weights of which nobody wrote down
    what they know, or was trained on records.
    """
    before = known_before(recipe)
    stages = [stage for stage in recipe.stages if stage.trains == "encoder"]
    if before is None or any(stage.records is not None for stage in stages):
        return ()
    known = {*before, *(open_pool(recipe, "train").labels() if stages else ())}
    return tuple(name for name in labels() if name in known)


def _open(source: str) -> SoundSet:
    try:
        return open_sounds(source, cache=True)
    except MissingSounds as error:
        first = "set BAT_SHARED to the folder of the recordings" if "BAT_SHARED" in source else "change its source"
        raise BadInput(f"{error}; {first}, or train on synthesised sounds with {SYNTHESISED}") from error


def _only(sounds: SoundSet, folds: Sequence[int], source: str, key: str) -> SoundSet:
    try:
        return sounds.filter(folds=folds)
    except BadInput:
        has = sorted({sound.fold for sound in sounds if sound.fold is not None})
    todo = f"it has folds {has}; change {key}" if has else f"it has no folds; leave {key} out"
    raise BadInput(f"{source!r} has no sound in folds {list(folds)}, {todo}")


def open_banks(
    recipe: Recipe,
    split: Split,
    folder: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Rooms]:
    """The rooms of one split; banks are rendered now if they are not there yet. Validation never has fresh rooms."""
    folder = folder or Path(recipe.rooms_dir or Path(recipe.run_dir) / "rooms")
    rooms = [_open_rooms(recipe, number, split, folder, progress) for number in range(len(recipe.rooms))]
    if not rooms:
        raise BadInput("the recipe names no rooms; add e.g. rooms: [{simulator: shoebox, scenes: 1000}]")
    return rooms


def _open_rooms(recipe: Recipe, number: int, split: Split, folder: Path, progress: Callable[[int, int], None]) -> Rooms:
    entry = recipe.rooms[number]
    if entry.rirs is not None:
        return ReleasedRooms(_reverberations(entry, split), entry.seconds)
    if entry.fresh and split == "train":
        return FreshRooms(
            entry.simulator, entry.options, sources=entry.sources, seconds=entry.seconds, weight=entry.scenes
        )
    options = entry.options if split == "train" else {**entry.options, **entry.valid_options}
    bank = open_bank(
        folder,
        load_simulator(entry.simulator, **options),
        {"simulator": entry.simulator, "options": options},
        scenes=entry.scenes if split == "train" else entry.valid_scenes,
        sources=entry.sources,
        seconds=entry.seconds,
        seed=recipe.seed + _SPLIT_SEED[split] + 1000 * number,
        workers=recipe.workers if recipe.workers > 1 and options.get("device", "cpu") == "cpu" else 0,
        progress=progress,
    )
    return dataclasses.replace(bank, repeats=entry.repeats if split == "train" else 1)


def _reverberations(entry: RoomsEntry, split: Split) -> Path:
    """The reverberation JSON of a split: ``train`` and ``eval`` of the released layout."""
    wanted = SPLITS[0] if split == "train" else SPLITS[1]
    found = find_reverberations(Path(expand(str(entry.rirs))))
    for file in found:
        if file.name == f"{wanted}_reverberation.json":
            return file
    raise BadInput(f"{entry.rirs} has no {wanted}_reverberation.json, only {found[0].name}; add the other split")


def validation(
    recipe: Recipe,
    clips: int,
    *,
    seconds: float = 10.0,
    two_sources: float = 0.0,
    letters: Sequence[str] = (),
    questions_per_clip: int = 0,
    clips_per_batch: int = 32,
    seed: int = 0,
    truth_only: bool = False,
    simple_words: bool = False,
    energies: bool = False,
) -> Mixtures:
    """Unaugmented clips of the validation split in batches; the same arguments give the same clips. As many of them are
    cut out of sound already going on as the recipe says for training.

    ``truth_only`` clips have no sound, only the truth about it; ``simple_words`` asks in one wording only; ``energies``
    adds to the truth where in time and frequency each source is.
    """
    clips_per_batch = min(clips_per_batch, max(clips, 1))
    plain = Mixing(
        window_seconds=[seconds],
        window_weights=[1.0],
        mirror=0.0,
        going_on=recipe.mixing.going_on,
        lead_in_seconds=recipe.mixing.lead_in_seconds,
        normalise=recipe.mixing.normalise,
        reverberation=recipe.mixing.reverberation,
    )
    return Mixtures(
        open_pool(recipe, "valid"),
        open_banks(recipe, "valid"),
        plain,
        seed=recipe.seed + _SPLIT_SEED["valid"] + seed,
        steps=-(-clips // clips_per_batch),
        seconds_per_step=clips_per_batch * seconds,
        two_sources=two_sources,
        question_types=question_types(letters),
        questions_per_clip=questions_per_clip,
        wording="all" if recipe.wordings == "all" else "eval",
        truth_only=truth_only,
        simple_words=simple_words,
        energies=energies,
    )


def training(recipe: Recipe, stage_number: int, *, shard: tuple[int, int] = (0, 1)) -> Batches:
    """The batches of one stage; of each, the clips rank::world of ``shard=(rank, world)``."""
    stage = recipe.stages[stage_number]
    if stage.records is not None:
        return recorded(recipe, stage, "train", shard=shard)
    if stage.free_queries:
        return rehearsed(recipe, stage_number, "train", shard=shard)
    asks = stage.trains == "reasoner"
    pool = open_pool(recipe, "train")
    return Mixtures(
        pool,
        open_banks(recipe, "train"),
        dataclasses.replace(recipe.mixing),
        seed=recipe.seed + 17 * (stage_number + 1),
        steps=_steps(recipe, stage, pool),
        seconds_per_step=stage.seconds_per_step,
        two_sources=stage.two_sources,
        question_types=question_types(stage.question_types) if asks else (),
        questions_per_clip=stage.questions_per_clip if asks else 0,
        wording="all" if recipe.wordings == "all" else "train",
        word_dropout=recipe.word_dropout,
        truth_only=stage.oracle_heads,
        simple_words=stage.simple_words,
        question_kinds=stage.question_kinds if asks else (),
        shard=shard,
        render_on=render_on(recipe),
        energies=stage.mask_weight > 0,
    )


def rehearsed(recipe: Recipe, stage_number: int, split: Split, *, shard: tuple[int, int] = (0, 1)) -> Rehearsed:
    """The questions of a stage of ``free_queries``; for validation others, but in the same voices."""
    stage = recipe.stages[stage_number]
    steps = stage.steps if split == "train" else -(-recipe.validation_clips // stage.questions_per_clip)
    seed = recipe.seed + 17 * (stage_number + 1) + _SPLIT_SEED[split]
    return Rehearsed(questions=stage.questions_per_clip, steps=steps, seed=seed, shard=shard)


def recorded(
    recipe: Recipe, stage: Stage, split: Literal["train", "eval"], *, shard: tuple[int, int] = (0, 1)
) -> Recorded:
    """The records of a stage that names some, in batches; of ``eval`` those to validate on, as they are."""
    data = SpatialSoundQA(
        expand(str(stage.records)),
        stages=None if stage.records_stage is None else [stage.records_stage],
        split=split,
        types=question_types(stage.question_types) or None,
    )
    mixing, clips = recipe.mixing, clips_per_step(recipe, stage)
    if split == "eval":
        data = data.spread(recipe.validation_clips)
        clips = min(clips, len(data))
        return Recorded(data, mixing, clips_per_step=clips, steps=len(data) // clips)
    steps = stage.steps
    if stage.epochs is not None:
        steps = math.ceil(stage.epochs * stage.epoch_fraction * len(data) / clips)
    seed = recipe.seed + 17 * (recipe.stages.index(stage) + 1)
    return Recorded(data, mixing, clips_per_step=clips, steps=steps, seed=seed, shuffle=True, shard=shard)


def draws_clips(recipe: Recipe) -> bool:
    """Whether any stage needs the recipe's sounds and rooms."""
    return any(stage.records is None and not stage.free_queries for stage in recipe.stages)


def render_on(recipe: Recipe) -> Literal["worker", "device"]:
    """Where training clips are rendered: as the recipe says; ``auto`` is the device where that is a GPU."""
    if recipe.render_on == "auto":
        return "device" if torch.cuda.is_available() else "worker"
    return "device" if recipe.render_on == "device" else "worker"


def clips_per_step(recipe: Recipe, stage: Stage) -> int:
    """How many clips a step of all processes has; the mean where they differ in length."""
    if stage.free_queries:
        return 1
    pairs = zip(recipe.mixing.window_seconds, recipe.mixing.window_weights, strict=True)
    counts = [(clips_in(stage.seconds_per_step, seconds), weight) for seconds, weight in pairs]
    return max(1, round(sum(n * weight for n, weight in counts) / sum(weight for _, weight in counts)))


def steps_of(recipe: Recipe, stage_number: int) -> int:
    """Steps of a stage: its own number, or epochs · epoch_fraction · training sounds (or records) / clips a step,
    rounded up.
    """
    stage = recipe.stages[stage_number]
    if stage.epochs is None:
        return stage.steps
    if stage.records is not None:
        return recorded(recipe, stage, "train").steps
    return _steps(recipe, stage, open_pool(recipe, "train"))


def _steps(recipe: Recipe, stage: Stage, pool: SoundPool) -> int:
    if stage.epochs is None:
        return stage.steps
    return math.ceil(stage.epochs * stage.epoch_fraction * len(pool) / clips_per_step(recipe, stage))
