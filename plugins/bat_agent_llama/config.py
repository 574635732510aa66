"""Options of the reasoner ``llama``."""

from __future__ import annotations

from dataclasses import dataclass

from bat_agent.errors import BadInput, check_range

TINY = "tiny"
DTYPES = ("float32", "bfloat16", "float16")
RESAMPLER, QFORMER = "resampler", "qformer"
NO_ADAPTER, ADAPTER_V2, LORA, BOTH = "none", "llama-adapter-v2", "lora", "llama-adapter-v2+lora"
GREEDY, BEAM, SAMPLE = "greedy", "beam", "sample"
ALL, CLS, PATCHES = "all", "cls", "patches"
# Queries, layers, width, heads: of the resampler here, and of the Q-Former as BAT released it.
_SIZES = {
    RESAMPLER: {"num_queries": 16, "projector_layers": 1, "projector_dim": 256, "projector_heads": 4},
    QFORMER: {"num_queries": 64, "projector_layers": 8, "projector_dim": 768, "projector_heads": 12},
}
_CHOICES = {
    "dtype": DTYPES,
    "projector": (RESAMPLER, QFORMER),
    "tokens": (ALL, CLS, PATCHES),
    "adapter": (NO_ADAPTER, ADAPTER_V2, LORA, BOTH),
    "adapter_scale": ("output", "input", "none"),
    "decoding": (GREEDY, BEAM, SAMPLE),
}


@dataclass(frozen=True)
class LlamaReasonerConfig:
    """Options of :class:`bat_agent_llama.reasoner.LlamaReasoner`; a contradiction raises ``BadInput``."""

    token_dim: int = 768
    """D, width of the encoder's tokens."""
    llm: str = TINY
    """``tiny``: a small model built here and trained from scratch. Else one that stays frozen: ``smollm2-135m``, which
    a package carries, a GGUF file, a folder or a hub id."""
    dtype: str = "bfloat16"
    """Number format of a language model that is loaded; ``tiny`` is always float32, and so is all that is trained."""
    tokens: str = ALL
    """Which encoder tokens are heard: ``all``, ``cls`` (the leading summaries) or ``patches`` (BAT, table 11)."""
    num_cls_tokens: int = 3
    """How many leading tokens are summaries; the resampler also passes them on one by one, 0 leaves only queries."""
    projector: str = RESAMPLER
    """``resampler``, light; or ``qformer``, the one of BLIP-2 that BAT released."""
    num_queries: int | None = None
    """Learnable queries that read the encoder tokens (BAT, table 12); none for 16, or 64 with the Q-Former. With the
    resampler, 0 leaves only the direct path."""
    projector_layers: int | None = None
    """Layers of the queries; none for 1, or 8 with the Q-Former."""
    projector_dim: int | None = None
    """Width of the queries, a multiple of ``projector_heads``; none for 256, or 768 with the Q-Former."""
    projector_heads: int | None = None
    """Attention heads of the queries; none for 4, or 12 with the Q-Former."""
    projector_dropout: float = 0.1
    """Dropout of the Q-Former in training; the resampler has none."""
    spoken_slots: int = 0
    """Source slots whose heads are put into the language model's own words, six tokens each; 0 for none."""
    adapter: str = NO_ADAPTER
    """What is trained inside a language model that is loaded: ``none``, ``llama-adapter-v2``, ``lora`` or both,
    ``llama-adapter-v2+lora``."""
    adapter_prompts: int = 10
    """LLaMA-Adapter V2: learnable prompts in each layer that has them; 0 for none."""
    adapter_layers: int | None = None
    """LLaMA-Adapter V2: how many of the last layers have prompts; none for all but the first two (30 of 32)."""
    adapter_prompts_past_lora: bool = True
    """With both adapters: prompts go through the language model's own key and value maps, as in the released code of
    LLaMA-Adapter; false leads them through LoRA as well."""
    adapter_scale: str = "output"
    """LLaMA-Adapter V2: factor of every linear map, on its ``output`` (as in the paper), its ``input`` (as in the
    published chat code), or ``none``."""
    adapter_bias: bool = True
    """LLaMA-Adapter V2: a bias on every linear map."""
    adapter_norms: bool = True
    """LLaMA-Adapter V2: whether the normalisations are trained."""
    lora_rank: int = 8
    """LoRA: rank r."""
    lora_alpha: int = 32
    """LoRA: α; the update is scaled with α/r."""
    lora_dropout: float = 0.05
    """LoRA: dropout in training."""
    lora_targets: tuple[str, ...] = ("q_proj", "v_proj")
    """LoRA: names of the linear maps that get an update."""
    gradient_checkpointing: bool = False
    """Compute the layers again in the backward pass instead of keeping them: a third more time, far less memory."""
    decoding: str = GREEDY
    """``greedy``; ``beam`` as BAT's released code decodes; ``sample`` as its paper says."""
    closed_answers: bool = True
    """With ``greedy``, decode answers of a fixed form (Yes and No, locations …) among well-formed ones only."""
    num_beams: int = 4
    """Beams of ``decoding=beam``."""
    temperature: float = 0.1
    """Temperature of ``decoding=sample``."""
    top_p: float = 0.75
    """Of ``decoding=sample``: the likeliest tokens are drawn from that together have this probability."""
    max_answer_tokens: int = 64
    """An answer ends here at the latest."""
    tiny_layers: int = 4
    """Transformer layers of ``tiny``."""
    tiny_width: int = 256
    """Width of ``tiny``, a multiple of 8."""
    seed: int = 0
    """Seed of the first weights of all that is trained, and of ``decoding=sample``."""

    def __post_init__(self) -> None:
        """Fill in the sizes that belong to the projector, and refuse what cannot be built."""
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise BadInput(f"{name}={getattr(self, name)!r} is unknown, expected one of {', '.join(known)}")
        for name, usual in _SIZES[self.projector].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, usual)
        self._check_sizes()
        self._check_projector()
        self._check_adapter()

    def _check_sizes(self) -> None:
        least_one = ("token_dim", "projector_layers", "projector_dim", "projector_heads", "max_answer_tokens")
        for name in (*least_one, "tiny_layers", "tiny_width", "lora_rank", "lora_alpha", "num_beams"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}={getattr(self, name)} is too small, expected at least 1")
        check_range("llama", self, 1, 65_536, "token_dim", "projector_dim", "tiny_width", "lora_rank")
        check_range("llama", self, 1, 65_536, "max_answer_tokens")
        check_range("llama", self, 0, 8192, "num_queries", "num_cls_tokens", "spoken_slots", "adapter_prompts")
        check_range("llama", self, 1, 256, "projector_layers", "projector_heads", "tiny_layers", "num_beams")
        if self.tiny_width % 8:
            raise BadInput(f"tiny_width={self.tiny_width} must be a multiple of 8, as it is shared by 4 heads")
        for name in ("num_queries", "num_cls_tokens", "spoken_slots", "adapter_prompts"):
            if getattr(self, name) < 0:
                raise BadInput(f"{name}={getattr(self, name)} is negative, expected 0 or more")
        for name in ("projector_dropout", "lora_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise BadInput(f"{name}={getattr(self, name)} must be at least 0 and below 1")
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise BadInput(
                f"temperature={self.temperature} must be above 0 and top_p={self.top_p} above 0 and at most 1; "
                "for the likeliest answer use decoding=greedy"
            )

    def _check_projector(self) -> None:
        direct = self.num_direct
        if not self.num_queries and (self.projector == QFORMER or not (direct or self.spoken_slots)):
            raise BadInput(
                f"num_queries={self.num_queries} with num_cls_tokens={self.num_cls_tokens}, tokens={self.tokens} and "
                f"projector={self.projector} passes no sound on; give num_queries a positive number"
            )
        if self.tokens == CLS and not self.num_cls_tokens:
            raise BadInput("tokens=cls with num_cls_tokens=0 passes no sound on; say how many leading tokens there are")
        assert self.projector_dim is not None
        assert self.projector_heads is not None
        if self.projector_dim % self.projector_heads:
            raise BadInput(
                f"projector_dim={self.projector_dim} must be a multiple of projector_heads={self.projector_heads}; "
                "change one of them"
            )

    def _check_adapter(self) -> None:
        if self.adapter != NO_ADAPTER and self.llm == TINY:
            raise BadInput(
                f"adapter={self.adapter} is for a language model that stays frozen, but llm=tiny is trained whole; "
                "leave adapter out, or give llm=FOLDER"
            )
        if self.adapter_layers is not None and self.adapter_layers < 1:
            raise BadInput(f"adapter_layers={self.adapter_layers} is too small, expected at least 1, or none")
        if self.has_lora and not self.lora_targets:
            raise BadInput("lora_targets is empty, so LoRA would train nothing; name linear maps, e.g. q_proj, v_proj")

    def check(self) -> None:
        """Raise ``WeightsError`` where the language model is not here; nothing is loaded."""
        if self.llm != TINY:
            from bat_agent_llama.language_model import check_language_model

            check_language_model(self.llm)

    @property
    def num_direct(self) -> int:
        """Leading tokens that the resampler passes on one by one."""
        return self.num_cls_tokens if self.projector == RESAMPLER and self.tokens != PATCHES else 0

    @property
    def has_adapter_v2(self) -> bool:
        """Whether LLaMA-Adapter V2 is built."""
        return self.adapter in (ADAPTER_V2, BOTH)

    @property
    def has_lora(self) -> bool:
        """Whether LoRA is built."""
        return self.adapter in (LORA, BOTH)
