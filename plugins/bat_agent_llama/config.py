"""Options of the reasoner ``llama``."""

from __future__ import annotations

from dataclasses import dataclass

from bat_agent.errors import BadInput

TINY = "tiny"
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class LlamaReasonerConfig:
    """Options of :class:`bat_agent_llama.reasoner.LlamaReasoner`; a contradiction raises ``BadInput``."""

    token_dim: int = 768
    """D, width of the encoder's tokens."""
    llm: str = TINY
    """``tiny``: a small model built here and trained from scratch; else a folder or a hub id, which stays frozen."""
    dtype: str = "bfloat16"
    """Number format of a language model that is loaded; ``tiny`` is always float32."""
    adapter: str = "none"
    """Only ``none``: with a loaded language model the projector alone is trained."""
    num_queries: int = 16
    """Learnable queries that read all encoder tokens; 0 leaves only the direct path."""
    num_cls_tokens: int = 3
    """Leading encoder tokens that reach the language model one by one; 0 leaves only the queries."""
    spoken_slots: int = 0
    """Source slots whose heads are put into the language model's own words, five tokens each; 0 for none."""
    projector_layers: int = 1
    """Cross-attention layers of the queries."""
    projector_dim: int = 256
    """Width of the queries, a multiple of ``projector_heads``."""
    projector_heads: int = 4
    """Attention heads of the queries."""
    max_answer_tokens: int = 64
    """An answer ends here at the latest."""
    tiny_layers: int = 4
    """Transformer layers of ``tiny``."""
    seed: int = 0
    """Seed of the first weights of all that is trained."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.adapter != "none":
            raise BadInput(
                f"adapter={self.adapter!r} is not in this release; use adapter=none, which trains the projector only"
            )
        if self.dtype not in DTYPES:
            raise BadInput(f"dtype={self.dtype!r} is unknown, expected one of {', '.join(DTYPES)}")
        for name in (
            "token_dim",
            "projector_layers",
            "projector_dim",
            "projector_heads",
            "max_answer_tokens",
            "tiny_layers",
        ):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}={getattr(self, name)} is too small, expected at least 1")
        if min(self.num_queries, self.num_cls_tokens) < 0 or self.num_queries + self.num_cls_tokens == 0:
            raise BadInput(
                f"num_queries={self.num_queries} with num_cls_tokens={self.num_cls_tokens} passes no sound on; "
                "give at least one of them a positive number"
            )
        if self.projector_dim % self.projector_heads:
            raise BadInput(
                f"projector_dim={self.projector_dim} must be a multiple of projector_heads={self.projector_heads}; "
                "change one of them"
            )
