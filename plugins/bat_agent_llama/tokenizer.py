"""Text to numbers for the reasoner: BAT's prompt, and the byte-level vocabulary of the ``tiny`` language model.

The vocabulary is package data and never changes once weights were trained with it; whoever trains with another one
finds it saved beside the weights. ``python -m bat_agent_llama.tokenizer`` makes the shipped file again.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bat_agent.errors import WeightsError
from bat_agent.labels import labels
from bat_agent.questions import PROMPT, prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TINY_VOCABULARY = 2048
"""Rows of the embedding of ``tiny``; a tokenizer may use fewer."""
FILE = "tokenizer.json"
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
_SLOT = re.compile(r"\{\w+\}")


def default_texts() -> list[str]:
    """What the shipped vocabulary is trained on: labels and answers as they are written, and all question wordings."""
    from bat_agent.questions import grammar

    names = [name.lower() for name in labels()]
    # Blank and punctuation around a label are what questions and answers put there.
    texts = [f" {name}; {name}" for name in names] * 2 + list(labels())
    regions = itertools.product(("left", "right"), ("front", "behind"), ("above", "below"))
    texts += [f" {', '.join(region)}; 2.5m" for region in regions]
    texts += [" Yes", " No", PROMPT] * 4
    phrases = [
        phrase for table in (grammar.WHERE, grammar.FROM, grammar.OF) for row in table.values() for phrase in row
    ]
    asked = [text for kind in grammar.WORDINGS.values() for text in kind.train + kind.held_out]
    texts += [f" {phrase}" for phrase in (*phrases, *grammar.NAMED, *grammar.UNNAMED)]
    # People also write without capitals.
    return [_SLOT.sub("dog", text) for text in [*texts, *asked, *(text.lower() for text in asked)]]


def train_tokenizer(texts: Iterable[str] | None = None) -> PreTrainedTokenizerFast:
    """Byte-level BPE with single digits, trained on ``texts`` (default: :func:`default_texts`); deterministic.

    Every string is encoded without loss and without an unknown token, whatever it was trained on.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TINY_VOCABULARY,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(default_texts() if texts is None else texts, trainer)
    return _wrap(tokenizer_object=bpe)


def shipped_tokenizer() -> PreTrainedTokenizerFast:
    """The vocabulary that comes with this package."""
    with resources.as_file(resources.files("bat_agent_llama").joinpath("data", FILE)) as path:
        return load_tokenizer(path)


def load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """The vocabulary in a ``tokenizer.json``; one that does not fit ``tiny`` raises ``WeightsError``."""
    try:
        tokenizer = _wrap(tokenizer_file=str(path))
    except Exception as error:  # the Rust side raises plain Exception
        raise WeightsError(
            f"{path} is not a readable tokenizer ({error}); copy the tokenizer.json that was saved with the weights"
        ) from error
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    if None in ids or len(tokenizer) > TINY_VOCABULARY:
        raise WeightsError(
            f"{path} does not belong to the tiny language model (it has {len(tokenizer)} entries, expected at most "
            f"{TINY_VOCABULARY} with {PAD}, {BOS}, {EOS}); copy the tokenizer.json that was saved with the weights"
        )
    return tokenizer


def prompt_ids(tokenizer: Any, questions: Sequence[str]) -> list[list[int]]:
    """Token numbers of the whole prompt of each question, behind what the tokenizer begins a text with.

    That is ``<s>`` for Llama 2 and nothing for SmolLM2 and Qwen, whatever beginning-of-text token they name. Our own
    vocabulary, which puts nothing in front by itself, begins with its ``<bos>``.
    """
    start = [tokenizer.bos_token_id] if tokenizer.bos_token == BOS else tokenizer("").input_ids
    start = [token for token in start if token != tokenizer.eos_token_id]  # some end every text as well
    return [start + ids for ids in _encode(tokenizer, [prompt(question) for question in questions])]


def separator_of(tokenizer: Any) -> str:
    """What stands between ``### Response:`` and an answer: a blank where the vocabulary keeps words with their blank in
    one token (byte-level: ours, SmolLM2, Qwen, Llama 3), nothing where it does not (Llama 2, as BAT was released).
    """
    ids = tokenizer.encode(" Yes", add_special_tokens=False)
    return " " if str(tokenizer.convert_ids_to_tokens(ids[:1])[0]).startswith("Ġ") else ""


def answer_ids(tokenizer: Any, answers: Sequence[str], *, separator: str) -> list[list[int]]:
    """Token numbers of each answer as it follows ``### Response:`` and ``separator``, with the end-of-text token.

    Without a separator the tokenizer must not put a blank in front as it does at the start of a text, so an answer is
    then encoded behind the end of the prompt, and taken alone only if the two would melt into one token.
    """
    if separator:
        return [[*ids, tokenizer.eos_token_id] for ids in _encode(tokenizer, [separator + text for text in answers])]
    end = PROMPT.rsplit("}", 1)[1]
    (head,) = _encode(tokenizer, [end])
    alone, behind = _encode(tokenizer, list(answers)), _encode(tokenizer, [end + text for text in answers])
    return [
        [*(joined[len(head) :] if joined[: len(head)] == head else single), tokenizer.eos_token_id]
        for single, joined in zip(alone, behind, strict=True)
    ]


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False).input_ids if texts else []


def _wrap(**source: Any) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        **source, bos_token=BOS, eos_token=EOS, pad_token=PAD, clean_up_tokenization_spaces=False
    )


def main() -> None:
    """Write the shipped vocabulary again."""
    path = Path(__file__).with_name("data") / FILE
    tokenizer = train_tokenizer()
    tokenizer.backend_tokenizer.save(str(path))
    print(f"{path}: {len(tokenizer)} entries")


if __name__ == "__main__":
    main()
