"""Encoder, reasoner and simulator that only pass things on, so that plumbing can be tested without a model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bat_agent.errors import BadInput
from bat_agent.interfaces import (
    DIRECT_GAIN_AT_1M,
    NUM_AZIMUTH_BINS,
    NUM_CLASSES,
    NUM_DISTANCE_BINS,
    NUM_ELEVATION_BINS,
    Encoding,
    Reply,
)
from bat_agent.labels import labels
from bat_agent.scene import (
    STANDING_HEIGHT_M,
    Listener,
    Room,
    Scene,
    Source,
    Vector,
    relative_position,
    unit_vector,
)
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig, EchoSimulatorConfig

FLOOR = 1e-5  # −100 dB: silence keeps a finite level
NEAREST_M = 0.05  # a source inside the head is as loud as one on its surface


class EchoEncoder(nn.Module):
    """Tokens are the levels of both ears in turn; the perception follows from level alone.

    Azimuth is 180° where the left ear is louder, 0° where the right one is, else 90°. Distance takes the source to
    have an RMS of 1, elevation is always 0°, and anything that sounds is the first class. One parameter scales the
    azimuth logits, so that optimisers and checkpoints have something to hold.
    """

    fixed_length = False

    def __init__(self, config: EchoEncoderConfig) -> None:
        """Take every size from ``config``."""
        super().__init__()
        self.config = config
        self.sample_rate_hz = config.sample_rate_hz
        self.clip_seconds = config.clip_seconds
        self.token_dim = config.token_dim
        self.stretches = config.token_dim // 2
        self.stretch = math.ceil(config.token_seconds * config.sample_rate_hz / self.stretches)
        self.num_tokens = self._count_tokens(round(config.clip_seconds * config.sample_rate_hz))
        self.labels = labels()
        self.sharpness = nn.Parameter(torch.tensor(0.1))

    def forward(self, waveform: Tensor) -> Encoding:
        """Encode ``waveform`` (B, 2, N) float32."""
        if waveform.ndim != 3 or waveform.shape[1] != 2 or waveform.shape[2] == 0:
            raise BadInput(f"waveform must be (batch, 2, samples), got {tuple(waveform.shape)}; stack two ears")
        level_db = _level_db(waveform)  # (B, 2)
        louder_db = level_db[:, 1] - level_db[:, 0]
        lateral = louder_db.abs() > self.config.threshold_db
        azimuth = torch.where(lateral, torch.where(louder_db < 0, 180.0, 0.0), 90.0)
        rms = 10 ** (level_db.mean(dim=1) / 20)
        distance_bin = (2 * DIRECT_GAIN_AT_1M / rms).clamp(0, NUM_DISTANCE_BINS - 1)
        class_logits = waveform.new_full((len(waveform), NUM_CLASSES), -6.0)
        class_logits[:, 0] = (level_db.amax(dim=1) + 60) / 10
        return Encoding(
            tokens=self._tokens(waveform),
            class_logits=class_logits,
            distance_logits=_peak(distance_bin, NUM_DISTANCE_BINS),
            azimuth_logits=self.sharpness * _peak(azimuth, NUM_AZIMUTH_BINS, circular=True),
            elevation_logits=_peak(torch.full_like(azimuth, 90.0), NUM_ELEVATION_BINS),
        )

    def _tokens(self, waveform: Tensor) -> Tensor:
        """(B, K, D): D/2 stretches of each token, the left and the right level of each, 0 for silence."""
        tokens, samples = self._count_tokens(waveform.shape[2]), self.stretches * self.stretch
        padded = nn.functional.pad(waveform, (0, tokens * samples - waveform.shape[2]))
        level_db = _level_db(padded.unflatten(2, (tokens, self.stretches, self.stretch)))  # (B, 2, K, D/2)
        return (level_db.permute(0, 2, 3, 1).flatten(2) + 100) / 100

    def _count_tokens(self, samples: int) -> int:
        return math.ceil(samples / (self.stretches * self.stretch))


class EchoReasoner(nn.Module):
    """Repeats each question; nothing in it can be trained."""

    def __init__(self, config: EchoReasonerConfig) -> None:
        """Keep ``config``."""
        super().__init__()
        self.config = config

    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[str]:
        """``You asked: …`` for each question, with confidence 1."""
        _check_count(encoding, questions)
        return [Reply(f"You asked: {question}", confidence=1.0) for question in questions]

    def loss(self, encoding: Encoding, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        """Share of the wanted answers that differ from what :meth:`answer` says."""
        said = self.answer(encoding, questions)
        if len(answers) != len(questions):
            raise BadInput(
                f"loss needs one answer per question, got {len(questions)} questions, {len(answers)} answers"
            )
        wrong = [a != b for a, b in zip(said, answers, strict=True)]
        return encoding.tokens.new_tensor(sum(wrong) / max(len(wrong), 1))


class EchoSimulator:
    """Direct sound only: 0.282/d, the delay to each ear, and a head that shadows the far ear. Walls are not heard."""

    def __init__(self, config: EchoSimulatorConfig) -> None:
        """Keep ``config``."""
        self.config = config
        self.sample_rate_hz = config.sample_rate_hz

    def sample_scene(self, rng: np.random.Generator, num_sources: int = 1) -> Scene:
        """A free-field shoebox of 3–10 m, the listener at 1.5 m, sources at least 0.3 m away from it."""
        size = (rng.uniform(3, 10), rng.uniform(2.5, 4), rng.uniform(3, 10))
        x, z = rng.uniform(0.5, size[0] - 0.5), rng.uniform(0.5, size[2] - 0.5)
        listener = Listener((x, STANDING_HEIGHT_M, z), heading_deg=rng.uniform(0, 360))
        sources = tuple(Source(_point(rng, size, listener.position_m)) for _ in range(num_sources))
        return Scene(Room(size, rt60_s=None), listener, sources, seed=int(rng.integers(2**31)))

    def render(self, scene: Scene) -> list[Tensor]:
        """One RIR (2, taps) float32 per source, left ear first, all of the same length; delays are whole samples."""
        arrivals = [self._arrival(scene, source) for source in scene.sources]
        taps = max((int(delays.max()) for delays, _ in arrivals), default=0) + 1
        rirs = []
        for delays, gains in arrivals:
            rir = torch.zeros(2, taps)
            rir[[0, 1], delays.tolist()] = torch.tensor(gains, dtype=torch.float32)
            rirs.append(rir)
        return rirs

    def _arrival(self, scene: Scene, source: Source) -> tuple[np.ndarray, np.ndarray]:
        """Delay in samples and gain at the left and the right ear."""
        listener, config = scene.listener, self.config
        position = relative_position(listener, source.position_m)
        rightward = np.array(unit_vector(listener.heading_deg, 0.0))
        ears = np.array(listener.position_m) + config.ear_offset_m * np.outer([-1, 1], rightward)
        path_m = np.linalg.norm(np.array(source.position_m) - ears, axis=1)
        delays = np.rint(path_m / config.speed_of_sound_m_s * config.sample_rate_hz).astype(int)
        if scene.onset == "direct_at_zero":
            delays = delays - delays.min()
        toward_right = unit_vector(position.azimuth_deg, position.elevation_deg)[0]
        shadow_db = config.head_shadow_db / 2 * toward_right * np.array([-1, 1])
        return delays, DIRECT_GAIN_AT_1M / max(position.distance_m, NEAREST_M) * 10 ** (shadow_db / 20)


def _level_db(waveform: Tensor) -> Tensor:
    """20 log10 of the RMS along the last axis, at least −100 dB."""
    return 20 * waveform.square().mean(dim=-1).sqrt().clamp_min(FLOOR).log10()


def _peak(centre_bin: Tensor, bins: int, circular: bool = False) -> Tensor:
    """(B, bins) logits that fall off linearly from ``centre_bin`` (B,)."""
    away = (torch.arange(bins, device=centre_bin.device) - centre_bin[:, None]).abs()
    return -torch.minimum(away, bins - away) if circular else -away


def _point(rng: np.random.Generator, size_m: Vector, away_from_m: Vector) -> Vector:
    while True:
        x, y, z = rng.uniform(0.1, np.array(size_m) - 0.1)
        if math.dist((x, y, z), away_from_m) >= 0.3:
            return (x, y, z)


def _check_count(encoding: Encoding, questions: Sequence[str]) -> None:
    clips = len(encoding.tokens)
    if len(questions) % clips:
        raise BadInput(f"{len(questions)} questions do not divide among {clips} clips; ask each clip equally many")
