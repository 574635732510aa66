"""From a recipe to what it trains and validates on: sound pools and room banks, the two splits never sharing either."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from bat_agent.config import Mixing, Recipe
from bat_agent.curriculum import question_types
from bat_agent.errors import BadInput
from bat_agent.mixtures import Mixtures, SoundPool
from bat_agent.registry import load_simulator
from bat_agent.rooms import RoomBank, open_bank
from bat_agent.sounds import MissingSounds, SoundSet, open_sounds

Split = Literal["train", "valid"]
SYNTHESISED = '"sounds=[{source: procedural, train_folds: [1, 2, 3], valid_folds: [4]}]"'
"""The override that trains without recordings, quoted as a shell wants it."""
# Room seeds of the splits lie this far apart, so that no scene is in both.
_SPLIT_SEED = {"train": 0, "valid": 1_000_000}


def open_pool(recipe: Recipe, split: Split) -> SoundPool:
    """The sounds of one split: the folds that the recipe names for it."""
    sets: list[SoundSet] = []
    for entry in recipe.sounds:
        folds = entry.train_folds if split == "train" else entry.valid_folds
        sounds = _open(entry.source)
        sets.append(sounds if folds is None else _only(sounds, folds, entry.source, f"{split}_folds"))
    if not sets:
        raise BadInput("the recipe names no sounds; add e.g. sounds: [{source: procedural}]")
    return SoundPool(sets, [entry.weight for entry in recipe.sounds])


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
) -> list[RoomBank]:
    """The rendered rooms of one split, made now if they are not there yet."""
    folder = folder or Path(recipe.run_dir) / "rooms"
    banks = []
    for number, entry in enumerate(recipe.rooms):
        simulator = load_simulator(entry.simulator, **entry.options)
        banks.append(
            open_bank(
                folder,
                simulator,
                {"simulator": entry.simulator, "options": entry.options},
                scenes=entry.scenes if split == "train" else entry.valid_scenes,
                sources=entry.sources,
                seconds=entry.seconds,
                seed=recipe.seed + _SPLIT_SEED[split] + 1000 * number,
                progress=progress,
            )
        )
    if not banks:
        raise BadInput("the recipe names no rooms; add e.g. rooms: [{simulator: shoebox, scenes: 1000}]")
    return banks


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
) -> Mixtures:
    """Unaugmented clips of the validation split in batches; the same arguments give the same clips."""
    clips_per_batch = min(clips_per_batch, max(clips, 1))
    plain = Mixing(window_seconds=[seconds], window_weights=[1.0], mirror=0.0)
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
    )


def training(recipe: Recipe, stage_number: int) -> Mixtures:
    """The batches of one stage."""
    stage = recipe.stages[stage_number]
    asks = stage.trains == "reasoner"
    return Mixtures(
        open_pool(recipe, "train"),
        open_banks(recipe, "train"),
        dataclasses.replace(recipe.mixing),
        seed=recipe.seed + 17 * (stage_number + 1),
        steps=stage.steps,
        seconds_per_step=stage.seconds_per_step,
        two_sources=stage.two_sources,
        question_types=question_types(stage.question_types) if asks else (),
        questions_per_clip=stage.questions_per_clip if asks else 0,
        wording="all" if recipe.wordings == "all" else "train",
        loose_words=recipe.loose_words,
        imagined=stage.imagined,
        simple_words=stage.simple_words,
        question_kinds=stage.question_kinds if asks else (),
    )
