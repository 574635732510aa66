"""Free questions: what people ask of a scene in their own words, as typed queries whose truth follows from geometry.

An intent (:mod:`~.intents`) draws a :class:`~.query.Query` about a scene, :func:`~.truth.answer` says what is true of
it, and a voice (:mod:`~.voices`) puts it into words.
"""

from __future__ import annotations

from bat_agent.questions.free.asking import FreeQuestion, ask_free
from bat_agent.questions.free.intents import INTENTS, Intent
from bat_agent.questions.free.query import KINDS, Query, read_query
from bat_agent.questions.free.seen import Truth
from bat_agent.questions.free.truth import CANNOT_BE_HEARD, answer
from bat_agent.questions.history import split_history, with_history

__all__ = [
    "CANNOT_BE_HEARD",
    "INTENTS",
    "KINDS",
    "FreeQuestion",
    "Intent",
    "Query",
    "Truth",
    "answer",
    "ask_free",
    "read_query",
    "split_history",
    "with_history",
]
