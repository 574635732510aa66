"""Wordings of the plain questions, as people type them to a live system.

The rules they keep, and the words for their slots, are in :mod:`bat_agent.questions.grammar`. ``which_closer`` and
``which_farther`` are asked about in the same ways, in the same order.
"""

from __future__ import annotations

from bat_agent.questions.templates import Wordings

SIDE = Wordings(
    (
        "Is {a} coming from {from_} or {from2}?",
        "Is {a} {where} or {where2}?",
        "Does {a} come from {from_} or from {from2}?",
        "Do you hear {a} {where} or {where2}?",
        "Tell me whether {a} is {where} or {where2}.",
        "{where} or {where2}: where is {a}?",
        "Is {a} located {where} or {where2}?",
        "Can you tell whether {a} is {where} or {where2}?",
        "Where is {a}: {where} or {where2}?",
        "Where does {a} come from: {from_} or {from2}?",
        "Does {a} reach you from {from_} or from {from2}?",
        "Can {a} be heard {where} or {where2}?",
        "Would you place {a} {where} or {where2}?",
        "Is {a} to be found {where} or {where2}?",
        "Is it {where} or {where2} that you hear {a}?",
        "Is {a} {where}, or is it {where2}?",
        "Say whether {a} comes from {from_} or from {from2}.",
    ),
    (
        "Would you say {a} is {where} or {where2}?",
        "Is the source of {a} {where} or {where2}?",
        "Does {a} originate from {from_} or from {from2}?",
        "Could you tell me if {a} is {where} or {where2}?",
        "Do you perceive {a} {where} or {where2}?",
    ),
)
"""On which of two opposite sides a source is."""

WHICH_SIDE = Wordings(
    (
        "Which side is {a} on?",
        "On which side is {a}?",
        "From which side is {a} coming?",
        "Which side does {a} come from?",
        "What side is {a} on?",
        "On which side do you hear {a}?",
        "From which side do you hear {a}?",
        "From which side does {a} reach you?",
        "On which side of you is {a}?",
        "Tell me which side {a} is on.",
        "Which side is {a} coming from?",
        "From what side does {a} come?",
        "On which side can {a} be heard?",
        "Which side is the source of {a} on?",
        "Can you tell which side {a} is on?",
        "On which side would you place {a}?",
        "Say on which side {a} is.",
    ),
    (
        "On what side do you hear {a}?",
        "Which side is {a} located on?",
        "Could you tell me from which side {a} comes?",
        "To which side of you is {a}?",
        "Please say which side {a} originates from.",
    ),
)
"""Left or right, unsaid."""

IS_SIDE = Wordings(
    (
        "Is {a} {where}?",
        "Is {a} coming from {from_}?",
        "Does {a} come from {from_}?",
        "Do you hear {a} {where}?",
        "Is {a} on your {d} side?",
        "Can you hear {a} {where}?",
        "Is {a} located {where}?",
        "Can {a} be heard {where}?",
        "Is it true that {a} is {where}?",
        "Tell me whether {a} is {where}.",
        "Do you hear {a} coming from {from_}?",
        "Is the source of {a} {where}?",
        "Would you place {a} {where}?",
        "Is {a} to be found {where}?",
        "Does {a} lie {where}?",
        "Is it true that {a} comes from {from_}?",
        "Can you tell me if {a} is {where}?",
    ),
    (
        "Would you say {a} is {where}?",
        "Does {a} reach you from {from_}?",
        "Is it {where} that you hear {a}?",
        "Do you perceive {a} {where}?",
        "Please say whether {a} originates from {from_}.",
    ),
)
"""Whether a source is on a side."""

DISTANCE = Wordings(
    (
        "How far away is {a}?",
        "How far is {a}?",
        "What is the distance of {a}?",
        "At what distance is {a}?",
        "How many meters away is {a}?",
        "How close is {a}?",
        "How far from you is {a}?",
        "What is the distance to {a}?",
        "Estimate the distance of {a}.",
        "Tell me how far away {a} is.",
        "At what distance do you hear {a}?",
        "How far away is the source of {a}?",
        "How many meters is {a} away from you?",
        "What is the distance between you and {a}?",
        "How near is {a}?",
        "How far off is {a}?",
        "From what distance does {a} reach you?",
    ),
    (
        "From how far away does {a} come?",
        "Can you estimate how far away {a} is?",
        "How close to you is {a}?",
        "Say how many meters away {a} is.",
        "How distant is {a}?",
    ),
)
"""How far a source is."""

PRESENCE = Wordings(
    (
        "Can you hear {thing}?",
        "Is there {thing}?",
        "Do you hear {thing}?",
        "Is {thing} audible?",
        "Does the recording contain {thing}?",
        "Is that {thing}?",
        "Is {thing} to be heard?",
        "Can you detect {thing}?",
        "Do you recognise {thing}?",
        "Does the audio clip contain {thing}?",
        "Is {thing} present in the recording?",
        "Are you hearing {thing}?",
        "Is {thing} among the sounds?",
        "Do you hear the sound of {thing}?",
        "Tell me whether you hear {thing}.",
        "Can you hear {thing} in this audio clip?",
        "Is there the sound of {thing}?",
    ),
    (
        "Is there {thing} in the audio clip?",
        "Can {thing} be heard?",
        "Is {thing} one of the sounds you hear?",
        "Do you notice {thing}?",
        "Please say if you can hear {thing}.",
    ),
)
"""Whether something sounds."""

WHICH_CLOSER = Wordings(
    (
        "Which is closer, {a} or {b}?",
        "Which sound is closer to you, {a} or {b}?",
        "Which one is nearer: {a} or {b}?",
        "Which is nearer to you, {a} or {b}?",
        "Which of the two is closer, {a} or {b}?",
        "Is {a} or {b} closer to you?",
        "Tell me which is closer, {a} or {b}.",
        "{a} or {b}: which is closer?",
        "Which are you closer to, {a} or {b}?",
        "Is it {a} or {b} that is nearer to you?",
        "Which sound source is nearer, {a} or {b}?",
        "Which sound comes from closer by, {a} or {b}?",
        "Which is at a shorter distance from you, {a} or {b}?",
        "Do you hear {a} or {b} from closer by?",
        "Which is less distant, {a} or {b}?",
        "Does {a} or {b} come from a nearer place?",
        "Say which is closer to you: {a} or {b}.",
    ),
    (
        "What is closer to you, {a} or {b}?",
        "Could you tell me which is nearer, {a} or {b}?",
        "Which lies closer to you, {a} or {b}?",
        "Is {a} or {b} the nearer sound?",
        "Please name the closer one: {a} or {b}.",
    ),
)
"""Which of two sources is closer."""

WHICH_FARTHER = Wordings(
    (
        "Which is farther away, {a} or {b}?",
        "Which sound is further from you, {a} or {b}?",
        "Which one is farther: {a} or {b}?",
        "Which is further away from you, {a} or {b}?",
        "Which of the two is farther, {a} or {b}?",
        "Is {a} or {b} farther from you?",
        "Tell me which is farther away, {a} or {b}.",
        "{a} or {b}: which is farther away?",
        "Which are you farther from, {a} or {b}?",
        "Is it {a} or {b} that is further away?",
        "Which sound source is further away, {a} or {b}?",
        "Which sound comes from farther off, {a} or {b}?",
        "Which is at a longer distance from you, {a} or {b}?",
        "Do you hear {a} or {b} from farther away?",
        "Which is more distant, {a} or {b}?",
        "Does {a} or {b} come from a farther place?",
        "Say which is farther from you: {a} or {b}.",
    ),
    (
        "What is further away from you, {a} or {b}?",
        "Could you tell me which is further off, {a} or {b}?",
        "Which lies farther from you, {a} or {b}?",
        "Is {a} or {b} the farther sound?",
        "Please name the farther one: {a} or {b}.",
    ),
)
"""Which of two sources is farther away."""
