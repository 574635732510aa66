"""What can be asked of what sounds where: one small function for each kind of question of the paper, and plain ones.

A yes/no question begins with its answer: a coin decides, then a question is built that has this answer. So the question
alone is worth no more than the coin. Two relations are meant in the listener's frame and by position, in metres:

* A is left of B if A's coordinate x (to the right) is smaller; in front if −z is larger; above if y is larger.
* A is closer than B if its straight-line distance to the listener is smaller.

Where a difference is too small to hear, nothing is asked about it (:class:`Margins`). What the paper does not ask is in
:mod:`bat_agent.questions.beyond`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from bat_agent.questions.answers import AXES, YES_NO, answer_labels, answer_location, format_distance
from bat_agent.questions.dice import AXIS_OF, OPPOSITE, Dice, Draft
from bat_agent.questions.dice import Margins as Margins
from bat_agent.questions.grammar import OF, thing
from bat_agent.questions.records import QuestionType

# --- what can be asked; each builder returns None where the scene does not admit the question ---


def _detect(dice: Dice) -> Draft:
    return Draft(answer_labels(dice.sources[0].labels), {}, "detect")


def _locate(dice: Dice) -> Draft:
    index = dice.index()
    wording = "locate" if len(dice.sources) == 1 else "locate_named"
    return Draft(answer_location(dice.sources[index].position), {"a": dice.name(index)}, wording)


def _detect_at(dice: Dice) -> Draft:
    source = dice.sources[dice.index()]
    metres = format_distance(source.position.distance_m)[:-1]
    slots = {"region": source.position.region, "distance": f"{metres} meter{'' if metres == '1' else 's'}"}
    return Draft(answer_labels(source.labels), slots, "detect_at")


def _both(dice: Dice) -> Draft | None:
    a, b = dice.order()
    first, second = dice.clear_sides(a), dice.clear_sides(b)
    axes = [axis for axis in AXES if axis in first and axis in second]
    shared = [axis for axis in axes if first[axis] == second[axis]]
    if not shared:  # "yes" is impossible, so "no" must not be asked either
        return None
    wanted = dice.coin()
    axis = dice.pick(shared if wanted else axes)
    word = first[axis]
    if not wanted:
        word = OPPOSITE[word] if axis in shared else dice.pick(AXES[axis])
    slots = {"a": dice.name(a), "b": dice.name(b), **dice.direction_slots(word)}
    return Draft(YES_NO[not wanted], slots, "both", key=word, choices=YES_NO)


def _pair(dice: Dice) -> Draft | None:
    a, b = dice.order()
    sides_a, sides_b = dice.clear_sides(a), dice.clear_sides(b)
    # Exchanging the two words must make the sentence false: then it is as likely with either answer.
    pairs = [
        (p, q)
        for p in sides_a.values()
        for q in sides_b.values()
        if p != q and (sides_a.get(AXIS_OF[q]) == OPPOSITE[q] or sides_b.get(AXIS_OF[p]) == OPPOSITE[p])
    ]
    if not pairs:
        return None
    first, second = dice.pick(pairs)
    wanted = dice.coin()
    if not wanted:
        first, second = second, first
    slots = {"a": dice.name(a), "b": dice.name(b)}
    slots |= dice.direction_slots(first, second)
    return Draft(YES_NO[not wanted], slots, "pair", key=f"{first} {second}", choices=YES_NO)


def _relation(dice: Dice) -> Draft | None:
    found = dice.relation()
    if found is None:
        return None
    a, b, word = found
    wanted = dice.coin()
    word = word if wanted else OPPOSITE[word]
    slots = {"a": dice.name(a), "b": dice.name(b), "d": word, "of": OF[word][dice.manner(OF[word])]}
    return Draft(YES_NO[not wanted], slots, "relation", AXIS_OF[word], word, YES_NO)


def _closer(dice: Dice) -> Draft | None:
    order = dice.nearer_first(*dice.order())
    if order is None:
        return None
    wording, wanted = "closer" if dice.coin() else "farther", dice.coin()
    a, b = order if wanted == (wording == "closer") else order[::-1]
    return Draft(YES_NO[not wanted], {"a": dice.name(a), "b": dice.name(b)}, wording, choices=YES_NO)


def _which_side_of(dice: Dice) -> Draft | None:
    found = dice.relation()
    if found is None:
        return None
    a, b, word = found
    words = AXES[AXIS_OF[word]]
    manner = dice.manner(OF[word])  # the same way of speaking for both directions
    p, q = (OF[w][manner] for w in (words if dice.coin() else words[::-1]))
    if words == AXES["left_right"]:  # "to the left or to the right of", "to the left or right of"
        p = p.removesuffix(" of")
        q = q.removeprefix("to the ") if dice.coin() else q
    slots = {"a": dice.name(a), "b": dice.name(b), "p": p, "q": q}
    return Draft(word, slots, "which_side_of", AXIS_OF[word], choices=words)


def _between(dice: Dice) -> Draft:
    a, b = dice.order()
    distance_m = math.dist(dice.points_m[a], dice.points_m[b])
    return Draft(format_distance(distance_m), {"a": dice.name(a), "b": dice.name(b)}, "between")


def _source_on(dice: Dice) -> Draft | None:
    found = dice.relation()
    if found is None:
        return None
    a, b, word = found
    slots = {"b": dice.name(b), "d": word, "of": OF[word][dice.manner(OF[word])]}
    return Draft(answer_labels(dice.sources[a].labels), slots, "source_on", AXIS_OF[word])


def _side(dice: Dice) -> Draft | None:
    index = dice.index()
    sides = dice.clear_sides(index)
    if not sides:
        return None
    axis = dice.pick(list(sides))
    words, answer, slots = AXES[axis], sides[axis], {"a": dice.name(index)}
    if axis == "left_right" and dice.coin():
        return Draft(answer, slots, "which_side", axis, axis, words)
    first, second = words if dice.coin() else words[::-1]
    slots |= dice.direction_slots(first, second)
    return Draft(answer, slots, "side", axis, axis, words)


def _is_side(dice: Dice) -> Draft | None:
    index = dice.index()
    sides = dice.clear_sides(index)
    if not sides:
        return None
    axis, wanted = dice.pick(list(sides)), dice.coin()
    word = sides[axis] if wanted else OPPOSITE[sides[axis]]
    slots = {"a": dice.name(index), **dice.direction_slots(word)}
    return Draft(YES_NO[not wanted], slots, "is_side", axis, word, YES_NO)


def _distance(dice: Dice) -> Draft:
    index = dice.index()
    return Draft(format_distance(dice.sources[index].position.distance_m), {"a": dice.name(index)}, "distance")


def _presence(dice: Dice) -> Draft | None:
    absent = dice.stranger("presence")
    if absent is None:  # "no" is impossible, so "yes" must not be asked either
        return None
    wanted = dice.coin()
    label = dice.pick(dice.sources[dice.index()].labels).lower() if wanted else absent
    slots = {"thing": f"the {label}" if dice.simple else thing(label, dice.rng)}
    debts = ((label, 1 if wanted else -1),)
    return Draft(YES_NO[not wanted], slots, "presence", key=label, choices=YES_NO, debts=debts)


def _which_closer(dice: Dice) -> Draft | None:
    a, b = dice.order()
    order = dice.nearer_first(a, b)
    if order is None:
        return None
    names = [dice.pick(source.labels).lower() for source in dice.sources]
    nearest = dice.coin()
    slots = {"a": f"the {names[a]}", "b": f"the {names[b]}"}
    answer = names[order[0] if nearest else order[1]]
    return Draft(answer, slots, "which_closer" if nearest else "which_farther", choices=(names[a], names[b]))


Builder = Callable[[Dice], "Draft | None"]
PLAIN: dict[int, tuple[Builder, ...]] = {
    1: (_side, _side, _is_side, _distance, _presence),
    2: (_side, _is_side, _distance, _presence, _which_closer),
}
"""Builders of plain questions by the number of sources."""
BUILDERS: dict[QuestionType, tuple[Builder, ...]] = {
    QuestionType.CLASSIFICATION: (_detect,),
    QuestionType.DOA: (_locate,),
    QuestionType.MIXUP_SINGLE_CLASSIFICATION: (_detect_at,),
    QuestionType.MIXUP_SINGLE_DOA: (_locate,),
    QuestionType.MIXUP_DIRECTION: (_both, _pair, _relation),
    QuestionType.MIXUP_DISTANCE_BOTH: (_closer,),
    QuestionType.MIXUP_NONBINARY_DIRECTION: (_which_side_of,),
    QuestionType.MIXUP_NONBINARY_DISTANCE: (_between,),
    QuestionType.MIXUP_NONBINARY_SOURCE: (_source_on,),
}
"""Builders of the types of the release."""
