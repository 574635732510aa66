"""Voices, their wordings and the names of sounds."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest

from bat_agent.errors import BadInput
from bat_agent.labels import labels
from bat_agent.questions.free import INTENTS, KINDS, read_query
from bat_agent.questions.free.names import names_of, sounds_in
from bat_agent.questions.free.names_table import DOING, EVERYDAY, SHIPPED, STRANGE
from bat_agent.questions.free.voices import HELD_OUT, JUDGES, TRAIN, voices
from bat_agent.questions.history import split_history, with_history

OWN = {intent.name for intent in INTENTS.values() if not intent.worded_as}
SLOT = re.compile(r"\{(\w+)\}")
SLOTS = {
    "is_side": {"where", "yours", "side"}, "what_side": {"where", "yours", "side"}, "within": {"limit"},
    "beyond": {"limit"}, "closer_than": {"closer"}, "left_of": {"leftof"}, "higher_than": {"higher"},
    "safe_step": {"step"}, "gets_closer": {"walk", "walked"}, "walked_far": {"walk", "walked"},
    "turned_where": {"turn", "turned"},
}  # fmt: skip


def plain(text: str) -> str:
    return text.lower().rstrip("?!. ")


def test_there_are_as_many_as_promised() -> None:
    train, held_out, judges = (
        sum(len(some) for voice in part.values() for some in voice.values()) for part in (TRAIN, HELD_OUT, JUDGES)
    )
    assert len(OWN) >= 40
    assert train >= 1400
    assert held_out >= 200
    assert judges >= 200
    assert {"operator", "child", "gamer", "terse", "rambling", "typos"} <= TRAIN.keys()
    assert {"blind", "guard", "second language"} == HELD_OUT.keys()
    assert len(TRAIN) + len(HELD_OUT) + len(JUDGES) == len(voices("all"))
    with pytest.raises(BadInput, match="must be 'train', 'eval', 'judge' or 'all'"):
        voices("some")  # type: ignore[arg-type]


@pytest.mark.parametrize("voice", voices("all"))
def test_every_voice_asks_everything_in_words_of_its_own(voice: str) -> None:
    table = voices("all")[voice]
    assert table.keys() == OWN
    said = [plain(text) for text in chain.from_iterable(table.values())]
    # "Is it moving around?" may follow two questions, but one wording asks one thing.
    assert len(set(said)) == len(said)


def test_no_wording_of_validation_is_trained_on() -> None:
    train, held_out, judges = (
        {plain(text) for voice in part.values() for some in voice.values() for text in some}
        for part in (TRAIN, HELD_OUT, JUDGES)
    )
    assert not train & (held_out | judges)
    assert not held_out & judges


@pytest.mark.parametrize("intent", SLOTS)
def test_what_gives_the_question_its_meaning_is_in_every_wording(intent: str) -> None:
    for voice in voices("all").values():
        for text in voice[intent]:
            assert SLOTS[intent] & set(SLOT.findall(text)), text


def test_wordings_name_no_sound_but_what_they_ask_about() -> None:
    """Else "how do I pan the camera" would be taken for the camera that clicks."""
    free = {"someone", "where_someone", "clock", "time", "off_topic"}
    for voice in voices("all").values():
        for intent, some in voice.items():
            for text in some:
                named = set(sounds_in(SLOT.sub("#", text))) - {"walk, footsteps", "run", "hands", "tap"}
                assert intent in free or not named, (text, named)


def test_names_belong_to_one_class_and_are_read_back() -> None:
    assert len(SHIPPED) == 36
    assert len(EVERYDAY) >= 140
    assert EVERYDAY.keys() <= set(labels())
    every = list(chain.from_iterable(EVERYDAY.values()))
    assert len(set(every)) == len(every)
    for label in EVERYDAY:
        for noun in names_of(label):
            assert sounds_in(f"where is {noun.the} please") == [label.lower()], noun
            assert sounds_in(f"I hear {noun.a}.") == [label.lower()], noun
    for label, doing in DOING.items():
        assert sounds_in(f"Is {doing} near?") == [label]
    for strange in STRANGE:
        assert sounds_in(strange) == [strange.split(" ", 1)[1]]


def test_articles_are_right() -> None:
    for name in (*chain.from_iterable(EVERYDAY.values()), *STRANGE):
        article, _, rest = name.partition(" ")
        if article in ("a", "an"):
            # "a ukulele" begins with a sound that is no vowel.
            assert (article == "an") == (rest[0] in "aeiou" and not rest.startswith(("uk", "one"))), name
    for label in labels():
        noun = names_of(label)[0]
        assert noun.a == noun.bare or noun.a.split(" ", 1)[1] == noun.bare


def test_a_class_without_a_name_of_its_own_is_named_all_the_same() -> None:
    assert names_of("Zither")[0].the == "the zither sound"
    assert names_of("Sitar")[0].a == "a sitar sound"


def test_history_and_question_come_apart_again() -> None:
    history = [("Where is the dog?", "left, front, below; 2.5m"), ("and is it moving", "No")]
    assert split_history(with_history(history, "And how far is it?")) == (history, "And how far is it?")
    assert split_history("Where is the dog?") == ([], "Where is the dog?")
    assert with_history([], "Where is the dog?") == "Where is the dog?"


def test_the_page_tells_of_every_intent_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "free_questions.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert [(row[0].strip("`"), row[1]) for row in rows] == [(i.name, i.asks) for i in INTENTS.values()]
    for row in rows:
        assert str(read_query(row[3].strip("`"))) == row[3].strip("`")
    parts = (TRAIN, HELD_OUT, JUDGES)
    counts = [sum(len(some) for voice in part.values() for some in voice.values()) for part in parts]
    said = f"{len(INTENTS)} intents, {len(KINDS)} kinds of query, {sum(counts)} wordings in {len(voices('all'))} voices"
    assert said in page
    for part, count in zip(parts, counts, strict=True):
        assert f"{', '.join(part)} | {count} |" in page
    assert f"and of {len(EVERYDAY) - len(SHIPPED)} others" in page
