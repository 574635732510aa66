"""Questions about sounds: SpatialSoundQA records, answers, wordings and a generator (BAT, section 3.2, tables 1, 9).

Nothing here imports torch or reads audio: questions and answers follow from labels and positions alone. The names are
imported when first used: who only reads answers has no use for a generator.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bat_agent.questions.answers import (
        HeardSource,
        answer_labels,
        answer_location,
        choices_for,
        format_distance,
        from_scene,
        mirror,
        parse_distance,
        parse_labels,
        parse_location,
        parse_yes_no,
    )
    from bat_agent.questions.builders import Margins
    from bat_agent.questions.families import related, unrelated_labels
    from bat_agent.questions.files import RecordFile, iter_records, read_records, write_records
    from bat_agent.questions.generator import Balance, Question, compatible, generate, known_kinds
    from bat_agent.questions.grammar import Split, vary, wordings
    from bat_agent.questions.records import (
        BEYOND_TYPES,
        PROMPT,
        RELEASED_TYPES,
        QARecord,
        QuestionType,
        parse_types,
        prompt,
    )

_HOME = {
    "answers": [
        "HeardSource",
        "answer_labels",
        "answer_location",
        "choices_for",
        "format_distance",
        "from_scene",
        "mirror",
        "parse_distance",
        "parse_labels",
        "parse_location",
        "parse_yes_no",
    ],
    "builders": ["Margins"],
    "families": ["related", "unrelated_labels"],
    "files": ["RecordFile", "iter_records", "read_records", "write_records"],
    "generator": ["Balance", "Question", "compatible", "generate", "known_kinds"],
    "grammar": ["Split", "vary", "wordings"],
    "records": ["BEYOND_TYPES", "PROMPT", "RELEASED_TYPES", "QARecord", "QuestionType", "parse_types", "prompt"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "BEYOND_TYPES",
    "PROMPT",
    "RELEASED_TYPES",
    "Balance",
    "HeardSource",
    "Margins",
    "QARecord",
    "Question",
    "QuestionType",
    "RecordFile",
    "Split",
    "answer_labels",
    "answer_location",
    "choices_for",
    "compatible",
    "format_distance",
    "from_scene",
    "generate",
    "iter_records",
    "known_kinds",
    "mirror",
    "parse_distance",
    "parse_labels",
    "parse_location",
    "parse_types",
    "parse_yes_no",
    "prompt",
    "read_records",
    "related",
    "unrelated_labels",
    "vary",
    "wordings",
    "write_records",
]


if not TYPE_CHECKING:  # a type checker sees the imports above, and tells of names that are not there

    def __getattr__(name: str) -> Any:
        if name in _MODULE_OF:
            return getattr(importlib.import_module(f"bat_agent.questions.{_MODULE_OF[name]}"), name)
        raise AttributeError(f"module 'bat_agent.questions' has no attribute {name!r}")
