"""What one answer is worth: the measures of BAT (section 5.1), and those of questions beyond the paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bat_agent.questions.answers import (
    AXES,
    choices_for,
    parse_angle,
    parse_clock,
    parse_count,
    parse_distance,
    parse_labels,
    parse_letter,
    parse_location,
    parse_not_heard,
    parse_yes_no,
)
from bat_agent.questions.records import QuestionType

NEAR_DEG = 20.0
"""An angle that is no farther off counts as right, degrees; as in ER20°."""
Scores = dict[str, float]
Read = TypeVar("Read")
_LABELS = frozenset(
    (
        QuestionType.CLASSIFICATION,
        QuestionType.MIXUP_SINGLE_CLASSIFICATION,
        QuestionType.MIXUP_NONBINARY_SOURCE,
        QuestionType.MANY_CLASSIFICATION,
    )
)


def score_answer(question_type: QuestionType, truth: str, answer: str) -> Scores:
    """The measures of one answer, by what its truth is.

    Labels: ``f1`` of the two sets, ``exact``. Location: ``region`` (1 if all three words are right), one value per
    axis, ``der`` (1 if more than 0.5 m off). Distance: ``der``. Angle: ``error_deg``, ``accuracy`` (1 if at most 20°
    off). Hour: ``accuracy``, ``within_hour``. What may not be there: ``heard`` (1 if the answer is right about that),
    and the measures of a location or a distance where there is one. Yes/no, sides, counts, letters and all else:
    ``accuracy``. Always ``malformed``: 1 where the answer cannot be read as what was asked for; a malformed answer is
    wrong everywhere, by the largest error there is.
    """
    if question_type in _LABELS:
        return _score_labels(truth, answer)
    if question_type in _BEYOND:
        return _BEYOND[question_type](truth, answer)
    location, metres = parse_location(truth), parse_distance(truth)
    if location is not None:
        return _score_location(location, parse_location(answer))
    if metres is not None:
        return _score_distance(metres, parse_distance(answer))
    if (yes := parse_yes_no(truth)) is not None:
        said = parse_yes_no(answer)
        return {"accuracy": float(said == yes), "malformed": float(said is None)}
    choices, said_text = choices_for(truth), _plain(answer)
    malformed = said_text not in choices if choices else not said_text
    return {"accuracy": float(said_text == _plain(truth)), "malformed": float(malformed)}


def _score_labels(truth: str, answer: str) -> Scores:
    wanted, given = set(parse_labels(truth) or ()), set(parse_labels(answer) or ())
    f1 = 2 * len(wanted & given) / (len(wanted) + len(given)) if given else 0.0
    return {"f1": f1, "exact": float(wanted == given), "malformed": float(not given)}


def _score_location(truth: tuple[str, float], given: tuple[str, float] | None) -> Scores:
    if given is None:
        return {"region": 0.0, **dict.fromkeys(AXES, 0.0), "der": 1.0, "malformed": 1.0}
    words = zip(AXES, truth[0].split(", "), given[0].split(", "), strict=True)
    return {
        "region": float(truth[0] == given[0]),
        **{axis: float(wanted == word) for axis, wanted, word in words},
        "der": float(_bins_apart(given[1], truth[1]) > 1),
        "malformed": 0.0,
    }


def _score_distance(truth_m: float, given_m: float | None) -> Scores:
    return {"der": float(given_m is None or _bins_apart(given_m, truth_m) > 1), "malformed": float(given_m is None)}


def _bins_apart(first_m: float, second_m: float) -> int:
    # No finite number of bins lies between here and the infinity that four hundred digits are read as.
    first, second = (round(min(2 * metres, 1e9)) for metres in (first_m, second_m))
    return abs(first - second)


def _plain(text: str) -> str:
    return text.strip().rstrip(".!").strip().lower()


# --- beyond the paper ---


def _score_angle(truth: str, answer: str) -> Scores:
    wanted, given = parse_angle(truth), parse_angle(answer)
    if wanted is None or given is None or given[0] != wanted[0]:
        worst = 90 + abs(wanted[1]) if wanted is not None and wanted[0] == "elevation" else 180
        return {"error_deg": float(worst), "accuracy": 0.0, "malformed": 1.0}
    apart = abs(given[1] - wanted[1])
    error_deg = float(min(apart, 360 - apart) if wanted[0] == "azimuth" else apart)
    return {"error_deg": error_deg, "accuracy": float(error_deg <= NEAR_DEG), "malformed": 0.0}


def _score_clock(truth: str, answer: str) -> Scores:
    wanted, given = parse_clock(truth), parse_clock(answer)
    if wanted is None or given is None:
        return {"accuracy": 0.0, "within_hour": 0.0, "malformed": 1.0}
    apart = abs(given - wanted)
    return {"accuracy": float(apart == 0), "within_hour": float(min(apart, 12 - apart) <= 1), "malformed": 0.0}


def _exact(parse: Callable[[str], Read | None]) -> Callable[[str, str], Scores]:
    def score(truth: str, answer: str) -> Scores:
        given = parse(answer)
        return {"accuracy": float(given is not None and given == parse(truth)), "malformed": float(given is None)}

    return score


def _score_if_heard(truth: str, answer: str) -> Scores:
    location, metres = parse_location(truth), parse_distance(truth)
    denied = parse_not_heard(answer)
    if location is None and metres is None:
        malformed = not denied and parse_location(answer) is None and parse_distance(answer) is None
        return {"heard": float(denied), "malformed": float(malformed)}
    if location is not None:
        scores = _score_location(location, parse_location(answer))
    else:
        assert metres is not None
        scores = _score_distance(metres, parse_distance(answer))
    # To deny it is an answer, though a wrong one.
    malformed = scores["malformed"] > 0 and not denied
    return {"heard": float(not denied and not malformed), **scores, "malformed": float(malformed)}


_BEYOND: dict[QuestionType, Callable[[str, str], Scores]] = {
    QuestionType.ANGLE: _score_angle,
    QuestionType.CLOCK: _score_clock,
    QuestionType.COUNT: _exact(parse_count),
    QuestionType.CHOICE: _exact(parse_letter),
    QuestionType.NOT_HEARD: _score_if_heard,
}
