"""Recipes: everything a training run depends on, as dataclasses; :mod:`bat_agent.recipes.loading` reads them.

A recipe prints itself into its run folder, so that a run can be repeated from that file alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class Sounds:
    """Where dry sounds come from."""

    source: str = MISSING
    """``procedural``, ``manifest:PATH``, ``folder:DIR`` …, see :mod:`bat_agent.datasets.sound_libraries`."""
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
    that are drawn anew for every clip, or a folder of RIRs in the released layout.
    """

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
class Capture:
    """What lies between a source's recording and ours, beyond the room. Nothing of it by itself."""

    source_limit: float = 0.0
    """Share of sources whose recording ends at a frequency drawn from ``limit_hz``."""
    telephone: float = 0.0
    """Share of sources that were recorded through a telephone, 300–3400 Hz."""
    loudspeaker_db: float = 0.0
    """Standard deviation of the smooth random response of what plays a source, dB; its level stays."""
    recorder_limit: float = 0.0
    """Share of clips in which both microphones, and their noise, end at a frequency drawn from ``limit_hz``."""
    limit_hz: list[float] = field(default_factory=lambda: [4000.0, 16000.0])
    """Range of these frequencies, Hz, even over octaves."""
    microphone_db: float = 0.0
    """Standard deviation of the smooth random response that both microphones have in common, dB."""
    asymmetry_db: float = 0.0
    """Standard deviation of the smooth random difference between the two microphones, dB."""
    codec: float = 0.0
    """Share of clips with noise that follows the sound as that of a codec does, at ``codec_db`` below it (the modulated
    noise of ITU-T P.810)."""
    codec_db: list[float] = field(default_factory=lambda: [20.0, 45.0])
    """Range of how far the noise of a codec lies below the sound, dB."""
    rounded: float = 0.0
    """Share of clips that are rounded to 16 bits, by a recorder at which their peak lies ``headroom_db`` below full
    scale."""
    headroom_db: list[float] = field(default_factory=lambda: [1.0, 40.0])
    """Range of that, dB."""

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        shares = (self.source_limit, self.telephone, self.recorder_limit, self.codec, self.rounded)
        return max(*shares, self.loudspeaker_db, self.microphone_db, self.asymmetry_db) > 0


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
    """Share of drawn clips that are cut out of sound already going on: each of their sources began up to
    ``lead_in_seconds`` before them. In all others every sound begins in a silent room. Validation clips have the same
    share.
    """
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
    """The world of microphones: what recordings, loudspeakers and recorders do to sound."""
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
    feature_epochs: int = 0
    """Above 0, the clips of the stage's steps are encoded once, features of each (``place_summary``) are cached, and
    the part of the encoder that localises is trained on those for so many epochs, in batches of ``clips_per_batch``.
    """
    slot_features: bool = False
    """With ``feature_epochs``: cache features of each slot, under its mask, of clips with any number of sources
    (``slot_summaries``), by the encoder as it is then, instead of those of whole clips with one source.
    """
    feature_colour_db: float = 0.0
    """With ``feature_epochs``: spread of a smooth random response of both microphones, another for each clip in each
    epoch; a third of it between them."""
    clips_per_batch: int = 256
    """With ``feature_epochs``: clips (or slots) of a step of the optimiser."""
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
    mask_weight: float = 0.0
    """Weight of the loss of the slots' soft masks against the energy of each source (spatial-ast: ``slot_summary``)."""
    smoothing_deg: float = 0.0
    """Width of the Gaussian around the true angle in the target; 0 is the paper's one bin."""
    oracle_heads: bool = False
    """A reasoner stage without sound: the encoder's heads are given the truth (:mod:`bat_agent.clips.oracle`)."""
    oracle_tokens: bool = False
    """With ``oracle_heads``: the encoder's first tokens hold the truth too, one a source; else all are empty."""
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
    free_queries: bool = False
    """A reasoner stage without sound: ``questions_per_clip`` free questions a step, in the voices of training and
    loosened, whose queries are learnt (:mod:`bat_agent.questions.free.rehearsal`)."""
    records: str | None = None
    """Root of a SpatialSoundQA data set: its questions and clips are trained on, instead of drawing any."""
    records_stage: int | None = None
    """Which of its question files: 1 to 3 as released, 4 for those beyond the paper, 5 free ones; all without it."""
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
    agent: str | None = None
    """Of the encoder: a shipped model or a model folder whose encoder is taken, weights included, and its thresholds
    and calibration, unless a stage trains it. ``encoder: bat-small`` is short for it."""


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
    word_dropout: float = 0.0
    """Share of meaningless words dropped from training questions (and a third as many put in), so that other wordings
    are understood too.
    """
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
