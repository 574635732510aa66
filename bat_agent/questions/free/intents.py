"""What people ask of a scene, intent by intent: which query is asked of these sources, in how many ways it may end.

An intent is finer than the kind of a query: "is it safe to step back" and "anything on my left" are two questions to
people. Its wordings are in the modules ``voice_*``, under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bat_agent.questions.dice import Dice
from bat_agent.questions.free.names import SOMEONE, VOICES
from bat_agent.questions.free.names_table import STRANGE
from bat_agent.questions.free.query import AXES, FLAT, SIDES, Query

_ANY, _SEVERAL, _TWO, _MANY = (1, 2, 3, 4), (2, 3, 4), (2,), (3, 4)
_TURNS_DEG = (90, -90, 180)
_WALKS_M = (1.0, 2.0, 3.0)
_LIMITS_M = (-2.0, -1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0)  # how far a limit lies from the truth
_STRANGE = tuple(name.split(" ", 1)[1] for name in STRANGE)
WORDED_AS = {"where": "where", "distance": "how_far", "side": "left_or_right", "turn": "turn_which", "clock": "clock"}
"""Kind of a query about what is not there → intent whose wordings it has."""


@dataclass(frozen=True)
class Intent:
    """One thing that people ask."""

    name: str
    """Key of its wordings."""
    asks: str
    """What it asks, for readers."""
    draw: Callable[[Dice], Query | None]
    """A query about the sources of these dice; ``None`` where none comes to mind."""
    counts: tuple[int, ...] = _ANY
    """Numbers of sources to choose from."""
    follows: str = ""
    """The intent of the question before it, of which it says no more than "it"."""
    moving: bool = False
    """Whether half of its sources should move."""
    in_turn: bool = False
    """Whether numbers of sources come in turn, as rooms that hold many are rarer."""
    worded_as: bool = False
    """Whether it has the wordings of others (:data:`WORDED_AS`)."""


# --- parts of queries ---


def _label(dice: Dice) -> str:
    return dice.pick(dice.sources[dice.index()].labels).lower()


def _pair(dice: Dice) -> tuple[str, str]:
    first, second = dice.order()
    return tuple(dice.pick(dice.sources[number].labels).lower() for number in (first, second))  # type: ignore[return-value]


def _one(kind: str, **values: object) -> Callable[[Dice], Query | None]:
    return lambda dice: Query(kind, (_label(dice),), **values)  # type: ignore[arg-type]


def _two(kind: str, *words: str) -> Callable[[Dice], Query | None]:
    return lambda dice: Query(kind, _pair(dice), word=dice.pick(words) if words else "")


def _none(kind: str, **values: object) -> Callable[[Dice], Query | None]:
    return lambda dice: Query(kind, **values)  # type: ignore[arg-type]


def _sided(kind: str, sides: tuple[str, ...], sounds: bool = False) -> Callable[[Dice], Query | None]:
    return lambda dice: Query(kind, (_label(dice),) if sounds else (), (dice.pick(sides),))


# --- those that need more than a die ---


def _heard(dice: Dice) -> Query | None:
    sound = _label(dice) if dice.coin() else dice.stranger("heard")
    return None if sound is None else Query("is heard", (sound,))


def _not_there(dice: Dice) -> Query | None:
    sound = dice.pick(_STRANGE) if dice.random() < 0.3 else dice.stranger("not_there")
    if sound is None:
        return None
    kind = dice.pick(tuple(WORDED_AS))
    return Query(kind, (sound,), axis=AXES[0] if kind == "side" else "")


def _is_region(dice: Dice) -> Query | None:
    sides = (dice.pick(SIDES[2:4]), dice.pick(SIDES[:2]))
    return Query("is side", (_label(dice),), sides)


def _limited(kind: str) -> Callable[[Dice], Query | None]:
    def draw(dice: Dice) -> Query | None:
        source = dice.sources[dice.index()]
        limit_m = round(2 * (source.position.distance_m + dice.pick(_LIMITS_M))) / 2
        return Query(kind, (dice.pick(source.labels).lower(),), limit_m=limit_m) if limit_m >= 0.5 else None

    return draw


def _is_between(dice: Dice) -> Query | None:
    first, second = dice.order()
    third = dice.pick([number for number in range(len(dice.sources)) if number not in (first, second)])
    names = (dice.pick(dice.sources[number].labels).lower() for number in (first, second, third))
    return Query("is between", tuple(names))


def _turned_side(dice: Dice) -> Query | None:
    return Query("is side", (_label(dice),), (dice.pick(FLAT),), turn_deg=dice.pick(_TURNS_DEG))


def _turned_where(dice: Dice) -> Query | None:
    return Query("side", (_label(dice),), axis=AXES[0], turn_deg=dice.pick(_TURNS_DEG))


def _walked_side(dice: Dice) -> Query | None:
    way = dice.pick(("front", "behind"))
    return Query("is side", (_label(dice),), (dice.pick(SIDES[2:4]),), walk_m=dice.pick(_WALKS_M), walk_to=way)


def _walked(kind: str) -> Callable[[Dice], Query | None]:
    return lambda dice: Query(kind, (_label(dice),), walk_m=dice.pick(_WALKS_M), walk_to=dice.pick(FLAT))


def _someone(kind: str) -> Callable[[Dice], Query | None]:
    return lambda dice: Query(kind, (SOMEONE,))


INTENTS: dict[str, Intent] = {
    intent.name: intent
    for intent in (
        Intent("what_all", "what can be heard", _none("what"), in_turn=True),
        Intent("what_side", "what is on a side", _sided("what", SIDES)),
        Intent("nearest", "what is nearest", _none("what", word="nearest"), _SEVERAL),
        Intent("farthest", "what is farthest", _none("what", word="farthest"), _SEVERAL),
        Intent("highest", "what is highest", _none("what", word="highest"), _SEVERAL),
        Intent("lowest", "what is lowest", _none("what", word="lowest"), _SEVERAL),
        Intent("loudest", "what is loudest, if all play at one level", _none("what", word="loudest"), _TWO),
        Intent("what_else", "what there is besides", _one("what else")),
        Intent("anything_else", "whether there is anything besides", _one("is anything else"), (1, 1, 2, 3)),
        Intent("anything_there", "whether anything is on a side", _sided("is anything", SIDES)),
        Intent("count", "how many there are", _none("count"), in_turn=True),
        Intent("count_side", "how many are on a side", _sided("count", SIDES)),
        Intent("several", "whether there is more than one", _none("is several"), (1, 1, 1, 2, 3, 4)),
        Intent("describe", "all of it", _none("describe"), (1, 2, 3), in_turn=True),
        Intent("heard", "whether something is there", _heard),
        Intent("someone", "whether somebody talks", _someone("is heard")),
        Intent("where", "where it is", _one("where")),
        Intent("where_someone", "where whoever talks is", _someone("where")),
        Intent("not_there", "where or how far something is that is not there", _not_there, worded_as=True),
        Intent("left_or_right", "left or right", _one("side", axis=AXES[0])),
        Intent("front_or_behind", "in front or behind", _one("side", axis=AXES[1])),
        Intent("above_or_below", "above or below", _one("side", axis=AXES[2])),
        Intent("is_side", "whether it is on a side", _sided("is side", SIDES, sounds=True)),
        Intent("is_region", "whether it is on two sides at once", _is_region),
        Intent("clock", "at which hour of a clock face it is", _one("clock")),
        Intent("turn_which", "which way to turn to face it", _one("turn")),
        Intent("turn_degrees", "how many degrees to turn, and which way", _one("turn degrees")),
        Intent("walk_where", "which of eight ways to walk", _one("heading")),
        Intent("how_far", "how far it is", _one("distance")),
        Intent("within", "whether it is nearer than so many metres", _limited("is within")),
        Intent("beyond", "whether it is farther than so many metres", _limited("is beyond")),
        Intent("closer_than", "whether one is closer, or farther", _two("compare", "closer", "farther"), _SEVERAL),
        Intent("left_of", "whether one is left, or right, of the other", _two("compare", "left", "right"), _SEVERAL),
        Intent("higher_than", "whether one is higher, or lower", _two("compare", "higher", "lower"), _SEVERAL),
        Intent("which_closer", "which of two is closer", _two("which", "closer"), _SEVERAL),
        Intent("which_higher", "which of two is higher", _two("which", "higher"), _SEVERAL),
        Intent("nearer_by", "by how much one is nearer", _two("difference"), _SEVERAL),
        Intent("apart", "how far apart two are", _two("apart"), _SEVERAL),
        Intent("angle_between", "the angle between two, seen from above", _two("angle"), _SEVERAL),
        Intent("same_side", "whether two are both left, or both right", _two("same side"), _SEVERAL),
        Intent("opposite_sides", "whether one is left and one right", _two("opposite sides"), _SEVERAL),
        Intent("between", "whether I am between two: 135° or more apart", _two("am between"), _SEVERAL),
        Intent("is_between", "whether one is between two others, seen from me", _is_between, _MANY),
        Intent("what_between", "what is between two, seen from me", _two("what between"), _MANY),
        Intent("safe_step", "whether a step that way is safe: nothing nearer than 2 m there", _sided("is safe", FLAT)),
        Intent("gets_closer", "whether a walk would bring me closer", _walked("gets closer")),
        Intent("turned_side", "whether it would be on a side after a turn", _turned_side),
        Intent("turned_where", "left or right after a turn", _turned_where),
        Intent("walked_far", "how far it would be after a walk", _walked("distance")),
        Intent("walked_side", "whether it would be in front or behind after a walk", _walked_side),
        Intent("moving", "whether it moves", _one("is moving"), (1,), moving=True),
        Intent("approach", "whether it comes closer or goes away", _one("approach"), (1,), moving=True),
        Intent("drift", "whether it moves to the left or to the right", _one("drift"), (1,), moving=True),
        Intent("then_far", "and how far it is", _one("distance"), follows="left_or_right"),
        Intent("then_where", "and where it is", _one("where"), follows="heard"),
        Intent("then_side", "and whether it is on a side", _sided("is side", SIDES, sounds=True), follows="how_far"),
        Intent("then_turn", "and which way to turn to it", _one("turn"), follows="heard"),
        Intent("then_height", "and whether above or below", _one("side", axis=AXES[2]), follows="left_or_right"),
        Intent("then_other", "and where the other one is", _one("where else"), _TWO, follows="where"),
        Intent("then_closer", "and if it is nearer than another", _two("compare", "closer"), _SEVERAL, follows="heard"),
        Intent("then_moving", "and whether it moves", _one("is moving"), (1,), follows="where", moving=True),
        Intent("colour", "its colour, which no sound tells", _none("cannot be heard")),
        Intent("smell", "its smell or taste", _none("cannot be heard")),
        Intent("time", "the time, the date, how long ago", _none("cannot be heard")),
        Intent("name", "names, ages and owners", _none("cannot be heard")),
        Intent("look", "how it looks, what it costs, what it wants", _none("cannot be heard")),
        Intent("off_topic", "what has nothing to do with sound", _none("not about sound")),
    )
}  # fmt: skip
"""All intents by name."""


def intents_for(labels: Iterable[str], moving: bool) -> tuple[Intent, ...]:
    """The intents that sounds of these classes admit: of motion if some move, of who talks if somebody does."""
    talk = not VOICES.isdisjoint(label.lower() for label in labels)
    return tuple(
        intent
        for intent in INTENTS.values()
        if (moving or not intent.moving) and (talk or intent.name not in ("someone", "where_someone"))
    )
