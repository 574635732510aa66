"""Wordings of the yes/no questions about two sources: BAT's type E, which is two in five of all its questions.

The rules they keep, and the words for their slots, are in :mod:`bat_agent.questions.grammar`. ``closer`` and
``farther`` are asked about in the same ways.
"""

from __future__ import annotations

from bat_agent.questions.templates import Wordings

BOTH = Wordings(
    (
        "Do {a} and {b} both come from your {d} side?",
        "Is the source of both {a} and {b} {where}?",
        "Are {a} and {b} both {where}?",
        "Are both {a} and {b} {where}?",
        "Do both {a} and {b} come from {from_}?",
        "Do {a} and {b} both reach you from {from_}?",
        "Can you hear both {a} and {b} coming from {from_}?",
        "Are {a} and {b} on the same side, namely {where}?",
        "Is it true that {a} and {b} are both {where}?",
        "Are the sources of {a} and {b} both {where}?",
        "Are {a} and {b} both located {where}?",
        "Are {a} and {b} both coming from {from_}?",
        "Do you hear both {a} and {b} {where}?",
        "Can both {a} and {b} be heard {where}?",
        "Tell me whether {a} and {b} are both {where}.",
        "Is it true that both {a} and {b} come from {from_}?",
        "Is {a} {where}, and {b} as well?",
        "Would you place both {a} and {b} {where}?",
        "Do {a} and {b} come from the same side, namely from {from_}?",
        "Can you tell me if both {a} and {b} are {where}?",
    ),
    (
        "Would you say that {a} and {b} are both {where}?",
        "Do {a} as well as {b} come from your {d} side?",
        "Are {a} and {b} each {where}?",
        "Do both {a} and {b} lie {where}?",
        "Are {a} and {b} {where}, both of them?",
        "Please say whether both {a} and {b} originate from {from_}.",
    ),
)
"""Whether two sources are on the same side of the listener."""

PAIR = Wordings(
    (
        "Can you hear {a} from the {d} and {b} from the {d2}?",
        "Is {a} on the {d} and {b} on the {d2}?",
        "Is {a} {where} and {b} {where2}?",
        "Does {a} come from {from_} and {b} from {from2}?",
        "Do you hear {a} {where} and {b} {where2}?",
        "Is it true that {a} is {where} while {b} is {where2}?",
        "Is {a} coming from {from_} and {b} coming from {from2}?",
        "Is {a} to be found {where} and {b} {where2}?",
        "Is {a} at your {d} side and {b} at your {d2} side?",
        "Are {a} and {b} {where} and {where2}, respectively?",
        "Do {a} and {b} come from {from_} and from {from2}, respectively?",
        "Do you hear {a} coming from {from_} and {b} from {from2}?",
        "Can {a} be heard {where} and {b} {where2}?",
        "Is {a} located {where} and {b} {where2}?",
        "Tell me whether {a} is {where} and {b} {where2}.",
        "Is it true that {a} comes from {from_} and {b} from {from2}?",
        "Is the source of {a} {where} and that of {b} {where2}?",
        "Would you place {a} {where} and {b} {where2}?",
        "Does {a} lie {where} and {b} {where2}?",
        "Can you tell me if {a} is {where} and {b} is {where2}?",
    ),
    (
        "Would you say {a} is {where} and {b} is {where2}?",
        "Does {a} reach you from {from_} and {b} from {from2}?",
        "Are the sources of {a} and {b} {where} and {where2}, respectively?",
        "Is {a} {where}, with {b} {where2}?",
        "Do you perceive {a} {where} and {b} {where2}?",
        "Please say whether {a} originates from {from_} and {b} from {from2}.",
    ),
)
"""Whether one source is on one side of the listener and the other on another."""

RELATION = Wordings(
    (
        "Would you find {a} on the {d} side of {b}?",
        "Does {a} appear on the {d} of {b}?",
        "Is {a} {of} {b}?",
        "Is {a} located {of} {b}?",
        "Does {a} sound {of} {b}?",
        "Do you hear {a} {of} {b}?",
        "Is the source of {a} {of} {b}?",
        "Is it true that {a} is {of} {b}?",
        "Seen from where you are, is {a} {of} {b}?",
        "Can {a} be heard {of} {b}?",
        "Is {a} to be found {of} {b}?",
        "Does {a} come from a place {of} {b}?",
        "Would you place {a} {of} {b}?",
        "Tell me whether {a} is {of} {b}.",
        "Is the position of {a} {of} that of {b}?",
        "Does {a} lie {of} {b}?",
        "Does {a} reach you from a point {of} {b}?",
        "Do you locate {a} {of} {b}?",
        "Can you tell me if {a} is {of} {b}?",
        "Is it correct to say that {a} is {of} {b}?",
    ),
    (
        "Would you say {a} is {of} {b}?",
        "Is {a} positioned {of} {b}?",
        "Does {a} seem to be {of} {b}?",
        "Do you perceive {a} {of} {b}?",
        "Does the source of {a} appear {of} that of {b}?",
        "Please say whether {a} is {of} {b}.",
    ),
)
"""Whether one source is on a side of the other."""

CLOSER = Wordings(
    (
        "In terms of straight-line distance, does {a} reach you from a closer point compared to {b}?",
        "When measuring the direct line distance, is {a} closer to you than {b}?",
        "Is {a} closer than {b}?",
        "Is {a} closer to you than {b}?",
        "Is {a} nearer than {b}?",
        "Does {a} come from a nearer place than {b}?",
        "Is the source of {a} nearer to you than that of {b}?",
        "Is it true that {a} is closer than {b}?",
        "Tell me whether {a} is closer to you than {b}.",
        "Are you closer to {a} than to {b}?",
        "Is {a} at a shorter distance from you than {b}?",
        "Is the distance to {a} shorter than the distance to {b}?",
        "Is {a} located closer to you than {b}?",
        "Is {a} the closer one, compared to {b}?",
        "Is {a} less distant than {b}?",
        "Do you hear {a} from a shorter distance than {b}?",
        "Does {a} originate nearer to you than {b}?",
        "Measured in a straight line, is {a} nearer to you than {b}?",
        "Of the two, is {a} closer to you than {b}?",
        "Can you tell me if {a} is nearer than {b}?",
    ),
    (
        "Would you say {a} is nearer to you than {b}?",
        "Does {a} sound from closer by than {b}?",
        "Is it {a}, rather than {b}, that is closer to you?",
        "Does {a} lie closer to you than {b}?",
        "Is the source of {a} at a smaller distance than that of {b}?",
        "Please say whether {a} is the nearer one compared to {b}.",
    ),
)
"""Whether one source is closer to the listener than the other."""

FARTHER = Wordings(
    (
        "Is {a} further away from you than {b}?",
        "Is {a} farther away than {b}?",
        "Is {a} farther than {b}?",
        "In terms of straight-line distance, does {a} reach you from a farther point compared to {b}?",
        "Does {a} come from farther away than {b}?",
        "Is the source of {a} further from you than that of {b}?",
        "Is it true that {a} is farther away than {b}?",
        "When measuring the direct line distance, is {a} further from you than {b}?",
        "Tell me whether {a} is farther from you than {b}.",
        "Are you farther from {a} than from {b}?",
        "Is {a} at a longer distance from you than {b}?",
        "Is the distance to {a} longer than the distance to {b}?",
        "Is {a} located farther from you than {b}?",
        "Is {a} the farther one, compared to {b}?",
        "Is {a} more distant than {b}?",
        "Do you hear {a} from a longer distance than {b}?",
        "Does {a} originate further from you than {b}?",
        "Measured in a straight line, is {a} farther from you than {b}?",
        "Of the two, is {a} further away than {b}?",
        "Can you tell me if {a} is further away than {b}?",
    ),
    (
        "Would you say {a} is further away than {b}?",
        "Does {a} sound from farther off than {b}?",
        "Is it {a}, rather than {b}, that is farther from you?",
        "Does {a} lie farther from you than {b}?",
        "Is the source of {a} at a greater distance than that of {b}?",
        "Please say whether {a} is the farther one compared to {b}.",
    ),
)
"""Whether one source is farther from the listener than the other."""
