"""Questions and queries to learn from: of imagined scenes, in the voices of training, loosened.

No answer is needed to learn what is asked, so no margin keeps a question back either; scenes only say what people
would speak of, and what was answered before a follow-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bat_agent.labels import labels
from bat_agent.questions.dice import Dice
from bat_agent.questions.free.asking import dice_of, words_of
from bat_agent.questions.free.fixed import imagine_scene
from bat_agent.questions.free.intents import INTENTS, Intent
from bat_agent.questions.free.loosened import loosened
from bat_agent.questions.free.names_table import EVERYDAY, SHIPPED
from bat_agent.questions.free.phrases import named
from bat_agent.questions.free.query import Query
from bat_agent.questions.free.unanswerable import CANNOT_BE_HEARD, NOT_ABOUT_SOUND, STRANGERS
from bat_agent.questions.history import History, split_history, with_history

_POOLS: tuple[tuple[float, tuple[str, ...]], ...] = ((0.5, SHIPPED), (0.85, tuple(EVERYDAY)), (1.0, labels()))
"""Classes that are spoken of, with the share up to which each pool is drawn from."""
_ASIDE, _STRANGE, _CARRIED = 0.06, 0.5, 0.06
_UNANSWERABLE = {"cannot be heard": CANNOT_BE_HEARD, "not about sound": NOT_ABOUT_SOUND}


def rehearse(rng: np.random.Generator, count: int) -> list[tuple[str, Query]]:
    """``count`` questions, each with its query; the same generator state gives the same."""
    found: list[tuple[str, Query]] = []
    intents = tuple(INTENTS.values())
    while len(found) < count:
        asked = _aside(rng) if rng.random() < _ASIDE else _asked(intents[int(rng.integers(len(intents)))], rng)
        if asked is not None:
            found.append((loosened(asked[0], rng), asked[1]))
    return found


def _dice(rng: np.random.Generator, counts: Sequence[int], moving: bool = False) -> Dice:
    share = rng.random()
    pool = next(pool for limit, pool in _POOLS if share < limit)
    scene = imagine_scene(rng, counts[int(rng.integers(len(counts)))], pool, moving)
    return dice_of(scene, rng, pool)


def _asked(intent: Intent, rng: np.random.Generator) -> tuple[str, Query] | None:
    dice = _dice(rng, intent.counts, intent.moving)
    query = intent.draw(dice)
    if query is None:
        return None
    text = words_of(intent, query, dice, "train")
    if text is None:
        return None
    if intent.name in ("not_there", "heard") and rng.random() < _STRANGE:
        text, query = _estranged(text, query, dice)
    history, last = split_history(text)
    if not history and rng.random() < _CARRIED:  # what was said before may have nothing to do with it
        text = with_history(_other(dice), last)
    return text, query


def _estranged(text: str, query: Query, dice: Dice) -> tuple[str, Query]:
    """The same of a sound that is no class."""
    stranger = dice.pick(STRANGERS)
    for said in sorted((noun for sound in query.sounds for noun in _bare_names(sound)), key=len, reverse=True):
        if said in text:
            return text.replace(said, stranger), replace(query, sounds=(stranger,))
    return text, query


def _bare_names(sound: str) -> list[str]:
    from bat_agent.questions.free.names import names_of

    return [noun.bare for noun in names_of(sound)]


def _other(dice: Dice) -> History:
    """A question with its answer that came before, of something else."""
    query = Query("where", (dice.sources[dice.index()].labels[0].lower(),))
    text = words_of(INTENTS["where"], query, dice, "train")
    source = next(source for source in dice.sources if source.labels[0].lower() == query.sounds[0])
    return [(text or "Where is it?", f"{source.position.region}; {round(2 * source.position.distance_m) / 2:g}m")]


def _aside(rng: np.random.Generator) -> tuple[str, Query]:
    dice = _dice(rng, (1,))
    kind = dice.pick(tuple(_UNANSWERABLE))
    slots = named((dice.sources[0].labels[0].lower(),), dice)
    text = dice.pick(_UNANSWERABLE[kind]).format(**slots)
    return text[0].upper() + text[1:], Query(kind)
