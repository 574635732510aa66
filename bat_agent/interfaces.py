"""What an encoder, a reasoner and a simulator must be: three protocols, and what passes between them.

Shapes: B clips, N samples, K tokens, D token width, S source slots. Waveforms are float32, channel 0 is the left ear,
32 kHz, full scale ±1. Directions are in the frame drawn in :mod:`bat_agent.scene`. Targets and bins follow BAT
(appendix and released code): distance bin = round(2·metres), 21 bins; azimuth bin = whole degrees, 360 bins;
elevation bin = whole degrees + 90, 180 bins.

Nothing here imports torch when the program runs: listing and configuring plugins stays fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from bat_agent.scene import Scene

SAMPLE_RATE_HZ = 32_000
DIRECT_GAIN_AT_1M = 1 / math.sqrt(4 * math.pi)
"""0.282: pressure gain of the direct sound at 1 m, the level convention of every simulator (SoundSpaces 2.0 engine)."""
CLIP_SECONDS = 10.0
NUM_CLASSES = 355
NUM_DISTANCE_BINS = 21
NUM_AZIMUTH_BINS = 360
NUM_ELEVATION_BINS = 180
NUM_MELS = 128
MEL_LOW_HZ, MEL_HIGH_HZ = 50.0, 14_000.0
"""The mel bands of front end and masks lie between these (:mod:`bat_agent.sound.features`)."""


@dataclass
class SlotEncoding:
    """What an encoder says of each of S sources at once; a slot without a source has a low activity."""

    activity_logits: Tensor
    """(B, S); sigmoid gives the probability that the slot holds a source."""
    class_logits: Tensor
    """(B, S, 355)"""
    distance_logits: Tensor | None = None
    """(B, S, 21)"""
    azimuth_logits: Tensor | None = None
    """(B, S, 360)"""
    elevation_logits: Tensor | None = None
    """(B, S, 180)"""
    masks: Tensor | None = None
    """(B, S, R, 128), where the encoder has it: a soft time-frequency mask of each slot, its share in every mel band of
    R equal stretches of time; over the slots they sum to 1
    """

    @property
    def claims(self) -> Tensor | None:
        """The old name of :attr:`masks`, to be read and set until bat-agent 0.3."""
        return self.masks

    @claims.setter
    def claims(self, masks: Tensor | None) -> None:
        self.masks = masks


@dataclass
class Encoding:
    """What an encoder says of a batch of clips. A head that an encoder lacks is ``None``."""

    tokens: Tensor
    """(B, K, D) for the reasoner."""
    class_logits: Tensor | None = None
    """(B, 355); multi-label, sigmoid gives probabilities."""
    distance_logits: Tensor | None = None
    """(B, 21); softmax over 0, 0.5 … 10 m."""
    azimuth_logits: Tensor | None = None
    """(B, 360); softmax over whole degrees."""
    elevation_logits: Tensor | None = None
    """(B, 180); softmax over −90 … 89 degrees."""
    slots: SlotEncoding | None = None
    """Several sources at once, where the encoder separates them; the four heads above then speak of the strongest."""

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> Encoding:
        """The encoding of some of the clips; ``index`` selects along the batch axis."""
        return _select(self, index)

    def to(self, device: torch.device | str) -> Encoding:
        """The same encoding on another device."""
        return _map(self, lambda tensor: tensor.to(device))

    def without_place(self) -> Encoding:
        """The same encoding without direction and distance: what there is to say of sound that carries none."""
        slots = self.slots
        if slots is not None:
            slots = replace(slots, distance_logits=None, azimuth_logits=None, elevation_logits=None)
        return replace(self, distance_logits=None, azimuth_logits=None, elevation_logits=None, slots=slots)

    def detach(self) -> Encoding:
        """The same encoding without its gradient history."""
        return _map(self, lambda tensor: tensor.detach())


@dataclass
class HeadsOnly(Encoding):
    """An encoding for its heads: ``tokens`` are fewer than a reasoner needs."""


def _map(encoding: Any, function: Any) -> Any:
    values = {}
    for f in fields(encoding):
        value = getattr(encoding, f.name)
        nested = isinstance(value, SlotEncoding)
        values[f.name] = None if value is None else _map(value, function) if nested else function(value)
    return type(encoding)(**values)


def _select(encoding: Encoding, index: Any) -> Encoding:
    if isinstance(index, int):
        raise TypeError("index an Encoding with a slice or a list, so that the batch axis stays")
    return _map(encoding, lambda tensor: tensor[index])


@runtime_checkable
class Encoder(Protocol):
    """A ``torch.nn.Module`` that turns binaural sound into tokens and, where it has the heads, a perception.

    The core prepares the waveform (rate, length, level); an encoder never resamples, pads or normalises. Silence is
    allowed and must give finite numbers. In evaluation mode a batch gives the same result as its clips one by one.

    Optional, where an encoder has more to offer:

    * ``fixed_length`` (default true): the core pads every clip with silence to exactly ``clip_seconds``; false: shorter
      clips come as they are.
    * ``level_known``: set to false, the encoder judges distance without the absolute level, which an uncalibrated
      recording does not have.
    * ``as_probabilities``: set to true, logits are such that softmax makes probabilities of them.
    * ``perceive(waveform) -> Encoding``: the same heads at less cost, as :class:`HeadsOnly` where tokens are left out.
    * ``place_summary(waveform) -> (B, 2, V)`` and ``place_heads((B, V)) -> Encoding``: where a part of the encoder has
      distance and direction of a single source from a few numbers that nothing learnt goes into (the second row: of the
      clip with the ears swapped), a stage with ``feature_epochs`` caches them and trains that part alone.
    * ``slot_summaries(waveform) -> (Encoding, (B, S, V))``: the same of each slot, also where several sources sound,
      with what is heard, by which sources are matched to slots; for a stage with ``slot_features``.
    * ``recolour(summaries (B, V), common_db, apart_db, generator) -> (B, V)``: those summaries as other microphones
      would give them, for a stage with ``feature_colour_db``.
    * ``adapt(encoding, truth) -> Encoding``, called in training between forward and loss, for heads that follow the
      statistics of a batch.
    * ``graph() -> torch.nn.Module``, for ``bat-agent export``: the same in evaluation as operators that ONNX has, with
      ``inputs``, ``("waveform",)`` or ``("waveform", "level_known")``, the latter a tensor (1,) of 1.0 or 0.0, and
      ``outputs``, the fields of :class:`Encoding` that its ``forward`` gives as a tuple, those of slots as ``slots.…``.
      It may have ``frames``, a module for what each frame by itself is made into, so that windows that overlap share
      them: from a waveform (B, 2, N) a tuple of (B, C, N // hop + 1, M), named by its ``outputs``, which ``inputs``
      names after the waveform; ``hop``, and ``reach``, how many samples before and after its middle a frame sees.
    * ``save_weights(directory, *, half=False)`` and ``load_weights(path)``, where one ``model.safetensors`` with the
      state dict is not enough.
    """

    sample_rate_hz: int
    """Rate of the waveform it wants; the core resamples."""
    clip_seconds: float
    """Longest clip it takes; the core crops."""
    labels: tuple[str, ...]
    """Display name of each class logit."""
    token_dim: int
    """D."""
    num_tokens: int
    """K for a clip of ``clip_seconds``."""

    def __call__(self, waveform: Tensor) -> Encoding:
        """Encode ``waveform`` (B, 2, N) float32; N is ``clip_seconds · sample_rate_hz`` or, if allowed, less."""
        ...


@runtime_checkable
class Reasoner(Protocol):
    """A ``torch.nn.Module`` that answers questions about an encoding; its config has a field ``token_dim`` (D).

    With B clips, ``questions`` holds n·B questions, the n questions of one clip next to each other: all about one clip
    if B = 1, one each if their number is B. What depends on the clip only is computed once per clip. Optional:

    * ``save_weights`` and ``load_weights`` as for an encoder.
    * ``check()`` of its config: raises :class:`~bat_agent.errors.WeightsError` where a file that an option names is not
      there, without loading it.
    * ``converses``, true: a question may come behind those before it, as
      :func:`bat_agent.questions.history.with_history` writes them, and leave out what they said.
    * ``notes``, a tuple of texts: what a listener should know of its answers, such as that it was never trained.
    * ``trained_state_dict()`` and ``load_trained_state_dict(tensors)``: of a reasoner with a large frozen part, what is
      trained and therefore kept in checkpoints.
    * ``answer_tokens(answers) -> int``: how many tokens ``loss`` is the mean over, so that pieces of a step, and
      processes, add up to the loss of the whole.
    * ``stream(encoding, question) -> Iterator[str]``: the answer to one question about one clip, in pieces.
    * ``shard_blocks() -> list of modules``: what is gathered on its own where parameters are shared out (FSDP2).
    * ``outline(config)``, a class method: the reasoner without weights, maybe on the meta device, to be counted by
      ``python -m bat_agent.train --dry-run``.
    """

    def answer(self, encoding: Encoding, questions: Sequence[str]) -> Sequence[str]:
        """One answer per question; a :class:`Reply` where the reasoner can say how sure it is."""
        ...

    def loss(self, encoding: Encoding, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        """Mean cross-entropy of the answer tokens: a scalar with gradient to what is trainable."""
        ...


class Reply(str):
    """An answer that says how sure the reasoner is."""

    confidence: float | None
    """Probability in [0, 1] that the reasoner itself gives to this answer."""
    alternatives: tuple[tuple[str, float], ...]
    """Answers it weighed, this one included, with their probabilities, likeliest first (empty for free text)."""
    plain: tuple[str, float | None] | None
    """What to say in its place where part of it is a guess, such as ``left; in front or behind I cannot tell``, and the
    probability of that, ``None`` where it claims nothing. The text keeps the form in which answers are compared."""
    sure: bool | None
    """``False`` where the reasoner does not stand by it, whatever the confidence; ``None``: that decides."""

    def __new__(
        cls,
        text: str,
        confidence: float | None = None,
        alternatives: Sequence[tuple[str, float]] = (),
        *,
        plain: tuple[str, float | None] | None = None,
        sure: bool | None = None,
    ) -> Reply:
        """A string with four more attributes."""
        reply = super().__new__(cls, text)
        reply.confidence = confidence
        reply.alternatives = tuple(alternatives)
        reply.plain = plain
        reply.sure = sure
        return reply


@runtime_checkable
class Simulator(Protocol):
    """Something that turns a scene into room impulse responses.

    Level convention of every simulator: the direct sound has pressure gain 0.282/d (1/√(4π)/d) before the head.
    Everything random comes from the given generator or from ``scene.seed``; the same scene gives the same bytes.

    Optional, where a simulator can do better than the core does without them:

    * ``render_batch(scenes, num_taps) -> Tensor (sources of all scenes, 2, num_taps)``: many scenes at once.
    * ``render_next(scene, previous) -> list[Tensor]``: ``previous``, the scene one step ago, may help, as when only the
      head has turned.
    * ``render_mono(scene) -> list[Tensor]`` with RIRs (1, taps): no head.
    * ``sample_placements(scene, rng, count) -> list[Scene]``: other listeners and as many sources in the same room.
    * ``options``, a dict of what ``load_simulator`` needs to build one that renders the same, written by
      ``sample_scene`` into ``Scene.simulator``.
    """

    sample_rate_hz: int

    def sample_scene(self, rng: np.random.Generator, num_sources: int = 1) -> Scene:
        """Draw a room, a listener at standing height (1.5 m) and sources anywhere in the same room."""
        ...

    def render(self, scene: Scene) -> list[Tensor]:
        """One RIR (2, taps) float32 per source, left ear first."""
        ...
