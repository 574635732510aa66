"""Questions about sounds: SpatialSoundQA records, answers, wordings and a generator (BAT, section 3.2, tables 1, 9).

Nothing here imports torch or reads audio: questions and answers follow from labels and positions alone.
"""

from __future__ import annotations

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
