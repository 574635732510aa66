"""Options of the reasoner ``talk``."""

from __future__ import annotations

from dataclasses import dataclass

from bat_agent.errors import BadInput, check_range
from bat_agent.hearing.perception import Thresholds

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TalkConfig:
    """Options of :class:`bat_agent_talk.reasoner.TalkReasoner`; a value that makes no sense raises ``BadInput``."""

    token_dim: int | None = None
    """Width of the encoder's tokens; taken as every reasoner takes it, but the tokens are not read."""
    llm: str = "smollm2-135m"
    """The language model, which stays frozen: ``smollm2-135m``, a GGUF file, a folder or a hub id."""
    dtype: str = "float32"
    """Number format of the language model; what is trained is float32. A CPU without bfloat16 of its own is five times
    slower in it."""
    lora_rank: int = 16
    """LoRA: rank r of the update that each linear map gets."""
    lora_alpha: int = 32
    """LoRA: α; the update is scaled with α/r."""
    gradient_checkpointing: bool = False
    """Compute the layers again in the backward pass instead of keeping them: a third more time, far less memory."""
    activity: float = 0.5
    """A slot holds a source from this probability on; the strongest slot always does."""
    label: float = 0.5
    """A label is named, and "can you hear a dog?" is answered with yes, from this probability on."""
    heard: float = 0.0
    """A sound that a question names is ``not heard`` below this probability; 0 takes every question at its word."""
    sure: float = 0.15
    """A question whose query is less likely than this is answered by "I did not understand the question."."""
    seed: int = 0
    """Seed of the first weights of what is trained."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise BadInput(f"dtype={self.dtype!r} is unknown, expected one of {', '.join(DTYPES)}")
        for name in ("lora_rank", "lora_alpha"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}={getattr(self, name)} is too small, expected at least 1")
        check_range("talk", self, 1, 65_536, "token_dim", "lora_rank")
        for name in ("activity", "label", "heard", "sure"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} must be a probability between 0 and 1, got {getattr(self, name)}")

    def check(self) -> None:
        """Raise ``WeightsError`` where the language model is not here; nothing is loaded."""
        from bat_agent_talk.language_model import check_language_model

        check_language_model(self.llm)

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds, as perception wants them."""
        return Thresholds(self.activity, self.label, self.heard)
