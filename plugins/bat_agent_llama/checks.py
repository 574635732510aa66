"""Whether what a reasoner is asked about fits it."""

from __future__ import annotations

from collections.abc import Sequence

from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding
from bat_agent_llama.config import PATCHES, LlamaReasonerConfig


def checked(config: LlamaReasonerConfig, encoding: Encoding, questions: Sequence[str]) -> tuple[list[str], int]:
    """The questions without outer blanks, and how many there are per clip; what does not fit raises ``BadInput``."""
    if isinstance(questions, str):
        raise BadInput("questions is a single string, expected a list of questions; write [question]")
    clips, count, width = encoding.tokens.shape
    if width != config.token_dim:
        raise BadInput(
            f"the encoder's tokens are {width} wide but the reasoner has token_dim={config.token_dim}; "
            f"build it with token_dim={width}, or use the encoder it was trained with"
        )
    needed = config.num_cls_tokens + (config.tokens == PATCHES)
    if count < needed and (config.num_direct or config.tokens == PATCHES):
        raise BadInput(
            f"the encoder gives {count} tokens but the reasoner wants num_cls_tokens={config.num_cls_tokens} "
            f"in front with tokens={config.tokens}; build it with fewer"
        )
    if not clips or len(questions) % clips:
        raise BadInput(f"{len(questions)} questions about {clips} clips, expected the same number about each")
    stripped = [question.strip() for question in questions]
    if "" in stripped:
        raise BadInput(f"question {stripped.index('')} is empty, expected a sentence about the sound; type one")
    return stripped, len(questions) // clips


def check_length(questions: Sequence[str], lengths: Sequence[int], room: int) -> None:
    """Raise ``BadInput`` where a question with its answer takes more than ``room`` tokens."""
    if max(lengths) > room:
        long = questions[lengths.index(max(lengths))]
        raise BadInput(
            f"question {long[:40]!r}… needs {max(lengths)} tokens with prompt and answer, expected at most {room}; "
            "shorten it"
        )
