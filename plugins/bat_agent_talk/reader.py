"""From a question in anybody's words to a query, by a language model that can write nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

import torch
from torch import Tensor, nn

from bat_agent.errors import BadInput
from bat_agent.questions.free.query import Query
from bat_agent_talk.grammar import Branch, Grammar
from bat_agent_talk.language_model import LanguageModel, Lora, inject
from bat_agent_talk.packing import Row
from bat_agent_talk.shapes import query_of, slots_after, symbols

MOST_TOKENS = 384
"""The end of a longer question is read; what matters is asked last."""
_Choices = tuple[dict[tuple[int, ...], str], frozenset[tuple[int, ...]]]
AT_ONCE = 32
"""Questions that are read in one row."""


@dataclass(frozen=True)
class Reading:
    """What a question was read as."""

    query: Query
    probability: float
    """Of this query among all that could be written, by the language model."""


@dataclass
class _Line:
    """A query while it is written."""

    number: int
    question: str
    slots: list[str] = field(default_factory=lambda: [""])
    said: list[str] = field(default_factory=list)
    tokens: tuple[int, ...] = ()
    """Of the slot that is being written."""
    fresh: list[int] = field(default_factory=list)
    """What the language model has yet to see."""
    guess: list[int] = field(default_factory=list)
    """The last tokens of these, which may not come true."""
    log_p: float = 0.0


class Reader(nn.Module):
    """A frozen causal language model of the Llama family, with LoRA that is trained."""

    def __init__(self, llm: LanguageModel, rank: int, alpha: int, *, again: bool = False) -> None:
        """``again``: compute the layers again in the backward pass."""
        super().__init__()
        self.model, self.head = llm.decoder, llm.head
        self.grammar = Grammar(llm.tokenizer, llm.ends)
        self.model.again = again
        inject(self.model, rank, alpha)
        self._choices: dict[tuple[int, str, tuple[str, ...]], _Choices] = {}

    def merge(self) -> None:
        """Fold LoRA into the weights, to read faster; nothing can be trained any more."""
        for module in self.model.modules():
            if isinstance(module, Lora):
                module.merge()

    def loss(self, questions: Sequence[str], queries: Sequence[Query]) -> Tensor:
        """Mean over the questions of −log probability of their queries among all that could be written."""
        pieces: list[tuple[int, list[int]]] = []
        places: list[int] = []
        options: list[Branch] = []
        at = 0
        for number, (question, query) in enumerate(zip(questions, queries, strict=True)):
            said = symbols(query)
            if said is None:
                raise BadInput(f"the reasoner talk has no way to write the query '{query}'; leave such questions out")
            tokens = self._prompt(question)
            for branch in self.grammar.branches(question, said):
                if len(branch.among) > 1:
                    places.append(at + len(tokens) - 1)
                    options.append(branch)
                tokens = [*tokens, branch.right]
            pieces.append((number, tokens[:-1]))
            at += len(tokens) - 1
        hidden = Row(self.model, keep=False).extend(pieces)
        return -self._among(hidden[torch.tensor(places)], options).sum() / len(questions)

    def _among(self, hidden: Tensor, options: Sequence[Branch]) -> Tensor:
        """Log probability (M,) of what is right behind each of M hidden states, among what may stand there."""
        known = sorted({token for branch in options for token in branch.among})
        index = {token: place for place, token in enumerate(known)}
        logits = hidden.float() @ self._rows(known).T
        mask = torch.full(logits.shape, -math.inf)
        for row, branch in enumerate(options):
            mask[row, [index[token] for token in branch.among]] = torch.tensor(branch.favour)
        chosen = torch.tensor([index[branch.right] for branch in options])
        shares = (logits + mask.to(logits.device)).log_softmax(dim=-1)
        return shares.gather(1, chosen.to(logits.device)[:, None])[:, 0]

    def _rows(self, tokens: Sequence[int]) -> Tensor:
        """Output embeddings (M, H) of some tokens."""
        found: Tensor = self.head(torch.tensor(tokens, device=self.model.norm.weight.device))
        return found.float()

    @torch.inference_mode()
    def read(self, questions: Sequence[str]) -> list[Reading]:
        """The likeliest query of each question, token by token."""
        found: list[Reading] = []
        for first in range(0, len(questions), AT_ONCE):
            found += self._read(questions[first : first + AT_ONCE])
        return found

    def _read(self, questions: Sequence[str]) -> list[Reading]:
        lines = [_Line(number, question) for number, question in enumerate(questions)]
        for line in lines:
            line.fresh = self._prompt(line.question)
        row, open_lines = Row(self.model, keep=True), list(lines)
        while open_lines:
            hidden = row.extend([(line.number, line.fresh) for line in open_lines])
            each = hidden.split([len(line.fresh) for line in open_lines])
            for line, states in zip(open_lines, each, strict=True):
                self._go_on(line, states[len(states) - len(line.guess) - 1 :], row)
            open_lines = [line for line in open_lines if line.fresh]
        self._choices.clear()
        return [Reading(query_of(line.said), math.exp(line.log_p)) for line in lines]

    def _go_on(self, line: _Line, states: Tensor, row: Row) -> None:
        """Write what is likeliest by ``states`` (1 + guesses, H), behind what was sure and behind each guess that comes
        true, all that must follow, and new guesses.
        """

        def likeliest(line: _Line, among: Sequence[int], written: list[int]) -> int | None:
            if written != line.guess[: len(written)]:
                return None  # the language model has yet to see what was written
            favour = self.grammar.favour(line.slots[0], line.question, line.said, line.tokens, among)
            logits = self._rows(among) @ states[len(written)].float() + torch.tensor(favour, device=states.device)
            shares = logits.log_softmax(dim=0)
            best = int(shares.argmax())
            line.log_p += float(shares[best])
            return best

        written, guess = self._write(line, likeliest), line.guess
        true = len([*takewhile(lambda pair: pair[0] == pair[1], zip(written, guess, strict=False))])
        row.forget(line.number, len(guess) - true)
        # What is named may be looked at in one pass with what comes before it: mostly it comes true.
        ahead = replace(line, slots=list(line.slots), said=list(line.said))
        line.guess = self._write(ahead, self._stands_out)
        line.fresh = [*written[true:], *line.guess] if line.slots else []

    def _stands_out(self, line: _Line, among: Sequence[int], written: list[int]) -> int | None:
        """The one token that is likelier beforehand, if there is one."""
        favour = self.grammar.favour(line.slots[0], line.question, line.said, line.tokens, among)
        likelier = [number for number, nats in enumerate(favour) if nats > 0]
        return likelier[0] if len(likelier) == 1 else None

    def _write(self, line: _Line, choose: Callable[[_Line, Sequence[int], list[int]], int | None]) -> list[int]:
        """Write for as long as ``choose`` says which of several tokens comes next; the tokens written."""
        written: list[int] = []
        while line.slots:
            table, choices = self._known(line)
            among = self.grammar.next_of(choices, line.tokens)
            best = choose(line, among, written) if len(among) > 1 else 0
            if best is None:
                break
            token = among[best]
            done = token == self.grammar.end and line.tokens in table
            if not done or len(among) > 1:
                written.append(token)
            if done:
                self._close(line, table[line.tokens])
            else:
                line.tokens = (*line.tokens, token)
        return written

    def _close(self, line: _Line, text: str) -> None:
        slot = line.slots.pop(0)
        line.said.append(text)
        line.tokens = ()
        if not slot:
            line.slots += slots_after(text)

    def _known(self, line: _Line) -> _Choices:
        """What may stand in the slot that is being written."""
        key = (line.number, line.slots[0], tuple(line.said))
        if key not in self._choices:
            table = self.grammar.choices(line.slots[0], line.question, line.said)
            self._choices[key] = (table, frozenset(table))
        return self._choices[key]

    def _prompt(self, question: str) -> list[int]:
        tokens = self.grammar.prompt(question)
        begin = len(self.grammar.start)
        return tokens[:begin] + tokens[begin:][-MOST_TOKENS:]
