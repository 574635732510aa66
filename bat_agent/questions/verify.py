"""Whether the answer of a record is true: a second opinion, from its geometry and the text of its question alone.

Nothing is shared with what makes questions. The text is read as English (:mod:`bat_agent.questions.verify_reading`),
and the truth computed from Cartesian coordinates (:mod:`bat_agent.questions.verify_truth`).
"""

from __future__ import annotations

from bat_agent.errors import BadInput
from bat_agent.questions.records import QARecord, QuestionType
from bat_agent.questions.verify_beyond import CHECKS
from bat_agent.questions.verify_free import verify_free
from bat_agent.questions.verify_kinds import READ
from bat_agent.questions.verify_paper import verify_paper


def verify(record: QARecord) -> str | None:
    """``None`` where the answer follows from the record's geometry and its question; else one sentence: what is wrong.

    Never raises: a record without geometry, a question that cannot be read, a type that nobody checks are told as well.
    """
    try:
        question_type = record.type
    except BadInput as error:
        return str(error)
    sources = record.geometry
    if not sources:
        return "the record does not say where its sources are (geometry)"
    if question_type in READ:
        return verify_paper(record, sources)
    if question_type is QuestionType.FREE:
        return verify_free(record, sources)
    check = CHECKS.get(question_type)
    return check(record, sources) if check else f"no verifier for {question_type.value}"
