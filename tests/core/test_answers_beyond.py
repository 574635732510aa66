"""Answers and wordings beyond the paper: put into words and read back, strictly, and in a mirror."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from bat_agent.labels import labels
from bat_agent.questions import choices_for, mirror
from bat_agent.questions.answers import (
    format_azimuth,
    format_clock,
    format_elevation,
    options_in,
    parse_angle,
    parse_clock,
    parse_count,
    parse_letter,
    parse_not_heard,
)
from bat_agent.questions.beyond_wordings import BEYOND_WORDINGS, GOING, MOST, NEARER
from bat_agent.questions.grammar import WORDINGS
from bat_agent.scene import mirror_azimuth_deg


@given(st.floats(-720, 720), st.floats(-90, 90))
def test_angles_round_trip(azimuth_deg: float, elevation_deg: float) -> None:
    azimuth, elevation = parse_angle(format_azimuth(azimuth_deg)), parse_angle(format_elevation(elevation_deg))
    assert azimuth is not None
    assert elevation is not None
    assert (azimuth[0], elevation[0]) == ("azimuth", "elevation")
    assert 0 <= azimuth[1] < 360
    assert abs((azimuth[1] - azimuth_deg + 180) % 360 - 180) <= 0.5 + 1e-9
    assert abs(elevation[1] - elevation_deg) <= 0.5


@given(st.floats(0, 360))
def test_hours_round_trip(azimuth_deg: float) -> None:
    hour = parse_clock(format_clock(azimuth_deg))
    assert hour is not None
    assert abs((90 - 30 * hour - azimuth_deg + 180) % 360 - 180) <= 15 + 1e-9


def test_hours_by_hand() -> None:
    said = {90: "12 o'clock", 0: "3 o'clock", 270: "6 o'clock", 180: "9 o'clock", 61: "1 o'clock", 359: "3 o'clock"}
    assert {angle: format_clock(angle) for angle in said} == said


def test_answers_are_read_strictly() -> None:
    assert parse_angle(" Azimuth 5 degrees. ") == ("azimuth", 5)
    for text in ("elevation -20 degrees", "elevation −20 degrees", "elevation -20°"):
        assert parse_angle(text) == ("elevation", -20)
    for text in ("120 degrees", "azimuth 360 degrees", "azimuth -5 degrees", "elevation 95 degrees", "azimuth 5", ""):
        assert parse_angle(text) is None, text
    assert parse_clock("3 O'Clock.") == parse_clock("3 o’clock") == 3
    assert [parse_clock(text) for text in ("0 o'clock", "13 o'clock", "3", "3:30 o'clock", "at 3 o'clock")] == [
        None
    ] * 5
    assert (parse_count("2"), parse_count(" 3. "), parse_count("two"), parse_count("2 sounds"), parse_count("²")) == (
        2, 3, None, None, None,
    )  # fmt: skip
    assert [parse_letter(text) for text in ("B", "b.", "(b)", "b) left, front, above", " B ", "b)")] == ["B"] * 6
    for text in (
        "B. left, front, above",
        "E",
        "Bee",
        "(b",
        "B!",
        "A or B",
        "the answer is B",
        "",
        "(b) left",
        "b)left",
    ):
        assert parse_letter(text) is None, text
    assert parse_not_heard("Not heard.")
    assert not parse_not_heard("not heard; 2m")


def test_options_are_found_in_any_typing() -> None:
    text = "Which sound is it? A. bee, wasp, etc.; B. dog; C. train horn; D. bee, wasp, etc.. Answer with the letter."
    expected = {"A": "bee, wasp, etc.", "B": "dog", "C": "train horn", "D": "bee, wasp, etc"}
    assert options_in(text) == expected
    assert {k: v.lower() for k, v in options_in(text.upper()).items()} == expected
    assert options_in("choose one letter: how far is it? a. 0.5m; b. 1.5m") == {"A": "0.5m", "B": "1.5m"}
    assert options_in("Where is the dog?") == {}


def test_closed_sets_of_answers() -> None:
    assert choices_for("away") == ("closer", "away")
    assert choices_for("up") == ("up", "down")
    assert choices_for("3") == ("1", "2", "3", "4")
    assert choices_for("B") == ("A", "B", "C", "D")
    assert len(choices_for("3 o'clock") or ()) == 12
    assert choices_for("azimuth 3 degrees") is choices_for("not heard") is None


PIECES = st.sampled_from(
    ["left", "right", "LEFT", "Right", "azimuth", "Azimuth", "elevation", "degrees", "o'clock", "O'CLOCK", "clockwise",
     "counter-clockwise", "from", "your", "the", "0", "12", "6", "3", "90", "359", "360", "007", ",", ";", "-"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12), st.sampled_from([" ", ""]))
def test_mirror_is_its_own_inverse(pieces: list[str], between: str) -> None:
    text = between.join(pieces)
    words = re.findall(r"\w+", text)
    plain = all(w.lower() not in ("left", "right") or w in (w.lower(), w.upper(), w.capitalize()) for w in words)
    assert not plain or mirror(mirror(text)) == text


@given(st.integers(0, 359))
def test_mirror_turns_angles_and_hours(angle: int) -> None:
    assert mirror(format_azimuth(angle)) == format_azimuth(mirror_azimuth_deg(angle))
    assert mirror(format_clock(angle)) == format_clock(mirror_azimuth_deg(angle))
    assert mirror(format_elevation(angle - 90)) == format_elevation(angle - 90)


def test_mirror_leaves_the_scale_of_degrees_alone() -> None:
    text = "At what azimuth is the dog left of you, in degrees counter-clockwise from your right?"
    assert mirror(text) == "At what azimuth is the dog right of you, in degrees counter-clockwise from your right?"


# --- wordings ---


def test_wordings_are_many_kept_apart_and_name_no_class() -> None:
    known = {label.lower() for label in labels()}
    trained = {text.lower() for table in (WORDINGS, BEYOND_WORDINGS) for one in table.values() for text in one.train}
    for kind, chosen in BEYOND_WORDINGS.items():
        assert len(set(chosen.train)) == len(chosen.train) >= 16, kind
        assert len(set(chosen.held_out)) == len(chosen.held_out) >= 4, kind
        assert len(chosen.train) + len(chosen.held_out) >= 20, kind
        assert not {text.lower() for text in chosen.held_out} & trained, kind
        words = set(re.findall(r"[a-z']+", " ".join(chosen.train + chosen.held_out).lower()))
        assert not words & known, kind
        named = [set(re.findall(r"\{\w+\}", text)) for text in chosen.train]
        assert all(("{a}" in slots) == ("{a}" in named[0]) for slots in named), kind
    assert not set(BEYOND_WORDINGS) & set(WORDINGS)
    for table in (GOING, MOST, NEARER):
        assert len({len(phrases) for phrases in table.values()}) == 1, "an answer must not be told by its phrasing"


def test_every_question_about_an_azimuth_says_where_it_is_counted_from() -> None:
    for text in BEYOND_WORDINGS["azimuth"].train + BEYOND_WORDINGS["azimuth"].held_out:
        assert "counter-clockwise" in text
        assert re.search(r"from (your|the) right|90 (degrees )?(straight ahead|in front)", text), text
        assert mirror(text) == text
