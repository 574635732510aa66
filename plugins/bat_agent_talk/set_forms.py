"""Whether a question is one of SpatialSoundQA's, word for word.

Those ask what no query does ("which sound is left of the dog?"), and the rules understand every one of them. Case,
articles and the last mark may differ, as people type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache

from bat_agent.labels import labels
from bat_agent.questions.answers import AXES
from bat_agent.questions.grammar import FROM, NAMED, OF, UNNAMED, WHERE, WORDINGS, wordings

_ARTICLE = re.compile(r"\b(?:the|a|an|any) ")
_SLOT = re.compile(r"\\\{(\w+)\\\}")
_NAME = "§"


@lru_cache(maxsize=4096)
def is_of_the_set(question: str) -> bool:
    """Whether one of the wordings of :mod:`bat_agent.questions.grammar` is this question."""
    text = _names().sub(_NAME, _plain(question))
    return any(pattern.fullmatch(text) for pattern in _patterns())


def _plain(text: str) -> str:
    return _ARTICLE.sub("", " ".join(text.lower().split())).rstrip("?. ")


@cache
def _names() -> re.Pattern[str]:
    """All labels, as they stand in a text without articles."""
    names = sorted({_plain(name) for name in labels()}, key=len, reverse=True)
    return re.compile(rf"(?<![\w]){_any(names)}(?!\w)")


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    texts = dict.fromkeys(text for kind in WORDINGS for text in wordings(kind, "all"))
    slots = _slots()
    return tuple(
        re.compile(_SLOT.sub(lambda match: slots[match[1]], re.escape(_plain(text)).replace(r"\ ", " ")))
        for text in texts
    )


def _slots() -> dict[str, str]:
    """A pattern for each slot of a wording."""
    source = _any([_plain(text.format(label=_NAME)) for text in NAMED] + [_plain(text) for text in UNNAMED])
    ways_of = [text for ways in OF.values() for text in ways]
    of = _any(map(_plain, ways_of))
    # "to the left or to the right of", "to the left or right of": the first of two sides leaves out its end.
    p = _any([_plain(text.removesuffix(" of")) for text in ways_of] + [_plain(text) for text in ways_of])
    q = _any([_plain(text.removeprefix("to the ")) for text in ways_of] + [_plain(text) for text in ways_of])
    where = _any([_plain(text) for ways in WHERE.values() for text in ways])
    from_ = _any([_plain(text) for ways in FROM.values() for text in ways])
    word = _any(list(WHERE))
    region = ", ".join(_any(list(words)) for words in AXES.values())
    return {
        "a": source, "b": source, "thing": _NAME, "of": of, "p": p, "q": q, "d": word, "d2": word, "where": where,
        "where2": where, "from_": from_, "from2": from_, "region": region, "distance": r"\d+(?:\.\d+)? meters?",
    }  # fmt: skip


def _any(texts: Iterable[str]) -> str:
    return f"(?:{'|'.join(re.escape(text) for text in sorted(set(texts), key=len, reverse=True))})"
