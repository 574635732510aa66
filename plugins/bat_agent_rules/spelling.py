"""One letter that went wrong: words that nobody knows become the one word they are a slip away from.

A slip is two letters exchanged, one left out, one typed twice or too many, or, in words of five letters and more, a
neighbour on the keyboard or another vowel. Words that are real ones are left alone as far as this module knows them.
"""

from __future__ import annotations

import re
from functools import cache

from bat_agent.labels import labels
from bat_agent.questions.free.names_table import DOING, EVERYDAY
from bat_agent.questions.grammar import WHERE, WORDINGS

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_VOWELS = "aeiou"
_SHORTEST = 3
_SHORTEST_OTHER = 5
_WORD = re.compile(r"[a-z]+")
_SAID = """
about above ahead alone am and angle anybody anyone anything apart are around aside at away azimuth back be bearing
beside besides between beyond both but by can clear clock close closer closest coming compare count cross degrees
describe direction distance do does dominant elevation else every everything except face facing faint fainter faintest
far farther farthest find from front further furthest get give going happening hear heard hearing here higher highest
how if in is it just left less listening locate loud louder loudest low lower lowest making many meter meters metre
metres more most move moving much my name near nearby nearer nearest noise noises none nothing now number of on one
only opposite or other over person please point position quiet quieter quietest report right safe same say several
should side sides silent single somebody someone something somewhere sound sounding sounds source speaking step still
sure talking tell than that the there they thing things this to towards turn two under up voice walk way what where
whereabouts which who whose will with within would you your
"""
_REAL = """
angry band bare bat beach bean bed been beer beet belt bid bit boar boast bore both box boy brain breach bud bug bum
bus but cab came camp can cap card care cart case cast chair cheer chin chip clam clap class clay clip coal coast coat
cod coin cold cone cook cool cop core corn cost cot court cow cram crane crop crow cub cup cut dad dam day dear deer
den desk dig dish dock dot drag draw drug dug duke dull dusk dust ear edge egg even eye fan far farm fat feel fell
fence fern file fill film fin fist fit flag flat flow foal fog fold food fool foot for fork form fort four fox frame
fur gain gale game gas gate gave girl god gold golf gone grain grass gum gut had hall ham hand happy hat hay heap hear
heart heat hen her hid hill him hip his hit hog hole home hood hook hope hose host hot hour house hungry hut ink jam
jar jet job jog joy jump keep kid kite knee lake lamb lamp land lane lap laugh law lead leaf leg less lid line link
lion lip list loaf lock log loose lot love mail main man map mark mat meal mean meat men mice mile milk mill mine mint
mist moon moose mop moss moth mouth mud mug nail nest net new night nose nut oak oven owe own ox page pair pan park
part pass path peach pear pen pick pie pig pin pine pit place plan plane plant plate play pool port pot pram price
prize pub rail ran rat raw ray real red rent rice ride road robe rock roof room root rope rose rug rum sad salt sand
saw sea seal seat seed self sell shed shin shirt shoe shop shore show shower shut sick side sight sink sit size ski
skin skirt sky sleep slip snack snail snow soap sock soda sofa soil son soup spade spin spoon spot stair star stay
steak steel stem stone stool store story stove stream street suit sun table tail tall tan tape tar team tear ten tent
thin tie tile tin tip tire toad toe ton tool tooth toy track trail train trap tray tree trip tub tube tune unicorn van
vase vest wall war was wash wave wax web week well west wet wheel wig wild win wine wing wire wolf wood wool word wore
work worm year zoo
"""


def mended(question: str) -> str:
    """The question, lower case, with every unknown word mended that is one slip away from one known word."""
    return _WORD.sub(lambda match: _known_for(match[0]), question.lower())


@cache
def _known_for(word: str) -> str:
    known, wanted = _words()
    if len(word) < _SHORTEST or word in known:
        return word
    found = {other for other in _slips(word) if other in wanted}
    return found.pop() if len(found) == 1 else word


def _slips(word: str) -> set[str]:
    """What may have been meant by it."""
    cuts = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    swapped = {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    letters = "".join(_ROWS)
    left_out = {a + letter + b for a, b in cuts for letter in letters if len(word) >= _SHORTEST}
    too_many = {a + b[1:] for a, b in cuts if b and len(word) > _SHORTEST}
    other = {a + letter + b[1:] for a, b in cuts if b and len(word) >= _SHORTEST_OTHER for letter in _beside(b[0])}
    return (swapped | left_out | too_many | other) - {word}


@cache
def _beside(letter: str) -> str:
    """The keys around a key, and the other vowels of a vowel."""
    row = next(number for number, keys in enumerate(_ROWS) if letter in keys)
    place = _ROWS[row].index(letter)
    near = [_ROWS[r][max(place - 1, 0) : place + 2] for r in (row - 1, row, row + 1) if 0 <= r < len(_ROWS)]
    return "".join(near).replace(letter, "") + (_VOWELS if letter in _VOWELS else "")


@cache
def _words() -> tuple[frozenset[str], frozenset[str]]:
    """Words that are left as they are, and those that may have been meant: of sounds and of this grammar."""
    names = [*labels(), *(name for named in EVERYDAY.values() for name in named), *DOING.values()]
    wanted = {word for name in names for word in _WORD.findall(name.lower()) if len(word) >= _SHORTEST}
    wanted |= set(_SAID.split())
    texts = [text for kind in WORDINGS.values() for text in kind.train + kind.held_out]
    texts += [text for some in WHERE.values() for text in some]
    known = wanted | {word for text in texts for word in _WORD.findall(text.lower())} | set(_REAL.split())
    plurals = {f"{word}{end}" for word in known for end in ("s", "es", "ing", "ed")}
    return frozenset(known | plurals), frozenset(wanted)
