"""Everyday questions, read from the normal form of :mod:`bat_agent_rules.parsing`: counts, the loudest, clocks, turns.

Each reader is tried in turn and says what it understands of a clause, or nothing. Numbers of sounds and of directions
have to fit: a word that ought to name a sound, and names none, leaves a question that is not understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from bat_agent.questions.answers import AXES
from bat_agent_rules.clause import AXIS_OF, Clause, Request
from bat_agent_rules.vocabulary import humans

_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_NUMBER = rf"(?P<n>\d+(?:\.\d+)?|{'|'.join(_WORDS)})"
_METRES = re.compile(rf"\b{_NUMBER} ?(?:m|met(?:er|re)s?)\b")
_TURNED = re.compile(
    r"\b(?:if|when|once|after|suppose|say|imagine)\b(?: that)?(?: (?:i|you|we))? (?:to )?(?:turn|rotat|spin|swivel)\w*"
    rf"(?: (?:by )?{_NUMBER} degrees)?(?: to)?(?: (?:my|your))? (?:@(?P<way>left|right)|(?P<around>around|round|over))"
    r"(?: by (?P<by>\d+) degrees)?|\b(?:if|when|once|after)\b(?: (?:i|you|we))? fac\w+ other way"
)
_WALKED = re.compile(
    r"(?:\b(?:if|when|once|after|suppose|say|imagine|that|(?<!do )i|you|we) )*"
    r"\b(?:walk|went|go|move|head|step|proceed)\w*"
    rf"(?: by| for)? {_NUMBER} ?(?:m|met(?:er|re)s?) (?:straight |sideways |to |my )*"
    r"@(?P<way>left|right|front|behind)\b"
)
_CANNOT = re.compile(
    r"\b(?:colou?rs?|smells?|tast(?:e|es|y)|stinks?|price|costs?|what time|what day|what date|weather|temperature"
    r"|how old|name of|names? does|is called|looks? like|how heavy|how much does)\b"
)
_MOTION = re.compile(
    r"\b(?:moving|moves?|in motion|approach\w*|reced\w*|drift\w*|going away|passing by"
    r"|(?:com|gett)ing (?:closer|nearer|towards?|farther|further))\b"
)
_SOMEBODY = re.compile(r"\b(?:some|any|every)(?:one|body)\b|\bpeople\b")
_PRESENT = re.compile(r"\b(?:there|here|around|home|hear|present|near|nearby|with me|out)\b")
_SAFE = re.compile(
    r"\b(?:safe(?:ly)?|clear to|(?:all|way|path|is it|it is) clear|clear if|clear for)\b"
    r"|\b(?:bump|run|walk|crash|@behind) into\b"
    r"|\bin (?:my|your) way\b"
)
_CLOCK = re.compile(r"\boclock\b|\bclock (?:position|face|direction|hour)\b|\b(?:what|which) hour\b|\bon clock\b")
_AT_HOUR = re.compile(rf"\b{_NUMBER} oclock\b")
_AT_DEGREES = re.compile(r"\b(?P<n>\d+) degrees\b")
_ELEVATION = re.compile(r"\b(?:elevation|how high|how low|what height)\b")
_AZIMUTH = re.compile(r"\b(?:azimuth|angle|bearing|heading|degrees)\b")
_BY_DEGREES = re.compile(r"\b(?:how many degrees|what angle|which angle|how far|how much|degrees|angle)\b")
_TO_TURN = re.compile(r"\b(?:turn|rotate|spin|swivel|pivot|face|look(?! for)|swing|yaw)\b")
_TO_WALK = re.compile(r"\b(?:walk|go|run|head|get to|(?:to|i|we) reach|move|drive|fly)\b")
_WHICH_WAY = re.compile(
    r"\b(?:(?:which|what) (?:way|direction|side)|where|left or right|@left or @right|@right or @left|how)\b"
)
_WITHIN = re.compile(r"\b(?:within|closer than|nearer than|less than|under|at most|up to|no more than|inside|@below)\b")
_BEYOND = re.compile(r"\b(?:more than|over|beyond|(?:farther|further)(?: away| off)? than|at least|outside|@above)\b")
_NEAR = re.compile(r"^(?:is|are) .*\b(?:close|near|nearby|close by|near by)\b(?: to (?:me|us|you)| by| here)*$")
_FAR = re.compile(r"^(?:is|are) .*\bfar(?: away| off)?(?: from (?:me|us|you))?$")
_ELSE = re.compile(
    r"\b(?:else|besides?|apart from|aside from|other than|except(?: for)?|in addition to|but|excluding|ignoring"
    r"|disregard|not counting|leaving out|more than)\b"
)
_OTHER_ONE = re.compile(r"\bother(?: one| sound| noise| source)?\b(?! people| person)")
_SAME = re.compile(r"\bsame (?:side|direction|hand)\b|\bboth on one side\b")
_OPPOSITE = re.compile(r"\bopposite|\bdifferent sides\b|\beither side\b|\beach side\b")
_BETWEEN = re.compile(r"\b(?:between|in middle)\b")
_ME = re.compile(r"\b(?:am i|are we|are you|me|i)\b")
_COUNT = re.compile(r"\b(?:how many|number of|count)\b(?! (?:met(?:er|re)s|degrees|steps|times|hours))")
_SEVERAL = re.compile(r"\b(?:more than one|several|multiple|two or more|at least two|more than single)\b")
_SINGLE = re.compile(r"\b(?:only one|just one|only single|just single|alone)\b")
_LOUDER = re.compile(r"\b(?:louder|loudest|noisier|noisiest|strongest|stronger|most noise|dominant)\b")
_QUIETER = re.compile(r"\b(?:quieter|quietest|softer|softest|fainter|faintest|weaker|weakest)\b")
_SUPERLATIVES = {
    "nearest": r"nearest|closest|most near|next to me|(?:shortest|least) (?:range|distance)",
    "farthest": r"farthest|furthest|most distant|remotest|(?:longest|greatest) (?:range|distance)",
    "highest": r"highest|uppermost|topmost|most high|greatest height",
    "lowest": r"lowest|undermost|bottommost|most low|least height",
}
_FIRST = re.compile("|".join(rf"(?P<{word}>\b(?:{pattern})\b)" for word, pattern in _SUPERLATIVES.items()))
_BY_HOW_MUCH = re.compile(
    r"\bhow (?:much|many met(?:er|re)s|far)\b.*\b(?:closer|nearer)\b|\b(?:closer|nearer)\b.*\bby how much\b"
)
_QUIET = re.compile(r"\b(?:quiet|silent|silence|still|nothing)\b")
_NOISE = re.compile(r"\b(?:anything|something|sounds?|noises?)\b")
_IS_THERE = re.compile(r"^(?:is|are|do|does|can|could|did)\b.*\b(?:there|hear|heard|sounding|making|audible|all|on)\b")
_DESCRIBE = re.compile(
    r"\b(?:describe(?!.*\b(?:sounds?|position|location|where)\b)|everything"
    r"|overview|summary|report|rundown|picture|scene|whole|what is (?:\w+ )?where"
    r"|going on|happening|happens|what is up|situation)\b"
)
_HEAR = re.compile(
    r"^(?:so |well |ok |okay |tell (?:me|us) |say )*what\b.*"
    r"\b(?:hear|hearing|sounds?|noises?|listening|racket|din|make out|pick up|detect|out there|around here|here|heard"
    r"|it|that|this|those|these)(?: is| are| be)?(?: there| here| now| all| there is)*$"
)
_FIND = re.compile(
    r"\b(?:point|find|show|track|fetch|spot|get me to|come from|comes from|coming from|from where|which way is"
    r"|what way is|whereabouts)\b"
)
_WHO = re.compile(r"who(?:ever)?(?: or what)?(?: is| was)?(?: <0>| it| that| this| there| here| and where| now)+")
_WHO_THERE = re.compile(
    r"who(?: or what)?(?: is| was)?(?: (?:it|that|there|on|to|in|at|of|my|your|me|you|side|hand|@\w+))+"
)
_PLAIN_PRESENCE = re.compile(
    r"^(?:(?:and|so|well|is|are|was|were|it|that|there|got|hear|have|has|we|you|i|do|does|can|could|some|also|about) )*"
    r"<0>(?: (?:here|around|nearby|somewhere|anywhere|present|running|on|audible|going|playing|sounding|yes|or|no|not"
    r"|too|out|there|in|y|n|at|all))*$"
)


def read_everyday(clause: Clause) -> Request | None:
    """What an everyday question asks that has a meaning of its own, whatever other patterns would make of it."""
    if walked := _WALKED.search(clause.text):
        return _after_a_walk(clause, walked)
    clause, turn_deg = _without_turn(clause)
    for reader in _FIRST_READERS:
        found = reader(clause)
        if found is not None:
            return found if not turn_deg else None
    if not turn_deg:
        return None
    if clause.two_way or (clause.has(_WHICH_WAY) and len(clause.sounds) <= 1 and not clause.sides):
        return Request("side", clause.sounds, AXES["left_right"], turn_deg=turn_deg)
    if len(clause.sounds) <= 1 and clause.sides and not clause.contradictory:
        return Request("is_side", clause.sounds, clause.sides, turn_deg=turn_deg)
    return None


def read_rest(clause: Clause) -> Request | None:
    """What else people say, where no other pattern fits."""
    for reader in _LAST_READERS:
        found = reader(clause)
        if found is not None:
            return found
    return None


def number_of(text: str) -> float:
    """``2.5``, ``three``."""
    return float(_WORDS.index(text) + 1 if text in _WORDS else text)


def _without_turn(clause: Clause) -> tuple[Clause, int]:
    """The clause without a turn that the listener has not made, and how far that goes, left above 0."""
    match = _TURNED.search(clause.text)
    if match is None:
        return clause, 0
    by = match["n"] or match["by"]
    degrees = round(number_of(by)) if by else 180 if not match["way"] else 90
    rest = " ".join(f"{clause.text[: match.start()]} {clause.text[match.end() :]}".split())
    return replace(clause, text=rest), degrees * (-1 if match["way"] == "right" else 1)


def _after_a_walk(clause: Clause, walked: re.Match[str]) -> Request | None:
    """How far, on which side, whether closer, had the listener walked."""
    rest = replace(clause, text=" ".join(f"{clause.text[: walked.start()]} {clause.text[walked.end() :]}".split()))
    asked = Request("walked_side", rest.sounds, rest.sides, walk_m=number_of(walked["n"]), walk_to=walked["way"])
    if len(rest.sounds) > 1:
        return None
    if re.search(r"\b(?:closer|nearer|shrink|towards?)\b", rest.text):
        return replace(asked, kind="gets_closer", sides=())
    if re.search(r"\b(?:how (?:far|close)|how many met(?:er|re)s|distance|range)\b", rest.text):
        return replace(asked, kind="walked_far", sides=())
    return asked if len(rest.sides) == 1 else None


# --- those that come first ---


def _beyond_hearing(clause: Clause) -> Request | None:
    if clause.has(_CANNOT):
        return Request("cannot")
    return Request("moving", clause.sounds) if clause.has(_MOTION) and len(clause.sounds) <= 1 else None


def _somebody(clause: Clause) -> Request | None:
    """Anyone there: whatever people do."""
    if clause.sounds or not clause.has(_SOMEBODY):
        return None
    if clause.sides:
        return None if clause.contradictory else Request("is_side", (humans(),), clause.sides)
    if re.search(r"\b(?:where|locate|position)\b", clause.text):
        return Request("locate", (humans(),))
    return Request("presence", (humans(),)) if clause.has(_PRESENT) else None


def _safe(clause: Clause) -> Request | None:
    sides = clause.sides or ("front",)
    if clause.has(_SAFE) and len(sides) == 1 and len(clause.sounds) <= 1:
        kind = "hits" if re.search(r"\binto\b|\bin (?:my|your) way\b", clause.text) else "safe"
        return Request(kind, clause.sounds, sides)
    return None


def _clock(clause: Clause) -> Request | None:
    if not clause.has(_CLOCK) or len(clause.sounds) > 1:
        return None
    hour = _AT_HOUR.search(clause.text)
    asked = clause.text.startswith(("is ", "are ", "does ", "would ", "do "))
    if hour and asked:
        return Request("at_hour", clause.sounds, number=number_of(hour["n"]))
    return Request("clock", clause.sounds) if not asked else None


def _turning(clause: Clause) -> Request | None:
    if len(clause.sounds) > 1:
        return None
    which_way = clause.two_way or re.search(r"\b(?:which|what) (?:way|side)\b", clause.text)
    if re.search(r"\b(?:degrees|angle)\b", clause.text) and which_way:
        return Request("turn_degrees", clause.sounds)
    if clause.has(_TO_TURN) and clause.has(_BY_DEGREES):
        return Request("turn_degrees", clause.sounds)
    if clause.has(_TO_TURN) and clause.has(_WHICH_WAY):
        return Request("turn", clause.sounds)
    ways = clause.has(re.compile(r"\b(?:(?:which|what) (?:way|direction)|where|how)\b"))
    asks = clause.has(re.compile(r"\b(?:i|we|should|must|shall|to)\b"))
    how_far = re.search(r"\bhow (?:far|close)", clause.text)
    if clause.has(_TO_WALK) and ways and asks and not clause.sides and not how_far:
        return Request("heading", clause.sounds)
    return None


def _angles(clause: Clause) -> Request | None:
    if clause.sides and not clause.two_way:
        return None
    if len(clause.sounds) == 2:
        between = clause.has(_BETWEEN) or re.search(r"<\d> (?:to|and|from) <\d>", clause.text)
        return Request("angle", clause.sounds) if clause.has(_AZIMUTH) and between else None
    at = _AT_DEGREES.search(clause.text)
    if at and clause.text.startswith(("is ", "are ")):
        return Request("at_degrees", clause.sounds, number=float(at["n"]))
    if clause.has(_ELEVATION):
        return Request("elevation", clause.sounds)
    return Request("azimuth", clause.sounds) if clause.has(_AZIMUTH) else None


def _limits(clause: Clause) -> Request | None:
    if len(clause.sounds) > 1:
        return None
    metres = _METRES.search(clause.text)
    if metres and not clause.text.startswith(("what", "which", "who", "where", "how")):
        for kind, pattern in (("within", _WITHIN), ("beyond", _BEYOND)):
            if clause.has(pattern):
                return Request(kind, clause.sounds, distance_m=number_of(metres["n"]))
        return None
    if metres or clause.sides or not (clause.sounds or clause.has_subject):
        return None
    if clause.has(_NEAR):
        return Request("within", clause.sounds, distance_m=2.0)
    return Request("beyond", clause.sounds, distance_m=4.0) if clause.has(_FAR) else None


def _others(clause: Clause) -> Request | None:
    if len(clause.sounds) > 1 or clause.sides:
        return None
    if clause.has(_OTHER_ONE) and re.search(r"\b(?:where|locate|position|location)\b", clause.text):
        return Request("where_else", clause.sounds)
    if not clause.has(_ELSE) or not (clause.sounds or re.search(r"\belse\b", clause.text)):
        return None
    asks_what = re.match(r"(?:\w+ )*?(?:what|which|who|name|list|tell)\b", clause.text)
    if not asks_what and re.search(r"\b(?:is|are|do|does|can|(?:any|some)\w+)\b", clause.text):
        return Request("any_else", clause.sounds)
    return Request("what_else", clause.sounds) if asks_what or clause.text.startswith(("besides", "apart")) else None


def _between(clause: Clause) -> Request | None:
    if clause.sides or not clause.has(_BETWEEN) or re.search(r"\b(?:far|distance|met(?:er|re)s|apart)\b", clause.text):
        return None
    if len(clause.sounds) == 3:
        middle = re.search(r"<(\d)>(?=.*\b(?:between|in middle)\b)", clause.text)
        if middle is None or clause.text.rindex("between") < middle.start():
            return None
        first = int(middle[1])
        rest = [sound for number, sound in enumerate(clause.sounds) if number != first]
        return Request("is_between", (clause.sounds[first], *rest))
    if len(clause.sounds) != 2:
        return None
    if re.match(r"(?:what|which|who|is anything|is something|anything)\b", clause.text):
        return Request("what_between", clause.sounds)
    yes_no = re.match(r"(?:is|am|are|do|does|so)\b", clause.text)
    return Request("am_between", clause.sounds) if yes_no or clause.has(_ME) else None


def _two_sides(clause: Clause) -> Request | None:
    if len(clause.sounds) != 2 or clause.sides:
        return None
    if clause.has(_SAME):
        return Request("same_side", clause.sounds)
    return Request("opposite", clause.sounds) if clause.has(_OPPOSITE) else None


def _counts(clause: Clause) -> Request | None:
    if clause.contradictory or len(clause.sounds) > 1:
        return None
    if clause.has(_COUNT):
        known = clause.sounds or re.search(
            r"\b(?:sounds?|noises?|sources?|things?|of them|there|are|hear|events?)\b", clause.text
        )
        return Request("count", clause.sounds, clause.sides) if known else None
    if clause.sounds or clause.sides:
        return None
    if clause.has(_SEVERAL):
        return Request("several")
    return Request("single") if clause.has(_SINGLE) else None


def _loudness(clause: Clause) -> Request | None:
    louder, quieter = clause.has(_LOUDER), clause.has(_QUIETER)
    if louder == quieter or clause.sides:
        return None
    word = "louder" if louder else "quieter"
    if len(clause.sounds) == 2:
        choice = " or " in clause.text or re.match(r"(?:which|what|who)\b", clause.text)
        return Request("which_more" if choice else "more", clause.sounds, word=word)
    if clause.sounds or re.search(r"\bthan\b", clause.text):
        return None
    return Request("first", word="loudest" if louder else "quietest")


def _most(clause: Clause) -> Request | None:
    word = _FIRST.search(clause.text)
    if word is None or clause.sounds or clause.sides:
        return None
    return Request("first", word=str(word.lastgroup))


def _difference(clause: Clause) -> Request | None:
    if len(clause.sounds) == 2 and clause.has(_BY_HOW_MUCH):
        return Request("difference", clause.sounds)
    return None


def _stillness(clause: Clause) -> Request | None:
    if clause.sounds or clause.sides or re.search(r"\b(?:what|which|who|where|how|whether)\b", clause.text):
        return None
    if clause.has(_QUIET) and re.match(r"(?:is|are|do|does|can|so)\b", clause.text):
        return Request("silent")
    return Request("sounding") if clause.has(_NOISE) and clause.has(_IS_THERE) else None


def _account(clause: Clause) -> Request | None:
    if clause.sounds or clause.sides:
        return None
    return Request("describe") if clause.has(_DESCRIBE) else None


# --- those that come last ---


def _heard(clause: Clause) -> Request | None:
    return Request("detect") if not clause.sounds and not clause.sides and clause.has(_HEAR) else None


def _who(clause: Clause) -> Request | None:
    """Who it is no sound tells; where somebody is it does."""
    if clause.sides and not clause.sounds and _WHO_THERE.fullmatch(clause.text) and not clause.contradictory:
        return Request("detect_at", (), clause.sides)
    if not _WHO.fullmatch(clause.text):
        return None
    return Request("locate", clause.sounds) if clause.sounds else Request("detect")


def _what_there(clause: Clause) -> Request | None:
    if clause.sounds or not clause.sides or clause.contradictory:
        return None
    return Request("detect_at", (), clause.sides) if re.search(r"\b(?:what|which|who)\b", clause.text) else None


def _somewhere(clause: Clause) -> Request | None:
    """Left, right, in front or behind?"""
    axes = {AXIS_OF[word] for word in clause.sides}
    if len(axes) >= 2 and len(clause.sounds) <= 1 and " or " in clause.text and clause.has_subject:
        return Request("locate", clause.sounds)
    if len(clause.sounds) == 1 and not clause.sides and clause.has(_FIND):
        return Request("locate", clause.sounds)
    return None


def _there(clause: Clause) -> Request | None:
    return Request("presence", clause.sounds) if clause.has(_PLAIN_PRESENCE) else None


def _anything_there(clause: Clause) -> Request | None:
    generic = re.match(r"(?:and |so )*(?:some|any)(?:thing|one|body)\b|(?:sounds?|noises?)\b", clause.text)
    fits = generic and clause.sides and not clause.sounds and not clause.contradictory
    return Request("any_side", (), clause.sides) if fits else None


Reader = Callable[[Clause], "Request | None"]
_FIRST_READERS: tuple[Reader, ...] = (
    _beyond_hearing, _somebody, _safe, _clock, _turning, _angles, _limits, _others, _between, _two_sides, _difference,
    _counts, _loudness, _most, _stillness, _account,
)  # fmt: skip
_LAST_READERS: tuple[Reader, ...] = (_heard, _who, _what_there, _somewhere, _there, _anything_there)
