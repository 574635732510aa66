"""Questions: answer texts, wordings, and the truth and fairness of generated questions.

Truth is checked by an oracle that reads nothing but the question's text and the sources' Cartesian coordinates.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bat_agent.errors import BadInput
from bat_agent.evaluation.metrics import prompt_only_answers
from bat_agent.questions import (
    Balance,
    HeardSource,
    Question,
    QuestionType,
    answer_labels,
    answer_location,
    compatible,
    from_scene,
    generate,
    known_kinds,
    mirror,
    parse_distance,
    parse_labels,
    parse_location,
    parse_yes_no,
    related,
    unrelated_labels,
)
from bat_agent.questions.grammar import FROM, OF, WHERE, WORDINGS
from bat_agent.questions.records import RELEASED_TYPES
from bat_agent.scene import Listener, Position, Room, Scene, Source, mirror_azimuth_deg

T = QuestionType
ONE = (T.CLASSIFICATION, T.DOA, T.PLAIN)
TWO = (*RELEASED_TYPES[2:], T.PLAIN)
REASONING = (T.MIXUP_DIRECTION, T.MIXUP_DISTANCE_BOTH)
LABELS = (("Dog", "Bark"), ("Siren",), ("Speech",), ("Rain",), ("Piano", "Music"), ("Cat",), ("Helicopter",))
KNOWN = ("Dog", "Siren", "Speech", "Rain", "Piano", "Cat", "Helicopter", "Clock", "Laughter")


def draw_source(rng: np.random.Generator, labels: tuple[str, ...], mostly_below: bool = False) -> HeardSource:
    height = rng.uniform(-1, 0.1 if mostly_below else 1)
    position = Position(rng.uniform(0, 360), math.degrees(math.asin(height)), rng.uniform(0.5, 8))
    return HeardSource(labels, position)


def draw_pair(rng: np.random.Generator, mostly_below: bool = False) -> list[HeardSource]:
    while True:
        i, j = rng.choice(len(LABELS), 2, replace=False)
        pair = [draw_source(rng, LABELS[i], mostly_below), draw_source(rng, LABELS[j], mostly_below)]
        if compatible(*pair):
            return pair


# --- an independent reading of questions ---


def xyz(source: HeardSource) -> np.ndarray:
    """Right, up, back in metres, by the formulae of the facts sheet inverted."""
    azimuth, elevation = np.radians(source.position.azimuth_deg), np.radians(source.position.elevation_deg)
    flat = source.position.distance_m * np.cos(elevation)
    return np.array([flat * np.cos(azimuth), source.position.distance_m * np.sin(elevation), -flat * np.sin(azimuth)])


AHEAD = {  # word: (axis, sign) of the coordinate that grows that way
    "left": (0, -1), "right": (0, 1), "above": (1, 1), "below": (1, -1), "front": (2, -1), "behind": (2, 1),
}  # fmt: skip


def named_in_order(text: str, sources: list[HeardSource]) -> list[HeardSource]:
    """The sources in the order in which the question names them."""
    found = []
    for source in sources:
        places = [m.start() for n in source.labels for m in re.finditer(rf"(?<!\w){re.escape(n.lower())}(?!\w)", text)]
        found += [(place, source) for place in places[:1]]
    return [source for _, source in sorted(found, key=lambda pair: pair[0])]


def directions_in(text: str) -> list[str]:
    """The directions in the order in which the question says them."""
    phrases = sorted(
        {(p, word) for table in (WHERE, FROM, OF) for word, ps in table.items() for p in (*ps, word)},
        key=lambda pair: -len(pair[0]),
    )
    found = []
    for phrase, word in phrases:
        pattern = re.compile(rf"(?<!\w){phrase}(?!\w)")
        while match := pattern.search(text):
            found.append((match.start(), word))
            text = text[: match.start()] + "#" * len(phrase) + text[match.end() :]
    return [word for _, word in sorted(found)]


def is_at(source: HeardSource, word: str) -> bool:
    axis, sign = AHEAD[word]
    return bool(sign * xyz(source)[axis] > 0)


def truth(question: Question, sources: list[HeardSource]) -> str:
    """What the question's answer must be."""
    text, kind = question.text.lower(), question.kind.split(".")[0]
    who, said = named_in_order(text, sources), directions_in(text)
    if len(sources) == 1:
        who = sources
    if kind == "presence":
        present = [label.lower() for source in sources for label in source.labels]
        return "Yes" if any(re.search(rf"\b{label}\b", text) for label in present) else "No"
    if kind == "both":
        return "Yes" if all(is_at(source, said[0]) for source in who) else "No"
    if kind == "pair":
        return "Yes" if is_at(who[0], said[0]) and is_at(who[1], said[1]) else "No"
    if kind == "is_side":
        return "Yes" if is_at(who[0], said[0]) else "No"
    if kind in ("closer", "farther"):
        near, far = (np.linalg.norm(xyz(source)) for source in who)
        return "Yes" if (near < far) == (kind == "closer") else "No"
    if kind == "relation":
        axis, sign = AHEAD[said[0]]
        return "Yes" if sign * (xyz(who[0]) - xyz(who[1]))[axis] > 0 else "No"
    if kind == "which_side_of":
        axis, sign = AHEAD[said[0]]
        return said[0] if sign * (xyz(who[0]) - xyz(who[1]))[axis] > 0 else said[1]
    if kind in ("side", "which_side"):
        return next(word for word in (said or ["left", "right"]) if is_at(who[0], word))
    if kind == "between":
        return f"{round(2 * np.linalg.norm(xyz(who[0]) - xyz(who[1]))) / 2:g}m"
    if kind == "distance":
        return f"{round(2 * np.linalg.norm(xyz(who[0]))) / 2:g}m"
    if kind == "source_on":
        other = next(source for source in sources if source is not who[0])
        axis, sign = AHEAD[said[0]]
        assert sign * (xyz(other) - xyz(who[0]))[axis] > 0
        return "; ".join(sorted(label.lower() for label in other.labels))
    raise AssertionError(kind)


CHECKED = {
    "presence", "both", "pair", "is_side", "closer", "farther", "relation", "which_side_of", "side", "which_side",
    "between", "distance", "source_on",
}  # fmt: skip


@pytest.mark.parametrize("split", ["train", "eval"])
def test_generated_answers_are_true(rng: np.random.Generator, split: str) -> None:
    seen: set[str] = set()
    for _ in range(250):
        one, two = [draw_source(rng, ("Dog", "Bark"))], draw_pair(rng)
        for sources, types in ((one, ONE), (two, TWO)):
            # Without articles "the back" and "back" are hard to tell for the oracle, so words are left alone here.
            for question in generate(sources, types, rng, 12, split=split, known_labels=KNOWN, typed=False):  # type: ignore[arg-type]
                kind = question.kind.split(".")[0]
                seen.add(kind)
                if kind in CHECKED:
                    assert question.answer == truth(question, sources), question
                    mirrored = [HeardSource(s.labels, mirrored_position(s)) for s in sources]
                    turned = Question(question.type, mirror(question.text), "", None, question.kind)
                    assert mirror(question.answer) == truth(turned, mirrored), turned
                if question.choices is not None:
                    assert question.answer in question.choices
    assert seen == set(WORDINGS), "every kind must come up, or this test checks less than it says"


def test_simple_questions_are_said_in_one_way_and_true(rng: np.random.Generator) -> None:
    """Every text of a kind is its first template, with one way to say each name and direction."""
    ways = {word: {WHERE[word][0], FROM[word][0], OF[word][0], word} for word in WHERE}
    said = "|".join(re.escape(way) for row in ways.values() for way in sorted(row, key=len, reverse=True))
    seen = set()
    for _ in range(150):
        one, two = [draw_source(rng, ("Dog", "Bark"))], draw_pair(rng)
        for sources, types in ((one, ONE), (two, TWO)):
            for question in generate(sources, types, rng, 12, simple=True, known_labels=KNOWN):
                kind = question.kind.split(".")[0]
                seen.add(kind)
                if kind in CHECKED:
                    assert question.answer == truth(question, sources), question
                template = re.escape(WORDINGS[kind].train[0])
                slots = {r"\{a\}": "the [a-z ]+", r"\{b\}": "the [a-z ]+", r"\{thing\}": "the [a-z ]+"}
                slots |= {r"\{region\}": "[a-z, ]+", r"\{distance\}": r"[\d.]+ meters?"}
                for slot, pattern in slots.items():
                    template = template.replace(slot, pattern)
                template = re.sub(r"\\\{\w+\\\}", f"(?:{said}|(?:to the )?(?:left|right)(?: of)?)", template)
                assert re.fullmatch(template, question.text, re.IGNORECASE), question.text
    assert seen == set(WORDINGS)


def test_only_the_kinds_wanted_are_asked(rng: np.random.Generator) -> None:
    asked = generate([draw_source(rng, ("Dog",))], ONE, rng, 8, kinds=("side", "is_side"), simple=True)
    assert asked
    assert {question.kind.split(".")[0] for question in asked} <= {"side", "is_side"}
    assert known_kinds(["side", "relation.left"]) == ("side", "relation.left")
    with pytest.raises(BadInput, match="no kind of question begins with 'sidewise', expected some of detect"):
        known_kinds(["sidewise"])


def mirrored_position(source: HeardSource) -> Position:
    return source.position._replace(azimuth_deg=mirror_azimuth_deg(source.position.azimuth_deg))


def test_open_questions_tell_where_and_what(rng: np.random.Generator) -> None:
    """Types A to D: answer and question fit the source that is meant, by name (D) or by place (C)."""
    pair = [HeardSource(("Dog",), Position(135, 30, 2.4)), HeardSource(("Rain",), Position(315, -30, 5.1))]
    for question in generate(pair, (T.MIXUP_SINGLE_DOA, T.MIXUP_SINGLE_CLASSIFICATION), rng, 20):
        text = question.text.lower()
        if question.type is T.MIXUP_SINGLE_DOA:
            assert question.answer == ("left, front, above; 2.5m" if "dog" in text else "right, behind, below; 5m")
        else:
            assert question.answer == ("dog" if "left, front, above" in text else "rain")
            assert ("2.5 meters" if question.answer == "dog" else "5 meters") in text
    (single,) = generate(pair[:1], (T.DOA,), rng, 1)
    assert single.answer == "left, front, above; 2.5m"


@pytest.mark.parametrize("mostly_below", [False, True])
def test_reasoning_questions_do_not_leak_their_answer(rng: np.random.Generator, mostly_below: bool) -> None:
    """Best guess from the wording alone, labels blanked, learnt on half of the questions: at most 53 % on the rest.

    In a world where nearly everything lies below the ears this needs the balance over scenes.
    """
    balance = Balance()
    questions: list[Question] = []
    for _ in range(2500):
        questions += generate(draw_pair(rng, mostly_below), REASONING, rng, 4, balance=balance)
    assert len(questions) > 8000
    assert np.mean([q.answer == "Yes" for q in questions]) == pytest.approx(0.5, abs=0.02)
    guesses = prompt_only_answers(questions[::2], questions[1::2])
    assert np.mean([guess == q.answer for guess, q in zip(guesses, questions[1::2], strict=True)]) <= 0.53
    # The same within the sample, by what is asked and the directions in it (the wording is drawn by other dice).
    groups: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for question in questions:
        groups[(question.kind, *directions_in(question.text.lower()))][question.answer] += 1
    large = [group for group in groups.values() if group.total() >= 100]
    assert sum(max(g.values()) for g in large) / sum(g.total() for g in large) <= 0.53


def test_first_named_source_says_nothing(rng: np.random.Generator) -> None:
    """Neither naming order nor the order of the caller's list may be told from the answer."""
    near, far = HeardSource(("Dog",), Position(100, 5, 1.0)), HeardSource(("Rain",), Position(280, -5, 6.0))
    table: Counter[tuple[str, bool, str]] = Counter()
    for _ in range(800):
        for question in generate([near, far], (T.MIXUP_DISTANCE_BOTH,), rng, 1, typed=False):
            table[question.kind, named_in_order(question.text.lower(), [near, far])[0] is near, question.answer] += 1
    assert {key[2] for key in table} == {"Yes", "No"}
    # Closer and farther, dog first and rain first: four questions, each with the one answer that is true.
    assert len(table) == 4
    assert min(table.values()) > 140


def test_near_ties_are_not_asked_about(rng: np.random.Generator) -> None:
    here = HeardSource(("Dog",), Position(90, 2, 2.0))
    beside = HeardSource(("Rain",), Position(93, -2, 2.2))  # 20 cm farther; 10 to 20 cm apart on every axis
    again = HeardSource(("Rain",), Position(93, -2, 2.2))
    assert compatible(here, beside)
    assert generate([here, beside], (T.MIXUP_DISTANCE_BOTH, T.MIXUP_NONBINARY_DIRECTION), rng, 5) == []
    kinds = {q.kind for q in generate([again], (T.PLAIN,), rng, 60)}
    assert "is_side.front_behind" in kinds
    assert not kinds & {"is_side.left_right", "is_side.above_below", "side.above_below", "which_side.left_right"}


def test_same_generator_same_questions() -> None:
    pair = draw_pair(np.random.default_rng(5))
    first = generate(pair, TWO, np.random.default_rng(7), 30)
    assert first == generate(pair, TWO, np.random.default_rng(7), 30)
    assert first != generate(pair, TWO, np.random.default_rng(8), 30)
    assert len({q.text for q in first}) == len(first) == 30


def test_what_cannot_be_asked_is_refused(rng: np.random.Generator) -> None:
    dog = draw_source(rng, ("Dog",))
    with pytest.raises(BadInput, match="cannot be asked of 1"):
        generate([dog], (T.MIXUP_DIRECTION,), rng, 1)
    with pytest.raises(BadInput, match="one or two"):
        generate([], ONE, rng, 1)
    with pytest.raises(BadInput, match="share no label"):
        generate([dog, HeardSource(("dog", "Bark"), Position(0, 0, 1))], TWO, rng, 1)
    with pytest.raises(BadInput, match="different regions"):
        generate([dog, HeardSource(("Rain",), dog.position)], TWO, rng, 1)
    with pytest.raises(BadInput, match="'train', 'eval' or 'all'"):
        generate([dog], ONE, rng, 1, split="test")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="at least one label"):
        HeardSource((), Position(0, 0, 1))


def test_relatives_are_not_called_absent() -> None:
    assert related("Dog", "Bark")
    assert related("Animal", "Cat")
    assert related("Fire engine, fire truck (siren)", "Siren")
    assert not related("Dog", "Rain")
    absent = {name.lower() for name in unrelated_labels(("Dog",))}
    assert not absent & {"dog", "bark", "bow-wow", "howl", "animal", "domestic animals, pets", "whimper (dog)"}
    assert {"speech", "rain", "piano", "siren"} <= absent
    assert not absent & {"hum", "thump, thud", "vibration"}, "effects may come from anything"
    assert unrelated_labels(("Dog",), ("dog", "My own class", "bark")) == ["My own class"]


# --- answers ---


def test_released_examples_read() -> None:
    """Answers printed in the paper and in the released README."""
    assert parse_location("left, front, below; 2.5m") == ("left, front, below", 2.5)
    assert parse_location("left, behind, below; 5m") == ("left, behind, below", 5.0)
    assert parse_distance("2m") == 2.0
    expected = ("accelerating, revving, vroom", "car", "vehicle")
    assert parse_labels("accelerating, revving, vroom; car; vehicle") == expected
    assert answer_labels(("Vehicle", "Car", "Accelerating, revving, vroom")) == "; ".join(expected)
    assert parse_yes_no("Yes") is True
    assert parse_yes_no(" no. ") is False


@pytest.mark.parametrize(
    "text",
    ["left, front; 2m", "left, right, front, above; 2m", "left, front, above", "left, front, above; 2m or 3m",
     "left, front, above; 2", "leftmost, front, above; 2m", "left, front, above; 2mm", ""],
)  # fmt: skip
def test_locations_are_read_strictly(text: str) -> None:
    assert parse_location(text) is None


def test_other_answers_are_read_strictly() -> None:
    assert parse_location("Right, Behind, Above; 3 meters") == ("right, behind, above", 3.0)
    assert parse_yes_no("Yes, it is") is None
    assert parse_distance("about 2m away") is None
    assert parse_distance("2m; 3m") is None
    assert parse_labels(" ; ") is None
    assert parse_labels("dog; unicorn", known=("Dog", "Cat")) is None
    assert parse_labels("dog; DOG", known=("Dog", "Cat")) == ("dog",)


@given(st.floats(0, 360, exclude_max=True), st.floats(-89, 89), st.floats(0.01, 12))
def test_location_round_trip(azimuth_deg: float, elevation_deg: float, distance_m: float) -> None:
    position = Position(azimuth_deg, elevation_deg, distance_m)
    parsed = parse_location(answer_location(position))
    assert parsed is not None
    assert parsed[0] == position.region
    assert abs(parsed[1] - distance_m) <= 0.25 + 1e-9
    assert (2 * parsed[1]).is_integer()


def test_answer_format() -> None:
    assert answer_location(Position(135, 10, 2.6)) == "left, front, above; 2.5m"
    assert answer_location(Position(315, -10, 3.1)) == "right, behind, below; 3m"


@given(st.text(alphabet="lefrigth LEFRIGTH,;", max_size=30))
def test_mirror_is_its_own_inverse(text: str) -> None:
    words = re.findall(r"\w+", text)
    plain = all(w.lower() not in ("left", "right") or w in (w.lower(), w.upper(), w.capitalize()) for w in words)
    assert not plain or mirror(mirror(text)) == text


def test_mirror() -> None:
    assert mirror("left, front, above; 2.5m") == "right, front, above; 2.5m"
    assert mirror("Is it left or right of the leftovers?") == "Is it right or left of the leftovers?"
    assert mirror("Yes") == "Yes"


def test_from_scene_takes_heading_into_account() -> None:
    room, labels = Room((6, 3, 6)), ("Dog",)
    sources = (Source((3, 1.5, 1), labels),)  # straight ahead at heading 0
    assert from_scene(Scene(room, Listener((3, 1.5, 3)), sources))[0].position.azimuth_deg == pytest.approx(90)
    turned = from_scene(Scene(room, Listener((3, 1.5, 3), heading_deg=90), sources))[0]
    assert turned.position.azimuth_deg == pytest.approx(0)  # turned to the left, it is on the right
    assert turned.labels == labels
