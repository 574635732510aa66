"""What fills the slots of a wording: sides, turns, walks and distances in people's words.

The two splits have words of their own here as well, so that validation says "by my left ear" where training never did.
"""

from __future__ import annotations

from bat_agent.questions.dice import Dice
from bat_agent.questions.free.names import Noun, names_of
from bat_agent.questions.free.names_table import DOING
from bat_agent.questions.free.query import Query

Ways = dict[str, tuple[str, ...]]
_LEFT = (
    "on my left",
    "to my left",
    "on my left-hand side",
    "over to my left",
    "over by my left shoulder",
    "off to my left",
)
_LEFT_HELD_OUT = ("on the left of me", "by my left ear", "at my left hand")
_WHERE: Ways = {
    "left": _LEFT,
    "right": tuple(way.replace("left", "right") for way in _LEFT),
    "front": ("in front of me", "ahead of me", "up ahead of me"),
    "behind": ("behind me", "at my back", "somewhere behind me", "on my six"),
    "above": ("above me", "over my head", "overhead"),
    "below": ("below me", "beneath me", "under my feet"),
}
_WHERE_HELD_OUT: Ways = {
    "left": _LEFT_HELD_OUT,
    "right": tuple(way.replace("left", "right") for way in _LEFT_HELD_OUT),
    "front": ("to the front of me", "on the side that I face"),
    "behind": ("to the rear of me", "behind my back"),
    "above": ("higher than my ears", "above ear height"),
    "below": ("lower than my ears", "below ear height"),
}
_SIDE: Ways = {"left": ("left",), "right": ("right",), "front": ("in front", "ahead"), "behind": ("behind",),
               "above": ("above",), "below": ("below",)}  # fmt: skip
_TURN = {
    90: (("turn left", "turned left"), ("turn to the left", "turned to the left"),
         ("turn left by 90 degrees", "turned left by 90 degrees")),
    180: (("turn around", "turned around"), ("turn by 180 degrees", "turned by 180 degrees")),
}  # fmt: skip
_TURN_HELD_OUT = {
    90: (("make a quarter turn left", "made a quarter turn left"),
         ("turn ninety degrees to the left", "turned ninety degrees to the left")),
    180: (("make a half turn", "made a half turn"), ("turn to face the other way", "turned to face the other way")),
}  # fmt: skip
_WALK = (("walk", "walked"), ("go", "went"), ("move", "moved"))
_WALK_HELD_OUT = (("proceed", "proceeded"), ("head", "headed"))
_WALK_TO: Ways = {
    "front": ("forward", "straight ahead"),
    "behind": ("backwards", "straight back"),
    "left": ("to the left", "sideways to the left"),
    "right": ("to the right", "sideways to the right"),
}
_STEP: Ways = {
    "front": ("step forward", "take a step forward"),
    "behind": ("step back", "take a step backwards", "back up"),
    "left": ("step to the left", "take a step to the left"),
    "right": ("step to the right", "take a step to the right"),
}
_STEP_HELD_OUT: Ways = {
    "front": ("go one pace forward", "advance a step"),
    "behind": ("go one pace back", "retreat a step"),
    "left": ("go one pace to the left", "sidestep to the left"),
    "right": ("go one pace to the right", "sidestep to the right"),
}
_COMPARED: Ways = {
    "closer": ("closer", "nearer"),
    "farther": ("farther away", "further away", "farther off"),
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "higher": ("higher",),
    "lower": ("lower",),
}
_COMPARED_HELD_OUT: Ways = _COMPARED | {
    "closer": ("nearer", "less distant"),
    "farther": ("more distant", "farther"),
    "left": ("on the left-hand side of", "to the left-hand side of"),
    "right": ("on the right-hand side of", "to the right-hand side of"),
}
_NUMBERS = {1.0: "one", 2.0: "two", 3.0: "three", 4.0: "four", 5.0: "five", 6.0: "six", 7.0: "seven", 8.0: "eight"}
_DOING_SHARE = 0.12
_SLOT_OF_WORD = {"closer": "closer", "farther": "closer", "left": "leftof", "right": "leftof"}


def slots_of(query: Query, dice: Dice, held_out: bool) -> dict[str, str]:
    """Every slot that this query can fill, its words by dice."""
    slots = named(query.sounds, dice)
    for number, side in enumerate(query.sides):
        end = str(number + 1) if number else ""
        where = dice.pick((_WHERE_HELD_OUT if held_out else _WHERE)[side])
        slots[f"where{end}"] = where
        slots[f"yours{end}"] = where.replace("my", "your").replace("I face", "you face").replace(" me", " you")
        slots[f"side{end}"] = dice.pick(_SIDE[side])
    if query.kind == "is safe":
        slots["step"] = dice.pick((_STEP_HELD_OUT if held_out else _STEP)[query.sides[0]])
    if query.word:
        word = dice.pick((_COMPARED_HELD_OUT if held_out else _COMPARED).get(query.word, ("",)))
        slots[_SLOT_OF_WORD.get(query.word, "higher")] = word
    if query.turn_deg:
        present, past = dice.pick((_TURN_HELD_OUT if held_out else _TURN)[abs(query.turn_deg)])
        if query.turn_deg < 0:
            present, past = present.replace("left", "right"), past.replace("left", "right")
        slots |= {"turn": present, "turned": past}
    if query.walk_m:
        way = f"{metres(query.walk_m, dice)} {dice.pick(_WALK_TO[query.walk_to])}"
        present, past = dice.pick(_WALK_HELD_OUT if held_out else _WALK)
        slots |= {"walk": f"{present} {way}", "walked": f"{past} {way}"}
    if query.limit_m is not None:
        slots["limit"] = metres(query.limit_m, dice)
    return slots


def metres(distance_m: float, dice: Dice) -> str:
    """``two metres``, ``2 metres``, ``2 m``, ``2.5 m``."""
    unit = "metre" if distance_m == 1 else "metres"
    ways = [f"{distance_m:g} {unit}", f"{distance_m:g} m"]
    if distance_m in _NUMBERS:
        ways.append(f"{_NUMBERS[distance_m]} {unit}")
    return dice.pick(ways)


def named(sounds: tuple[str, ...], dice: Dice) -> dict[str, str]:
    """The slots of the sounds, each by one of its names."""
    slots: dict[str, str] = {}
    for number, sound in enumerate(sounds):
        end = str(number + 1) if number else ""
        noun: Noun = dice.pick(names_of(sound))
        doing = DOING.get(sound, "")
        the = doing if doing and dice.random() < _DOING_SHARE else noun.the
        slots |= {f"the{end}": the, f"a{end}": noun.a, f"n{end}": noun.bare}
    return slots
