"""Somebody who thinks aloud before asking, and after it; a voice of training."""

from __future__ import annotations

WORDINGS: dict[str, tuple[str, ...]] = {
    "what_all": (
        "I've been sitting here for a while and there's so much going on, so, well, what is all this that I'm hearing?",
    ),
    "what_side": ("There's something, I don't know, something {where}, it's been bugging me, what is it?",),
    "nearest": ("So out of everything that's going on here, and it's a lot, what would you say is nearest to me?",),
    "farthest": ("Okay so of all the stuff we hear, some of it must be really far off, so which one is the farthest?",),
    "highest": ("I'm trying to picture this, you know, in height, so which of them would be the highest one?",),
    "lowest": ("I'm trying to picture this, floor to ceiling, and which one would you say is the lowest?",),
    "loudest": ("It's hard to think with this racket, I mean honestly, which of them is the loudest?",),
    "what_else": (
        "Right, so I get that there's {the}, everybody hears that, but what else is going on?",
        "I know about {the}, thanks, I've noticed, so leaving that aside, what other things are there?",
    ),
    "anything_else": ("Okay, there's {the}, obviously, but I keep wondering, is there anything else in here?",),
    "anything_there": ("Maybe I'm imagining things, I often do, but is there something {where}?",),
    "count": ("I lost track at some point, there's one thing and then another, how many sounds are there in total?",),
    "count_side": ("I'm only interested in what's {where}, never mind the rest, so how many things are there?",),
    "several": ("To me it all blends into one, so tell me, is it really more than one thing that's sounding?",),
    "describe": (
        "I can't see a thing from in here, so could you paint me a picture of what's sounding and where all of it is?",
    ),
    "heard": (
        "I could swear I heard something like {a} just a moment ago, so am I crazy or is there {a}?",
        "My sister keeps telling me there's {a} around here, and I don't believe her, is there one?",
    ),
    "someone": ("I might be wrong, my ears aren't what they were, but is somebody talking in there?",),
    "where": (
        "So I keep hearing {the}, on and on, and I can't for the life of me figure out where it is, where is it?",
        "I was about to have a nap and then {the} started, so where would that be?",
    ),
    "where_someone": ("I hear somebody talking, I'm fairly sure of it, but where on earth are they?",),
    "left_or_right": ("I always mix these two up, ever since school, but is {the} on the left or on the right of me?",),
    "front_or_behind": (
        "It's funny how hard that is with your eyes closed, but is {the} in front of me or behind me?",
    ),
    "above_or_below": ("This place has several floors, I think, so is {the} above us or below us?",),
    "is_side": (
        "Correct me if I'm wrong, I often am, but isn't {the} {where}?",
        "Well I'd have thought, from how it sounds, that {the} is {where}, is that so?",
    ),
    "is_region": (
        "If I had to point I'd point at somewhere {where} and at the same time {where2}, so is {the} there?",
    ),
    "clock": (
        "My uncle was a pilot and he'd say things like bandit at three o'clock, so at what o'clock would {the} be?",
    ),
    "turn_which": ("I'd like to face {the}, it's only polite, so which way should I turn, left or right?",),
    "turn_degrees": (
        "I've got this swivel chair here, and I want to point it at {the}, so how many degrees and to which side?",
    ),
    "walk_where": ("I think I'll get up and go and see what's up with {the}, so which way should I be heading?",),
    "how_far": (
        "I'm wondering whether it's worth getting up, so how far is it to {the}, roughly, in metres?",
        "It could be around the corner or on the other side of the hall for all I know, how far is {the}?",
    ),
    "within": ("They told me to keep an eye on things nearby, so, would you say {the} is closer than {limit}?",),
    "beyond": ("I'd feel a lot better if I knew that {the} was more than {limit} away, so is it?",),
    "closer_than": (
        "We've been arguing about this over lunch, he says yes and she says no, is {the} {closer} than {the2}?",
    ),
    "left_of": ("Suppose I drew a little map of it all, with me at the bottom, would {the} be {leftof} {the2}?",),
    "higher_than": ("I can't tell heights at all by ear, maybe you can, so is {the} {higher} than {the2}?",),
    "which_closer": (
        "I can only deal with one at a time, and I'd take the closer one first, so is that {the} or {the2}?",
    ),
    "which_higher": ("One of them seems to come from up there, but is the higher one {the} or {the2}?",),
    "nearer_by": ("Okay so {the} is nearer than {the2}, we agree on that, but by how much would you say?",),
    "apart": ("If somebody had to run a cable from {the} to {the2}, straight through the air, how long would it be?",),
    "angle_between": ("If I stretch out one arm to {the} and the other to {the2}, what angle is between my arms?",),
    "same_side": ("I've got one good ear and one bad one, so it matters: are {the} and {the2} both on the same side?",),
    "opposite_sides": ("It feels like stereo, one in each ear, so are {the} and {the2} on opposite sides?",),
    "between": ("I feel a bit surrounded, to be honest, so am I actually between {the} and {the2}?",),
    "is_between": ("I am picturing it all as I look round, so, is {the} somewhere between {the2} and {the3}?",),
    "what_between": ("I can place those two, it's the rest I can't, so what sounds between {the} and {the2}?",),
    "safe_step": ("I've been standing here like a statue, I'd love to {step}, would that be safe, do you think?",),
    "gets_closer": ("I'm not sure it would help, but suppose I {walked}, would that get me any closer to {the}?",),
    "turned_side": (
        "Let's say, just for the sake of it, I {turned}, and I'm not saying I will, would {the} be {where} then?",
    ),
    "turned_where": ("Let's say, hypothetically, I {turned}, would I then hear {the} on my left or on my right?",),
    "walked_far": ("I'm thinking of stretching my legs, so if I {walked}, how far would I be from {the}?",),
    "walked_side": ("I'm thinking of going over there, so if I {walked}, would that put {the} {where}?",),
    "moving": ("I thought it was staying put but now I'm not so sure, is {the} moving?",),
    "approach": ("I don't want to sound nervous, but is {the} coming closer or is it going away?",),
    "drift": ("I've been following it with my finger, like this, so is {the} going to the left or to the right?",),
    "then_far": ("Ah, okay, I see, well, and how far would that be, more or less?",),
    "then_where": ("Oh, is that so, interesting, and where would it be then?",),
    "then_side": ("Hm, okay, so, and just to be sure, is it {where}?",),
    "then_turn": ("Good to know, so then, to face it, would I turn left or right?",),
    "then_height": ("Fine, and while we're at it, is it above me or below me?",),
    "then_other": ("Alright, that's that one, thank you, and where's the other one then?",),
    "then_closer": ("Okay but compare it for me, is it closer than {the2}?",),
    "then_moving": ("Okay, and does it stay there or is it moving, I mean, is it moving?",),
    "colour": ("I like to imagine these things, so tell me, what colour might {the} be?",),
    "smell": ("My nose has been blocked all week, so does it smell of anything around here?",),
    "time": ("I left my watch at home again, silly me, what time is it actually?",),
    "name": ("It sounds like a nice one, doesn't it, so what do they call it, I mean {the}, does it have a name?",),
    "look": ("I've never seen one up close, so what does {the} look like, is it pretty?",),
    "off_topic": (
        "I was going to ask you something else entirely, what was it, oh yes, how do you boil an egg?",
        "My nephew wants to study law, do you think that's a good idea?",
    ),
}
