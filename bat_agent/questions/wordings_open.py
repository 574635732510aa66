"""Wordings of questions whose answer is a sound, a place or a distance: types A to D, and the open ones of type E.

The rules they keep, and the words for their slots, are in :mod:`bat_agent.questions.grammar`.
"""

from __future__ import annotations

from bat_agent.questions.templates import Wordings

DETECT = Wordings(
    (
        "Identify the sound events in the audio clip.",
        "What are the distinct sounds present in this audio clip?",
        "What sound events can you detect in the audio recording?",
        "Enumerate the sound occurrences in the audio clip.",
        "What do you hear?",
        "What is that sound?",
        "What is making this sound?",
        "List the sounds you can hear.",
        "Which sounds do you recognise?",
        "Name the sound events in this recording.",
        "Tell me what you hear.",
        "What sounds are there in this recording?",
        "Which sounds are present in the audio recording?",
        "What is to be heard in this audio clip?",
        "Describe the sounds you hear.",
        "What kind of sound is this?",
        "What does the audio clip contain?",
        "Can you name the sounds in this audio clip?",
        "What is the source of this sound?",
        "Which sound events can be recognised in this recording?",
    ),
    (
        "What can be heard in the recording?",
        "Could you tell me what is sounding?",
        "Which sound events occur in this clip?",
        "What sounds can you make out?",
        "Please identify all the sounds you can hear.",
        "Give the names of the sound events in the audio recording.",
    ),
)
"""What sounds."""

LOCATE = Wordings(
    (
        "Where is {a} coming from?",
        "How would you describe the location of {a}?",
        "At what distance and in which direction is {a} originating?",
        "In which direction and how far away is the source of {a}?",
        "Where is {a}?",
        "Where does {a} come from?",
        "Where do you hear {a}?",
        "Describe the position of {a}.",
        "Give the direction and the distance of {a}.",
        "From where does {a} reach you?",
        "Tell me where {a} is.",
        "Where is {a} located?",
        "Where around you is {a}?",
        "Where does {a} originate?",
        "What is the position of {a}?",
        "Determine the location of {a}.",
        "Estimate the direction and the distance of {a}.",
        "What are the direction and the distance of {a}?",
        "How far away is {a}, and in which direction?",
        "Say where {a} is, and how far away.",
        "Could you tell me where {a} comes from?",
        "Where would you place {a}?",
    ),
    (
        "Can you locate {a}?",
        "From which direction, and from how far away, does {a} arrive?",
        "What is the location of {a}?",
        "Where can {a} be heard?",
        "Whereabouts is {a}?",
        "Please describe where the source of {a} is.",
    ),
)
"""Where a source is: region and distance."""

DETECT_AT = Wordings(
    (
        "Identify the sound events in the audio clip coming from the {region}, approximately {distance} away.",
        "What sound events can you detect in the audio recording emanating from the {region}, roughly {distance} away?",
        "What do you hear from the {region}, about {distance} away?",
        "Which sounds come from the {region}, around {distance} away?",
        "What is the sound at the {region}, {distance} away?",
        "Name the sound events located {region}, at a distance of {distance}.",
        "What is making the sound {region}, roughly {distance} from you?",
        "List the sounds that reach you from the {region}, nearly {distance} away.",
        "Enumerate the sound occurrences at the {region}, some {distance} away.",
        "Tell me what you hear from the {region}, at a distance of {distance}.",
        "At a distance of {distance}, what do you hear from the {region}?",
        "Which sound events can be heard from the {region}, {distance} away?",
        "Which sounds do you recognise {region}, approximately {distance} away?",
        "What is there to hear at the {region}, roughly {distance} from you?",
        "Identify the sound source at the {region}, some {distance} from you.",
        "Which sound is located {region}, nearly {distance} away?",
        "What sounds are present at the {region}, about {distance} from here?",
        "Describe the sounds from the {region}, around {distance} away.",
        "{distance} away, {region}: what is that sound?",
        "What comes from the {region}, approximately {distance} away?",
    ),
    (
        "What can be heard from the {region}, approximately {distance} from here?",
        "Tell me which sounds originate {region}, about {distance} away.",
        "Could you name the sounds at the {region}, around {distance} away?",
        "What sound source is there {region}, at a distance of roughly {distance}?",
        "Which sounds reach you from a point {region}, nearly {distance} away?",
        "Something is sounding {region}, {distance} away: what is it?",
    ),
)
"""What sounds at a place."""

WHICH_SIDE_OF = Wordings(
    (
        "Could you determine whether {a} is {p} or {q} {b}?",
        "Is {a} {p} or {q} {b}?",
        "Tell me whether {a} is {p} or {q} {b}.",
        "Do you hear {a} {p} or {q} {b}?",
        "Is {a} located {p} or {q} {b}?",
        "Is the source of {a} {p} or {q} {b}?",
        "Does {a} appear {p} or {q} {b}?",
        "Where is {a}: {p} or {q} {b}?",
        "Can you tell whether {a} is {p} or {q} {b}?",
        "Would you place {a} {p} or {q} {b}?",
        "Does {a} come from a place {p} or {q} {b}?",
        "Seen from where you are, is {a} {p} or {q} {b}?",
        "Is {a} to be found {p} or {q} {b}?",
        "Does {a} lie {p} or {q} {b}?",
        "Can {a} be heard {p} or {q} {b}?",
        "Say whether {a} is {p} or {q} {b}.",
        "Which is true: is {a} {p} or {q} {b}?",
    ),
    (
        "Would you say {a} is {p} or {q} {b}?",
        "Is {a} positioned {p} or {q} {b}?",
        "Do you perceive {a} {p} or {q} {b}?",
        "Does {a} seem to be {p} or {q} {b}?",
        "Please decide whether {a} is {p} or {q} {b}.",
    ),
)
"""On which of two opposite sides of another source."""

BETWEEN = Wordings(
    (
        "Can you estimate the distance from {a} to {b}?",
        "How far away is {a} from {b}?",
        "How far apart are {a} and {b}?",
        "What is the distance between {a} and {b}?",
        "How far is {a} from {b}?",
        "How many meters apart are {a} and {b}?",
        "Estimate the distance between {a} and {b}.",
        "What is the straight-line distance from {a} to {b}?",
        "Tell me how far apart {a} and {b} are.",
        "At what distance from {a} is {b}?",
        "How many meters away from {a} is {b}?",
        "How close are {a} and {b} to each other?",
        "Determine the distance between the sources of {a} and {b}.",
        "How much distance is there between {a} and {b}?",
        "What distance is {a} away from {b}?",
        "Give the distance from {a} to {b}.",
        "How far would you say {a} is from {b}?",
    ),
    (
        "How many meters are there between {a} and {b}?",
        "Could you tell me how far {a} is from {b}?",
        "What distance separates {a} from {b}?",
        "How large is the gap between {a} and {b}?",
        "In meters, how far from each other are {a} and {b}?",
    ),
)
"""How far apart two sources are."""

SOURCE_ON = Wordings(
    (
        "What is the sound on the {d} side of {b}?",
        "What do you hear {of} {b}?",
        "Which sound is {of} {b}?",
        "Identify the sound {of} {b}.",
        "What is {of} {b}?",
        "Which sounds do you hear {of} {b}?",
        "Tell me what you hear {of} {b}.",
        "Name the sound {of} {b}.",
        "Which sound events can be heard {of} {b}?",
        "What is making a sound {of} {b}?",
        "Which sound source is located {of} {b}?",
        "What can you detect {of} {b}?",
        "List the sounds {of} {b}.",
        "Which other sound is {of} {b}?",
        "What is to be heard {of} {b}?",
        "Which sound comes from a place {of} {b}?",
        "Describe the sound {of} {b}.",
    ),
    (
        "What can be heard {of} {b}?",
        "Could you name the sound {of} {b}?",
        "What is the source of the sound {of} {b}?",
        "Which sound would you place {of} {b}?",
        "Say what is sounding {of} {b}.",
    ),
)
"""What sounds on a side of another source."""
