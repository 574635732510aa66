"""Fuzz for minutes: ``python tests/fuzz/long.py --minutes 10 [TARGET …]`` prints how many inputs ended how.

An input that ends otherwise than in a value or one sentence is written beside, ``failed-TARGET``, and fails the run.
Inputs are drawn anew each time, from the seed that is printed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from test_fuzz import CONTENTS, READERS, contents

from bat_agent.errors import BatAgentError

ROUND = 100
"""Inputs of one seed."""


def run(target: str, minutes: float, first_seed: int) -> Counter[str]:
    """How many inputs were read, and how many refused in one sentence; stops at the first that ended otherwise."""
    counts: Counter[str] = Counter()
    end_s = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, target)
        while time.monotonic() < end_s and not counts["failed"]:
            one_round(target, path, first_seed + counts["rounds"], end_s, counts)
            counts["rounds"] += 1
    return counts


def one_round(target: str, path: Path, number: int, end_s: float, counts: Counter[str]) -> None:
    """A hundred inputs, or fewer where the time is up."""

    @seed(number)
    @settings(
        max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )  # fmt: skip
    @given(CONTENTS.get(target, contents))
    def check(content: bytes) -> None:
        if time.monotonic() > end_s or counts["failed"]:
            return
        path.write_bytes(content)
        try:
            READERS[target](path)
            counts["read"] += 1
        except BatAgentError as error:
            counts["refused" if str(error) and "\n" not in str(error) else "failed"] += 1
        except Exception:
            counts["failed"] += 1
            traceback.print_exc()
        if counts["failed"]:
            Path(f"failed-{target}").write_bytes(content)

    check()


def main() -> int:
    """Each target in turn; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(READERS)}; all where none is named"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given_ = parser.parse_args()
    print(f"seed {given_.seed}", flush=True)
    failed = 0
    for target in given_.targets or READERS:
        began_s = time.monotonic()
        counts = run(target, given_.minutes, given_.seed)
        failed += counts["failed"]
        took_s = time.monotonic() - began_s
        inputs = counts["read"] + counts["refused"] + counts["failed"]
        ends = ", ".join(f"{counts[end]:,} {end}" for end in ("read", "refused", "failed"))
        print(f"{target:20} {took_s:6.0f} s {inputs:9,} inputs: {ends}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
