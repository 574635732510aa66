"""How good answers to SpatialSoundQA are: any system's, read from a file, scored here without anyone's service.

An embedder (:mod:`~bat_agent.scoring.embedders`) turns free text into class scores; :mod:`~bat_agent.scoring.answers`
reads and writes answers; :func:`score` measures them; :mod:`~bat_agent.scoring.rows` makes the rows to compare with,
and :mod:`~bat_agent.scoring.tables` puts all of it beside the published figures. Only what needs sound
(:mod:`~bat_agent.scoring.ask`, :mod:`~bat_agent.scoring.data`) imports torch.
"""

from __future__ import annotations

from bat_agent.scoring.answers import Answers, read_answers, write_answers
from bat_agent.scoring.classes import ClassScorer, load_class_vectors
from bat_agent.scoring.embedders import (
    ApiEmbedder,
    Embedder,
    LexicalEmbedder,
    SentenceTransformerEmbedder,
    open_embedder,
)
from bat_agent.scoring.rows import comparison_rows
from bat_agent.scoring.score import Scores, score

__all__ = [
    "Answers",
    "ApiEmbedder",
    "ClassScorer",
    "Embedder",
    "LexicalEmbedder",
    "Scores",
    "SentenceTransformerEmbedder",
    "comparison_rows",
    "load_class_vectors",
    "open_embedder",
    "read_answers",
    "score",
    "write_answers",
]
