"""The reasoner ``llama``: audio prefix, BAT's prompt, answer.

    [prefix of P tokens] [BOS prompt] [answer] [EOS]          loss on answer and EOS only

Prefix and beginning of the prompt are the same for all questions about a clip. Training puts them once in front of the
clip's questions, packed in one sequence in which a question sees the shared part and itself; answering keeps them in a
key-value cache. Both give what one sequence per question would give.

Letters: B clips, n questions each, P prefix tokens, H language-model width, L length of a packed sequence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bat_agent.errors import BadInput, WeightsError
from bat_agent.interfaces import Encoding, Reply
from bat_agent.questions import choices_for
from bat_agent_llama.config import TINY, LlamaReasonerConfig
from bat_agent_llama.language_model import (
    Decoded,
    Decoder,
    build_tiny,
    common_prefix,
    forward,
    load_language_model,
    repeat_cache,
)
from bat_agent_llama.projector import Projector
from bat_agent_llama.spoken import SpokenPerception
from bat_agent_llama.tokenizer import FILE as TOKENIZER_FILE
from bat_agent_llama.tokenizer import answer_ids, load_tokenizer, prompt_ids, shipped_tokenizer

WEIGHTS_FILE = "model.safetensors"
ROWS_AT_ONCE = 128
"""Questions that are answered in one batch; bounds the memory of the repeated cache."""


class LlamaReasoner(nn.Module):
    """A Llama-architecture language model behind a projector (:class:`bat_agent.interfaces.Reasoner`)."""

    def __init__(self, config: LlamaReasonerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LlamaReasonerConfig()
        self.frozen = config.llm != TINY
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            if self.frozen:
                self.llm, self.tokenizer = load_language_model(config.llm, config.dtype)
                self.llm.requires_grad_(False)
            else:
                self.llm, self.tokenizer = build_tiny(config.tiny_layers), shipped_tokenizer()
            self.projector = Projector(
                config.token_dim,
                self.llm.config.hidden_size,
                num_queries=config.num_queries,
                num_direct=config.num_cls_tokens,
                layers=config.projector_layers,
                dim=config.projector_dim,
                heads=config.projector_heads,
            )
            if config.spoken_slots:
                self.spoken = SpokenPerception(self.tokenizer, config.spoken_slots, self.llm.config.hidden_size)
        self.train()

    @property
    def prefix_tokens(self) -> int:
        """P, length of what stands in front of the prompt."""
        return self.projector.num_tokens + (self.spoken.num_tokens if self.config.spoken_slots else 0)

    def train(self, mode: bool = True) -> LlamaReasoner:
        """Training mode for what is trained; a frozen language model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.llm.eval()
        return self

    def loss(self, encoding: Encoding, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        """Mean cross-entropy of the answer tokens, ends included: a scalar; what does not fit raises ``BadInput``."""
        questions, per_clip = self._checked(encoding, questions)
        if not questions or len(answers) != len(questions):
            raise BadInput(
                f"got {len(answers)} answers to {len(questions)} questions, expected one to each, at least one"
            )
        answers = [answer.strip() for answer in answers]
        if "" in answers:
            raise BadInput(f"answer {answers.index('')} is empty, expected the text to learn; drop the pair")
        prompts = prompt_ids(self.tokenizer, questions)
        targets = self._answer_ids(answers)
        self._check_length(questions, [len(p) + len(t) for p, t in zip(prompts, targets, strict=True)])
        shared = common_prefix(prompts)
        pairs = [(prompt[shared:], target) for prompt, target in zip(prompts, targets, strict=True)]
        start = self.prefix_tokens + shared
        packed = _pack([pairs[i : i + per_clip] for i in range(0, len(pairs), per_clip)], start)
        device = self._device
        ids, segments, positions, places, labels = (tensor.to(device) for tensor in packed)
        beginning = self._beginning(encoding, prompts[0][:shared])
        embedded = torch.cat([beginning, self._embed(ids)], dim=1)
        hidden = self.llm.model(
            inputs_embeds=embedded, attention_mask=_block_mask(segments, start), position_ids=positions, use_cache=False
        ).last_hidden_state
        logits = self.llm.lm_head(hidden.flatten(0, 1)[places])
        return F.cross_entropy(logits.float(), labels)

    @torch.no_grad()
    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[Reply]:
        """The greedy answer to each question, with its probability; what does not fit raises ``BadInput``.

        An answer out of a closed set (Yes/No, left/right, …) is weighed against the others of its set: they are its
        ``alternatives`` and its share is its ``confidence``. Other answers: the product of the token probabilities.
        """
        questions, per_clip = self._checked(encoding, questions)
        if not questions:
            return []
        prompts = prompt_ids(self.tokenizer, questions)
        self._check_length(questions, [len(p) + self.config.max_answer_tokens for p in prompts])
        shared = common_prefix(prompts)
        replies: list[Reply] = []
        clips = max(1, ROWS_AT_ONCE // per_clip)
        for first in range(0, len(encoding.tokens), clips):
            beginning = self._beginning(encoding[first : first + clips], prompts[0][:shared])
            _, cache = forward(self.llm, inputs_embeds=beginning)
            rows = torch.arange(len(beginning), device=beginning.device).repeat_interleave(per_clip)
            ends = [prompt[shared:] for prompt in prompts[first * per_clip :][: len(rows)]]
            for i in range(0, len(rows), ROWS_AT_ONCE):
                part = slice(i, i + ROWS_AT_ONCE)
                replies += self._replies(repeat_cache(cache, rows[part]), ends[part])
        return replies

    def save_weights(self, directory: str | Path, *, half: bool = False) -> None:
        """Write what is trained, ``model.safetensors`` (float16 if ``half``); for ``tiny`` also ``tokenizer.json``."""
        from safetensors.torch import save_file

        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._trained().items()}
        if half:
            tensors = {name: tensor.half() for name, tensor in tensors.items()}
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"llm": self.config.llm, "format": "pt"})
        if not self.frozen:
            self.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER_FILE))

    def load_weights(self, path: str | Path) -> None:
        """Read what :meth:`save_weights` wrote, from the folder or its ``model.safetensors``; else ``WeightsError``."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = Path(path) / WEIGHTS_FILE if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise WeightsError(f"there are no reasoner weights at {file}; pass a folder that holds {WEIGHTS_FILE}")
        try:
            found = load_file(file)
        except (SafetensorError, OSError) as error:
            raise WeightsError(
                f"{file} is not a readable safetensors file ({error}); copy or download it again"
            ) from error
        wanted = self._trained()
        _check_tensors(file, found, {name: tensor.shape for name, tensor in wanted.items()})
        tokenizer_file = file.with_name(TOKENIZER_FILE)
        if not self.frozen:
            if not tokenizer_file.is_file():
                raise WeightsError(f"{tokenizer_file} is missing; copy the tokenizer that was saved with the weights")
            self.tokenizer = load_tokenizer(tokenizer_file)
            if self.config.spoken_slots:
                self.spoken.learn_words(self.tokenizer)
        with torch.no_grad():
            for name, tensor in wanted.items():
                tensor.copy_(found[name])

    def _trained(self) -> dict[str, nn.Parameter]:
        """The tensors that are trained and saved; shared ones once."""
        return {name: tensor for name, tensor in self.named_parameters() if tensor.requires_grad or not self.frozen}

    @property
    def _device(self) -> torch.device:
        return self.projector.output_norm.weight.device

    def _embed(self, ids: Tensor) -> Tensor:
        return self.llm.get_input_embeddings()(ids)

    def _answer_ids(self, answers: Sequence[str]) -> list[list[int]]:
        # The released system writes answers right behind the colon; a vocabulary of words with their blank (ours)
        # wants the blank, so that " Yes" is one token.
        return answer_ids(self.tokenizer, answers, separator="" if self.frozen else " ")

    def _beginning(self, encoding: Encoding, shared: list[int]) -> Tensor:
        """Prefix and shared tokens (B, P + shared, H) of the clips."""
        tokens = encoding.tokens.to(self._device, self.projector.output_norm.weight.dtype)
        text = self._embed(torch.tensor([shared], dtype=torch.long, device=self._device))
        parts = [self.projector(tokens), text.expand(len(tokens), -1, -1)]
        if self.config.spoken_slots:
            parts.insert(1, self.spoken(encoding.to(self._device), self.llm.get_input_embeddings().weight))
        return torch.cat([part.to(text.dtype) for part in parts], dim=1)

    def _checked(self, encoding: Encoding, questions: Sequence[str]) -> tuple[list[str], int]:
        """The questions without outer blanks, and how many there are per clip."""
        if isinstance(questions, str):
            raise BadInput("questions is a single string, expected a list of questions; write [question]")
        clips, count, width = encoding.tokens.shape
        if width != self.config.token_dim:
            raise BadInput(
                f"the encoder's tokens are {width} wide but the reasoner has token_dim={self.config.token_dim}; "
                f"build it with token_dim={width}, or use the encoder it was trained with"
            )
        if count < self.config.num_cls_tokens:
            raise BadInput(
                f"the encoder gives {count} tokens but the reasoner wants num_cls_tokens={self.config.num_cls_tokens} "
                "in front; build it with fewer"
            )
        if not clips or len(questions) % clips:
            raise BadInput(f"{len(questions)} questions about {clips} clips, expected the same number about each")
        stripped = [question.strip() for question in questions]
        if "" in stripped:
            raise BadInput(f"question {stripped.index('')} is empty, expected a sentence about the sound; type one")
        return stripped, len(questions) // clips

    def _check_length(self, questions: Sequence[str], lengths: Sequence[int]) -> None:
        room = self.llm.config.max_position_embeddings - self.prefix_tokens
        if max(lengths) > room:
            long = questions[lengths.index(max(lengths))]
            raise BadInput(
                f"question {long[:40]!r}… needs {max(lengths)} tokens with prompt and answer, expected at most {room}; "
                "shorten it"
            )

    def _replies(self, cache: Any, prompts: Sequence[list[int]]) -> list[Reply]:
        decoder = Decoder(self.llm, self.tokenizer.eos_token_id)
        decoded = decoder.greedy(cache, prompts, self.config.max_answer_tokens)
        texts = [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in decoded.ids]
        weighed = self._weigh(decoder, decoded, texts)
        replies = []
        for row, (text, log_p) in enumerate(zip(texts, decoded.log_probability.tolist(), strict=True)):
            options = weighed.get(row, ())
            replies.append(Reply(text, dict(options).get(text, min(math.exp(log_p), 1.0)), options))
        return replies

    def _weigh(
        self, decoder: Decoder, decoded: Decoded, texts: Sequence[str]
    ) -> dict[int, tuple[tuple[str, float], ...]]:
        """Row: answers of its closed set with their shares, likeliest first, for rows whose answer is out of one."""
        rows = [(row, members) for row, text in enumerate(texts) if text in (members := choices_for(text) or ())]
        if not rows:
            return {}
        flat = [(row, member) for row, members in rows for member in members]
        scores = decoder.score(decoded, [row for row, _ in flat], self._answer_ids([m for _, m in flat])).tolist()
        weighed = {}
        for row, members in rows:
            own, scores = scores[: len(members)], scores[len(members) :]
            shares = torch.tensor(own).softmax(dim=0).tolist()
            weighed[row] = tuple(sorted(zip(members, shares, strict=True), key=lambda item: -item[1]))
        return weighed


def _pack(clips: Sequence[Sequence[tuple[list[int], list[int]]]], start: int) -> tuple[Tensor, ...]:
    """One sequence per clip out of its (rest of prompt, answer) pairs, behind ``start`` shared places.

    Returns ids (B, L − start), segments (B, L): 0 shared, 1 … n the questions, −1 padding, positions (B, L), and for
    the M answer tokens of all clips the places (M,) that predict them in the flattened B·L and the tokens (M,).
    """
    length = start + max(sum(len(prompt) + len(target) for prompt, target in pairs) for pairs in clips)
    ids = torch.zeros(len(clips), length - start, dtype=torch.long)
    segments = torch.full((len(clips), length), -1)
    segments[:, :start] = 0
    positions = torch.zeros(len(clips), length, dtype=torch.long)
    positions[:, :start] = torch.arange(start)
    places: list[int] = []
    labels: list[int] = []
    for clip, pairs in enumerate(clips):
        at = start
        for number, (prompt, target) in enumerate(pairs, start=1):
            end = at + len(prompt) + len(target)
            ids[clip, at - start : end - start] = torch.tensor(prompt + target)
            segments[clip, at:end] = number
            positions[clip, at:end] = torch.arange(start, start + end - at)
            predictor = clip * length + at + len(prompt) - 1
            places += range(predictor, predictor + len(target))
            labels += target
            at = end
    return ids, segments, positions, torch.tensor(places), torch.tensor(labels)


def _block_mask(segments: Tensor, start: int) -> Tensor:
    """(B, 1, L, L) bool: a place sees earlier places of the shared part and of its own question."""
    length = segments.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    same = segments[:, :, None] == segments[:, None, :]
    same[:, :, :start] = True
    return (same & earlier)[:, None]


def _check_tensors(file: Path, found: dict[str, Tensor], wanted: dict[str, torch.Size]) -> None:
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    wrong = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(shape)}"
        for name, shape in wanted.items()
        if name in found and found[name].shape != shape
    ]
    if missing or unexpected or wrong:
        parts = [("missing", missing), ("unexpected", unexpected), ("of another shape", wrong)]
        said = "; ".join(f"{len(names)} {what} ({', '.join(names[:3])})" for what, names in parts if names)
        raise WeightsError(
            f"{file} does not fit this reasoner: tensors {said}; build it with the options it was trained with"
        )
