"""Answering and training with the reasoner ``llama``: packed, cached and constrained, next to ``generate`` by the book.

Times are the shortest of several rounds in which all contestants take turns. The language model is the built-in tiny
one, trained here for a minute on oracle encodings, so that its answers are answers. Sections: ``yes_no`` (32 questions
about one clip), ``locations`` (inside the tree of well-formed ones), ``agreement`` (with generate), ``labels`` (scores
of all 355), ``training`` (questions packed and not), ``adapters`` (what LLaMA-Adapter V2 and LoRA cost), ``estimate``
(what --dry-run foretells next to what is measured), ``gpu`` (LLaMA-2 7B's shape, random weights: a training step).

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_reasoner.py [--rounds 3] [--sections yes_no,labels]
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bat_agent.clips.batch import truth_of
from bat_agent.clips.oracle import oracle_encoding
from bat_agent.interfaces import Encoding
from bat_agent.labels import labels
from bat_agent.questions import HeardSource, Question, QuestionType, compatible, generate, parse_location
from bat_agent.recipes.schema import Stage
from bat_agent.scene import Position
from bat_agent.training.costs import REACHED, count, matmul_rate
from bat_agent.training.optimizers import Optimizers
from bat_agent_llama.config import LlamaReasonerConfig
from bat_agent_llama.language_model import SHAPES
from bat_agent_llama.reasoner import PACKED_AT_ONCE, LlamaReasoner
from bat_agent_llama.tokenizer import prompt_ids, shipped_tokenizer

console = Console(width=120)
DIM, TOKENS, QUESTIONS = 768, 515, 32
KNOWN = tuple(labels()[n] for n in range(0, 355, 9))
TYPES = (QuestionType.PLAIN, QuestionType.DOA, QuestionType.CLASSIFICATION, QuestionType.MIXUP_SINGLE_DOA)
GPU_BATCHES = (16, 32, 64)
H200_FLOPS = 989e12
Work = Callable[[], Any]
asked = argparse.Namespace(rounds=3, steps=120)


# --- contestants ---


def scene(rng: np.random.Generator, sources: int) -> list[HeardSource]:
    """Sounds anywhere around, that can be told apart."""
    while True:
        found = [
            HeardSource(
                (str(rng.choice(KNOWN)),),
                Position(float(rng.uniform(0, 360)), float(rng.uniform(-40, 40)), float(rng.uniform(0.5, 8))),
            )
            for _ in range(sources)
        ]
        if sources == 1 or compatible(*found):
            return found


def batch(seed: int, clips: int, per_clip: int) -> tuple[Encoding, list[Question]]:
    """Imagined encodings, and questions about them."""
    rng = np.random.default_rng(seed)
    heard = [scene(rng, 1 + number % 2) for number in range(clips)]
    questions: list[Question] = []
    for sources in heard:
        types = [kind for kind in TYPES if len(sources) in kind.sources]
        found = generate(sources, types, rng, per_clip, known_labels=KNOWN)
        questions += (found * per_clip)[:per_clip]
    encoding = oracle_encoding(truth_of(heard), DIM, TOKENS, torch.Generator().manual_seed(seed))
    return encoding, questions


@cache
@torch.enable_grad()
def learnt() -> LlamaReasoner:
    """The tiny reasoner after a minute of training."""
    reasoner = LlamaReasoner(LlamaReasonerConfig(token_dim=DIM, num_cls_tokens=6, spoken_slots=2))
    stage = Stage(name="bench", trains="reasoner", learning_rate=1e-3, muon=1.5)
    optimizers = Optimizers(reasoner, stage)
    began = time.perf_counter()
    for step in range(asked.steps):
        encoding, questions = batch(step, 8, 8)
        loss = reasoner.loss(encoding, [q.text for q in questions], [q.answer for q in questions])
        optimizers.step(loss, 1e-3 * min(1.0, (step + 1) / 10))
    console.print(
        f"trained {asked.steps} steps in {time.perf_counter() - began:.0f} s, loss {float(loss.detach()):.2f}"
    )
    return reasoner.eval()


def by_the_book(reasoner: LlamaReasoner, encoding: Encoding, question: str, **how: Any) -> str:
    """One call of transformers' generate for one question: the prefix and the whole prompt every time."""
    (ids,) = prompt_ids(reasoner.tokenizer, [question])
    embedded = reasoner._beginning(encoding, ids)
    out = reasoner.llm.generate(
        inputs_embeds=embedded, attention_mask=torch.ones(embedded.shape[:2], dtype=torch.long, device=embedded.device),
        do_sample=False, max_new_tokens=16, pad_token_id=0, **how,
    )  # fmt: skip
    return str(reasoner.tokenizer.decode(out[0], skip_special_tokens=True)).strip()


# --- measuring ---


def best(contestants: dict[str, Work]) -> dict[str, float]:
    """Shortest time of each, in seconds; all take turns."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(asked.rounds):
        for name, work in contestants.items():
            began = time.perf_counter()
            work()
            found[name].append(time.perf_counter() - began)
    return {name: min(times) for name, times in found.items()}


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


def ratios(title: str, each: int, found: dict[str, float], wanted: str = "") -> None:
    first = next(iter(found.values()))
    rows = [[name, 1000 * seconds / each, first / seconds] for name, seconds in found.items()]
    show(title, ["", "ms each", f"times as fast {wanted}"], rows)


# --- sections ---


@torch.no_grad()
def yes_no() -> None:
    reasoner = learnt()
    encoding, _ = batch(10_001, 1, 1)
    names = [KNOWN[number % len(KNOWN)].lower() for number in range(QUESTIONS)]
    questions = [f"Is the sound of the {name} on your {side}?" for name, side in zip(names, "lr" * 16, strict=True)]
    questions = [q.replace("your l?", "your left?").replace("your r?", "your right?") for q in questions]

    def fresh() -> list[Any]:
        return reasoner.answer(encoding[[0]], questions)  # another tensor, so nothing is remembered

    fresh_answers, book = fresh(), [by_the_book(reasoner, encoding, q) for q in questions]
    same = sum(str(one) == other for one, other in zip(fresh_answers, book, strict=True))
    found = best(
        {
            "generate, one call a question": lambda: [by_the_book(reasoner, encoding, q) for q in questions],
            "generate, 4 beams, one call a question": lambda: [
                by_the_book(reasoner, encoding, q, num_beams=4) for q in questions
            ],
            "answer, one call a question": lambda: [reasoner.answer(encoding[[0]], [q]) for q in questions],
            "answer, all questions": fresh,
        }
    )
    reasoner.answer(encoding, questions)
    found |= best({"answer, all questions, the clip asked before": lambda: reasoner.answer(encoding, questions)})
    ratios(f"{QUESTIONS} yes/no questions about a clip; {same} of {QUESTIONS} as generate", QUESTIONS, found, "(≥ 12)")


@torch.no_grad()
def locations() -> None:
    reasoner = learnt()
    encoding, _ = batch(10_002, 1, 1)
    question = ["Where is the sound coming from?"]
    free = LlamaReasoner(LlamaReasonerConfig(token_dim=DIM, num_cls_tokens=6, spoken_slots=2, closed_answers=False))
    free.load_state_dict(reasoner.state_dict())
    free.eval()
    found = best(
        {
            "generate": lambda: by_the_book(reasoner, encoding, question[0]),
            "generate, 4 beams": lambda: by_the_book(reasoner, encoding, question[0], num_beams=4),
            "answer, not constrained": lambda: free.answer(encoding[[0]], question),
            "answer, inside the tree": lambda: reasoner.answer(encoding[[0]], question),
        }
    )
    many, _ = batch(10_003, 64, 1)
    formed = sum(parse_location(reply) is not None for reply in reasoner.answer(many, question * 64))
    ratios(f"a location; {formed} of 64 well-formed inside the tree", 1, found, "(≥ 1.7)")


@torch.no_grad()
def agreement() -> None:
    """Also where the language model is unsure; an answer that generate forms badly cannot be agreed with."""
    reasoner, rows = learnt(), []
    encoding, questions = batch(10_004, 40, 8)
    said = reasoner.answer(encoding, [q.text for q in questions])
    book = [by_the_book(reasoner, encoding[[n // 8]], q.text) for n, q in enumerate(questions)]
    kinds = ("yes or no", "another closed answer", "labels and other")
    of = [0 if b in ("Yes", "No") else 1 if reply.alternatives or parse_location(b) else 2
          for b, reply in zip(book, said, strict=True)]  # fmt: skip
    for kind, name in enumerate(kinds):
        chosen = [str(s) == b for s, b, k in zip(said, book, of, strict=True) if k == kind]
        rows.append([name, len(chosen), 100.0 * float(np.mean(chosen)) if chosen else "–"])
    right = float(np.mean([str(s) == q.answer for s, q in zip(said, questions, strict=True)]))
    every = 100.0 * float(np.mean([str(s) == b for s, b in zip(said, book, strict=True)]))
    rows.append(["all", len(said), every])
    show(f"answers equal to generate's ({100 * right:.0f} % are right)", ["", "questions", "% (≥ 99)"], rows)


@torch.no_grad()
def labels_scored() -> None:
    reasoner = learnt()
    encoding, _ = batch(10_005, 1, 1)
    question, names = "Identify the sound events in the audio clip.", [name.lower() for name in labels()]

    def rows_of_labels() -> Tensor:
        """One row a label behind the repeated prompt, as a scorer without a tree would do."""
        (ids,) = prompt_ids(reasoner.tokenizer, [question])
        targets = reasoner._answer_ids(names)
        scores = []
        for start in range(0, len(names), PACKED_AT_ONCE):
            some = targets[start : start + PACKED_AT_ONCE]
            longest = max(map(len, some))
            padded = torch.tensor([t + [0] * (longest - len(t)) for t in some])
            beginning = reasoner._beginning(encoding, ids).expand(len(some), -1, -1)
            hidden = reasoner.llm.model(inputs_embeds=torch.cat([beginning, reasoner._embed(padded)], dim=1))
            log_p = reasoner.llm.lm_head(hidden.last_hidden_state[:, beginning.shape[1] - 1 : -1]).log_softmax(-1)
            each = log_p.gather(2, padded[..., None])[..., 0]
            scores += [row[: len(t)].sum() for row, t in zip(each, some, strict=True)]
        return torch.stack(scores)

    apart = float((reasoner.class_scores(encoding[[0]])[0] - rows_of_labels()).abs().max())
    found = best({"a row a label": rows_of_labels, "one packed pass": lambda: reasoner.class_scores(encoding[[0]])})
    ratios(f"scores of all 355 labels of a clip; at most {apart:.1g} apart", 1, found)


def training() -> None:
    reasoner = LlamaReasoner(LlamaReasonerConfig(token_dim=DIM))
    encoding, questions = batch(1, 8, 8)
    texts, answers = [q.text for q in questions], [q.answer for q in questions]
    single = encoding[list(itertools.chain(*([n] * 8 for n in range(8))))]

    def step(heard: Encoding) -> float:
        reasoner.zero_grad()
        loss = reasoner.loss(heard, texts, answers)
        loss.backward()
        return loss.item()

    apart = abs(step(encoding) - step(single))
    found = best({"64 sequences": lambda: step(single), "8 sequences of 8 questions": lambda: step(encoding)})
    ratios(f"a training step, 64 questions about 8 clips; losses {apart:.1g} apart", 64, found, "(3–4)")


def small_model(folder: str, name: str, layers: int | None = None) -> Path:
    """A folder with a model of a known shape, random weights and the built-in vocabulary."""
    from transformers import LlamaConfig, LlamaForCausalLM

    width, depth, heads, groups, inner, _, tied = SHAPES[name]
    config = LlamaConfig(
        hidden_size=width, num_hidden_layers=layers or depth, num_attention_heads=heads, num_key_value_heads=groups,
        intermediate_size=inner, vocab_size=2048, tie_word_embeddings=tied, max_position_embeddings=1024,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    path = Path(folder) / name.rsplit("/", 1)[-1]
    LlamaForCausalLM(config).save_pretrained(path)
    shipped_tokenizer().save_pretrained(path)
    return path


def adapters() -> None:
    encoding, questions = batch(2, 4, 4)
    texts, answers = [q.text for q in questions], [q.answer for q in questions]
    with tempfile.TemporaryDirectory() as folder:
        path = small_model(folder, "HuggingFaceTB/SmolLM2-135M", layers=8)
        common: dict[str, Any] = {"llm": str(path), "token_dim": DIM, "dtype": "float32", "closed_answers": False}
        common |= {"max_answer_tokens": 8}
        minds = {
            name: LlamaReasoner(LlamaReasonerConfig(adapter=name, **common))
            for name in ("none", "llama-adapter-v2", "lora", "llama-adapter-v2+lora")
        }
        minds["llama-adapter-v2, merged"] = LlamaReasoner(LlamaReasonerConfig(adapter="llama-adapter-v2", **common))
        minds["llama-adapter-v2, merged"].merge_adapter()

    def step(mind: LlamaReasoner) -> None:
        mind.zero_grad()
        mind.loss(encoding, texts, answers).backward()

    trained = {name: mind for name, mind in minds.items() if "merged" not in name}
    steps = best({name: lambda mind=mind: step(mind) for name, mind in trained.items()})  # type: ignore[misc]
    for mind in minds.values():
        mind.eval()
    said = best({n: lambda m=m: m.answer(encoding[[0, 1, 2, 3]], texts) for n, m in minds.items()})  # type: ignore[misc]
    rows = [
        [name, 1000 * steps[name] if name in steps else "–", 1000 * said[name], said[name] / said["none"],
         sum(t.numel() for n, t in mind.trained_state_dict().items() if not n.startswith("projector"))]
        for name, mind in minds.items()
    ]  # fmt: skip
    show("8 layers of SmolLM2-135M, 16 questions", ["adapter", "step ms", "8 tokens ms", "to none", "parameters"], rows)


def estimate() -> None:
    """What --dry-run would say of a step, next to the step; and the share of the matmul rate that it reaches."""
    rows: list[list[Any]] = []
    rate = matmul_rate(torch.device("cpu"), torch.float32)
    encoding, questions = batch(3, 4, 4)
    texts, answers = [q.text for q in questions], [q.answer for q in questions]
    shapes = [("HuggingFaceTB/SmolLM2-135M", None), ("HuggingFaceTB/SmolLM2-360M", 16)]
    shapes += [("TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T", 4), ("meta-llama/Llama-2-7b-hf", 1)]
    for name, layers in shapes:
        with tempfile.TemporaryDirectory() as folder:
            options: dict[str, Any] = {"llm": str(small_model(folder, name, layers)), "token_dim": DIM}
            options |= {"dtype": "float32", "adapter": "llama-adapter-v2"}
            config = LlamaReasonerConfig(**options)
            outline, real = LlamaReasoner.outline(config), LlamaReasoner(config)
        foretold = count(lambda o=outline: o.loss(encoding.to("meta"), texts, answers))  # type: ignore[misc]
        counted = count(lambda real=real: real.loss(encoding, texts, answers))  # type: ignore[misc]

        def step(real: LlamaReasoner = real) -> None:
            real.zero_grad()
            real.loss(encoding, texts, answers).backward()

        seconds = best({name: step})[name]
        guess = foretold.flop / (rate * REACHED["cpu"])
        rows.append(
            [f"{name.rsplit('/', 1)[-1][:14]}, {layers or 'all'} layers", foretold.flop / 1e9,
             foretold.kept_bytes / counted.kept_bytes, guess, seconds, guess / seconds,
             100 * foretold.flop / (seconds * rate)]
        )  # fmt: skip
    columns = ["", "GFLOP", "kept bytes, ratio", "foretold s", "measured s", "ratio", "% of matmul rate"]
    show(f"16 questions about 4 clips, LLaMA-Adapter V2, {rate / 1e9:.0f} GFLOP/s", columns, rows)


def gpu() -> None:
    """A training step of BAT's language side on LLaMA-2 7B's shape: stage 3's questions, one a clip, 515 tokens."""
    if not torch.cuda.is_available():
        console.print("gpu: no CUDA device here, left out")
        return
    device, rows = torch.device("cuda"), []
    with device:
        config = LlamaReasonerConfig(
            llm="meta-llama/Llama-2-7b-hf", token_dim=DIM, projector="qformer", adapter="llama-adapter-v2"
        )
        torch.set_default_dtype(torch.float32)
        reasoner = LlamaReasoner(config, weights=False)
    optimizers = Optimizers(reasoner, Stage(name="bench", trains="reasoner"))
    for clips in GPU_BATCHES:
        encoding, questions = batch(4, clips, 1)
        encoding = encoding.to(device)
        texts, answers = [q.text for q in questions], [q.answer for q in questions]
        torch.cuda.reset_peak_memory_stats()

        def step() -> None:
            optimizers.step(reasoner.loss(encoding, texts, answers), 1e-5)  # noqa: B023
            torch.cuda.synchronize()

        try:
            flop = count(lambda: reasoner.loss(encoding, texts, answers)).flop  # noqa: B023
            step()
        except torch.OutOfMemoryError:
            rows.append([clips, "out of memory", "", "", torch.cuda.max_memory_allocated() / 2**30])
            break
        seconds = best({"step": step})["step"]
        peak = torch.cuda.max_memory_allocated() / 2**30
        places = clips * (reasoner.prefix_tokens + max(len(p) for p in prompt_ids(reasoner.tokenizer, texts)))
        rows.append([clips, 1000 * seconds, places / seconds, 100 * flop / seconds / H200_FLOPS, peak])
    columns = ["clips", "step ms", "tokens/s", "MFU %", "peak GiB"]
    show(f"LLaMA-2 7B's shape on {torch.cuda.get_device_name()}, bfloat16", columns, rows)


SECTIONS: dict[str, Work] = {
    "yes_no": yes_no, "locations": locations, "agreement": agreement, "labels": labels_scored, "training": training,
    "adapters": adapters, "estimate": estimate, "gpu": gpu,
}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=120, help="training steps of the tiny model")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="separated by commas")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for section in asked.sections.split(","):
        SECTIONS[section]()
