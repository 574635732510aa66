"""Metrics against their definitions: other formulae, scikit-learn, known chance levels and the paper's rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from bat_agent.errors import BadInput
from bat_agent.evaluation.metrics import (
    angular_errors_deg,
    average_precisions,
    blank_labels,
    bootstrap_interval,
    direction_accuracies,
    distance_error_rate,
    er20,
    expected_calibration_error,
    mean_angular_error_deg,
    mean_average_precision,
    prompt_only_answers,
    random_answers,
    score_answer,
    score_answers,
)
from bat_agent.hearing.targets import decode_bins, targets_from_position
from bat_agent.questions import BEYOND_TYPES, HeardSource, Question, QuestionType, generate
from bat_agent.questions.answers import AXES
from bat_agent.scene import Position, angle_between_deg, region

T = QuestionType


def directions(rng: np.random.Generator, n: int) -> np.ndarray:
    """Uniform on the sphere, (n, 2) azimuth and elevation in degrees."""
    return np.stack([rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))], axis=1)


def ask(question_type: QuestionType, answer: str, text: str = "?", kind: str = "k") -> Question:
    return Question(question_type, text, answer, None, kind)


def test_average_precision_by_hand() -> None:
    """Ranks of the positives 1 and 3: (1/1 + 2/3) / 2; the class without a positive does not count."""
    targets = np.array([[1, 0], [0, 0], [1, 0], [0, 0]])
    scores = np.array([[0.9, 0.1], [0.8, 0.9], [0.7, 0.2], [0.1, 0.3]])
    assert mean_average_precision(targets, scores) == pytest.approx((1 + 2 / 3) / 2)


def test_average_precision_like_sklearn_macro(rng: np.random.Generator) -> None:
    targets = (rng.random((200, 12)) < 0.2).astype(int)
    scores = rng.normal(size=(200, 12)) + targets
    assert mean_average_precision(targets, scores) == pytest.approx(average_precision_score(targets, scores))
    squeezed = 1 / (1 + np.exp(-scores))  # order is all that matters
    assert mean_average_precision(targets, squeezed) == pytest.approx(mean_average_precision(targets, scores))


def test_average_precision_refuses_nonsense() -> None:
    with pytest.raises(BadInput, match="no class has a positive"):
        mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(BadInput, match="NaN"):
        mean_average_precision(np.ones((3, 2)), np.full((3, 2), np.nan))
    with pytest.raises(BadInput, match="must both be"):
        mean_average_precision(np.ones((3, 2)), np.ones((3, 3)))


def test_average_precision_of_each_class_like_sklearn(rng: np.random.Generator) -> None:
    targets = (rng.random((80, 6)) < 0.3).astype(int)
    targets[:, 2] = 0
    scores = rng.normal(size=(80, 6))
    found = average_precisions(targets, scores)
    assert np.isnan(found[2])
    for c in (0, 1, 3, 4, 5):
        assert found[c] == pytest.approx(average_precision_score(targets[:, c], scores[:, c]))


def test_calibration_error_by_hand_and_of_honest_confidences(rng: np.random.Generator) -> None:
    """Two bins: |0.5 − 0.9| of three quarters, |0 − 0.2| of a quarter; honest confidences have nearly 0."""
    found = expected_calibration_error([0.9, 0.9, 0.9, 0.2], [1, 0.5, 0, 0], bins=2)
    assert found == pytest.approx(0.75 * 0.4 + 0.25 * 0.2)
    sure = rng.random(20_000)
    assert expected_calibration_error(sure, rng.random(20_000) < sure) < 0.02
    assert expected_calibration_error(sure, np.zeros(20_000)) == pytest.approx(sure.mean())
    assert expected_calibration_error([0.0, 1.0], [False, True]) == 0.0
    for confidence, right in (([], []), ([1.5], [1]), ([0.5], [1, 0]), ([float("nan")], [1])):
        with pytest.raises(BadInput):
            expected_calibration_error(confidence, right)


def test_angles_like_arccos_of_the_dot_product(rng: np.random.Generator) -> None:
    a, b = directions(rng, 500), directions(rng, 500)
    (az_a, el_a), (az_b, el_b) = np.radians(a).T, np.radians(b).T
    cosine = np.sin(el_a) * np.sin(el_b) + np.cos(el_a) * np.cos(el_b) * np.cos(az_a - az_b)
    errors = angular_errors_deg(a, b)
    np.testing.assert_allclose(errors, np.degrees(np.arccos(cosine)), atol=1e-5)
    assert errors[0] == pytest.approx(angle_between_deg(tuple(a[0]), tuple(b[0])))
    assert mean_angular_error_deg(a, b) == pytest.approx(errors.mean())
    # Two random directions are 90° apart on average; more than 20° apart in all but a cap of (1 − cos 20°)/2.
    many, others = directions(rng, 40_000), directions(rng, 40_000)
    assert mean_angular_error_deg(many, others) == pytest.approx(90, abs=1)
    assert er20(many, others) == pytest.approx(1 - (1 - math.cos(math.radians(20))) / 2, abs=0.003)


def test_er20_counts_only_beyond_20_degrees() -> None:
    assert er20([[0, 0], [0, 0], [350, 0], [0, 90]], [[19.9, 0], [20.1, 0], [5, 0], [200, 89]]) == 0.25


def test_distance_error_rate() -> None:
    assert distance_error_rate([3, 3, 3, 3, 3], [3, 4, 2, 5, 1]) == pytest.approx(0.4)
    with pytest.raises(BadInput, match="differ in shape"):
        distance_error_rate([1], [1, 2])


def test_directions_by_axis_like_the_words(rng: np.random.Generator) -> None:
    a, b = directions(rng, 4000), directions(rng, 4000)
    words_a, words_b = ([region(*d).split(", ") for d in x] for x in (a, b))
    accuracies = direction_accuracies(a, b)
    for index, axis in enumerate(("left_right", "front_behind", "above_below")):
        assert accuracies[axis] == np.mean([p[index] == q[index] for p, q in zip(words_a, words_b, strict=True)])
    assert accuracies["region"] == np.mean([p == q for p, q in zip(words_a, words_b, strict=True)])
    assert accuracies["region"] == pytest.approx(0.125, abs=0.02)
    assert direction_accuracies([[10, 5]], [[170, 5]]) == {
        "left_right": 0.0, "front_behind": 1.0, "above_below": 1.0, "region": 0.0,
    }  # fmt: skip
    with pytest.raises(BadInput, match="azimuth and elevation"):
        direction_accuracies([1, 2, 3], [1, 2, 3])


@given(st.floats(0, 360), st.floats(-90, 89.4), st.floats(0, 10.2))
def test_bins_round_trip(azimuth_deg: float, elevation_deg: float, distance_m: float) -> None:
    bins = targets_from_position(Position(azimuth_deg, elevation_deg, distance_m))
    back = decode_bins(*bins)
    assert abs(back.distance_m - distance_m) <= 0.25
    assert abs(back.elevation_deg - elevation_deg) <= 0.5
    assert abs((back.azimuth_deg - azimuth_deg + 180) % 360 - 180) <= 0.5
    assert targets_from_position(back) == bins
    # The released formula, where it has a class for the clip.
    released = (
        round(2 * distance_m),
        (round(azimuth_deg) + 360) % 360,
        (round(elevation_deg) + 90) % 180,
    )
    assert bins == released


def test_bins_at_the_ends_are_clamped() -> None:
    """The released elevation wraps straight up onto straight down, and 12 m has no class in its head."""
    assert targets_from_position(Position(359.8, 90, 12)) == (20, 0, 179)
    assert targets_from_position(Position(0, -90, 0)) == (0, 0, 0)


def test_scores_of_answers() -> None:
    assert score_answer(T.CLASSIFICATION, "bark; dog", "DOG; cat") == {"f1": 0.5, "exact": 0.0, "malformed": 0.0}
    assert score_answer(T.MIXUP_SINGLE_CLASSIFICATION, "bark; dog", "dog; bark")["exact"] == 1
    assert score_answer(T.CLASSIFICATION, "dog", "")["malformed"] == 1
    good = score_answer(T.DOA, "left, front, below; 2.5m", "left, front, below; 3m")
    assert good["region"] == 1
    assert good["der"] == 0
    half = score_answer(T.MIXUP_SINGLE_DOA, "left, front, below; 2.5m", "left, behind, below; 3.5m")
    assert (half["region"], half["left_right"], half["front_behind"], half["der"]) == (0, 1, 0, 1)
    bad = score_answer(T.DOA, "left, front, below; 2.5m", "somewhere left")
    assert (bad["region"], bad["left_right"], bad["der"], bad["malformed"]) == (0, 0, 1, 1)
    assert score_answer(T.MIXUP_DIRECTION, "No", "no.") == {"accuracy": 1.0, "malformed": 0.0}
    assert score_answer(T.MIXUP_DIRECTION, "No", "I do not know") == {"accuracy": 0.0, "malformed": 1.0}
    assert score_answer(T.MIXUP_NONBINARY_DISTANCE, "2m", "2.5m") == {"der": 0.0, "malformed": 0.0}
    assert score_answer(T.MIXUP_NONBINARY_DISTANCE, "2m", "3m")["der"] == 1
    assert score_answer(T.MIXUP_NONBINARY_DIRECTION, "left", "right") == {"accuracy": 0.0, "malformed": 0.0}
    assert score_answer(T.PLAIN, "left", "above") == {"accuracy": 0.0, "malformed": 1.0}
    assert score_answer(T.MIXUP_NONBINARY_SOURCE, "croak; frog", "frog")["f1"] == pytest.approx(2 / 3)


def test_scores_of_answers_beyond_the_paper() -> None:
    assert score_answer(T.ANGLE, "azimuth 350 degrees", "azimuth 10 degrees") == {
        "error_deg": 20.0, "accuracy": 1.0, "malformed": 0.0,
    }  # fmt: skip
    assert score_answer(T.ANGLE, "azimuth 350 degrees", "azimuth 11 degrees")["accuracy"] == 0
    assert score_answer(T.ANGLE, "elevation -80 degrees", "elevation 80 degrees")["error_deg"] == 160
    # What cannot be read is as wrong as can be, and so is the other angle.
    assert score_answer(T.ANGLE, "azimuth 350 degrees", "10") == {"error_deg": 180, "accuracy": 0, "malformed": 1}
    swapped = score_answer(T.ANGLE, "elevation 30 degrees", "azimuth 30 degrees")
    assert swapped == {"error_deg": 120, "accuracy": 0, "malformed": 1}
    assert score_answer(T.CLOCK, "12 o'clock", "1 o'clock") == {"accuracy": 0, "within_hour": 1, "malformed": 0}
    assert score_answer(T.CLOCK, "12 o'clock", "10 o'clock") == {"accuracy": 0, "within_hour": 0, "malformed": 0}
    assert score_answer(T.CLOCK, "12 o'clock", "noon") == {"accuracy": 0, "within_hour": 0, "malformed": 1}
    assert score_answer(T.COUNT, "2", "2.") == {"accuracy": 1, "malformed": 0}
    assert score_answer(T.COUNT, "2", "two") == {"accuracy": 0, "malformed": 1}
    assert score_answer(T.COUNT, "2", "12") == {"accuracy": 0, "malformed": 0}
    assert score_answer(T.CHOICE, "B", "(b)") == {"accuracy": 1, "malformed": 0}
    assert score_answer(T.CHOICE, "B", "the second") == {"accuracy": 0, "malformed": 1}
    assert score_answer(T.ELEVATION, "No", "no") == {"accuracy": 1, "malformed": 0}
    assert score_answer(T.MOTION, "closer", "Closer.") == {"accuracy": 1, "malformed": 0}
    assert score_answer(T.MOTION, "closer", "away") == {"accuracy": 0, "malformed": 0}
    assert score_answer(T.MOTION, "up", "upwards") == {"accuracy": 0, "malformed": 1}
    assert score_answer(T.MANY_CLASSIFICATION, "croak; frog", "frog")["f1"] == pytest.approx(2 / 3)
    assert score_answer(T.MANY_DOA, "left, front, below; 2.5m", "left, front, below; 3m")["region"] == 1
    assert score_answer(T.MANY_DISTANCE, "Yes", "yes")["accuracy"] == 1


def test_scores_of_what_may_not_be_heard() -> None:
    """To deny what is there is an answer, though wrong everywhere; to place what is not there as well."""
    assert score_answer(T.NOT_HEARD, "not heard", "Not heard.") == {"heard": 1, "malformed": 0}
    assert score_answer(T.NOT_HEARD, "not heard", "2m") == {"heard": 0, "malformed": 0}
    assert score_answer(T.NOT_HEARD, "not heard", "nowhere") == {"heard": 0, "malformed": 1}
    assert score_answer(T.NOT_HEARD, "2m", "2.5m") == {"heard": 1, "der": 0, "malformed": 0}
    assert score_answer(T.NOT_HEARD, "2m", "not heard") == {"heard": 0, "der": 1, "malformed": 0}
    place = "left, front, above; 2m"
    denied = score_answer(T.NOT_HEARD, place, "not heard")
    assert denied == {"heard": 0, **dict.fromkeys(AXES, 0), "region": 0, "der": 1, "malformed": 0}
    assert score_answer(T.NOT_HEARD, place, "2m") == denied | {"malformed": 1}
    assert score_answer(T.NOT_HEARD, place, "right, front, above; 2m") == {
        "heard": 1, "left_right": 0, "front_behind": 1, "above_below": 1, "region": 0, "der": 0, "malformed": 0,
    }  # fmt: skip


TRUTHS = {
    T.ANGLE: ("azimuth 10 degrees", "elevation -20 degrees"), T.CLOCK: ("3 o'clock",), T.COUNT: ("2",),
    T.CHOICE: ("C",), T.NOT_HEARD: ("not heard", "left, front, above; 2m", "2m"),
    T.MOTION: ("left", "up", "away", "No"), T.ELEVATION: ("Yes",), T.MANY_CLASSIFICATION: ("dog",),
    T.MANY_DOA: ("left, front, above; 2m",), T.MANY_DIRECTION: ("Yes",), T.MANY_DISTANCE: ("No",),
}  # fmt: skip


@given(st.text() | st.sampled_from([truth for truths in TRUTHS.values() for truth in truths] + [f"{'9' * 400}m"]))
def test_no_answer_breaks_the_scores(answer: str) -> None:
    """Whatever a model says: the truth scores fully, what cannot be read is wrong everywhere, nothing is raised."""
    assert set(TRUTHS) == set(BEYOND_TYPES)
    for question_type, truths in TRUTHS.items():
        for truth in truths:
            best, found = score_answer(question_type, truth, truth), score_answer(question_type, truth, answer)
            assert best.keys() == found.keys()
            assert best["malformed"] == 0
            if found["malformed"]:
                assert all(found[name] != best[name] for name in found), (question_type, truth, answer)


def test_rows_for_questions_beyond_the_paper(rng: np.random.Generator) -> None:
    """Chance is well formed, and what chance is: a quarter of letters, an hour in twelve, 41° of 360° within 20°."""
    dog = HeardSource(("Dog",), Position(100, 30, 2.0), Position(20, -30, 4.0))
    rain, cat = HeardSource(("Rain",), Position(200, -20, 4.1)), HeardSource(("Piano",), Position(300, 30, 7.0))
    scenes, found = ([dog], [dog, rain], [dog, rain, cat]), list[Question]()
    for number in range(9000):
        sources = scenes[number % 3]
        types = [t for t in BEYOND_TYPES if len(sources) in t.sources]
        found += generate(sources, types, rng, 1)
    assert {q.type for q in found} == set(BEYOND_TYPES)
    table = score_answers(found, random_answers(found, rng))
    assert all(row["malformed"] == 0 for row in table.values())
    assert table["NOT_HEARD"]["heard"] == pytest.approx(0.5, abs=0.05)
    assert table["COUNT"]["accuracy"] == pytest.approx(1 / 4, abs=0.05)
    assert table["CLOCK"]["accuracy"] == pytest.approx(1 / 12, abs=0.035)
    assert table["MOTION"]["accuracy"] == pytest.approx(1 / 2, abs=0.06)
    azimuths = [q for q in found if q.kind == "azimuth"]
    assert score_answers(azimuths, random_answers(azimuths, rng))["ANGLE"]["accuracy"] == pytest.approx(
        41 / 360, abs=0.05
    )
    # A record knows no choices, but its text says what it offers.
    two = [ask(T.CHOICE, "A", "Which is closer? A. the dog; B. the rain. Answer with the letter.")] * 400
    assert set(random_answers(two, rng)) == {"A", "B"}
    guessed = score_answers(found[1::2], prompt_only_answers(found[::2], found[1::2]))
    assert guessed["ELEVATION"]["accuracy"] == pytest.approx(0.5, abs=0.1)
    assert guessed["NOT_HEARD"]["heard"] < 0.6


def test_table_is_made_as_the_papers() -> None:
    """Binary accuracy is the mean over direction and distance, not over questions (69.77 and 84.01 give 76.89)."""
    questions = [ask(T.MIXUP_DIRECTION, "Yes")] * 4 + [ask(T.MIXUP_DISTANCE_BOTH, "No")] * 2 + [ask(T.PLAIN, "left")]
    table = score_answers(questions, ["Yes", "No", "No", "hm", "No", "No", "left"])
    assert table["MIXUP_DIRECTION"] == {"accuracy": 0.25, "malformed": 0.25, "count": 4}
    assert table["BINARY"] == {"direction": 0.25, "distance": 1.0, "accuracy": 0.625}
    assert table["PLAIN"]["accuracy"] == 1
    assert "BINARY" not in score_answers(questions[-1:], ["left"])
    with pytest.raises(BadInput, match="7 questions but 1 answers"):
        score_answers(questions, ["Yes"])


def random_questions(rng: np.random.Generator, clips: int) -> list[Question]:
    """Questions of all kinds about the eight regions in turn."""
    found: list[Question] = []
    for clip in range(clips):
        azimuth, elevation = 45.0 + 90 * (clip % 4), 30.0 if clip % 8 < 4 else -30.0
        dog = HeardSource(("Dog",), Position(azimuth, elevation, rng.uniform(0.5, 9)))
        rain = HeardSource(("Rain",), Position((azimuth + 90) % 360, elevation, rng.uniform(0.5, 9)))
        found += generate([dog], (T.DOA,), rng, 1)
        found += generate([dog, rain], (T.MIXUP_DIRECTION, T.MIXUP_DISTANCE_BOTH), rng, 2)
    return found


def test_random_row(rng: np.random.Generator) -> None:
    """12.5 % of regions and 50 % of yes/no; the paper's random row has 12.57 and 50."""
    questions = random_questions(rng, 3000)
    table = score_answers(questions, random_answers(questions, rng))
    assert table["DOA"]["region"] == pytest.approx(1 / 8, abs=0.025)
    assert table["BINARY"]["accuracy"] == pytest.approx(0.5, abs=0.03)
    assert all(row.get("malformed", 0) == 0 for row in table.values())


def test_prompt_only_row(rng: np.random.Generator) -> None:
    """Nothing leaks from the generator; but where a wording gives the answer away, the row finds it."""
    questions = random_questions(rng, 2000)
    table = score_answers(questions[3000:], prompt_only_answers(questions[:3000], questions[3000:]))
    assert table["BINARY"]["accuracy"] <= 0.54
    leaky = [ask(T.MIXUP_DIRECTION, "Yes", "Is the dog up?")] * 3 + [ask(T.MIXUP_DIRECTION, "No", "Is it the cat?")] * 2
    asked = [ask(T.MIXUP_DIRECTION, "Yes", "is the RAIN up"), ask(T.MIXUP_DIRECTION, "No", "Is it the siren?")]
    assert prompt_only_answers(leaky, asked) == ["Yes", "No"]
    unseen = ask(T.MIXUP_DIRECTION, "No", "Never heard this?")
    assert prompt_only_answers(leaky, [unseen]) == ["Yes"]  # most frequent of the kind
    # In a world below the ears "both below" is true: found across wordings, by the direction.
    world = [ask(T.MIXUP_DIRECTION, "Yes", "Are both below you?"), ask(T.MIXUP_DIRECTION, "No", "Are both above?")] * 3
    reworded = [ask(T.MIXUP_DIRECTION, "?", text) for text in ("Do both come from underneath?", "Are both overhead?")]
    assert prompt_only_answers(world, reworded) == ["Yes", "No"]
    sky = [ask(T.MOTION, "Yes", "Does it rise?"), ask(T.MOTION, "No", "Does it go downwards?")] * 3
    reworded = [ask(T.MOTION, "?", text) for text in ("Would you say it is moving up?", "Is it sinking?")]
    assert prompt_only_answers(sky, reworded) == ["Yes", "No"]
    with pytest.raises(BadInput, match="at least one training question"):
        prompt_only_answers([], asked)


def test_labels_are_blanked_longest_first() -> None:
    assert blank_labels("Is the car alarm left of the Whack, thwack?") == "is the _ left of the _"
    assert blank_labels("Is the carpet red?") == "is the carpet red"


def test_bootstrap_interval_like_the_normal_one(rng: np.random.Generator) -> None:
    values = (rng.random(2000) < 0.3).astype(float)
    low, high = bootstrap_interval(values, rng)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.004)
    assert high == pytest.approx(values.mean() + half, abs=0.004)
    assert bootstrap_interval([1.0, 1.0], rng) == (1.0, 1.0)
    with pytest.raises(BadInput, match="at least one value"):
        bootstrap_interval([], rng)
    with pytest.raises(BadInput, match="between 0 and 1"):
        bootstrap_interval([1.0], rng, level=95)
