"""Of the classes that ears know, those nearest to one they do not: ``snare drum`` for ``piano``.

The class table keeps the order of the AudioSet ontology, in which relatives stand side by side
(:mod:`bat_agent.questions.families`): the same block first, then the same realm, then by how far apart they stand.
"""

from __future__ import annotations

from collections.abc import Iterable

from bat_agent.labels import label_index
from bat_agent.questions.families import kinship


def nearest_classes(label: str, known: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """Up to ``most`` of the ``known`` display names, nearest to ``label`` first; those of another realm only where
    there is none of its own. Raises ``KeyError`` for what is none of the 355 classes.
    """
    index = label_index()
    ranked = sorted((-kinship(label, name), abs(index[name] - index[label]), name) for name in known)
    closest = [name for near, _, name in ranked if near < 0]
    return tuple(closest[:most] or [name for _, _, name in ranked[:1]])
