"""The reasoner ``llama``: audio prefix, BAT's prompt, answer.

    [prefix of P tokens] [BOS prompt] [answer] [EOS]          loss on answer and EOS only

Prefix and beginning of the prompt are the same for all questions about a clip, which are packed into one sequence
behind them (:mod:`bat_agent_llama.packing`), in training and in answering.

Letters: B clips, n questions each, P prefix tokens, H language-model width, V vocabulary.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bat_agent.checkpoint import write_tensors
from bat_agent.errors import BadInput, WeightsError
from bat_agent.interfaces import Encoding, Reply
from bat_agent.labels import labels
from bat_agent.training.helpers import whole
from bat_agent_llama import lora
from bat_agent_llama.adapter_v2 import AdapterV2
from bat_agent_llama.building import adapt, build_projector, heard
from bat_agent_llama.checkpoint import WEIGHTS_FILE, check_tensors, read_reasoner
from bat_agent_llama.checks import check_length, checked
from bat_agent_llama.choices import ClosedAnswers, members_of
from bat_agent_llama.config import GREEDY, TINY, LlamaReasonerConfig
from bat_agent_llama.decoding import Decoder, Row
from bat_agent_llama.generation import generate
from bat_agent_llama.language_model import build_tiny, load_language_model, outline_language_model
from bat_agent_llama.packing import Session, Tree, block_mask, common_prefix, pack
from bat_agent_llama.spoken import SpokenPerception
from bat_agent_llama.tokenizer import FILE as TOKENIZER_FILE
from bat_agent_llama.tokenizer import answer_ids, load_tokenizer, prompt_ids, separator_of, shipped_tokenizer

ROWS_AT_ONCE = 128
"""Questions that are answered in one batch; bounds the memory of the cache."""
PACKED_AT_ONCE = 32
"""Of these, questions of one clip; each looks past the others, which costs a little."""
UNTRAINED = "the reasoner llama was not trained, so its answers mean nothing; train it, or load weights"
WHAT_SOUNDS = "Identify the sound events in the audio clip."
"""The question whose answers :meth:`LlamaReasoner.class_scores` weighs."""


class LlamaReasoner(nn.Module):
    """A Llama-architecture language model behind a projector (:class:`bat_agent.interfaces.Reasoner`)."""

    def __init__(self, config: LlamaReasonerConfig | None = None, *, weights: bool = True) -> None:
        """Without ``weights``, a language model that is not ``tiny`` has the right shape and no values."""
        super().__init__()
        self.config = config = config or LlamaReasonerConfig()
        self.frozen = config.llm != TINY
        self.adapter: AdapterV2 | None = None
        self._closed: ClosedAnswers | None = None
        self._members: dict[tuple[str, ...], list[list[int]]] = {}
        self._session: tuple[Any, Any, Session] | None = None
        self._merged = False
        self._trained = False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            if self.frozen:
                if weights:
                    self.llm, self.tokenizer = load_language_model(config.llm, config.dtype)
                else:
                    self.llm, self.tokenizer = outline_language_model(config.llm, config.dtype), shipped_tokenizer()
                self.llm.requires_grad_(False)
                self.adapter = adapt(self.llm, config)
            else:
                self.llm, self.tokenizer = build_tiny(config.tiny_layers, config.tiny_width), shipped_tokenizer()
            self.projector = build_projector(config, self.llm.config.hidden_size)
            if config.spoken_slots:
                self.spoken = SpokenPerception(self.tokenizer, config.spoken_slots, self.llm.config.hidden_size)
        if config.gradient_checkpointing:
            # Transformers 5.24 renamed it, and warns of the old name.
            new = getattr(self.llm, "activation_checkpointing_enable", None)
            (new or self.llm.gradient_checkpointing_enable)({"use_reentrant": False})
        self.train()

    @classmethod
    def outline(cls, config: LlamaReasonerConfig) -> LlamaReasoner:
        """To be counted: ``tiny`` as it is; else the reasoner on torch's meta device, without weights and with the
        built-in tokenizer.
        """
        if config.llm == TINY:
            return cls(config)
        with torch.device("meta"):
            return cls(config, weights=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a listener should know of the answers."""
        return () if self._trained else (UNTRAINED,)

    @property
    def prefix_tokens(self) -> int:
        """P, length of what stands in front of the prompt."""
        return self.projector.num_tokens + (self.spoken.num_tokens if self.config.spoken_slots else 0)

    def train(self, mode: bool = True) -> LlamaReasoner:
        """Training mode for what is trained; a frozen language model stays in evaluation mode, its LoRA excepted."""
        super().train(mode)
        self._session = None
        if self.frozen:
            self.llm.eval()
            again = self.config.gradient_checkpointing
            for name, module in self.llm.named_modules():
                # Layers look at their own mode to know whether to compute themselves again.
                if "lora_" in name or (again and hasattr(module, "gradient_checkpointing")):
                    module.training = mode
        return self

    def loss(self, encoding: Encoding, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        """Mean cross-entropy of the answer tokens, ends included: a scalar; what does not fit raises ``BadInput``."""
        self._trained |= self.training and torch.is_grad_enabled()
        questions, per_clip = checked(self.config, encoding, questions)
        if not questions or len(answers) != len(questions):
            raise BadInput(
                f"got {len(answers)} answers to {len(questions)} questions, expected one to each, at least one"
            )
        targets = self._targets(answers)
        prompts = prompt_ids(self.tokenizer, questions)
        self._check_length(questions, [len(p) + len(t) for p, t in zip(prompts, targets, strict=True)])
        shared = common_prefix(prompts)
        pairs = [(prompt[shared:], target) for prompt, target in zip(prompts, targets, strict=True)]
        start = self.prefix_tokens + shared
        packed = pack([pairs[i : i + per_clip] for i in range(0, len(pairs), per_clip)], start)
        ids, segments, positions, places, targets_flat = (tensor.to(self._device) for tensor in packed)
        beginning = self._beginning(encoding, prompts[0][:shared])
        embedded = torch.cat([beginning, self._embed(ids)], dim=1)
        hidden = self.llm.model(
            inputs_embeds=embedded, attention_mask=block_mask(segments), position_ids=positions, use_cache=False
        ).last_hidden_state
        logits = self.llm.lm_head(hidden.flatten(0, 1)[places])
        return F.cross_entropy(logits.float(), targets_flat)

    def answer_tokens(self, answers: Sequence[str]) -> int:
        """How many tokens :meth:`loss` is the mean over."""
        return sum(map(len, self._targets(answers)))

    @torch.no_grad()
    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[Reply]:
        """The answer to each question, with its probability; what does not fit raises ``BadInput``.

        An answer of a fixed form (Yes/No, a location, …) is decoded among all answers of such forms
        (:mod:`bat_agent_llama.choices`); one out of a closed set (Yes/No, left/right, …) is weighed against the others
        of its set: they are its ``alternatives`` and its share is its ``confidence``. Other answers: the product of
        the token probabilities.
        """
        questions, per_clip = checked(self.config, encoding, questions)
        if not questions:
            return []
        prompts = prompt_ids(self.tokenizer, questions)
        self._check_length(questions, [len(p) + self.config.max_answer_tokens for p in prompts])
        if self.config.decoding != GREEDY:
            return self._generate(encoding, questions, prompts, per_clip)
        shared = common_prefix(prompts)
        ends = [prompt[shared:] for prompt in prompts]
        replies: list[Reply] = []
        clips = max(1, ROWS_AT_ONCE // min(per_clip, PACKED_AT_ONCE))
        for first in range(0, len(encoding.tokens), clips):
            some = encoding if len(encoding.tokens) <= clips else encoding[first : first + clips]
            session = self._open(some, tuple(prompts[0][:shared]))
            part = slice(first * per_clip, first * per_clip + session.clips * per_clip)
            replies += self._packed(session, questions[part], ends[part], per_clip)
        return replies

    def _packed(
        self, session: Session, questions: Sequence[str], ends: Sequence[list[int]], per_clip: int
    ) -> list[Reply]:
        """Replies to all questions of a session, as many at once as fit."""
        replies: list[Reply | None] = [None] * len(questions)
        for first in range(0, per_clip, PACKED_AT_ONCE):
            session.restart()
            places = [p for p in range(len(questions)) if first <= p % per_clip < first + PACKED_AT_ONCE]
            rows = [self._row(p // per_clip, p % per_clip - first + 1, ends[p], questions[p]) for p in places]
            self._decoder().run(session, rows)
            for place, row in zip(places, rows, strict=True):
                replies[place] = self._reply(session, row, questions[place])
        session.restart()
        return [reply for reply in replies if reply is not None]

    @torch.no_grad()
    def stream(self, encoding: Encoding, question: str) -> Iterator[str]:
        """The answer to one question about one clip, piece by piece as the language model says it."""
        (question,), _ = checked(self.config, encoding, [question])
        (prompt,) = prompt_ids(self.tokenizer, [question])
        self._check_length([question], [len(prompt) + self.config.max_answer_tokens])
        session = self._open(encoding, tuple(prompt[:-1]))
        session.restart()
        row, said = self._row(0, 1, prompt[-1:], question), ""
        for _ in self._decoder().steps(session, [row]):
            text = self._text(row.ids)
            if text.startswith(said) and not text.endswith("\ufffd"):
                yield text[len(said) :]
                said = text

    @torch.no_grad()
    def score(self, encoding: Encoding, question: str, candidates: Sequence[str]) -> Tensor:
        """Log probability (B, M) of each of M answers to one question about each clip, all in one pass a clip."""
        (question, *_), _ = checked(self.config, encoding, [question] * len(encoding.tokens))
        (prompt,) = prompt_ids(self.tokenizer, [question])
        targets = self._targets(candidates)
        self._check_length([question], [len(prompt) + max(map(len, targets))])
        session = self._open(encoding, tuple(prompt[:-1]))
        session.restart()
        rows = [Row(clip, 1, prompt[-1:]) for clip in range(session.clips)]
        decoder = self._decoder()
        first = decoder.look(session, [(row, row.prompt) for row in rows])
        tree = Tree(targets)
        hidden = session.branch([(clip, 1, 1, tree) for clip in range(session.clips)])
        pairs = zip(first, hidden, strict=True)
        return torch.stack([tree.totals(row, decoder.log_probabilities(states)) for row, states in pairs])

    def class_scores(self, encoding: Encoding) -> Tensor:
        """(B, 355) log probability of each class label as the answer to what sounds, for an average precision."""
        return self.score(encoding, WHAT_SOUNDS, [name.lower() for name in labels()])

    def merge_adapter(self) -> None:
        """Fold the adapters into the language model for good, where that is possible: LoRA, bias, scale, norms.

        Prompts stay; nothing can be trained or saved afterwards. Raises ``BadInput`` where there is no adapter.
        """
        if not (self.config.has_lora or self.config.has_adapter_v2):
            raise BadInput("there is nothing to merge: this reasoner was built with adapter=none")
        if self.config.has_lora:
            if self.adapter is not None:
                self.adapter.settle(self.llm)
            lora.merge(self.llm)
        if self.adapter is not None:
            self.adapter.merge(self.llm)
        self._merged = True

    def save_weights(self, directory: str | Path, *, half: bool = False) -> None:
        """Write what is trained, ``model.safetensors`` (float16 if ``half``); for ``tiny`` also ``tokenizer.json``."""
        if self._merged:
            raise BadInput("the adapter was merged into the language model, so it cannot be saved; save before merging")
        folder = Path(directory)
        tensors = {name: whole(tensor).cpu().contiguous() for name, tensor in self.trained_state_dict().items()}
        if half:
            tensors = {name: tensor.half() for name, tensor in tensors.items()}
        write_tensors(folder / WEIGHTS_FILE, tensors)
        if not self.frozen:
            self.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER_FILE))

    def load_weights(self, path: str | Path) -> None:
        """Read what :meth:`save_weights` wrote, or the released BAT's ``model.pt``; what does not fit raises
        ``WeightsError``.
        """
        file, found = read_reasoner(Path(path).expanduser())
        check_tensors(file, found, self.trained_state_dict())
        tokenizer_file = file.with_name(TOKENIZER_FILE)
        if not self.frozen:
            if not tokenizer_file.is_file():
                raise WeightsError(f"{tokenizer_file} is missing; copy the tokenizer that was saved with the weights")
            self.tokenizer = load_tokenizer(tokenizer_file)
            if self.config.spoken_slots:
                self.spoken.learn_words(self.tokenizer)
        self.load_trained_state_dict(found)
        self._closed = None
        self._members.clear()

    def shard_blocks(self) -> list[nn.Module]:
        """What is shared out on its own where parameters are (:mod:`bat_agent.distributed.sharding`): every layer."""
        return list(self.llm.model.layers)

    def trained_state_dict(self) -> dict[str, Tensor]:
        """The tensors that are trained and saved; shared ones once, those of a frozen language model never."""
        return {
            name: tensor.detach()
            for name, tensor in self.named_parameters()
            if not (self.frozen and name.startswith("llm.") and lora.PART not in name)
        }

    @torch.no_grad()
    def load_trained_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take up what :meth:`trained_state_dict` gave."""
        for name, tensor in self.trained_state_dict().items():
            # Also those that were saved untrained are told: they are the first values, maybe rounded to half of them.
            self._trained |= not any(torch.equal(t.cpu(), tensors[name].cpu()) for t in (tensor, tensor.half().float()))
            tensor.copy_(tensors[name])

    def _open(self, encoding: Encoding, shared: tuple[int, ...]) -> Session:
        """The beginning in a cache; asked again about the same clip, it is not computed twice."""
        # What was changed in place has another version.
        tensors = (encoding.tokens, *self.parameters())
        key = (shared, self._device, sum(0 if t.is_inference() else t._version for t in tensors))
        if self._session is not None and self._session[0]() is encoding and self._session[1] == key:
            return self._session[2]
        session = Session(self.llm, self._beginning(encoding, list(shared)))
        # Of many clips the cache would be large, and who asks about many seldom asks again.
        self._session = (weakref.ref(encoding), key, session) if session.clips == 1 else None
        return session

    def __getstate__(self) -> dict[str, Any]:
        """To be copied or pickled: without what was remembered."""
        return {**self.__dict__, "_session": None}

    def _decoder(self) -> Decoder:
        end = self.tokenizer.eos_token_id
        if self._closed is None and self.config.closed_answers:
            self._closed = ClosedAnswers(self._answer_ids, end)
        return Decoder(self.llm, end, self.config.max_answer_tokens, self._closed)

    def _row(self, clip: int, number: int, prompt: list[int], question: str) -> Row:
        closed = self._decoder().closed
        return Row(clip, number, prompt, asked_for=set() if closed is None else closed.asked_for(question))

    def _reply(self, session: Session, row: Row, question: str) -> Reply:
        text = self._text(row.ids)
        confidence = min(math.exp(row.log_p), 1.0)
        members = members_of(question, text)
        if not members:
            return Reply(text, confidence)
        if members not in self._members:
            self._members[members] = self._targets(members)
        targets = self._members[members]
        if len({tokens[0] for tokens in targets}) == len(members):
            shares = row.first[[tokens[0] for tokens in targets]].softmax(dim=0).tolist()
        else:  # answers that begin alike, such as hours, are weighed to their ends
            shares = self._weigh(session, Tree(targets), row).softmax(dim=0).tolist()
        options = tuple(sorted(zip(members, shares, strict=True), key=lambda item: -item[1]))
        return Reply(text, dict(options)[text], options)

    def _weigh(self, session: Session, tree: Tree, row: Row) -> Tensor:
        """Log probabilities (M,) of continuations of one question."""
        (hidden,) = session.branch([(row.clip, row.number, len(row.prompt), tree)])
        return tree.totals(row.first, self._decoder().log_probabilities(hidden))

    def _generate(
        self, encoding: Encoding, questions: Sequence[str], prompts: Sequence[list[int]], per_clip: int
    ) -> list[Reply]:
        replies = []
        for first in range(0, len(prompts), PACKED_AT_ONCE):
            rows = range(first, min(first + PACKED_AT_ONCE, len(prompts)))
            clips = sorted({row // per_clip for row in rows})
            sounds = dict(zip(clips, self._beginning(encoding[clips], []), strict=True))
            embedded = [
                torch.cat([sounds[row // per_clip], self._embed(torch.tensor(prompts[row], device=self._device))])
                for row in rows
            ]
            found = generate(self.llm, embedded, self.tokenizer.eos_token_id, self.config)
            texts = [self._text(ids) for ids in found]
            for row, text in zip(rows, texts, strict=True):
                sure = self.score(encoding[[row // per_clip]], questions[row], [text]) if text else None
                replies.append(Reply(text, 0.0 if sure is None else min(math.exp(float(sure)), 1.0)))
        return replies

    def _check_length(self, questions: Sequence[str], lengths: Sequence[int]) -> None:
        check_length(questions, lengths, self.llm.config.max_position_embeddings - self.prefix_tokens)

    @property
    def _device(self) -> torch.device:
        return self.llm.get_input_embeddings().weight.device

    def _embed(self, ids: Tensor) -> Tensor:
        return self.llm.get_input_embeddings()(ids)

    def _text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def _targets(self, answers: Sequence[str]) -> list[list[int]]:
        """Tokens of answers with their ends; an empty answer raises ``BadInput``."""
        stripped = [answer.strip() for answer in answers]
        if "" in stripped:
            raise BadInput(f"answer {stripped.index('')} is empty, expected the text to learn; drop the pair")
        return self._answer_ids(stripped)

    def _answer_ids(self, answers: Sequence[str]) -> list[list[int]]:
        return answer_ids(self.tokenizer, answers, separator=separator_of(self.tokenizer))

    def _beginning(self, encoding: Encoding, shared: list[int]) -> Tensor:
        """Prefix and shared tokens (B, P + shared, H) of the clips."""
        tokens = heard(encoding.tokens, self.config).to(self._device, torch.float32)
        text = self._embed(torch.tensor([shared], dtype=torch.long, device=self._device))
        parts = [self.projector(tokens), text.expand(len(tokens), -1, -1)]
        if self.config.spoken_slots:
            parts.insert(1, self.spoken(encoding.to(self._device), self.llm.get_input_embeddings().weight))
        return torch.cat([part.to(text.dtype) for part in parts], dim=1)
