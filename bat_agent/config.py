"""Recipes: everything a training run depends on, as dataclasses; read from YAML with ``key=value`` overrides.

A recipe prints itself into its run folder, so that a run can be repeated from that file alone.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bat_agent.capture import Capture
from bat_agent.errors import BadInput
from bat_agent.training.checks import check_recipe


@dataclass
class Sounds:
    """Where dry sounds come from."""

    source: str = MISSING
    """As :func:`bat_agent.sounds.open_sounds` takes it: ``procedural``, ``manifest:PATH``, ``folder:DIR`` …"""
    train_folds: list[int] | None = None
    """Folds to train on; none for sounds without folds; empty: never train on it."""
    valid_folds: list[int] | None = None
    """Folds to validate on, never trained on; empty: never validate on it."""
    weight: float = 1.0
    """How often to draw from here, relative to the other entries."""
    balance: str = "class"
    """How to draw: ``class``: every class equally often; ``bat``: by the weights of BAT; ``none``: every clip."""
    labels: list[str] | None = None
    """Only sounds with one of these classes; none for all."""


@dataclass
class Rooms:
    """Where room impulse responses come from: a bank of random scenes, rendered once and kept in the run folder, rooms
    that are drawn anew for every clip, or a folder of RIRs in the released layout."""

    simulator: str = "shoebox"
    """Name of the simulator plugin."""
    fresh: bool = False
    """Draw and render a new room for every training clip; ``scenes`` is then not used."""
    rirs: str | None = None
    """Folder of RIRs in the released layout (``mp3d_reverb``) to take instead of a simulator."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its options."""
    valid_options: dict[str, Any] = field(default_factory=dict)
    """Options that are different for validation, e.g. ``{houses_seed: 1}`` for houses that training never sees."""
    scenes: int = 1000
    """Rooms, each with its own listener."""
    repeats: int = 1
    """How often each room of a bank counts in training, next to the other entries."""
    valid_scenes: int = 300
    """Rooms kept for validation."""
    sources: int = 4
    """Source positions in each room."""
    seconds: float = 0.5
    """Length of the RIRs, seconds."""


@dataclass
class Mixing:
    """How clips are made of sounds and rooms."""

    window_seconds: list[float] = field(default_factory=lambda: [10.0])
    """Clip lengths; one is drawn for each step."""
    window_weights: list[float] = field(default_factory=lambda: [1.0])
    """How often each length is drawn."""
    two_sources: float = 0.0
    """Share of clips with two sources."""
    going_on: float = 0.0
    """Share of drawn clips, validation's too, that are cut out of sound already going on: each of their sources began
    up to ``lead_in_seconds`` before them. In all others every sound begins in a silent room."""
    lead_in_seconds: float = 0.5
    """How much of the sound before a clip is rendered, where it goes on; what RIRs have beyond it is not heard then."""
    no_source: float = 0.0
    """Share of clips without any source, only the noise of the microphones; not where questions are asked."""
    mirror: float = 0.5
    """Share of clips with the ears swapped and the azimuth mirrored."""
    equalise_db: float = 0.0
    """Largest random equalisation of the dry sound, ± dB."""
    speed: float = 0.0
    """Largest random change of playing speed, ± share."""
    noise_dbfs: list[float] | None = None
    """Range of the level of the microphones' own noise, dBFS; none for silence."""
    mismatch_db: float = 0.0
    """Spread of the random gain of each microphone, dB: normal with half of this, cut at ±1 dB."""
    mismatch_us: float = 0.0
    """Spread of the random delay of one microphone against the other, µs: normal with half of this, cut at ± this."""
    level_jitter_db: float = 0.0
    """Largest random gain of the whole clip, ± dB: level then says nothing of distance."""
    capture: Capture = field(default_factory=Capture)
    """The world of microphones."""
    normalise: bool = True
    """Bring every dry sound to −14 dBFS (BAT, table 8)."""
    reverberation: str = "full"
    """``full``: the whole RIR; ``direct``: its direct sound only; ``none``: the dry sound in both ears (table 8)."""
    roll: bool = False
    """Turn the dry sound around in time by a random offset."""
    gain: bool = False
    """Multiply the dry sound by 0.5 + Beta(10, 10), as the released trainer does."""
    mixup: float = 0.0
    """Share of clips whose dry sound is mixed with another, λ ~ Beta(10, 10), labels with the same λ."""


@dataclass
class Stage:
    """One stage of the curriculum."""

    name: str = MISSING
    """Name of its folder in the run."""
    trains: str = MISSING
    """``encoder`` or ``reasoner``; everything else is frozen."""
    steps: int = 0
    """Optimiser steps; 0 where ``epochs`` is given."""
    epochs: float | None = None
    """Length of the stage in epochs, instead of ``steps``."""
    epoch_fraction: float = 1.0
    """Share of the training sounds that counts as an epoch; BAT takes a tenth of AudioSet-2M."""
    seconds_per_step: float = 128.0
    """Seconds of sound in one step, of all processes together; the number of clips varies with their length."""
    passes: int = 0
    """Above 0, the clips of the stage's steps are heard once, and what the encoder keeps of each (``place_summary``) is
    gone through so many times, in batches of ``clips_per_batch``: trains what hears places alone, many times faster."""
    passes_over_slots: bool = False
    """With ``passes``: keep what each slot claims of clips with any number of sources (``slot_summaries``), by the
    encoder as it is then, instead of clips with one source whole."""
    passes_colour_db: float = 0.0
    """With ``passes``: spread of a smooth random response of both microphones, anew for each clip in each pass; a third
    of it between them."""
    clips_per_batch: int = 256
    """With ``passes``: clips (or slots) of a step of the optimiser."""
    accumulate: int = 1
    """Pieces that each process makes its share of a step in, to save memory."""
    learning_rate: float = 1e-3
    """Peak learning rate, reached after the warm-up, then half a cosine down to ``min_learning_rate``."""
    per_256: bool = False
    """Take ``learning_rate`` as that of 256 clips a step, and scale it with the number of clips."""
    min_learning_rate: float = 0.0
    """Learning rate at the end."""
    warmup: float = 0.05
    """Share of the steps spent warming up."""
    warmup_epochs: float | None = None
    """Epochs spent warming up, instead of ``warmup``."""
    layer_decay: float = 1.0
    """The learning rate falls by this factor from each transformer block to the one below it."""
    weight_decay: float = 0.05
    """Weight decay."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    """AdamW betas."""
    muon: float = 0.0
    """Above 0, Muon trains the matrices (embeddings and queries excepted), at this many times the learning rate."""
    clip_norm: float = 1.0
    """Largest gradient norm."""
    class_weight: float = 1250.0
    """λ1: weight of the class loss (BAT, section 4.1)."""
    distance_weight: float = 1.0
    """λ2: weight of the distance loss."""
    direction_weight: float = 2.0
    """λ3: weight of the azimuth and elevation losses."""
    claim_weight: float = 0.0
    """Weight of which bands each slot claims, told from the sources apart (``slot_summary`` of spatial-ast)."""
    smoothing_deg: float = 0.0
    """Width of the Gaussian around the true angle in the target; 0 is the paper's one bin."""
    imagined: bool = False
    """A reasoner stage without sound: the heads are told the truth (:mod:`bat_agent.imagined`)."""
    ideal_ear: bool = False
    """In an imagined stage, the encoder's first tokens tell the truth too, one for each source; else they are empty."""
    frozen: list[str] = field(default_factory=list)
    """Beginnings of the names of parameters of the trained part that this stage leaves as they are."""
    question_types: list[str] = field(default_factory=list)
    """Letters of the question types of a reasoner stage, e.g. ``[A, B]``; ``P`` adds plain everyday questions."""
    question_kinds: list[str] = field(default_factory=list)
    """Of these types, only kinds that begin so, e.g. ``[side, is_side]``; none for all."""
    simple_words: bool = False
    """Ask everything in one wording only: a language model from scratch finds out what is asked many times sooner."""
    questions_per_clip: int = 8
    """Questions about each clip."""
    records: str | None = None
    """Root of a SpatialSoundQA data set: its questions and clips are trained on, instead of drawing any."""
    records_stage: int | None = None
    """Which of its question files: 1, 2 or 3 as released, 4 for those beyond the paper; all without it."""
    cache_tokens: bool = False
    """Encode every clip of ``records`` once, into files beside the rooms, and read what the encoder says from there."""
    two_sources: float | None = None
    """Share of clips with two sources; none takes the recipe's."""


@dataclass
class Part:
    """One component of the agent."""

    name: str = MISSING
    """Name of the plugin component."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its options."""
    weights: str | None = None
    """Weights to start from."""


@dataclass
class Recipe:
    """A training run from nothing to a model that can be shipped."""

    name: str = MISSING
    """Name of the model, and of its run folder."""
    seed: int = 0
    """Seed of everything random."""
    encoder: Part = field(default_factory=Part)
    """The encoder to train."""
    reasoner: Part = field(default_factory=lambda: Part("rules"))
    """The reasoner to train; without one, answers come by rules from what the encoder's heads say."""
    sounds: list[Sounds] = field(default_factory=list)
    """Where sounds come from."""
    rooms: list[Rooms] = field(default_factory=list)
    """Where rooms come from."""
    mixing: Mixing = field(default_factory=Mixing)
    """How clips are made of them."""
    wordings: str = "train"
    """Question wordings to train on: ``train`` keeps some back for validation, ``all`` validates on the same ones."""
    loose_words: float = 0.0
    """Share of meaningless words left out of training questions, so that other wordings are understood too."""
    stages: list[Stage] = field(default_factory=list)
    """The curriculum, in order."""
    run_dir: str = "runs/${name}"
    """Folder for checkpoints, logs and the RIR bank."""
    rooms_dir: str | None = None
    """Folder for the RIR bank, where several runs share it; ``rooms`` in the run folder unless given."""
    workers: int = 1
    """Processes that make clips; the result does not depend on their number."""
    preload: bool = False
    """Load all sounds before training, up to a gigabyte of each entry: many workers then do not load them one by one
    each on its own."""
    sharding: str = "none"
    """Under several processes: ``none``: each holds the whole model; ``full``: the reasoner is shared out (FSDP2)."""
    precision: str = "no"
    """``no`` (float32) or ``bf16``."""
    compile: bool = False
    """Compile the encoder with ``torch.compile``; meant for a GPU."""
    render_on: str = "auto"
    """Where rooms are put around sounds: ``worker`` processes, the training ``device``, or ``auto``: a GPU if any."""
    save_every: int = 500
    """Steps between checkpoints."""
    validate_every: int = 2000
    """Steps between validations within a stage; the end of a stage is always validated."""
    validation_clips: int = 512
    """Clips of a validation within training."""


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """Read a shipped recipe by name, or any YAML file, and apply ``key=value`` overrides (``stages.0.steps=10``).

    Raises :class:`~bat_agent.errors.BadInput` for an unknown recipe, a misspelt key or a value of the wrong type.
    """
    path = _recipe_file(name_or_path)
    try:
        given = _with_base(path)
        merged = OmegaConf.merge(OmegaConf.structured(Recipe), given)
        assert isinstance(merged, DictConfig)
        _override(merged, overrides or [])
        recipe = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise BadInput(f"recipe {path.name}: {_one_line(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"recipe {path.name} is no YAML: {' '.join(str(error).split())}") from error
    assert isinstance(recipe, Recipe)
    if recipe.precision == "False":  # what YAML makes of a bare no
        recipe.precision = "no"
    check_recipe(recipe)
    return recipe


def _recipe_file(name_or_path: str, beside: Path | None = None) -> Path:
    """The file of a recipe: a YAML file (if relative, also ``beside`` another one), or a shipped one by name."""
    path = Path(name_or_path)
    if not path.suffix:
        near = None if beside is None else beside.parent / f"{name_or_path}.yaml"
        shipped = Path(str(resources.files("bat_agent") / "recipes" / f"{name_or_path}.yaml"))
        path = near if near is not None and near.is_file() else shipped
    elif beside is not None and not path.is_file():
        path = beside.parent / path
    if path.is_file():
        return path
    near_names = difflib.get_close_matches(name_or_path, shipped_recipes(), n=1)
    hint = f"did you mean {near_names[0]!r}? The shipped ones are" if near_names else "give a YAML file or one of"
    raise BadInput(f"no recipe {name_or_path!r}; {hint}: {', '.join(shipped_recipes())}")


def _with_base(path: Path, below: tuple[Path, ...] = ()) -> DictConfig:
    """What stands in a recipe's file, on top of what stands in its ``base``; a list replaces that of the base."""
    if path in below:
        raise BadInput(f"recipe {path.name} is, by its base, based on itself; take one base out")
    given = OmegaConf.load(path)
    _check_keys(given, path.name)
    assert isinstance(given, DictConfig)
    base = given.pop("base", None)
    if base is None:
        return given
    merged = OmegaConf.merge(_with_base(_recipe_file(str(base), path), (*below, path)), given)
    assert isinstance(merged, DictConfig)
    return merged


def shipped_recipes() -> list[str]:
    """Names of the recipes inside the package."""
    folder = resources.files("bat_agent") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML that :func:`load_recipe` reads back."""
    return OmegaConf.to_yaml(OmegaConf.structured(recipe))


# What stands inside a recipe, for the one-line errors about keys; OmegaConf names its own classes instead.
_GROUPS: dict[str, type] = {"encoder": Part, "reasoner": Part, "mixing": Mixing}
_LISTS: dict[str, tuple[type, str]] = {
    "sounds": (Sounds, "an entry of sounds"),
    "rooms": (Rooms, "an entry of rooms"),
    "stages": (Stage, "a stage"),
}


def _override(recipe: DictConfig, overrides: list[str]) -> None:
    """Set each ``key=value``; a list cannot be merged from a dotted path by OmegaConf, so each is set on its own."""
    for override in overrides:
        _check_override(override, recipe)
        try:
            OmegaConf.from_dotlist([override])
        except yaml.YAMLError as error:
            raise BadInput(f"override {override!r}: the value is no YAML ({' '.join(str(error).split())})") from error
    changes = OmegaConf.from_dotlist(overrides)
    for override in overrides:
        key = override.partition("=")[0]
        try:
            OmegaConf.update(recipe, key, OmegaConf.select(changes, key), force_add=False)
        except (OmegaConfBaseException, TypeError, ValueError, AttributeError, LookupError) as error:
            raise BadInput(f"override {override!r}: {_one_line(error)}") from error


def _check_override(override: str, recipe: DictConfig) -> None:
    key, equals, _ = override.partition("=")
    if not equals:
        raise BadInput(f"override {override!r} must have the form key=value")
    where = f"override {override!r}"
    first, *rest = re.sub(r"\[(\w*)\]", r".\1", key).split(".")
    _check_key(first, Recipe, f"{where}: the recipe")
    kind, what = _GROUPS.get(first), first
    if first in _LISTS and rest:
        number, *rest = rest
        last = len(recipe[first]) - 1
        if not number.isdecimal():
            raise BadInput(f"{where}: {first} is a list, expected the number of an entry such as {first}.0")
        if int(number) > last:
            has = f"has {first} 0 to {last}" if last >= 0 else f"has no {first}"
            raise BadInput(f"{where}: there is no {first}.{number}; the recipe {has}")
        kind, what = _LISTS[first]
    if rest and kind is None:
        raise BadInput(f"{where}: {first} is one value and has no key {rest[0]!r}")
    if rest and kind is not None:
        _check_key(rest[0], kind, f"{where}: {what}")


def _check_keys(given: Any, where: str) -> None:
    """Whether the recipe in a file has known keys only, in itself and in what stands inside it."""
    if not isinstance(given, DictConfig):
        raise BadInput(f"recipe {where} must be a YAML mapping with keys like name, encoder, stages")
    for key in given:
        if key != "base":
            _check_key(str(key), Recipe, f"recipe {where}")
    raw = OmegaConf.to_container(given, resolve=False)
    assert isinstance(raw, dict)
    inside = [(raw.get(name), kind, str(name)) for name, kind in _GROUPS.items()]
    for name, (kind, what) in _LISTS.items():
        entries = raw.get(name)
        inside += [(entry, kind, what) for entry in (entries if isinstance(entries, list) else [])]
    for entry, kind, what in inside:
        for key in entry if isinstance(entry, dict) else ():
            _check_key(str(key), kind, f"recipe {where}: {what}")


def _check_key(key: str, kind: Any, who: str) -> None:
    known = list(kind.__dataclass_fields__)
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise BadInput(f"{who} has no key {key!r}, {hint}")


def _one_line(error: Exception) -> str:
    line = " ".join(str(error).split("\n")[0].split())
    key = getattr(error, "full_key", None)
    return f"{line} (key {key})" if key else line
