"""From a GGUF file to a folder that transformers reads, with the right tokenizer, and tried out before it counts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bat_agent.errors import WeightsError
from bat_agent.extras import needed
from bat_agent.language.gguf_header import Header
from bat_agent.language.known import Known
from bat_agent.sound.torchaudio_parts import let_transformers_load

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")
"""Those of GGUF whose parts are called as Llama's are."""
SINGLE_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone")
"""Pre-tokenizers, as GGUF names them, that take digits out one by one before anything else, as llama.cpp has them."""
LONGEST_TRIAL = 12
"""Tokens of the greedy trial."""


def convert(file: Path, header: Header, folder: Path, known: Known | None) -> dict[str, Any]:
    """Write model and tokenizer of ``file`` into the empty ``folder``; returns what is to be noted of them.

    Raises :class:`~bat_agent.errors.WeightsError` for another architecture, a broken file, a missing package, and where
    what comes out does not have the file's tensors or, for a ``known`` model, does not talk as it should.
    """
    if header.architecture not in ARCHITECTURES:
        raise WeightsError(
            f"{file} is of the architecture {header.architecture!r}, expected one of the Llama family "
            f"({', '.join(ARCHITECTURES)}); choose another file"
        )
    with needed("talk", "reading a GGUF file"):
        from gguf import GGML_QUANT_SIZES
    _check_length(file, header, GGML_QUANT_SIZES)
    with needed("llm", "a language model"):
        let_transformers_load()
        import transformers  # noqa: F401
    try:
        with _quiet():
            model, tokenizer = _load_model(file), load_tokenizer(file, header)
    except (OSError, ValueError, KeyError, RuntimeError, IndexError) as error:
        what = " ".join(str(error).split())[:200]
        raise WeightsError(f"{file} cannot be read as a language model ({what}); copy it again") from error
    check_tensors(file, header, model.state_dict())
    with _quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for weights in folder.glob("*.safetensors"):
            weights.chmod((folder / "config.json").stat().st_mode)  # the library makes them private
        del model
        asked, said = try_out(folder, known)
    return {
        "source": file.name,
        "title": known.title if known else header.metadata.get("general.name", file.stem),
        "licence": known.licence if known else header.metadata.get("general.license", "not stated in the file"),
        "architecture": header.architecture,
        "parameters": header.parameters,
        "tensors": len(header.shapes),
        "context": header.metadata.get(f"{header.architecture}.context_length"),
        "asked": asked,
        "said": said,
        "notes": left_out(header),
    }


def _check_length(file: Path, header: Header, sizes: Mapping[Any, tuple[int, int]]) -> None:
    """Whether the file holds every tensor to its end; ``sizes``: numbers and bytes of a block of each format."""
    end = 0
    for name, (kind, first_byte) in header.places.items():
        if kind not in sizes:
            raise WeightsError(
                f"{file} holds the number format {kind}, which the package gguf does not know; update it"
            )
        numbers, size = sizes[kind]
        end = max(end, first_byte + math.prod(header.shapes[name]) // numbers * size)
    if (length := file.stat().st_size) < end:
        raise WeightsError(f"{file} is cut off ({length:,} of {end:,} bytes); copy it again")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars of loading and saving; that of reading a file stays, which takes a while for a large one."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _load_model(file: Path) -> Any:
    """The model in bfloat16, with plain tensors."""
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {}
    with contextlib.suppress(ImportError):
        from transformers import GgufConfig  # from 5.24 on: without it, the model counts as quantised and is not saved

        options["quantization_config"] = GgufConfig(gguf_file=str(file), dequantize=True)
    return AutoModelForCausalLM.from_pretrained(
        str(file.parent), gguf_file=file.name, dtype=torch.bfloat16, local_files_only=True, **options
    )


def load_tokenizer(file: Path, header: Header) -> Any:
    """The tokenizer of a GGUF file, with what transformers leaves out of it: the splitting of digits, and whether a
    text begins with the beginning-of-text token (5.0 puts it there whatever the file says).
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    read = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, local_files_only=True)
    said = {key.removeprefix("tokenizer.ggml."): value for key, value in header.metadata.items()}
    backend = read.backend_tokenizer
    if said.get("pre") in SINGLE_DIGITS:
        # Without it the blanks before a digit are other tokens than in training, and in a vocabulary with longer
        # numbers the digits as well.
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    named = {"bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "pad": "padding_token_id"}
    tokens = {
        f"{name}_token": str(read.convert_ids_to_tokens(int(said[key]))) for name, key in named.items() if key in said
    }
    begins = bool(said.get("add_bos_token", said.get("model") == "llama")) and "bos_token" in tokens
    backend.post_processor = _beginning(tokens["bos_token"], int(said["bos_token_id"])) if begins else _beginning()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, chat_template=read.chat_template, clean_up_tokenization_spaces=False, **tokens
    )


def _beginning(token: str = "", number: int = 0) -> Any:
    """What puts ``token`` in front of every text; nothing without one."""
    from tokenizers.processors import TemplateProcessing

    if not token:
        return TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    return TemplateProcessing(single=[token, "$A"], pair=[token, "$A", token, "$B"], special_tokens=[(token, number)])


def check_tensors(file: Path, header: Header, found: dict[str, Tensor]) -> None:
    """Whether the tensors are those of the file: as many, of the same sizes, and finite.

    Names differ between the two formats, so what is compared is how many tensors there are of each size. The output
    that shares the embedding's tensor is not in the file, and frequencies of the rotation are no weights.
    """
    tied = "output.weight" not in header.shapes
    wanted = sorted(shape for name, shape in header.shapes.items() if not name.startswith("rope_freqs"))
    shapes = sorted(tuple(tensor.shape) for name, tensor in found.items() if not (tied and name == "lm_head.weight"))
    if wanted != shapes:
        raise WeightsError(
            f"{file} holds {len(wanted)} tensors, but the model made of it has {len(shapes)}, or others; update the "
            "package transformers, or choose another file"
        )
    broken = [name for name, tensor in found.items() if not tensor.isfinite().all()]
    if broken:
        raise WeightsError(f"{file} holds numbers that are not finite ({broken[0]}); copy it again")


@torch.no_grad()
def try_out(folder: Path, known: Known | None) -> tuple[str, str]:
    """A beginning, and how the model in ``folder`` goes on with it, greedily; a known one must say what is expected."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, local_files_only=True).eval()
    asked = known.asked if known else "The capital of France is"
    inputs = tokenizer(asked, return_tensors="pt")
    ids = model.generate(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], do_sample=False,
        max_new_tokens=LONGEST_TRIAL, pad_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    said = str(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    said = " ".join(said.split())
    if known and known.expected not in said:
        raise WeightsError(
            f"{known.title} goes on {asked!r} with {said!r}, expected {known.expected!r} in it, so it was read "
            "wrongly; update the packages transformers and gguf"
        )
    return asked, said


def left_out(header: Header) -> list[str]:
    """What the conversion cannot carry over."""
    notes = []
    if any(name.startswith("rope_freqs") for name in header.shapes):
        notes.append(
            "the file scales the frequencies of positions (Llama 3.1), which is left out: answers to long texts differ"
        )
    return notes
