"""Wordings of the questions beyond the paper, and the words for their slots.

What :mod:`bat_agent.questions.grammar` says of wordings holds here as well: ``{a}`` is named before ``{b}``, and some
wordings are kept back for evaluation. Most are a clause and a frame around it; wordings that are kept back have both of
their own. A scale of degrees is always told, as people differ in where they begin to count.
"""

from __future__ import annotations

from collections.abc import Sequence

from bat_agent.questions.templates import Wordings

UNNAMED = ("the sound", "this sound", "the sound source")
"""How the only source is named."""
MOST = {"closest": ("closest", "nearest"), "farthest": ("farthest", "most distant")}
"""The first and the last of all by distance."""
NEARER = {"closer": ("closer", "nearer"), "farther": ("farther away", "more distant")}
"""The nearer and the farther of two."""
GOING = {
    "left": (
        ("move to your left", "moving to your left"),
        ("go to the left", "going to the left"),
        ("travel towards your left", "travelling towards your left"),
    ),
    "right": (
        ("move to your right", "moving to your right"),
        ("go to the right", "going to the right"),
        ("travel towards your right", "travelling towards your right"),
    ),
    "closer": (
        ("come closer", "coming closer"),
        ("get nearer", "getting nearer"),
        ("approach you", "approaching you"),
    ),
    "away": (
        ("move away", "moving away"),
        ("get farther away", "getting farther away"),
        ("recede from you", "receding from you"),
    ),
    "up": (("rise", "rising"), ("move up", "moving up"), ("go upwards", "going upwards")),
    "down": (("sink", "sinking"), ("move down", "moving down"), ("go downwards", "going downwards")),
}
"""How a source moves, after "does" and after "is"; the same number of phrases for every way."""


def _framed(clauses: Sequence[str], frames: Sequence[str]) -> tuple[str, ...]:
    # Clause by clause in each frame: the first frame has the plainest words, and the first wording is the simple one.
    return tuple(frame.replace("{clause}", clause) for frame in frames for clause in clauses)


_OFFER = (
    "{clause}? {options}. Answer with the letter.",
    "{clause}? Choose from: {options}. Give the letter alone.",
    "Choose one letter: {clause}? {options}",
)
_OFFER_HELD_OUT = (
    "{clause}? Pick one: {options}. Reply with its letter.",
    "Which letter is true: {clause}? {options}",
)
_WHILE = (
    "{clause}?",
    "During the clip, {clause}?",
    "As time passes, {clause}?",
    "From the beginning to the end, {clause}?",
)
_WHILE_HELD_OUT = ("{clause}?", "In the course of the recording, {clause}?")
_IF_HEARD = (
    "{clause}?",
    "{clause}, if you hear it at all?",
    '{clause}? Say "not heard" if it is not there.',
)
_IF_HEARD_HELD_OUT = ("{clause}, provided that you hear it?", '{clause}, or is it "not heard"?')

BEYOND_WORDINGS: dict[str, Wordings] = {
    "azimuth": Wordings(
        _framed(
            (
                "at what azimuth is {a}",
                "what is the azimuth of {a}",
                "at which azimuth do you hear {a}",
                "from what azimuth does {a} come",
                "what azimuth does {a} have",
                "under which azimuth does {a} reach you",
            ),
            (
                "{clause}, in degrees counter-clockwise from your right?",
                "{clause}, counted counter-clockwise from your right in degrees?",
                "Counting degrees counter-clockwise from the right, {clause}?",
                "{clause}, in degrees counter-clockwise with 90 straight ahead of you?",
            ),
        ),
        _framed(
            ("which azimuth would you give {a}", "what would you say the azimuth of {a} is"),
            (
                "{clause}, if degrees go counter-clockwise from your right?",
                "With 90 degrees in front and counting counter-clockwise, {clause}?",
            ),
        ),
    ),
    "elevation": Wordings(
        (
            "How many degrees above (positive) or below (negative) ear level is {a}?",
            *_framed(
                (
                    "at what elevation is {a}",
                    "what is the elevation of {a}",
                    "at which elevation do you hear {a}",
                    "from what elevation does {a} come",
                    "what elevation does {a} have",
                    "under which elevation does {a} reach you",
                ),
                (
                    "{clause}, in degrees above (positive) or below (negative) ear level?",
                    "{clause}, in degrees, positive above your ears and negative below?",
                    "Counting degrees up from ear level, negative if down, {clause}?",
                ),
            ),
        ),
        _framed(
            ("which elevation would you give {a}", "what would you say the elevation of {a} is"),
            (
                "{clause}, in degrees from -90 straight down to 90 straight up?",
                "If ear level is 0 degrees and below is negative, {clause}?",
            ),
        ),
    ),
    "clock": Wordings(
        _framed(
            (
                "at what o'clock is {a}",
                "at what o'clock do you hear {a}",
                "from what o'clock does {a} come",
                "in which o'clock direction is {a}",
                "what o'clock is {a} at",
                "at which hour, as in 3 o'clock, is {a}",
            ),
            (
                "{clause}?",
                "With 12 o'clock straight ahead, {clause}?",
                "{clause}, if 12 o'clock is in front of you?",
                "Tell me: {clause}?",
            ),
        ),
        _framed(
            ("what o'clock position does {a} have", "from which o'clock does {a} reach you"),
            ("{clause}?", "Taking 12 o'clock as the way you face, {clause}?"),
        ),
    ),
    "angle": Wordings(
        _framed(
            (
                "is {a} at a {higher} angle of elevation than {b}",
                "does {a} have a {higher} elevation angle than {b}",
                "is the elevation angle of {a} {higher} than that of {b}",
                "do you hear {a} at a {higher} elevation angle than {b}",
                "does {a} come from a {higher} angle of elevation than {b}",
                "does {a} reach you from a {higher} elevation angle than {b}",
            ),
            (
                "{clause}?",
                "Seen from where you are, {clause}?",
                "Measured in degrees, {clause}?",
                "As your ears have it, {clause}?",
            ),
        ),
        _framed(
            (
                "would you say {a} has a {higher} elevation angle than {b}",
                "can {a} be heard at a {higher} angle of elevation than {b}",
            ),
            ("{clause}?", "Judging by angles alone, {clause}?"),
        ),
    ),
    "count": Wordings(
        (
            "How many sounds do you hear?",
            "How many sounds are there?",
            "How many sound sources are there?",
            "How many sources do you hear?",
            "How many different sounds can you hear?",
            "Count the sounds.",
            "Count the sound sources.",
            "What is the number of sounds?",
            "How many things are sounding?",
            "How many sound sources can you make out?",
            "From how many places do sounds come?",
            "How many sounds does the recording contain?",
            "How many sources does the audio clip contain?",
            "Tell me how many sounds you hear.",
            "Tell me how many sources there are.",
            "Give the number of sound sources.",
            "How many sounds are there around you?",
            "How many separate sounds can be heard?",
            "In how many places does something sound?",
            "How many sources of sound surround you?",
        ),
        (
            "How many sound sources can be heard?",
            "What number of sounds do you hear?",
            "How many sounds are in this clip?",
            "Say how many sources are sounding.",
        ),
    ),
    "most": Wordings(
        (
            "Which sound is {most}?",
            "Which sound is {most} to where you are?",
            "What is the {most} sound?",
            "Which of the sounds is {most}?",
            "Which is the {most} sound?",
            "Name the {most} sound.",
            "Identify the {most} sound.",
            "Which source is the {most} one?",
            "Of all the sounds, which is the {most}?",
            "Which of all the sources is {most}?",
            "What is the {most} source of sound?",
            "What do you hear from the {most} place?",
            "What is sounding at the {most} place?",
            "Which sound comes from the {most} point?",
            "Tell me which sound is {most}.",
            "Tell me what the {most} sound is.",
            "Among all sources, which one is {most}?",
            "Which sound event is the {most}?",
            "In terms of straight-line distance, which sound is {most}?",
            "What kind of sound is the {most} one?",
        ),
        (
            "What can be heard from the {most} place?",
            "Which sound would you call the {most}?",
            "Of everything you hear, what is {most}?",
            "Give the {most} sound source.",
        ),
    ),
    "choice_region": Wordings(
        _framed(
            (
                "where is {a}",
                "in which direction is {a}",
                "where does {a} come from",
                "from which direction does {a} come",
                "where do you hear {a}",
                "in which direction do you hear {a}",
                "which direction is {a} in",
            ),
            _OFFER,
        ),
        _framed(("from which direction does {a} reach you", "where would you place {a}"), _OFFER_HELD_OUT),
    ),
    "choice_class": Wordings(
        _framed(
            (
                "what do you hear",
                "what is that sound",
                "which sound is it",
                "what is sounding",
                "what makes this sound",
                "which sound do you hear",
                "what kind of sound is this",
            ),
            _OFFER,
        ),
        _framed(("what can be heard", "which sound is in the clip"), _OFFER_HELD_OUT),
    ),
    "choice_class_at": Wordings(
        _framed(
            (
                "what do you hear from the {region}",
                "which sound comes from the {region}",
                "what is the sound at the {region}",
                "what is sounding at the {region}",
                "which sound reaches you from the {region}",
                "what makes the sound at the {region}",
                "which of these comes from the {region}",
            ),
            _OFFER,
        ),
        _framed(("what can be heard from the {region}", "which sound is located {region}"), _OFFER_HELD_OUT),
    ),
    "choice_distance": Wordings(
        _framed(
            (
                "how far away is {a}",
                "how far is {a}",
                "at what distance is {a}",
                "what is the distance of {a}",
                "how many meters away is {a}",
                "from what distance does {a} come",
                "at which distance do you hear {a}",
            ),
            _OFFER,
        ),
        _framed(("how distant is {a}", "from how far away does {a} reach you"), _OFFER_HELD_OUT),
    ),
    "choice_closer": Wordings(
        _framed(
            (
                "which is {closer}",
                "which sound is {closer}",
                "which of the two is {closer}",
                "what is {closer}",
                "which source is {closer}",
                "which of these is {closer}",
                "in a straight line, which is {closer}",
            ),
            _OFFER,
        ),
        _framed(("which one is {closer}", "which sound would you call {closer}"), _OFFER_HELD_OUT),
    ),
    "where_if_heard": Wordings(
        _framed(
            (
                "where is {a}",
                "where is {a} coming from",
                "where do you hear {a}",
                "where does {a} come from",
                "in which direction and how far away is {a}",
                "at which place do you hear {a}",
                "what is the position of {a}",
            ),
            _IF_HEARD,
        ),
        _framed(("can you locate {a}", "from where does {a} arrive"), _IF_HEARD_HELD_OUT),
    ),
    "distance_if_heard": Wordings(
        _framed(
            (
                "how far away is {a}",
                "how far is {a}",
                "what is the distance of {a}",
                "at what distance is {a}",
                "how many meters away is {a}",
                "how close is {a}",
                "at which distance do you hear {a}",
            ),
            _IF_HEARD,
        ),
        _framed(("how distant is {a}", "from how far away does {a} arrive"), _IF_HEARD_HELD_OUT),
    ),
    "which_way": Wordings(
        _framed(
            (
                "does {a} {goes} or {goes2}",
                "is {a} {going} or {going2}",
                "do you hear {a} {going} or {going2}",
                "does the source of {a} {goes} or {goes2}",
                "is the source of {a} {going} or {going2}",
            ),
            _WHILE,
        ),
        _framed(("would you say {a} is {going} or {going2}", "does {a} seem to {goes} or to {goes2}"), _WHILE_HELD_OUT),
    ),
    "is_moving": Wordings(
        _framed(
            (
                "is {a} {going}",
                "does {a} {goes}",
                "do you hear {a} {going}",
                "is the source of {a} {going}",
                "does the source of {a} {goes}",
            ),
            _WHILE,
        ),
        _framed(("would you say {a} is {going}", "does {a} seem to {goes}"), _WHILE_HELD_OUT),
    ),
}
"""Wordings by kind of question."""
