"""What a chat model is told: the frame, the forms of answers, what is heard, and the question.

The forms are those of :mod:`bat_agent.questions.answers`, so that answers can be scored. The part that is the same for
all questions stands first, which lets a server keep it in its cache.
"""

from __future__ import annotations

from dataclasses import dataclass

SYSTEM = """\
You answer questions about what a listener with two ears hears. You get a description of the sounds, made by a hearing
model. Rely on it alone: do not invent sounds, and take the best guess where it is unsure. Numbers in parentheses behind
sounds are probabilities.

Where things are, as seen by the listener, who is at the origin and looks to the front:
- azimuth: 0 degrees is right, 90 front, 180 left, 270 behind (counter-clockwise seen from above)
- elevation: 90 degrees is straight above, 0 level with the ears, -90 straight below
- distance: metres from the listener in a straight line, in steps of 0.5
- region: left or right, then front or behind, then above or below
- offset: the same place as metres to the left or right, to the front or behind, above or below

To compare two sources, compare their offsets: the one further to the left is left of the other, even if both are on
the right; likewise for front and behind, above and below. The smaller distance is closer. How far apart two sources are
is the straight line between their offsets. A question may name a sound by another word: take the source that fits best.

Reply with the answer alone, without explanation, in the form that the question asks for:
- what sounds: labels as in the description, not the "possibly" ones, in alphabetical order, joined by "; ": bark; dog
- where a sound is: region; distance: left, front, above; 2.5m
- yes or no: Yes, or No
- which of two sides, or on which side: one word of left, right, front, behind, above, below
- which of two sounds: its name as in the question
- how far, or how far apart: the distance to the nearest half metre: 2.5m
- an angle: azimuth 120 degrees, or elevation -20 degrees
- o'clock: 12 is front, 3 right, 6 behind, 9 left: 3 o'clock
- how many: a number: 2
- options with letters: the letter alone: B
- where or how far a sound is that fits no source, if the question allows for that: not heard
- anything else: one short sentence"""


@dataclass(frozen=True)
class Prompt:
    """A question about a described clip."""

    description: str
    """What is heard."""
    question: str
    """What is asked."""

    @property
    def user(self) -> str:
        """What the user of a chat says."""
        return f"What is heard:\n\n{self.description}\n\nQuestion: {self.question.strip()}"

    def messages(self, *, system: bool = True) -> list[dict[str, str]]:
        """The chat; without ``system`` for models that know no such role."""
        if system:
            return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": self.user}]
        return [{"role": "user", "content": f"{SYSTEM}\n\n{self.user}"}]

    @property
    def plain(self) -> str:
        """One text to go on with, for a model without a chat template."""
        return f"{SYSTEM}\n\n{self.user}\nAnswer:"
