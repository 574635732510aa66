"""Questions said more loosely, so that a small model listens for the words that matter and not for whole templates.

Words without meaning of their own are left out, or put in, at random. Names of sounds, directions, distances and
question words stay as they are, so the answer stays true.
"""

from __future__ import annotations

import numpy as np

_EMPTY = """
a about an any approximately are audio can clip come comes coming could describe detect determine do does estimate event
events find from give hear heard identify in is it list locate located me nearly of on originate originates please
position positioned reach reaches recording report roughly say sound sounds source state tell that the there this to
would you your
"""
_ADDED = """
actually audio believe can clip could currently do exactly guess hear heard here it just kindly know made moment noise
notice now perceive place please produced recording room say scene sense sound source that there thing think this
would you
"""
EMPTY_WORDS = frozenset(_EMPTY.split())
"""May be left out."""
ADDED_WORDS = tuple(_ADDED.split())
"""May be put in anywhere."""


def loosen(question: str, rng: np.random.Generator, share: float) -> str:
    """Leave out a ``share`` of the empty words, and put in a third as many."""
    words: list[str] = []
    for word in question.split(" "):
        if word.lower().strip("?.,'") not in EMPTY_WORDS or rng.random() >= share:
            words.append(word)
        if rng.random() < share / 3:
            words.append(ADDED_WORDS[rng.integers(len(ADDED_WORDS))])
    return " ".join(words) if words else question
