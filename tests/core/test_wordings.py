"""How people ask: the tables of wordings and the words that fill their slots."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest

from bat_agent.questions import mirror, vary, wordings
from bat_agent.questions.grammar import FROM, OF, WHERE, WORDINGS, thing
from bat_agent.questions.verify_reading import directions_in, norm

SLOT = re.compile(r"\{(\w+)\}")
SLOTS = {  # kind: the sets of slots that its wordings may have
    "detect": "", "locate": "a", "locate_named": "a", "detect_at": "distance region", "closer": "a b", "farther": "a b",
    "both": "a b d, a b where, a b from_", "pair": "a b d d2, a b where where2, a b from_ from2", "between": "a b",
    "relation": "a b d, a b of", "which_side_of": "a b p q", "source_on": "b d, b of", "which_side": "a",
    "side": "a where where2, a from_ from2", "is_side": "a d, a where, a from_", "distance": "a", "presence": "thing",
    "which_closer": "a b", "which_farther": "a b",
}  # fmt: skip
FIRST = {  # the only wording of simple questions, which shipped models have learnt
    "detect": "Identify the sound events in the audio clip.",
    "locate": "Where is {a} coming from?",
    "locate_named": "Where is {a} coming from?",
    "detect_at": "Identify the sound events in the audio clip coming from the {region}, approximately {distance} away.",
    "both": "Do {a} and {b} both come from your {d} side?",
    "pair": "Can you hear {a} from the {d} and {b} from the {d2}?",
    "relation": "Would you find {a} on the {d} side of {b}?",
    "closer": "In terms of straight-line distance, does {a} reach you from a closer point compared to {b}?",
    "farther": "Is {a} further away from you than {b}?",
    "which_side_of": "Could you determine whether {a} is {p} or {q} {b}?",
    "between": "Can you estimate the distance from {a} to {b}?",
    "source_on": "What is the sound on the {d} side of {b}?",
    "side": "Is {a} coming from {from_} or {from2}?",
    "which_side": "Which side is {a} on?",
    "is_side": "Is {a} {where}?",
    "distance": "How far away is {a}?",
    "presence": "Can you hear {thing}?",
    "which_closer": "Which is closer, {a} or {b}?",
    "which_farther": "Which is farther away, {a} or {b}?",
}


def test_wordings_are_many_and_kept_apart() -> None:
    assert set(WORDINGS) == set(FIRST) == set(SLOTS)
    for kind, chosen in WORDINGS.items():
        assert len(chosen.train) >= 16, kind
        assert len(chosen.held_out) >= 4, kind
        every = wordings(kind, "all")
        assert every == chosen.train + chosen.held_out
        assert len(every) >= 20, kind
        assert wordings(kind, "train") == chosen.train
        assert wordings(kind, "eval") == chosen.held_out
        # Nor do two differ in nothing but what typing changes, so a held-out one is never met in training.
        alike = {" ".join(re.findall(r"[{}\w]+", norm(template))) for template in every}
        assert len(alike) == len(every), kind
        assert chosen.train[0] == FIRST[kind]
    for table in (WHERE, FROM, OF):
        assert len({len(phrases) for phrases in table.values()}) == 1, "a direction must not be told by its phrasing"


@pytest.mark.parametrize("kind", WORDINGS)
def test_wordings_keep_their_rules(kind: str) -> None:
    """Slots that the builders fill, each once, A before B; no direction but in slots; two directions in order."""
    allowed = {tuple(sorted(slots.split())) for slots in SLOTS[kind].split(",")}
    for template in wordings(kind, "all"):
        slots = SLOT.findall(template)
        assert tuple(sorted(slots)) in allowed, template
        for first, second in (("a", "b"), ("p", "q"), ("d", "d2"), ("where", "where2"), ("from_", "from2")):
            assert not {first, second} <= set(slots) or slots.index(first) < slots.index(second), template
        around = SLOT.sub("_", template)
        assert directions_in(around) == [], template
        assert mirror(around) == around
        assert template[0].isupper() or template[0] == "{", template
        assert template[-1] in "?.", template
        assert "  " not in template


def test_typing_changes_only_marks_case_and_articles(rng: np.random.Generator) -> None:
    question = "Is the sound of the dog to the left of the cat?"
    forms = {vary(question, rng) for _ in range(500)}
    assert {question, question.lower(), question[:-1], question.upper()} <= forms
    bare = {" ".join(w for w in re.findall(r"\w+", form.lower()) if w != "the") for form in forms}
    assert bare == {"is sound of dog to left of cat"}


def test_what_people_type_is_among_the_wordings() -> None:
    """Questions of the paper and of live users are made word for word in training, so a small model has met them."""
    rng = np.random.default_rng(0)
    slots = {"region": ["left, front, above"], "distance": ["2 meters"], "p": ["to the left"], "q": ["to the right of"]}
    slots |= {"a": ["the dog", "the sound", "the sound of the dog"], "b": ["the cat"], "d": list(OF), "of": OF["left"]}
    slots |= {"where": WHERE["left"] + WHERE["behind"], "where2": WHERE["right"], "from_": FROM["left"]}  # type: ignore[assignment]
    slots |= {"from2": FROM["right"], "d2": ["right"], "thing": {thing("Siren", rng) for _ in range(50)}}  # type: ignore[assignment]
    found = {
        template.format(**dict(zip(slots, values, strict=True)))
        for kind in WORDINGS
        for template in wordings(kind)
        for values in product(*(v if f"{{{k}}}" in template else [""] for k, v in slots.items()))
    }
    assert {
        "Where is the dog?", "Where is the sound of the dog coming from?", "Is the dog left of the cat?",
        "Is the dog to the left or to the right of the cat?", "Is the dog on your left side?",
        "Which side is the sound on?", "Is the sound coming from your left or your right?", "Can you hear a siren?",
        "How far away is the sound?", "Is there a siren?", "Is the sound on your left?", "Is the sound behind you?",
        "Is the dog further away from you than the cat?", "Which is closer, the dog or the cat?",
        "Identify the sound events in the audio clip coming from the left, front, above, approximately 2 meters away.",
        "Would you find the sound of the dog on the left side of the cat?", "How far away is the dog from the cat?",
    } <= found  # fmt: skip
