"""A chat model that is loaded here, from a folder or a hub, and answers greedily.

transformers takes seconds to import, so a folder is checked before it is touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bat_agent.errors import BadInput, WeightsError
from bat_agent.hub import why_not_loaded
from bat_agent.language import check_name, converted_folder
from bat_agent.sound.torchaudio_parts import let_transformers_load
from bat_agent_scene_prompt.certainty import Token, beginnings, log_sum
from bat_agent_scene_prompt.prefix import Prefix
from bat_agent_scene_prompt.prompt import Prompt
from bat_agent_scene_prompt.replies import Said

ROWS_AT_ONCE = 16
"""Questions that are answered in one batch; bounds the memory."""
_THOUGHT_BEGINS, _THOUGHT_ENDS = ("<think>", "<thinking>"), ("</think>", "</thinking>")


class ChatModel(nn.Module):
    """A causal language model of any architecture with its tokenizer; frozen, always in evaluation mode."""

    def __init__(self, name: str, dtype: str, max_answer_tokens: int) -> None:
        super().__init__()
        self.llm, self.tokenizer = _load(name, dtype)
        self.llm.requires_grad_(False)
        self.name, self.max_answer_tokens = name, max_answer_tokens
        self.ends = _end_tokens(self.llm, self.tokenizer)
        if not self.ends:
            raise WeightsError(f"neither {name} nor its tokenizer has an end-of-text token; choose another model=")
        self.has_template = bool(getattr(self.tokenizer, "chat_template", None))
        self._system = self.has_template and self._takes_system()
        self.tokenizer.padding_side = "left"  # so that all answers begin in one column
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.convert_ids_to_tokens(self.ends[0])
        # The model's own settings may ask for sampling or for a penalty on repetitions.
        self.llm.generation_config = self._greedy()
        self._beginnings = beginnings(lambda text: list(self.tokenizer.encode(text, add_special_tokens=False)))
        self._prefix = Prefix()
        self.train(False)

    def _apply(self, fn: Any, recurse: bool = True) -> ChatModel:
        self._prefix.forget()
        return super()._apply(fn, recurse)

    def train(self, mode: bool = True) -> ChatModel:
        """Stays in evaluation mode whatever is asked: nothing of it is trained."""
        return super().train(False)

    def text_of(self, prompt: Prompt) -> str:
        """The prompt as the model reads it."""
        return self._chat(prompt, self._system) if self.has_template else prompt.plain

    @torch.no_grad()
    def ask(self, prompts: Sequence[Prompt]) -> list[Said]:
        """What is said to each prompt, with the probability of its tokens.

        What the prompts, and those before them, begin with alike is computed once.
        """
        texts = [self.text_of(prompt) for prompt in prompts]
        parts = [texts[first : first + ROWS_AT_ONCE] for first in range(0, len(texts), ROWS_AT_ONCE)]
        return [said for part in parts for said in self._answer(part)]

    def _answer(self, texts: list[str]) -> list[Said]:
        from transformers import LogitsProcessorList, StoppingCriteriaList

        # A chat template writes the model's special tokens itself.
        rows = self.tokenizer(texts, add_special_tokens=not self.has_template)["input_ids"]
        self._check_length(max(map(len, rows)))
        cache = self._prefix.of(self.llm, rows)
        ids, mask = self._padded(rows, len(self._prefix.ids))
        chosen = _Chosen(sorted({token for some in self._beginnings.values() for token in some}))
        stop = [] if self.has_template else [_EndOfLine(self.tokenizer, ids.shape[1])]
        out = self.llm.generate(
            input_ids=ids, attention_mask=mask, logits_processor=LogitsProcessorList([chosen]),
            stopping_criteria=StoppingCriteriaList(stop), **cache,
        )  # fmt: skip
        spoken = out[:, ids.shape[1] :].tolist()
        return [self._said(text, spoken[row], chosen, row) for row, text in enumerate(texts)]

    def _padded(self, rows: list[list[int]], prefix: int) -> tuple[Tensor, Tensor]:
        """Tokens and mask (N, longest): padding stands behind the prefix, which all rows have in one place."""
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = [row[:prefix] + [pad] * (longest - len(row)) + row[prefix:] for row in rows]
        mask = [[1] * prefix + [0] * (longest - len(row)) + [1] * (len(row) - prefix) for row in rows]
        return torch.tensor(ids, device=self.llm.device), torch.tensor(mask, device=self.llm.device)

    def _said(self, text: str, tokens: list[int], chosen: _Chosen, row: int) -> Said:
        """Thinking does not count into the probability, nor what a model without a template adds after its line."""
        end = next((place for place, token in enumerate(tokens) if token in self.ends), None)
        spoken, cut = (tokens, True) if end is None else (tokens[:end], False)
        if not self.has_template and (line := _first_line(self.tokenizer, spoken)) is not None:
            spoken, cut = spoken[:line], False
        first = self._after_thoughts(spoken)
        said = self.tokenizer.decode(spoken[first:], skip_special_tokens=True)
        # A thought that was never finished; its mark may stand in the prompt, or be left out by plain decoding.
        raw = self.tokenizer.decode(spoken[first:], skip_special_tokens=False).lstrip().lower()
        opened = first == 0 and text.rstrip().lower().endswith(_THOUGHT_BEGINS)
        if cut and (opened or raw.startswith(_THOUGHT_BEGINS)):
            said = ""
        return Said(said, self._tokens(spoken, first, chosen, row), cut)

    def _tokens(self, spoken: list[int], first: int, chosen: _Chosen, row: int) -> tuple[Token, ...]:
        """What was said from token ``first`` on, each with its probability and with those of other beginnings."""
        found, before = [], ""
        for place in range(first, len(spoken)):
            text = self.tokenizer.decode(spoken[first : place + 1], skip_special_tokens=True)
            log_p, others = chosen.of(row, place)
            weighed = {name: log_sum([others[token] for token in some]) for name, some in self._beginnings.items()}
            found.append(Token(text[len(before) :], log_p, weighed))
            before = text
        return tuple(found)

    def _after_thoughts(self, tokens: list[int]) -> int:
        """The first token behind the last thought. Its mark may be a special token, which plain decoding leaves out."""
        whole = self.tokenizer.decode(tokens, skip_special_tokens=False).lower()
        if not any(mark in whole for mark in _THOUGHT_ENDS):
            return 0
        ends = max(whole.rfind(mark) + len(mark) for mark in _THOUGHT_ENDS if mark in whole)
        lengths = (len(self.tokenizer.decode(tokens[:n], skip_special_tokens=False)) for n in range(len(tokens) + 1))
        return next((n for n, length in enumerate(lengths) if length >= ends), len(tokens))

    def _chat(self, prompt: Prompt, system: bool) -> str:
        # Templates of models that may think aloud know this name, others ignore it.
        text = self.tokenizer.apply_chat_template(
            prompt.messages(system=system), tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return str(text)

    def _takes_system(self) -> bool:
        """Some templates refuse the system's role, and some leave it out without a word."""
        from jinja2.exceptions import TemplateError

        try:
            return Prompt("", "").messages()[0]["content"].strip() in self._chat(Prompt("", ""), True)
        except TemplateError:
            return False

    def _check_length(self, prompt_tokens: int) -> None:
        longest = getattr(self.llm.config.get_text_config(), "max_position_embeddings", None)
        if longest is not None and prompt_tokens + self.max_answer_tokens > longest:
            raise BadInput(
                f"a prompt has {prompt_tokens} tokens and an answer up to {self.max_answer_tokens}, but {self.name} "
                f"takes {longest} in all; lower max_answer_tokens or use a model with a longer context"
            )

    def _greedy(self) -> Any:
        from transformers import GenerationConfig

        return GenerationConfig(
            do_sample=False,
            max_new_tokens=self.max_answer_tokens,
            eos_token_id=self.ends,
            pad_token_id=self.tokenizer.pad_token_id,
        )


class _Chosen:
    """Keeps the log probability of the likeliest token of each step, which is the one that greedy decoding takes, and
    those of some ``others``.
    """

    def __init__(self, others: list[int]) -> None:
        self.others = others
        self._steps: list[tuple[Tensor, Tensor]] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores as they came."""
        log_p = scores.float().log_softmax(dim=-1)
        self._steps.append((log_p.amax(dim=-1).cpu(), log_p[:, self.others].cpu()))
        return scores

    def of(self, row: int, step: int) -> tuple[float, dict[int, float]]:
        """Of one row at one step: log probability of the token taken, and of each other."""
        best, others = self._steps[step]
        return float(best[row]), dict(zip(self.others, others[row].tolist(), strict=True))


class _EndOfLine:
    """A model without a chat template does not end by itself: its answer is one line."""

    def __init__(self, tokenizer: Any, start: int) -> None:
        self.tokenizer, self.start = tokenizer, start

    def __call__(self, input_ids: Tensor, scores: Any, **options: Any) -> Tensor:
        """(B,) bool: which rows are finished."""
        done = [_first_line(self.tokenizer, row) is not None for row in input_ids[:, self.start :].tolist()]
        return torch.tensor(done, device=input_ids.device)


def _first_line(tokenizer: Any, tokens: list[int]) -> int | None:
    """How many tokens the first line with something in it takes; ``None`` where it has no end."""
    if "\n" not in tokenizer.decode(tokens, skip_special_tokens=True).lstrip():
        return None
    return next(
        n for n in range(len(tokens) + 1) if "\n" in tokenizer.decode(tokens[:n], skip_special_tokens=True).lstrip()
    )


def _end_tokens(llm: Any, tokenizer: Any) -> list[int]:
    """All that end an answer: chat models often have one for the turn and one for the text."""
    ends = llm.generation_config.eos_token_id
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    return list(dict.fromkeys([*ends, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])]))


def check_chat_model(name: str) -> None:
    """Raise ``WeightsError`` where ``name`` cannot be a chat model, without loading any; a hub is not asked."""
    folder = Path(name).expanduser()
    if check_name(name) or (not folder.exists() and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name)):
        return
    if not (folder / "config.json").is_file():
        what = "has no config.json, so it is no language model folder" if folder.is_dir() else "is no folder"
        raise WeightsError(
            f"{folder} {what}; download a chat model (`hf download NAME --local-dir FOLDER`) and pass model=FOLDER"
        )


def _load(name: str, dtype: str) -> tuple[Any, Any]:
    """Model and tokenizer of a known name, a GGUF file, a folder or a hub repository; else ``WeightsError``."""
    check_chat_model(name)
    folder = converted_folder(name) or Path(name).expanduser()
    if folder.exists():
        name = str(folder)
    let_transformers_load()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        llm = AutoModelForCausalLM.from_pretrained(name, dtype=getattr(torch, dtype))
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(why_not_loaded(name, error, "model", "chat model")) from error
    return llm.eval(), tokenizer
