"""Options of the null encoder, reasoner and simulator."""

from __future__ import annotations

from dataclasses import dataclass

from bat_agent.errors import BadInput, check_range
from bat_agent.interfaces import CLIP_SECONDS, SAMPLE_RATE_HZ


@dataclass(frozen=True)
class EchoEncoderConfig:
    """Options of the encoder ``echo``."""

    token_dim: int = 4
    """Width of a token: the levels of left and right ear, taken turn by turn; even."""
    token_seconds: float = 1.0
    """Stretch of sound that one token covers."""
    clip_seconds: float = CLIP_SECONDS
    """Longest clip."""
    sample_rate_hz: int = SAMPLE_RATE_HZ
    """Rate of the waveform."""
    threshold_db: float = 1.0
    """Level difference between the ears from which a sound counts as lateral."""

    def __post_init__(self) -> None:
        check_range("echo", self, 2, 65_536, "token_dim")
        check_range("echo", self, 0.02, 600, "clip_seconds")
        check_range("echo", self, 1000, 768_000, "sample_rate_hz")
        if self.token_dim < 2 or self.token_dim % 2:
            raise BadInput(f"token_dim must be even and at least 2, got {self.token_dim}")
        if not 0 < self.token_seconds <= self.clip_seconds:
            raise BadInput(
                f"token_seconds must lie in (0, clip_seconds = {self.clip_seconds}], got {self.token_seconds}"
            )


@dataclass(frozen=True)
class EchoReasonerConfig:
    """Options of the reasoner ``echo``."""

    token_dim: int = 4
    """Width of the tokens; the reasoner does not look at them."""


@dataclass(frozen=True)
class EchoSimulatorConfig:
    """Options of the simulator ``echo``."""

    sample_rate_hz: int = SAMPLE_RATE_HZ
    """Rate of the room impulse responses."""
    ear_offset_m: float = 0.0875
    """Distance from the centre of the head to each ear."""
    head_shadow_db: float = 10.0
    """Level difference between the ears for a sound from the side."""
    speed_of_sound_m_s: float = 343.0
    """Speed of sound."""
