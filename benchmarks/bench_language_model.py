"""What a language model costs that is put behind the ears: loading, memory, the first question and the next ones.

The clips have no sound, but heads that know the truth (an oracle's), so that no encoder counts. CPU seconds of this
process on one thread; ``memory`` is the most that it held in all.

    OMP_NUM_THREADS=1 python benchmarks/bench_language_model.py [--model smollm2-135m] [--dtype bfloat16]
        [--reasoner scene-prompt]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import torch

from bat_agent import registry
from bat_agent.clips.batch import truth_of
from bat_agent.clips.oracle import oracle_encoding
from bat_agent.interfaces import Encoding
from bat_agent.questions import HeardSource
from bat_agent.scene import Position

QUESTIONS = (
    "Where is the dog?",
    "Is the dog on your left?",
    "How far away is the music?",
    "Is the music closer than the dog?",
)


def clip(azimuth_deg: float) -> Encoding:
    """A dog, and music on the other side, heard without error."""
    sources = [
        HeardSource(("Dog",), Position(azimuth_deg, 10.0, 1.5)),
        HeardSource(("Music",), Position(360 - azimuth_deg, -10.0, 3.0)),
    ]
    return oracle_encoding(truth_of([sources]), 768, 8, torch.Generator().manual_seed(0))


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Do it, and print its CPU seconds and what came of it."""
    begin = time.process_time()
    result = work()
    replies = result if isinstance(result, list) else []
    said = "; ".join(f"{' '.join(reply.split())[:60]!r} ({reply.confidence:.2f})" for reply in replies)
    print(f"{what:34} {time.process_time() - begin:6.2f} s  {said}", flush=True)
    return result


def main() -> None:
    """Print one line for each thing that is timed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--reasoner", choices=("scene-prompt", "llama"), default="scene-prompt")
    given = parser.parse_args()
    torch.set_num_threads(1)
    options: dict[str, Any] = {"token_dim": 768, "dtype": given.dtype, "max_answer_tokens": 24}
    if given.reasoner == "llama":
        options |= {"llm": given.model, "spoken_slots": 2, "num_queries": 0, "num_cls_tokens": 0}
    else:
        options |= {"model": given.model, "backend": "transformers"}
    reasoner: Any = timed("load", lambda: registry.load_reasoner(given.reasoner, **options))
    reasoner.eval()
    first, second = clip(150.0), clip(40.0)
    timed("first question", lambda: reasoner.answer(first, QUESTIONS[:1]))
    for question in QUESTIONS[1:]:
        timed("next question, same clip", lambda question=question: reasoner.answer(first, [question]))
    if hasattr(reasoner, "chat"):
        reasoner.chat._prefix.forget()
        timed("the same, nothing kept", lambda: reasoner.answer(first, QUESTIONS[-1:]))
    timed("first question, another clip", lambda: reasoner.answer(second, QUESTIONS[:1]))
    timed(f"{len(QUESTIONS)} questions at once, that clip", lambda: reasoner.answer(second, list(QUESTIONS)))
    print(f"{'memory':34} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:6.2f} GiB")


if __name__ == "__main__":
    main()
