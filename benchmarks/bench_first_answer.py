"""How long a newcomer waits: from nothing to the first answer, to the next one, and to one about another clip.

Every round is a fresh process: import, load, first answer about a clip (two sounds of the demo, rendered), the next
question about it, a question about a clip that was not heard yet, twenty questions at once about another, twenty alone
about one, and twenty alone about a clip each. No question is worded as in SpatialSoundQA unless ``--set``, so that a
language model reads each. CPU seconds of the process, so that other processes count little; beside them stands how long
Python takes to import torch alone. Memory is the most that the process held.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_first_answer.py [--model bat-small] [--rounds 5] [--set]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bat_agent.cli.demo import draw_scene, render

IMPORT = "import time, json, torch; print(json.dumps([time.process_time(), 0]))"
ROUND = """
import json, resource, sys, time
marks = [time.process_time()]
def mark(): marks.append(time.process_time())
import bat_agent, numpy as np
mark()
bat = bat_agent.load(sys.argv[1], device="cpu")
clip, questions = np.load(sys.argv[2]), json.loads(sys.argv[3])
mark()
bat.ask(clip, questions[0]); mark()
bat.ask(clip, questions[1]); mark()
bat.ask(clip[::-1], questions[2]); mark()
bat.ask(clip * 0.9, questions[3:23]); mark()
for question in questions[23:43]: bat.ask(clip * 0.9, question)
mark()
for number, question in enumerate(questions[43:63]): bat.ask(clip * (0.8 - 0.01 * number), question)
mark()
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps([*(b - a for a, b in zip(marks, marks[1:])), memory]))
"""
STEPS = (
    "import", "load", "first answer", "next question", "another clip", "20 questions at once", "20 one by one",
    "20, a clip each",
)  # fmt: skip
SOUNDS = ("dog", "siren", "rain", "clock", "voice", "piano", "bell")
WORDED = (
    "Would I back into the {} if I stepped backwards?", "hey, how much further could I walk before I bump into the {}",
    "Which way do I turn to have the {} straight in front of me?", "Could it be that the {} is somewhere up there?",
    "um is there like a {} at all", "Is it the {} that is nearest to me?", "Point me to the {}, please.",
    "Anything to be heard besides the {}?", "Is whatever makes that {} noise over by my right shoulder?",
)  # fmt: skip
OF_THE_SET = (
    "Where is the {}?", "How far away is the {}?", "Is the {} on the left?", "Is the {} in front of you?",
    "Is the {} behind you?", "Is the {} above you?", "Is the {} below you?", "Is the {} on your right?",
    "Can you hear the {}?",
)  # fmt: skip


def seconds_of(code: str, *arguments: str) -> list[float]:
    """What a fresh interpreter printed of itself."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    numbers: list[float] = json.loads(done.stdout)
    return numbers


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bat-small", help="a shipped model or a folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="store_true", help="ask as SpatialSoundQA does")
    given = parser.parse_args()
    questions = [words.format(sound) for words, sound in product(OF_THE_SET if given.set else WORDED, SOUNDS)]
    rng = np.random.default_rng(0)
    waveform, _ = render(draw_scene(rng), rng)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.npy"
        np.save(file, np.asarray(waveform, dtype=np.float32))
        torch_s = [seconds_of(IMPORT)[0] for _ in range(given.rounds)]
        rounds = [seconds_of(ROUND, given.model, str(file), json.dumps(questions)) for _ in range(given.rounds)]
    table = Table("step", "median", "slowest", "to torch's import", title=f"{given.model}, CPU seconds")
    rows = list(zip(STEPS, zip(*(times[:-1] for times in rounds), strict=True), strict=True))
    rows.insert(3, ("from nothing to the first answer", tuple(sum(times[:3]) for times in rounds)))
    alone = statistics.median(torch_s)
    table.add_row("import torch alone", f"{alone:.3f} s", f"{max(torch_s):.3f} s", "1.00")
    for name, times in rows:
        median = statistics.median(times)
        table.add_row(name, f"{median:.3f} s", f"{max(times):.3f} s", f"{median / alone:.2f}")
    Console(width=100).print(table)
    at_once, alone_each, clip_each = (statistics.median(times[number] for times in rounds) for number in (5, 6, 7))
    print(f"20 questions at once: {alone_each / at_once:.1f} times cheaper than one by one, ", end="")
    print(f"{clip_each / at_once:.1f} times cheaper than 20 calls with a clip each")
    print(f"memory: {max(times[-1] for times in rounds):.2f} GiB")


if __name__ == "__main__":
    main()
