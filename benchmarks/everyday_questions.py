"""74 questions as people ask them, of three kinds, about scenes whose truth is known: what the reasoner answers.

    python benchmarks/everyday_questions.py          # with an ideal ear, and of bat-small about the scenes as rendered
    python benchmarks/everyday_questions.py --page   # the table of docs/everyday_questions.md

BAT_SHARED names the folder of recordings; what they lack is synthesised.

Every question has a query (or, where there is none, an answer), so its truth follows from the scene by a program.
"""

from __future__ import annotations

import argparse
import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.signal import fftconvolve

import bat_agent
from bat_agent import Answer, Bat, Encoding, Reasoner
from bat_agent.clips.batch import truth_of
from bat_agent.clips.oracle import oracle_encoding
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.questions import HeardSource
from bat_agent.questions.free import Truth, answer, read_query
from bat_agent.questions.free.marking import score_free
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, Position, Room, Scene, Source, unit_vector
from bat_agent.sound.audio import read_mono
from bat_agent.sound.synthesis import synthesise

CLIP_SAMPLES = 10 * SAMPLE_RATE_HZ

SCENES = {
    "yard": (HeardSource(("Dog",), Position(150.0, -20.0, 2.0)), HeardSource(("Siren",), Position(315.0, 25.0, 5.0))),
    "porch": (HeardSource(("Speech",), Position(35.0, 15.0, 1.5)), HeardSource(("Rain",), Position(205.0, -20.0, 4.0))),
    "hall": (HeardSource(("Telephone bell ringing",), Position(300.0, 30.0, 3.0)),),
}
"""What sounds where: azimuth counter-clockwise from the right, elevation, metres."""
WHAT, WHERE, BESIDE = "what", "where", "beside"
_YES, _NO = Truth("yes no", "Yes"), Truth("yes no", "No")
Asked = tuple[str, str, str | Truth]
"""Scene, question, query or truth."""
QUESTIONS: dict[str, tuple[Asked, ...]] = {
    WHAT: (
        ("yard", "What is going on?", "describe"),
        ("yard", "What's happening around me?", "describe"),
        ("hall", "What's that noise?", "what"),
        ("porch", "Tell me what you hear.", "what"),
        ("yard", "How many sounds are there?", "count"),
        ("hall", "How many things can you hear?", "count"),
        ("porch", "Count the sounds.", "count"),
        ("yard", "How many are on my left?", "count; side left"),
        ("yard", "Is there more than one sound?", "is several"),
        ("hall", "Are there several sounds?", "is several"),
        ("yard", "What is the loudest sound?", "what; word loudest"),
        ("porch", "Which one is the loudest?", "what; word loudest"),
        ("yard", "Is it quiet here?", _NO),
        ("hall", "Is there any sound at all?", _YES),
        ("hall", "Is it silent?", _NO),
        ("porch", "Do you hear anything?", _YES),
        ("porch", "Is anybody talking?", "is heard: someone"),
        ("yard", "Is someone speaking?", "is heard: someone"),
        ("yard", "Is anyone there?", "is heard: someone"),
        ("porch", "Is somebody there?", "is heard: someone"),
        ("hall", "Can you hear a phone?", "is heard: telephone bell ringing"),
        ("yard", "Is there a vacuum cleaner running?", "is heard: vacuum cleaner"),
        ("yard", "What else is there besides the dog?", "what else: dog"),
        ("porch", "Is there anything else apart from the rain?", "is anything else: rain"),
        ("yard", "What's behind me?", "what; side behind"),
        ("yard", "Who or what is in front of me?", "what; side front"),
    ),
    WHERE: (
        ("yard", "Where's the dgo?", "where: dog"),
        ("yard", "Whre is the siren?", "where: siren"),
        ("yard", "Is the sirne on my right?", "is side: siren; side right"),
        ("porch", "Who is talking and where?", "where: someone"),
        ("porch", "Where is the person who is talking?", "where: someone"),
        ("hall", "From which direction does the ringing phone come?", "where: telephone bell ringing"),
        ("yard", "At what azimuth is the dog?", Truth("degrees", "azimuth 150 degrees", value=150)),
        ("yard", "At which angle do you hear the siren?", Truth("degrees", "azimuth 315 degrees", value=315)),
        ("hall", "What is the elevation of the phone?", Truth("degrees", "elevation 30 degrees", value=30)),
        ("yard", "At what o'clock is the siren?", "clock: siren"),
        ("yard", "Is the dog at ten o'clock?", _YES),
        ("hall", "Is the phone at 3 o'clock?", _NO),
        ("porch", "Give me the clock direction of the rain.", "clock: rain"),
        ("yard", "Which way should I turn to face the siren?", "turn: siren"),
        ("yard", "How many degrees do I have to turn to the dog?", "turn degrees: dog"),
        ("hall", "Which way do I walk to get to the phone?", "heading: telephone bell ringing"),
        ("yard", "How far off is the dog?", "distance: dog"),
        ("hall", "How close is it?", "distance: telephone bell ringing"),
        ("yard", "Is the dog within three metres?", "is within: dog; limit 3m"),
        ("yard", "Is the siren more than 2 m away?", "is beyond: siren; limit 2m"),
        ("hall", "Is the phone closer than 2 metres?", "is within: telephone bell ringing; limit 2m"),
        ("porch", "Is the talker above or below me?", "side: speech; axis above below"),
        ("yard", "Is the siren high up or low down?", "side: siren; axis above below"),
        ("porch", "Anything over to my left?", "is anything; side left"),
        ("yard", "If I turned around, would the siren be in front of me?", "is side: siren; side front; turn around"),
        ("yard", "Is it safe to step back?", "is safe; side behind"),
    ),
    BESIDE: (
        ("yard", "Is the dog louder than the siren?", _YES),
        ("yard", "Which is louder, the dog or the siren?", "which: dog & siren; word closer"),
        ("porch", "Which is nearer, the rain or the voice?", "which: rain & speech; word closer"),
        ("yard", "What is closest to me?", "what; word nearest"),
        ("yard", "What's the farthest away?", "what; word farthest"),
        ("porch", "Which one is higher up, the voice or the rain?", "which: speech & rain; word higher"),
        ("yard", "What is highest up?", "what; word highest"),
        ("yard", "Is the siren higher than the dog?", "compare: siren & dog; word higher"),
        ("yard", "Is the dog further away than the siren?", "compare: dog & siren; word farther"),
        ("yard", "Are the dog and the siren on the same side?", "same side: dog & siren"),
        ("porch", "Are the voice and the rain on opposite sides of me?", "opposite sides: speech & rain"),
        ("yard", "Am I between the dog and the siren?", "am between: dog & siren"),
        ("yard", "How far apart are the dog and the siren?", "apart: dog & siren"),
        ("porch", "What's the angle between the voice and the rain?", "angle: speech & rain"),
        ("yard", "How much closer is the dog than the siren?", "difference: dog & siren"),
        ("porch", "Is the rain to the left of the voice?", "compare: rain & speech; word left"),
        ("yard", "Where is the other sound, not the dog?", "where else: dog"),
        ("porch", "Is the rain behind me and the voice in front?", _YES),
        ("yard", "Is the dgo closer than the siren?", "compare: dog & siren; word closer"),
        ("porch", "Is the voice neerer than the rain?", "compare: speech & rain; word closer"),
        ("yard", "Is the dog or the siren on my left?", "which: dog & siren; word closer"),
        ("porch", "Which of the two is on the right?", "what; side right"),
    ),
}


@dataclass(frozen=True)
class Everyday:
    """One of the questions."""

    kind: str
    scene: str
    question: str
    truth: Truth

    def right(self, text: str) -> bool:
        """Whether an answer is true."""
        named = self.truth.answer.split()[0]
        return score_free(self.truth, text) and (named not in ("azimuth", "elevation") or text.startswith(named))


def everyday() -> list[Everyday]:
    """All of them, each with what is true."""
    found = []
    for kind, asked in QUESTIONS.items():
        for scene, question, wanted in asked:
            truth = wanted if isinstance(wanted, Truth) else answer(read_query(wanted), SCENES[scene])
            assert truth is not None, question
            found.append(Everyday(kind, scene, question, truth))
    return found


def ideal(scene: str) -> Encoding:
    """What an ideal encoder says of a scene."""
    return oracle_encoding(truth_of([SCENES[scene]]), 4, 2, torch.Generator().manual_seed(0))


def of_an_ideal_ear(reasoner: Reasoner) -> list[str]:
    """The answers to all questions, of one who hears what is true."""
    return [str(reasoner.answer(ideal(asked.scene), [asked.question])[0]) for asked in everyday()]


def by_ear(bat: Bat, seed: int = 0) -> list[Answer]:
    """The answers to all questions about the scenes as rendered, of synthesised sounds in a room."""
    rng = np.random.default_rng(seed)
    sound = {name: _rendered(sources, rng) for name, sources in SCENES.items()}
    return [bat.ask(sound[asked.scene], asked.question) for asked in everyday()]


def _rendered(sources: tuple[HeardSource, ...], rng: np.random.Generator) -> np.ndarray:
    room, ears = Room((9.0, 5.0, 9.0), 0.4), (4.5, 1.8, 4.2)
    places = [
        np.add(ears, source.position.distance_m * np.array(unit_vector(*source.position[:2]))) for source in sources
    ]
    placed = tuple(Source(tuple(place), labels=source.labels) for place, source in zip(places, sources, strict=True))
    rirs = load_simulator("shoebox").render(Scene(room, Listener(ears), tuple(placed)))
    mix = np.zeros((2, CLIP_SAMPLES))
    for source, rir in zip(sources, rirs, strict=True):
        dry = np.resize(_dry(source.labels[0], rng), CLIP_SAMPLES)
        dry = dry / np.sqrt(np.mean(dry**2))
        mix += np.stack([fftconvolve(dry, ear)[:CLIP_SAMPLES] for ear in rir.numpy()])
    return (0.5 * mix / np.abs(mix).max()).astype(np.float32)


def _dry(label: str, rng: np.random.Generator) -> np.ndarray:
    """A recording of the fold that nothing is trained on, or a synthesised sound."""
    folder = Path(os.environ.get("BAT_SHARED", "../shared")) / "data" / "sounds"
    with open(folder / "manifest.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if label in row["labels"].split(";") and row["fold"] == "4"]
    if not rows:
        return synthesise(label, rng, CLIP_SAMPLES / SAMPLE_RATE_HZ)
    return read_mono(str(folder / rows[int(rng.integers(len(rows)))]["file"]))


def main() -> None:
    """Print how many are answered, or the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="the table of docs/everyday_questions.md")
    parser.add_argument("--model", default="bat-small")
    options = parser.parse_args()
    bat = bat_agent.load(options.model)
    asked, told, heard = everyday(), of_an_ideal_ear(bat.reasoner), by_ear(bat)
    if options.page:
        for each, ideal_says, ear_says in zip(asked, told, heard, strict=True):
            print(f"| {each.kind} | {each.scene} | {each.question} | {ideal_says} | {ear_says.spoken} |")
        return
    for name, texts in (("true heads", told), ("by ear", [str(said) for said in heard])):
        for kind in (*QUESTIONS, "all"):
            some = [(each, text) for each, text in zip(asked, texts, strict=True) if kind in (each.kind, "all")]
            understood = sum("not understand" not in text for _, text in some)
            right = sum(each.right(text) for each, text in some)
            print(f"{name:10}  {kind:7}  of {len(some)}: understood {understood}, right {right}")
    for each, text in zip(asked, told, strict=True):
        if not each.right(text):
            print(f"  {each.question}  {text}  (true: {each.truth.answer})")


if __name__ == "__main__":
    main()
